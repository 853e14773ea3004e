# ruff: noqa: INP001 - a script, not a package
"""Run one case in a fresh process and read what the kernel counted: CPU, wall, peak memory."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Cost:
    """What one process cost."""

    cpu_seconds: float
    wall_seconds: float
    kernel_peak_mb: float
    floor_mb: float
    """What the starting process held: Linux counts it into the peak of what it starts."""
    stdout: str

    @property
    def peak_mb(self) -> float:
        """The most memory it held. Raises RuntimeError where the floor hides it."""
        if self.kernel_peak_mb <= self.floor_mb + 1:
            raise RuntimeError(f"the peak hides below the {self.floor_mb:.0f} MB of the starter")
        return self.kernel_peak_mb


def run(command: Sequence[str | Path], *, timeout_seconds: float = 3600.0) -> Cost:
    """Run a command to its end. Raises RuntimeError with its stderr when it fails.

    CPU counts the process and the children it waited for; the peak is the process's own.
    """
    floor_mb = _resident_mb()
    begin = time.perf_counter()
    process = subprocess.Popen(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=_environment(),
    )
    assert process.stdout
    assert process.stderr
    timer = threading.Timer(timeout_seconds, process.kill)
    timer.start()
    errors: list[bytes] = []
    reader = threading.Thread(target=lambda: errors.append(process.stderr.read()))
    reader.start()
    out = process.stdout.read()
    reader.join()
    _, status, usage = os.wait4(process.pid, 0)
    timer.cancel()
    process.returncode = os.waitstatus_to_exitcode(status)
    for stream in (process.stdout, process.stderr):
        stream.close()
    if process.returncode:
        raise RuntimeError(f"{command[0]} ended with {process.returncode}: {errors[0].decode()}")
    return Cost(
        usage.ru_utime + usage.ru_stime,
        time.perf_counter() - begin,
        usage.ru_maxrss / 1024,
        floor_mb,
        out.decode(),
    )


def _environment() -> dict[str, str]:
    """Ours, with compiled modules kept as Python keeps them unless it is told not to.

    Else most of what a short process costs would be compiling its libraries once more, each time.
    """
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPATH": str(ROOT)}


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / 1024**2


def python(code: str, *args: str | Path) -> list[str]:
    """A command that runs `code` in a fresh interpreter."""
    return [sys.executable, "-c", code, *map(str, args)]
