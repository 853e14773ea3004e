"""One open file: reads, and the fold of them that becomes one event."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable
from typing import NamedTuple, Protocol

from storage.backends import Reader, Stat
from warpdrive_agent.identity import Who
from warpdrive_agent.recorder import Recorder

BUFFER_BYTES = 1024**2
"""The largest read the kernel asks for."""
_buffer = memoryview(bytearray(BUFFER_BYTES))


class Blocks(Protocol):
    """The bytes of an open file, and how many of them came from this machine."""

    def ready(self, offset: int, into: memoryview) -> int:
        """Read what needs no waiting; -1 where some of it would have to wait."""
        ...

    def fetch(self, offset: int, size: int) -> tuple[bytes, int]:
        """The bytes (fewer only at the end) and how many of them were not fetched."""
        ...

    def close(self) -> None:
        """Let go; twice is harmless."""
        ...


class LocalBlocks:
    """A file of this machine: all of its bytes are here."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.ready = reader.ready
        self.close = reader.close

    def fetch(self, offset: int, size: int) -> tuple[bytes, int]:
        """The bytes; none of them was fetched."""
        data = self._reader.read(offset, size)
        return data, len(data)


class RemoteBlocks(LocalBlocks):
    """A remote file where there is no cache: all of its bytes are fetched."""

    def fetch(self, offset: int, size: int) -> tuple[bytes, int]:
        """The bytes; all of them were fetched."""
        return super().fetch(offset, size)[0], 0


class Opened(NamedTuple):
    """What was opened, and by whom."""

    backend: str
    path: str
    who: Who
    stat: Stat
    keeps_cache: bool
    """Whether the kernel may serve an open from its page cache."""


class Fold:
    """Sums over the reads of one handle since its last event."""

    __slots__ = ("bytes", "count", "hit", "last_ns", "latency_ns")

    def __init__(self) -> None:
        self.bytes = self.hit = self.count = self.latency_ns = self.last_ns = 0


class Handle:
    """An open file. Its event is recorded when it is closed, deltas of long ones before that."""

    def __init__(
        self, blocks: Blocks, recorder: Recorder, opened: Opened,
        on_close: Callable[[Handle], None],
    ) -> None:  # fmt: skip
        self.opened = opened
        self.delivered = 0
        self.fold = Fold()
        self.event_at = time.monotonic()
        self._blocks = blocks
        self._recorder = recorder
        self._on_close = on_close
        self._opened_ns = time.time_ns()
        self._events = 0
        self._closed = False
        self._lock = threading.Lock()

    def ready(self, offset: int, size: int) -> memoryview | None:
        """Bytes that need no waiting, valid until the next call, or None. One thread only."""
        begin = time.perf_counter_ns()
        if size > BUFFER_BYTES:
            return None
        view = _buffer[:size]
        count = self._blocks.ready(offset, view)
        if count < 0:
            return None
        self._note(count, count, begin)
        return view[:count]

    def read(self, offset: int, size: int) -> bytes:
        """Exactly `size` bytes, fewer only at the end. May wait. Raises OSError."""
        begin = time.perf_counter_ns()
        try:
            data, hit = self._blocks.fetch(offset, size)
        except OSError as error:
            self._failed(error, begin)
            raise
        self._note(len(data), hit, begin)
        return data

    def checkpoint(self) -> None:
        """Record what was read since the last event, if anything was."""
        with self._lock:
            fold, self.fold = self.fold, Fold()
            self.event_at = time.monotonic()
        if fold.count:
            self._record(fold)

    def close(self) -> None:
        """Record the rest and close; twice is harmless."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self.checkpoint()
        if not self._events:
            self._record(Fold())
        self._blocks.close()
        self._on_close(self)

    def _note(self, size: int, hit: int, begin: int) -> None:
        if not size:
            return  # the probe for the end of the file delivers nothing
        with self._lock:
            fold = self.fold
            fold.bytes += size
            fold.hit += hit
            fold.count += 1
            fold.latency_ns += time.perf_counter_ns() - begin
            fold.last_ns = time.time_ns()
            self.delivered += size

    def _record(self, fold: Fold) -> None:
        opened = self.opened
        self._events += 1
        cached = opened.keeps_cache and fold.count == 0 and opened.stat.size_bytes > 0
        self._recorder.record((
            "read", opened.backend, opened.path, opened.who, fold.last_ns or time.time_ns(),
            fold.bytes, fold.hit, max(1, fold.count), fold.latency_ns, "", self._opened_ns, cached,
            opened.stat.size_bytes,
        ))  # fmt: skip

    def _failed(self, error: OSError, begin: int) -> None:
        opened = self.opened
        self._events += 1
        latency = time.perf_counter_ns() - begin
        self._recorder.record((
            "read", opened.backend, opened.path, opened.who, time.time_ns(), 0, 0, 1, latency,
            errno_name(error), self._opened_ns, False, opened.stat.size_bytes,
        ))  # fmt: skip


def errno_name(error: OSError) -> str:
    """`ENOENT` for errno 2."""
    return errno.errorcode.get(error.errno or errno.EIO, "EIO")
