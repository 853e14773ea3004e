"""Room in the cache: how full it is, and what goes when it is too full."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

from storage.config import CacheConfig

_SECTOR = 512


class CachedFile(NamedTuple):
    """One object in the cache folder."""

    used_ns: int
    size_bytes: int
    data: Path


class Owner(Protocol):
    """Who has files of the cache open."""

    def in_use(self) -> set[str]:
        """Names of the files that must not be evicted."""
        ...

    def evicted(self, stem: str) -> None:
        """The files of that name were removed."""
        ...


class Room:
    """Counts the bytes in the cache and evicts the least recently opened objects.

    Above the high water mark it evicts down to the low one; objects that are open stay.
    """

    def __init__(self, folder: Path, config: CacheConfig, owner: Owner) -> None:
        self.evictions = 0
        self._folder = folder
        self._max = config.max_size_bytes
        self._high = int(config.max_size_bytes * config.evict_high_water)
        self._low = int(config.max_size_bytes * config.evict_low_water)
        self._owner = owner
        self._lock = threading.Lock()
        self._evicting = threading.Lock()
        self._added = 0
        self._found: int | None = None

    @property
    def size_bytes(self) -> int:
        """Bytes in the cache, those of earlier starts included."""
        if self._found is None:
            with self._lock:
                if self._found is None:
                    self._found = sum(file.size_bytes for file in self._files()) - self._added
        return max(0, self._found + self._added)

    def reserve(self, size: int) -> bool:
        """Take room for a block; False where there is none, even after evicting."""
        if self.size_bytes + size > self._high:
            self._evict()
        if self.size_bytes + size > self._max:
            return False
        with self._lock:
            self._added += size
        return True

    def give_back(self, size: int) -> None:
        """Room that was taken and not used."""
        with self._lock:
            self._added -= size

    def _evict(self) -> None:
        if not self._evicting.acquire(blocking=False):
            return
        try:
            kept = self._owner.in_use()
            for file in sorted(self._files()):
                if self.size_bytes <= self._low:
                    break
                if file.data.stem not in kept:
                    self._remove(file)
        finally:
            self._evicting.release()

    def _remove(self, file: CachedFile) -> None:
        file.data.with_suffix(".map").unlink(missing_ok=True)
        file.data.unlink(missing_ok=True)
        self._owner.evicted(file.data.stem)
        self.give_back(file.size_bytes)
        self.evictions += 1

    def _files(self) -> Iterator[CachedFile]:
        for data in self._folder.glob("*/*.data"):
            with contextlib.suppress(OSError):  # it was evicted meanwhile
                used = data.with_suffix(".map").stat().st_mtime_ns
                yield CachedFile(used, data.stat().st_blocks * _SECTOR, data)
