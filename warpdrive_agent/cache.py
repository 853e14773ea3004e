"""The block cache: objects of remote backends, in blocks, on local disk.

Keyed by backend, path and version, so that a changed object never gets old bytes. A block is
fetched once however many readers want it, and sequential readers find the next ones there.
"""

from __future__ import annotations

import errno
import os
import resource
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from storage.backends import Reader
from storage.config import CacheConfig
from storage.errors import WarpdriveError
from warpdrive_agent.blockfile import ABSENT, GOOD, GUESSED, UNCHECKED, BlockFile, ObjectKey
from warpdrive_agent.eviction import Room
from warpdrive_agent.fetchpool import DEMAND, GUESS, FetchPool
from warpdrive_agent.segments import private_folder
from warpdrive_agent.spare import Spare

RETIRE_SECONDS = 60.0
IDLE_OBJECTS = 512
Fetch = Callable[[int, int], bytes]


@dataclass
class CacheCounts:
    """What the cache did since the start."""

    hits: int = 0
    misses: int = 0
    hit_bytes: int = 0
    miss_bytes: int = 0
    guesses_used: int = 0
    guesses_wasted: int = 0


class Flight:
    """One block on its way. `fetched` is false where it only had to be checked."""

    __slots__ = ("data", "done", "error", "fetched")

    def __init__(self) -> None:
        self.done = threading.Event()
        self.error: OSError | None = None
        self.data: bytes | None = None
        self.fetched = False


class CachedObject:
    """One version of one object, shared by all who have it open."""

    def __init__(self, cache: BlockCache, file: BlockFile) -> None:
        self.file = file
        self.users = 0
        self._cache = cache
        self._flights: dict[int, Flight] = {}
        self._lock = threading.Lock()

    def want(self, block: int, fetch: Fetch, priority: int = DEMAND) -> Flight | None:
        """The flight that brings a block, or None where it is there."""
        with self._lock:
            if self.file.states[block] >= GOOD:
                return None
            flight = self._flights.get(block) or self._spared(block, used=priority == DEMAND)
            if flight is not None:
                return flight
            flight = self._flights[block] = Flight()
        state = GUESSED if priority == GUESS else GOOD
        self._cache.pool.submit(lambda: self._bring(block, flight, fetch, state), priority)
        return flight

    def retire(self) -> None:
        """Close the files once nothing is on its way any more."""
        with self._lock:
            flights = list(self._flights.values())
        for flight in flights:
            flight.done.wait(RETIRE_SECONDS)
        if all(flight.done.is_set() for flight in flights):
            self.file.close()

    def _bring(self, block: int, flight: Flight, fetch: Fetch, state: int) -> None:
        try:
            if self.file.states[block] != UNCHECKED or not self.file.check(block):
                flight.fetched = True
                length = self.file.length(block)
                data = _whole(fetch, block * self.file.block_bytes, length)
                self._keep(block, data, flight, state)
        except OSError as error:
            flight.error = error
        except Exception as error:  # noqa: BLE001 - whoever waits must hear of it
            flight.error = OSError(errno.EIO, f"{type(error).__name__}: {error}")
        finally:
            with self._lock:
                self._flights.pop(block, None)
            flight.done.set()

    def _keep(self, block: int, data: bytes, flight: Flight, state: int) -> None:
        """Store a block; where the disk or the cache is full it is only passed on."""
        room = self._cache.room
        if room.reserve(len(data)):
            try:
                self.file.store(block, data, state)
            except OSError:
                room.give_back(len(data))
            else:
                room.keep(len(data))
                return
        self._cache.spare.put(self.file.key, block, data, used=state == GOOD)
        flight.data = data

    def _spared(self, block: int, *, used: bool) -> Flight | None:
        """A flight that has landed in memory, or None."""
        found = self._cache.spare.get(self.file.key, block, used=used)
        if found is None:
            return None
        flight = Flight()
        flight.data, flight.fetched = found
        flight.done.set()
        return flight


