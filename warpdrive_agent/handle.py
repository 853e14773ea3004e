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
_clock = time.perf_counter_ns
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
    stat_now: Callable[[], Stat]
    """What is known of it at any later time, wherever its name went."""
    keeps_cache: bool
    """Whether the kernel may serve an open from its page cache."""


class Tally:
    """Sums over reads since the file was opened. They only grow, so they can be read any time."""

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
        self.event_at = time.monotonic()
        self.took_ns = 0
        """How long the last `ready` took."""
        self._fast = Tally()
        """Written by the one thread that calls `ready`, without a lock."""
        self._slow = Tally()
        self._told = (0, 0, 0, 0)
        self._blocks = blocks
        self._recorder = recorder
        self._on_close = on_close
        self._opened_ns = time.time_ns()
        self._events = 0
        self._closed = False
        self._lock = threading.Lock()

    @property
    def delivered(self) -> int:
        """Bytes that were delivered so far."""
        return self._fast.bytes + self._slow.bytes

    def ready(self, offset: int, size: int) -> memoryview | None:
        """Bytes that need no waiting, valid until the next call, or None. One thread only."""
        begin = _clock()
        if size > BUFFER_BYTES:
            return None
        view = _buffer[:size]
        count = self._blocks.ready(offset, view)
        if count < 0:
            return None
        if count:  # the probe for the end of the file delivers nothing
            tally = self._fast
            tally.bytes += count
            tally.count += 1
            tally.last_ns = begin
            self.took_ns = took = _clock() - begin
            tally.latency_ns += took
        return view if count == size else view[:count]

    def read(self, offset: int, size: int) -> bytes:
        """Exactly `size` bytes, fewer only at the end. May wait. Raises OSError."""
        begin = _clock()
        try:
            data, hit = self._blocks.fetch(offset, size)
        except OSError as error:
            self._failed(error, begin)
            raise
        if data:
            with self._lock:
                tally = self._slow
                tally.bytes += len(data)
                tally.hit += hit
                tally.count += 1
                tally.latency_ns += _clock() - begin
                tally.last_ns = begin
        return data

    def checkpoint(self) -> None:
        """Record what was read since the last event, if anything was."""
        fast, slow = self._fast, self._slow
        with self._lock:
            now = (
                fast.bytes + slow.bytes, fast.bytes + slow.hit, fast.count + slow.count,
                fast.latency_ns + slow.latency_ns,
            )  # fmt: skip
            before, self._told = self._told, now
            self.event_at = time.monotonic()
        if now[2] > before[2] or now[0] > before[0]:
            since = _clock() - max(fast.last_ns, slow.last_ns)
            change = tuple(new - old for new, old in zip(now, before, strict=True))
            self._record(change, time.time_ns() - since)

    def close(self, *, used: bool = True) -> None:
        """Record the rest and close; twice is harmless. Not `used`: nobody ever had it open."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self.checkpoint()
        if used and not self._events:
            self._record((0, 0, 0, 0), time.time_ns())
        self._blocks.close()
        self._on_close(self)

    def _record(self, sums: tuple[int, ...], at_ns: int) -> None:
        opened, (size, hit, count, latency) = self.opened, sums
        self._events += 1
        cached = opened.keeps_cache and count == 0 and opened.stat.size_bytes > 0
        self._recorder.record((
            "read", opened.backend, opened.path, opened.who, at_ns, size, hit, max(1, count),
            latency, "", self._opened_ns, cached, opened.stat.size_bytes,
        ))  # fmt: skip

    def _failed(self, error: OSError, begin: int) -> None:
        opened = self.opened
        self._events += 1
        latency = _clock() - begin
        self._recorder.record((
            "read", opened.backend, opened.path, opened.who, time.time_ns(), 0, 0, 1, latency,
            errno_name(error), self._opened_ns, False, opened.stat.size_bytes,
        ))  # fmt: skip


def errno_name(error: OSError) -> str:
    """`ENOENT` for errno 2."""
    return errno.errorcode.get(error.errno or errno.EIO, "EIO")
