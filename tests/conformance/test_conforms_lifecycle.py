"""Behaviours 56, 57, 59, 61: start, stop, what outlives a restart."""

import signal
import time

from tests.conformance.telling import COMMAND
from tests.servers.rest import Server


def started(folder, backends):
    config = folder / "warpdrive.yaml"
    config.write_text(
        f"lake: {{root: ./lake}}\ntelemetry: {{landing: ./l}}\nbackends: {backends}\n"
    )
    return Server(config, command=COMMAND)


def test_56_59_no_backends_an_ephemeral_port_and_a_quick_stop(tmp_path):
    server = started(tmp_path, "[]")
    assert server.port > 0
    assert server.get("backends").json == []
    answer = server.post("crawl")
    assert (answer.status, answer.json["status"]) == (200, "ok")
    begin = time.monotonic()
    assert server.stop(signal.SIGINT) == 0
    assert time.monotonic() - begin < 5


def test_57_every_backend_failed(tmp_path):
    server = started(tmp_path, "[{name: gone, type: local, config: {root: ./nowhere}}]")
    try:
        answer = server.post("crawl")
        assert answer.status == 502
        assert "gone" in answer.error["message"]
    finally:
        server.stop(signal.SIGTERM)


def test_61_state_survives_a_restart(restarted):
    assert restarted.exit_code == 0
    told = restarted.answers["restarted"]
    teams = {row["group_name"] for row in told["usage?group_by=team"]}
    assert {"red", "over", "under"} <= teams
    assert {row["TeamName"] for row in told["quota"]} >= {"over", "under", "blue", "red"}
    assert [row["Path"] for row in told["user/newest"]] == ["f1", "f2", "f3"]
    assert [r for r in restarted.rows("stale", backend="data") if r["path"] == "stale/old.bin"]


def test_61_what_was_acknowledged_survives_a_kill(restarted):
    """Killed at once after the answer, without a chance to write anything."""
    (row,) = restarted.rows("user/killed")
    assert row["BytesRead"] == 6
