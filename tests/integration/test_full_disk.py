"""A disk that takes nothing more: one line and exit 1, 503 over HTTP, and nothing hangs.

No file of the processes here may grow (`ulimit -f 0`), which looks to them as a full disk does.
"""

import os
import subprocess
import sys

import pytest

from tests.home import Home
from tests.servers.rest import ROOT, Server

FULL = ("sh", "-c", 'ulimit -f 0; exec "$0" "$@"', sys.executable, "-m", "cli")


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    """A published lake and a file of events; nothing of it changes here."""
    home = Home(tmp_path_factory.mktemp("full"))
    (home.root() / "x").write_bytes(b"x")
    (home.folder / "events.jsonl").write_text("{}\n")
    for args in (("crawl",), ("refresh",), ("quota", "set", "--team", "t", "--hard", "1")):
        assert home.run(*args).code == 0
    return home


@pytest.mark.parametrize("command", ["quota set --team a --hard 1", "team add a b", "refresh",
                                     "ingest events.jsonl"])  # fmt: skip
def test_a_change_that_cannot_be_written_is_one_line_and_exit_1(lake, command):
    done = subprocess.run(
        [*FULL, *command.split(), "--config", str(lake.file)], cwd=lake.folder, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("error: ")
    assert "File too large" in done.stderr or "database of Dagster's runs" in done.stderr


def test_a_server_says_so_and_goes_on_reading(lake):
    server = Server(lake.file, command=FULL)
    try:
        for _ in range(2):  # the second joined a run that nobody would ever carry out
            refused = server.post("crawl")
            assert refused.status == 503
            assert "File too large" in refused.error["message"]
        told = server.ask("PUT", "quota", {"team_name": "a", "hard_limit": 1})
        assert (told.status, told.error["code"]) == (503, "unavailable")
        assert "File too large" in told.error["message"]
        assert server.post("ingest", [{"backend": "data", "op": "read"}]).status == 503
        assert server.get("backends").json[0]["file_count"] == 1
        assert [row["TeamName"] for row in server.get("quota").json] == ["t"]
    finally:
        assert server.stop() == 0
    assert not [line for line in server.complaints if "Traceback" in line]
