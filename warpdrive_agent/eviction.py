"""Room in the cache: how full it is, and what goes when it is too full."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

from storage.config import CacheConfig

_SECTOR = 512
_PAGE = 4096
"""What a file system gives a file: small blocks take as much."""


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
        self._coming = 0
        self._found: int | None = None

    @property
    def size_bytes(self) -> int:
        """Bytes on disk, those of earlier starts included, and those on their way there."""
        if self._found is None:
            with self._lock:
                if self._found is None:
                    self._found = sum(file.size_bytes for file in self._files()) - self._added
        return max(0, self._found + self._added + self._coming)

    def reserve(self, size: int) -> bool:
        """Take room for a block; False where there is none, even after evicting.

        What is taken is either kept or given back.
        """
        size = _on_disk(size)
        if self.size_bytes + size > self._high:
            self._evict()
        if self.size_bytes + size > self._max:
            return False
        with self._lock:
            self._coming += size
        return True

    def keep(self, size: int) -> None:
        """The block that room was taken for is on disk."""
        with self._lock:
            self._coming -= _on_disk(size)
            self._added += _on_disk(size)

    def give_back(self, size: int) -> None:
        """Room that was taken and not used."""
        with self._lock:
            self._coming -= _on_disk(size)

    def grew(self, size: int) -> None:
        """That much more (or less) is on disk."""
        with self._lock:
            self._added += size

    def _evict(self) -> None:
        if not self._evicting.acquire(blocking=False):
            return
        try:
            kept = self._owner.in_use()
            for file in self._recount():
                if self.size_bytes <= self._low:
                    break
                if file.data.stem not in kept:
                    self._remove(file)
        finally:
            self._evicting.release()

    def _recount(self) -> list[CachedFile]:
        """The files, least recently used first. Their sum is the truth: counts drift from it."""
        before = self._added
        files = sorted(self._files())
        with self._lock:
            self._found = sum(file.size_bytes for file in files)
            self._added -= before
        return files

    def _remove(self, file: CachedFile) -> None:
        try:
            file.data.with_suffix(".map").unlink(missing_ok=True)
            file.data.unlink(missing_ok=True)
        except OSError:  # a folder that became read-only: it stays, and nothing more comes
            return
        self._owner.evicted(file.data.stem)
        self.grew(-file.size_bytes)
        self.evictions += 1

    def _files(self) -> Iterator[CachedFile]:
        for folder, _, names in os.walk(self._folder):  # which passes over what vanishes
            yield from self._files_in(Path(folder), names)

    def _files_in(self, folder: Path, names: list[str]) -> Iterator[CachedFile]:
        for data in (folder / name for name in names if name.endswith(".data")):
            with contextlib.suppress(OSError):  # it was evicted meanwhile
                index, found = data.with_suffix(".map").stat(), data.stat()
                size = (index.st_blocks + found.st_blocks) * _SECTOR
                yield CachedFile(index.st_mtime_ns, size, data)


def _on_disk(size: int) -> int:
    return -(-size // _PAGE) * _PAGE
