"""The counter page: what the next start must know about this one.

One page beside the spool, mapped into memory: a store to it costs nanoseconds and survives
`kill -9`. It lets the next start say exactly how many events a kill took with it.
"""

from __future__ import annotations

import mmap
import os
import struct
from dataclasses import dataclass
from pathlib import Path

MAGIC = 0x5744_5350_4F4F_4C01
_BYTES = 4096
_MAGIC, _BOOT, _CLEAN, _SEALED, _SEALED_LAST, _DROPPED, _SPOOL_DROPPED, _REFUSED = range(8)
SLOTS = 64
"""Where the next sequence number goes is its low bits, so that threads never wait or overwrite."""


@dataclass(frozen=True)
class Books:
    """The counters of one boot, as the page holds them."""

    boot: str
    clean: bool
    assigned: int
    """The last sequence number given out."""
    sealed: int
    """Events in sealed segments."""
    sealed_last: int
    """The last sequence number in a sealed segment."""
    dropped: int
    """Events the full queue dropped, as of the last write to the spool."""
    spool_dropped: int
    """Events in segments that the full spool dropped."""
    refused: int
    """Events that could not be written as JSON."""


class CounterPage:
    """The mapped page of the running boot. Without a file it lives in memory only."""

    def __init__(self, file: Path | None, boot: str) -> None:
        self._file = file
        self._map, self._inode = (mmap.mmap(-1, _BYTES), 0) if file is None else _mapped(file)
        self.cells = memoryview(self._map).cast("Q")
        self.slots = self.cells[SLOTS : 2 * SLOTS]
        self.cells[_BOOT] = int(boot, 16)
        self.cells[_MAGIC] = MAGIC

    @property
    def assigned(self) -> int:
        """The last sequence number given out."""
        return max(self.slots)

    def set_dropped(self, dropped: int) -> None:
        """How many events the full queue dropped so far."""
        self.cells[_DROPPED] = dropped

    @property
    def spool_dropped(self) -> int:
        """Events that the spool had to let go so far."""
        return self.cells[_SPOOL_DROPPED]

    def add_spool_dropped(self, count: int) -> None:
        """Count events that the spool had to let go."""
        self.cells[_SPOOL_DROPPED] += count

    @property
    def refused(self) -> int:
        """Events that could not be written as JSON."""
        return self.cells[_REFUSED]

    def add_refused(self, count: int) -> None:
        """Count events that could not be written as JSON."""
        self.cells[_REFUSED] += count

    def add_sealed(self, count: int, last: int) -> None:
        """Note a sealed segment: one store, so that a kill cannot leave half of it."""
        place = _SEALED * 8
        self._map[place : place + 16] = struct.pack(
            "=QQ", self.cells[_SEALED] + count, max(self.cells[_SEALED_LAST], last)
        )

    def set_clean(self) -> None:
        """Everything recorded is in the spool or counted; nothing more will come."""
        self.cells[_CLEAN] = 1

    def flush(self) -> None:
        """Write the page to its file, for the case of a power cut, or that the file was removed."""
        self._map.flush()
        if self._file is not None and not is_file(self._file, self._inode):
            os.close(_fresh(self._file, bytes(self._map)))


def read_books(file: Path) -> Books | None:
    """The counters that an earlier start left, or None where there are none."""
    try:
        raw = file.read_bytes()
    except FileNotFoundError:
        return None
    if len(raw) != _BYTES:
        return None
    cells = memoryview(raw).cast("Q")
    if cells[_MAGIC] != MAGIC:
        return None
    return Books(
        boot=f"{cells[_BOOT]:016x}",
        clean=bool(cells[_CLEAN]),
        assigned=max(cells[SLOTS : 2 * SLOTS]),
        sealed=cells[_SEALED],
        sealed_last=cells[_SEALED_LAST],
        dropped=cells[_DROPPED],
        spool_dropped=cells[_SPOOL_DROPPED],
        refused=cells[_REFUSED],
    )


def mark_clean(file: Path) -> None:
    """Note that an earlier start's books are closed."""
    with file.open("r+b") as page:
        page.seek(_CLEAN * 8)
        page.write(struct.pack("=Q", 1))


def is_file(path: Path, inode: int) -> bool:
    """Whether what is at `path` is still that file."""
    try:
        return path.stat().st_ino == inode
    except OSError:
        return False


def _mapped(file: Path) -> tuple[mmap.mmap, int]:
    """A zeroed page in `file`, and the number of its inode."""
    fd = _fresh(file, bytes(_BYTES))
    try:
        return mmap.mmap(fd, _BYTES), os.fstat(fd).st_ino
    finally:
        os.close(fd)


def _fresh(file: Path, content: bytes) -> int:
    """`file` with that content, open; it replaces an older one at once or not at all."""
    fresh = file.with_suffix(".new")
    fd = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, content)
        os.fsync(fd)
        os.replace(fresh, file)
    except OSError:
        os.close(fd)
        raise
    return fd
