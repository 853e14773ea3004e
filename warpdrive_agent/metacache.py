"""Attributes and listings of a remote backend, remembered for `cache.stale_ttl`.

Opening a file always asks the backend, so that a changed object is never read from old bytes.
"""

from __future__ import annotations

import errno
import os
import threading
import time

from storage.backends import Entry, Reader, Source, Stat

MOST = 100_000


class MetaCache:
    """A source whose `stat` and `list` answer from memory for a while."""

    def __init__(self, source: Source, seconds: float) -> None:
        self.name = source.name
        self.slow = source.slow
        self.local = source.local
        self._source = source
        self._seconds = seconds
        self._stats: dict[str, tuple[float, Stat]] = {}
        self._lists: dict[str, tuple[float, dict[str, Entry]]] = {}
        self._lock = threading.Lock()

    def known(self, path: str) -> Stat | None:
        """What is remembered of `path`; None where the backend must be asked.

        Raises FileNotFoundError where a remembered listing does not have it.
        """
        now = time.monotonic()
        found = self._stats.get(path)
        if found is not None and found[0] > now:
            return found[1]
        folder, _, name = path.rpartition("/")
        listing = self._lists.get(folder)
        if path and listing is not None and listing[0] > now:
            entry = listing[1].get(name)
            if entry is None:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
            return entry.stat
        return None

    def stat(self, path: str) -> Stat:
        """What is at `path`."""
        found = self.known(path)
        if found is None:
            found = self._remember(path, self._source.stat(path))
        return found

    def list(self, path: str) -> list[Entry]:
        """The entries of a folder, sorted by name."""
        now = time.monotonic()
        listing = self._lists.get(path)
        if listing is None or listing[0] <= now:
            entries = {entry.name: entry for entry in self._source.list(path)}
            listing = (now + self._seconds, entries)
            with self._lock:
                if len(self._lists) >= MOST:
                    self._lists.clear()
                self._lists[path] = listing
        return list(listing[1].values())

    def open(self, path: str) -> Reader:
        """A reader of the file as it is now."""
        try:
            reader = self._source.open(path)
        except FileNotFoundError:
            self._stats.pop(path, None)
            self._lists.pop(path.rpartition("/")[0], None)
            raise
        self._remember(path, reader.stat)
        return reader

    def read(self, path: str, offset: int, size: int) -> bytes:
        """A byte range, past every cache."""
        return self._source.read(path, offset, size)

    def readlink(self, path: str) -> str:
        """The target of a symlink."""
        return self._source.readlink(path)

    def xattrs(self, path: str) -> dict[str, bytes]:
        """The extended attributes that may be shown."""
        return self._source.xattrs(path)

    def space(self) -> os.statvfs_result | None:
        """Size and free room, where the backend can tell."""
        return self._source.space()

    def close(self) -> None:
        """Let go of the backend."""
        self._source.close()

    def _remember(self, path: str, stat: Stat) -> Stat:
        with self._lock:
            if len(self._stats) >= MOST:
                self._stats.clear()
            self._stats[path] = (time.monotonic() + self._seconds, stat)
        return stat