class CachedBlocks:
    """The bytes of one open object, through the cache."""

    def __init__(self, cache: BlockCache, shared: CachedObject, reader: Reader) -> None:
        self._cache = cache
        self._shared = shared
        self._file = shared.file
        self._reader = reader
        self._next = 0
        self._ahead = 0
        self._closed = False

    def ready(self, offset: int, into: memoryview) -> int:
        """Read what is cached and in memory; -1 where some of it is not, or is used first."""
        file = self._file
        size = min(len(into), file.size_bytes - offset)
        if size <= 0:
            return 0
        first, last = offset // file.block_bytes, (offset + size - 1) // file.block_bytes
        for block in range(first, last + 1):
            if file.states[block] != GOOD:
                return -1
        try:
            count = os.preadv(file.fd, (into[:size],), offset, os.RWF_NOWAIT)
        except OSError:
            return -1
        if count != size:
            return -1
        self._count(size, 0)
        self._look_ahead(offset, size, last)
        return size

    def fetch(self, offset: int, size: int) -> tuple[bytes, int]:
        """The bytes, and how many of them were here already."""
        file = self._file
        size = min(size, file.size_bytes - offset)
        if size <= 0:
            return b"", 0
        first, last = offset // file.block_bytes, (offset + size - 1) // file.block_bytes
        flights = [
            (block, self._shared.want(block, self._reader.read)) for block in range(first, last + 1)
        ]
        self._look_ahead(offset, size, last)
        parts, missed = [], 0
        for block, begun in flights:
            flight = begun
            start = max(offset, block * file.block_bytes)
            end = min(offset + size, (block + 1) * file.block_bytes)
            data = self._part(block, flight, start, end)
            if data is None:
                flight, data = self._again(block, start, end)
            parts.append(data)
            missed += end - start if self._was_fetched(block, flight) else 0
        self._count(size - missed, missed)
        return b"".join(parts), size - missed

    def fill(self, stop: threading.Event) -> Iterator[int]:
        """Bring every block; yields the length of each once it is there. Raises OSError."""
        for block in range(self._file.blocks):
            if stop.is_set():
                return
            flight = self._shared.want(block, self._reader.read)
            if flight is not None:
                flight.done.wait()
                if flight.error is not None:
                    raise flight.error
                if flight.data is not None:
                    raise OSError(errno.ENOSPC, "the cache is full")
            yield self._file.length(block)

    def close(self) -> None:
        """Let go; what is cached stays. Twice is harmless."""
        if not self._closed:
            self._closed = True
            self._reader.close()
            self._cache.let_go(self._shared)

    def _part(self, block: int, flight: Flight | None, start: int, end: int) -> bytes | None:
        """The bytes of a block, once they are here; None where its file has lost them."""
        if flight is not None:
            flight.done.wait()
            if flight.error is not None:
                raise OSError(flight.error.errno or errno.EIO, flight.error.strerror)
            if flight.data is not None:
                base = block * self._file.block_bytes
                return flight.data[start - base : end - base]
        try:
            data = os.pread(self._file.fd, end - start, start)
        except OSError:
            return None
        whole = len(data) == end - start and self._file.states[block] >= GOOD  # not doubted by now
        return data if whole else None

    def _again(self, block: int, start: int, end: int) -> tuple[Flight | None, bytes]:
        """A block whose file was cut or cannot be read: the backend still has it."""
        self._file.doubt()
        flight = self._shared.want(block, self._reader.read)
        data = self._part(block, flight, start, end)
        if data is None:
            raise OSError(errno.EIO, "the cache file is shorter than the object")
        return flight, data

    def _look_ahead(self, offset: int, size: int, last: int) -> None:
        """Fetch the next blocks for a reader that goes from front to back."""
        sequential, self._next = offset == self._next, offset + size
        config = self._cache.config
        if not sequential or not config.readahead_blocks:
            return
        until = min(last + config.readahead_blocks, self._file.blocks - 1)
        for block in range(max(self._ahead, last) + 1, until + 1):
            if self._file.states[block] in (ABSENT, UNCHECKED):
                self._shared.want(block, self._reader.read, GUESS)
        self._ahead = max(self._ahead, until)

    def _was_fetched(self, block: int, flight: Flight | None) -> bool:
        """Whether this first use of a block cost a fetch: one in advance counts like any other."""
        states = self._file.states
        if states[block] != GUESSED:
            return flight is not None and flight.fetched
        states[block] = GOOD
        self._cache.counts.guesses_used += 1
        return True

    def _count(self, hit: int, missed: int) -> None:
        counts = self._cache.counts
        counts.hits += missed == 0
        counts.misses += missed > 0
        counts.hit_bytes += hit
        counts.miss_bytes += missed


