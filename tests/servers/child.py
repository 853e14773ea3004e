"""Start a server as a child process, ended by its own pid, and never outliving its parent."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

STOP_SECONDS = 10


@contextlib.contextmanager
def child(
    command: Sequence[str | Path], log: Path, environ: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A child process that writes to `log`; it is ended when the block is."""
    with log.open("ab") as out:
        process = subprocess.Popen(
            [str(part) for part in command], stdin=subprocess.PIPE, stdout=out,
            stderr=subprocess.STDOUT, env={**os.environ, **(environ or {})},
        )  # fmt: skip
    try:
        yield process
    finally:
        assert process.stdin
        process.stdin.close()
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until(
    ready: Callable[[], object], process: subprocess.Popen[bytes], log: Path, seconds: float = 180
) -> None:
    """Wait for `ready` to be true. Raises RuntimeError with the log when the child has ended."""
    deadline = time.monotonic() + seconds
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{process.args} is not up: {log.read_text(errors='replace')}")
        time.sleep(0.02)
