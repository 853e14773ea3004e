"""The server's life: how it starts, what it says, how it stops."""

import signal

import pytest

from tests.servers.rest import Server


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_says_where_it_listens_and_stops_cleanly(home, number):
    server = Server(home.file)
    assert server.get("backends").json[0]["name"] == "data"
    assert server.stop(number) == 0
    assert server.said == [
        "WarpDrive Control Plane\n",
        "─" * 36 + "\n",
        f"Listening: 127.0.0.1:{server.port}\n",
        "Backends: 1 configured\n",
        "Control plane shut down cleanly.\n",
    ]
    assert server.complaints == [
        "Warning: auth is off: whoever reaches this address may read and change everything.\n"
    ]


def test_a_crawl_is_a_barrier(home):
    (home.root() / "a.bin").write_bytes(b"x" * 1000)
    server = Server(home.file)
    try:
        event = {"ts": "2026-01-05T10:00:00Z", "user": "ann", "backend": "data", "path": "a.bin",
                 "op": "read", "bytes_read": 10}  # fmt: skip
        assert server.post("ingest", [event]).json == {"accepted": 1, "quarantined": 0}
        assert server.post("crawl").json["status"] == "ok"
        (row,) = server.get("usage?group_by=backend").json
        assert (row["file_count"], row["total_bytes"], row["bytes_read"]) == (1, 1000, 10)
    finally:
        server.stop()


def test_a_public_address_needs_auth_or_a_word(home):
    said = home.run("serve", "--addr", "0.0.0.0:0")
    assert said.code == 1
    assert "--allow-unauthenticated" in said.err