class BlockCache:
    """All cached objects below one folder."""

    def __init__(self, config: CacheConfig) -> None:
        self.config = config
        self.folder = Path(config.path) / "blocks"
        try:
            private_folder(self.folder)
            self.folder.chmod(0o700)
        except OSError as error:
            raise WarpdriveError(
                f"cache.path {config.path}: {error.strerror}: name a folder this user may write."
            ) from None
        self.counts = CacheCounts()
        self.pool = FetchPool(config.max_parallel_fetch)
        self.room = Room(self.folder, config, self)
        self.spare = Spare()
        self._objects: dict[ObjectKey, CachedObject] = {}
        self._idle: OrderedDict[ObjectKey, CachedObject] = OrderedDict()
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self._most_idle = IDLE_OBJECTS if files < 0 else min(IDLE_OBJECTS, files // 8)
        self._lock = threading.Lock()

    def open(self, key: ObjectKey, reader: Reader) -> CachedBlocks:
        """The bytes of one version of an object, through the cache. Raises OSError."""
        with self._lock:
            shared = self._objects.get(key)
            if shared is None or not shared.file.touch():
                size = reader.stat.size_bytes
                file = BlockFile(self.folder, key, size, self.config.block_size_bytes)
                lost = self._idle.pop(key, None)
                shared = self._objects[key] = CachedObject(self, file)
                self.room.grew(file.made_bytes)
                file.touch()
            else:
                lost = None
                self._idle.pop(key, None)
            shared.users += 1
        if lost is not None:
            self._retire(lost)
        return CachedBlocks(self, shared, reader)

    def let_go(self, shared: CachedObject) -> None:
        """One user fewer. Files nobody uses stay open for a while: most are opened again."""
        retired = None
        with self._lock:
            shared.users -= 1
            if self._objects.get(shared.file.key) is not shared:
                retired = None if shared.users else shared  # its files were removed meanwhile
            elif not shared.users:
                self._idle[shared.file.key] = shared
            if len(self._idle) > self._most_idle:
                _, retired = self._idle.popitem(last=False)
                self._objects.pop(retired.file.key, None)
        if retired is not None:
            self._retire(retired)

    def close(self) -> None:
        """Stop fetching; what is cached stays for the next start."""
        self.pool.close()

    def in_use(self) -> set[str]:
        """Names of the files that must not be evicted."""
        with self._lock:
            return {key.stem for key, shared in self._objects.items() if shared.users}

    def evicted(self, stem: str) -> None:
        """The files of that name were removed."""
        with self._lock:
            key = next((key for key in self._idle if key.stem == stem), None)
            shared = self._idle.pop(key) if key is not None else None
            if shared is not None:
                self._objects.pop(shared.file.key, None)
        if shared is not None:
            self._retire(shared)

    def _retire(self, shared: CachedObject) -> None:
        self.counts.guesses_wasted += shared.file.states.count(GUESSED)
        self.pool.submit(shared.retire, GUESS)


def _whole(fetch: Fetch, offset: int, length: int) -> bytes:
    """All bytes of a block: a short body is an error and is never cached."""
    data = fetch(offset, length)
    if len(data) != length:
        raise OSError(errno.EIO, f"{len(data)} bytes came instead of {length}")
    return data
