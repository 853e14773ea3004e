"""How far a long command is: one line of stderr, on a terminal only."""

from __future__ import annotations

import sys
import time

from storage.units import format_size

EVERY_SECONDS = 0.5


class ProgressLine:
    """Rewrites one line of stderr, at most every EVERY_SECONDS, and at the end."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self._shown = 0.0

    def show(self, files: tuple[int, int], size: tuple[int, int], *, last: bool) -> None:
        """`files` and `size` (bytes): done, and in all."""
        now = time.monotonic()
        if not sys.stderr.isatty() or not (last or now - self._shown >= EVERY_SECONDS):
            return
        self._shown = now
        sys.stderr.write("\r" + _line(files, size, now - self.started) + ("\n" if last else ""))
        sys.stderr.flush()


def _line(files: tuple[int, int], size: tuple[int, int], seconds: float) -> str:
    rate = size[0] / max(seconds, 0.001)
    share = size[0] / size[1] if size[1] else 1.0
    left = (size[1] - size[0]) / rate if rate else 0.0
    return (
        f"{files[0]}/{files[1]} files | {format_size(size[0])}/{format_size(size[1])} "
        f"({share:.0%}) | {rate / 1024**2:.1f} MB/s | ETA {left:.0f}s "
    )
