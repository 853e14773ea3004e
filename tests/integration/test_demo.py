"""The main job, run as a user runs it: `warpdrive demo` on a small folder of awkward files."""

from __future__ import annotations

import csv
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.integration.mounts import needs_mount

WARPDRIVE = [sys.executable, "-m", "cli"]
NO_FUSE = (
    "import pipelines.demo.fuse as fuse; fuse.cannot_mount = lambda: 'no FUSE in this test.'; "
    "import cli; cli.main()"
)
# 3,000 + 2 * 100,000 bytes in files of their own, 6 bytes that have two names, one empty file.
TOTAL_BYTES = 203_006


@pytest.fixture(name="source")
def _source(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    (folder / "sub dir").mkdir(parents=True)
    (folder / "a.txt").write_bytes(b"hello\n")
    os.link(folder / "a.txt", folder / "sub dir" / "hard link")
    (folder / "empty").touch()
    (folder / "link").symlink_to("a.txt")
    (folder / "sub dir" / 'we ird "q",\\.bin').write_bytes(b"x" * 100_000)
    (folder / "sub dir" / "ünïcode").write_bytes(b"y" * 100_000)
    for number in range(3):
        (folder / f"f{number}").write_bytes(bytes([number]) * 1000)
    for path in [folder, *folder.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644)
    return folder


def _demo(tmp_path: Path, command: list[str], source: Path) -> list[str]:
    arguments = ["demo", str(source), "--into", str(tmp_path / "demo")]
    found = subprocess.run(
        [*command, *arguments], capture_output=True, text=True, timeout=100, check=False
    )
    assert found.returncode == 0, found.stdout + found.stderr
    assert "Traceback" not in found.stderr
    return found.stdout.splitlines()


def _numbers(lines: list[str], name: str) -> list[str]:
    """The two sides of a passed check."""
    line = next(line for line in lines if line.startswith(f"PASS {name}"))
    return re.split(" = ", line.partition(": ")[2])


@pytest.mark.fuse
@needs_mount
def test_demo_passes_every_check_through_a_real_mount(tmp_path: Path, source: Path) -> None:
    """All checks pass, the index has the bytes that were written, and the reports are there."""
    lines = _demo(tmp_path, WARPDRIVE, source)
    assert not [line for line in lines if line.startswith("FAIL")]
    assert _numbers(lines, "bytes in the index") == [str(TOTAL_BYTES)] * 2
    assert _numbers(lines, "files in the index") == ["7", "7"]
    assert _numbers(lines, "mounts left behind") == ["0", "0"]
    reports = tmp_path / "demo" / "reports"
    with (reports / "usage.csv").open(newline="") as stream:
        assert sum(int(row["bytes"]) for row in csv.DictReader(stream)) == TOTAL_BYTES
    assert {p.name for p in reports.iterdir()} >= {"stale.csv", "growth.csv", "quota.csv"}
    assert list((tmp_path / "demo" / "landing").rglob("*.jsonl.zst"))
    assert not any("warpdrive-demo" in line for line in Path("/proc/mounts").read_text().split())


def test_demo_without_fuse_replays_the_reads_and_says_so(tmp_path: Path, source: Path) -> None:
    """Where nothing can be mounted the same reads go through the library; all checks pass."""
    lines = _demo(tmp_path, [sys.executable, "-c", NO_FUSE], source)
    assert any("no FUSE in this test" in line and "library" in line for line in lines)
    assert not [line for line in lines if line.startswith("FAIL")]
    assert _numbers(lines, "bytes in the index") == [str(TOTAL_BYTES)] * 2


def test_demo_refuses_a_folder_that_is_not_its_own(tmp_path: Path, source: Path) -> None:
    """A folder with other things in it is named and left alone; exit 2."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    found = subprocess.run(
        [*WARPDRIVE, "demo", str(source), "--into", str(tmp_path / "mine")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert found.returncode == 2
    assert str(tmp_path / "mine") in found.stderr
    assert found.stderr.count("\n") == 1
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


@pytest.mark.fuse
@needs_mount
def test_ctrl_c_leaves_no_mount_and_no_process(tmp_path: Path, source: Path) -> None:
    """An interrupted demo says so in a line, and what it started is gone."""
    demo = subprocess.Popen(
        [*WARPDRIVE, "demo", str(source), "--into", str(tmp_path / "demo")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    config = tmp_path / "demo" / "warpdrive.yaml"
    deadline = time.monotonic() + 30
    while not _agents(config) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert _agents(config)
    demo.send_signal(signal.SIGINT)
    _, errors = demo.communicate(timeout=30)
    assert demo.returncode == 1
    assert errors.strip().endswith("interrupted.")
    assert "Traceback" not in errors
    assert not _agents(config)
    assert not any("warpdrive-demo" in line for line in Path("/proc/mounts").read_text().split())


def _agents(config: Path) -> list[int]:
    """Processes that mount for this config."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"mount" in words and os.fsencode(config) in words:
            found.append(int(process.name))
    return found
