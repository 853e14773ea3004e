"""The commands about this node, by the command line: stats, status, warm, spool check."""

import subprocess
import sys
from pathlib import Path

import pytest
from mounts import Mount, needs_mount
from objectserver import ObjectServer


@pytest.fixture
def server():
    """Four objects of 100,000 bytes."""
    found = ObjectServer()
    for index in range(4):
        found.put(f"data/{index}", bytes([index]) * 100_000)
    yield found
    found.stop()


def warpdrive(mount, *args):
    """Exit code, output and errors of a command for the config of a mount."""
    found = subprocess.run(
        [sys.executable, "-m", "cli", *args, "--config", str(mount.config)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return found.returncode, found.stdout, found.stderr


@needs_mount
def test_stats_and_status_show_the_running_agent(tmp_path, server):
    """One miss and one hit of one file, the mount, the backend, and no reports yet."""
    mount = Mount(tmp_path, [server.backend()], "level: exact")
    code, out, err = warpdrive(mount, "stats")
    assert (code, out) == (1, "")
    assert "warpdrive mount" in err
    assert err.count("\n") == 1
    with mount:
        for _ in range(2):
            assert (mount.point / "s3/data/0").read_bytes() == bytes(100_000)
        code, out, _ = warpdrive(mount, "stats")
        assert code == 0
        assert out.splitlines()[0] == "WarpDrive Cache Statistics"
        assert {"Hits: 1", "Misses: 1", "Hit Rate: 50.0%"} <= set(out.splitlines())
        code, out, _ = warpdrive(mount, "status")
        assert code == 0
        lines = out.splitlines()
        assert f"Mount Point: {mount.point} (mounted)" in lines
        assert lines[lines.index("Backends: 1 configured") + 1] == "  - s3 (s3) at /s3"
        assert "  none yet: run `warpdrive refresh`" in lines
    assert f"Mount Point: {mount.point} (not mounted)" in warpdrive(mount, "status")[1].splitlines()


def test_warm_fills_the_cache_of_a_stopped_agent(tmp_path, server):
    """All four objects are fetched once; a second run fetches nothing; wrong names are one line."""
    mount = Mount(tmp_path, [server.backend()])
    code, out, err = warpdrive(mount, "warm", "--backend", "s3", "--prefix", "data")
    assert (code, err) == (0, "")
    assert out.splitlines()[:2] == ["Backend:   s3", "Prefix:    data"]
    assert out.splitlines()[-1].startswith("Done: Cache warming complete in ")
    asked = len(server.gets())
    assert asked >= 4
    assert warpdrive(mount, "warm", "--backend", "s3", "--prefix", "data")[0] == 0
    assert len(server.gets()) == asked
    for args in (("--backend", "nope"), ("--backend", "s3", "--max-size", "many")):
        code, _, err = warpdrive(mount, "warm", *args)
        assert code == 2
        assert args[-1] in err
        assert err.count("\n") == 1


@needs_mount
def test_spool_check_reads_a_spool_and_changes_nothing(tmp_path, server):
    """A spool left by an agent is whole; a torn line in it is a problem and exit 1."""
    mount = Mount(tmp_path, [server.backend()])
    with mount:
        (mount.point / "s3/data/0").read_bytes()
    spool = Path(tmp_path / "cache" / "spool")
    code, out, _ = warpdrive(mount, "spool", "check", str(spool))
    assert code == 0
    assert "clean: True" in out
    (spool / "active.jsonl").write_text('{"seq": 1, "boot": "x"}\n{"seq": 2, "bo')
    before = (spool / "active.jsonl").read_bytes()
    code, out, err = warpdrive(mount, "spool", "check", str(spool))
    assert code == 1
    assert "torn" in out
    assert str(spool) in err
    assert (spool / "active.jsonl").read_bytes() == before
    code, _, err = warpdrive(mount, "spool", "check", str(tmp_path))
    assert code == 2
    assert str(tmp_path) in err
