"""Real mounts for tests: an agent in a process of its own, and what it recorded."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from storage import landing
from storage.landing import Event
from warpdrive_agent.capability import mount_problem
from warpdrive_agent.mountpoint import mounted_at, unmount

ROOT = Path(__file__).parents[2]
RUN = """
import logging, sys
from storage.config import load_config
from storage.errors import WarpdriveError
from warpdrive_agent.mount import run_mount
logging.basicConfig(level=logging.INFO)
try:
    run_mount(load_config(sys.argv[1]), daemon="--daemon" in sys.argv,
              ready=lambda: print("ready", flush=True))
except WarpdriveError as error:
    sys.exit(f"error: {error}")
"""
needs_mount = pytest.mark.skipif(
    mount_problem() is not None, reason=f"2026-11-26: no real mount here: {mount_problem()}"
)
needs_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="2026-11-26: becoming another user needs root"
)


class Mount:
    """One agent process over a config; `stop` ends it and unmounts."""

    def __init__(self, folder, backends, telemetry="", top=""):
        self.folder = Path(folder)
        self.point = self.folder / "mnt"
        self.config = self.folder / "warpdrive.yaml"
        self.config.write_text(
            f"mount_point: ./mnt\n{top}\ncache: {{path: ./cache, block_size: 64KB}}\n"
            "metrics: {enabled: false}\n"
            "telemetry: {enabled: true, landing: ./landing, sample_metadata_ops: 1, "
            f"flush_interval: 100ms, {telemetry}}}\nbackends:\n"
            + "".join(f"  - {line}\n" for line in backends)
        )
        self.process: Any = None
        self.output = self.errors = ""

    def start(self, *options):
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", RUN, str(self.config), *options],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        line = self.process.stdout.readline()
        if line != "ready\n":
            self.stop()
            raise RuntimeError(self.errors)
        return self

    def stop(self, number=signal.SIGTERM):
        """Signal the process and wait; its exit status."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)
        return self.wait()

    def wait(self):
        """Wait for the process to end by itself; its exit status."""
        self.output, self.errors = self.process.communicate(timeout=60)
        return self.process.returncode

    @property
    def is_mounted(self):
        return mounted_at(str(self.point)) is not None

    def events(self, op=None):
        """What reached the landing zone, by sequence."""
        found = []
        for path in (self.folder / "landing").rglob("*.jsonl.zst"):
            lines = landing.decompress(path.name, path.read_bytes(), 10**9).splitlines()
            found += [msgspec.json.decode(line, type=Event) for line in lines]
        return sorted((e for e in found if op in (None, e.op)), key=lambda e: (e.boot, e.seq))

    def __enter__(self):
        return self.start()

    def __exit__(self, *args):
        if self.process.poll() is None:
            self.stop()
        unmount(str(self.point))


def until(condition, seconds=60.0):
    """Wait for something that happens soon."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def sh(command, **options):
    """The output of a shell command."""
    done = subprocess.run(["sh", "-c", command], capture_output=True, check=False, **options)
    return done.stdout.decode(errors="replace")


def open_to_others(folder):
    """Let other users walk down to a temporary folder."""
    for place in (folder, *folder.parents):
        if place.stat().st_uid == os.getuid() and place != Path("/"):
            place.chmod(place.stat().st_mode | 0o011)
