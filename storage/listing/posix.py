"""List a local folder or an NFS mount: one stat per entry, no symlink followed.

Names, sizes, times and owners come from `lstat`; neither folders' nor files' access times are
touched. Of several hard links the smallest path has the bytes, the others have 0 and `link_of`.
"""

from __future__ import annotations

import datetime as dt
import os
import pwd
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache

import pyarrow as pa

from storage.errors import BackendError
from storage.listing.columns import Listing, batch
from storage.paths import path_text

ROWS = 50_000


@dataclass
class _Rows:
    path: list[str] = field(default_factory=list)
    size_bytes: list[int] = field(default_factory=list)
    etag: list[str] = field(default_factory=list)
    modified_at: list[int] = field(default_factory=list)
    native_access_at: list[int] = field(default_factory=list)
    owner: list[str | None] = field(default_factory=list)
    link_of: list[str | None] = field(default_factory=list)

    def add(self, path: str, info: os.stat_result, link_of: str | None = None) -> None:
        self.path.append(path)
        self.size_bytes.append(0 if link_of else info.st_size)
        self.etag.append(f"{info.st_mtime_ns:x}-{info.st_size:x}-{info.st_ino:x}")
        self.modified_at.append(info.st_mtime_ns // 1000)
        self.native_access_at.append(info.st_atime_ns // 1000)
        self.owner.append(owner_name(info.st_uid))
        self.link_of.append(link_of)

    def batch(self) -> pa.RecordBatch:
        return batch(dict(self.__dict__), len(self.path))


@cache
def owner_name(uid: int) -> str | None:
    """The user's name, or None where the id does not resolve."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return None


def list_posix(root: str, snapshot_at: dt.datetime) -> Listing:
    """Every regular file below `root`. Raises BackendError when `root` itself cannot be read."""
    try:
        os.listdir(root)
    except OSError as error:
        raise BackendError(f"{root}: cannot be listed: {error.strerror}.") from None
    unreadable: list[str] = []
    return Listing(_batches(os.fsencode(root), unreadable), unreadable, snapshot_at, "list")


def _batches(root: bytes, unreadable: list[str]) -> Iterator[pa.RecordBatch]:
    rows = _Rows()
    links: dict[tuple[int, int], list[tuple[str, os.stat_result]]] = {}
    for path, info in _files(root, unreadable):
        if info.st_nlink > 1:
            links.setdefault((info.st_dev, info.st_ino), []).append((path, info))
            continue
        rows.add(path, info)
        if len(rows.path) == ROWS:
            yield rows.batch()
            rows = _Rows()
    for same in links.values():
        first = min(path for path, _ in same)
        for path, info in same:
            rows.add(path, info, None if path == first else first)
    yield rows.batch()


def _files(root: bytes, unreadable: list[str]) -> Iterator[tuple[str, os.stat_result]]:
    """Regular files with their path relative to `root`. What vanishes meanwhile is left out."""
    todo = [b""]
    while todo:
        folder = todo.pop()
        for entry in _entries(root, folder, unreadable):
            path = os.path.join(folder, entry.name)
            info = _lstat(entry, path, unreadable)
            if info is None:
                continue
            if stat.S_ISDIR(info.st_mode):
                todo.append(path)
            elif stat.S_ISREG(info.st_mode):
                yield path_text(path), info


def _entries(root: bytes, folder: bytes, unreadable: list[str]) -> list[os.DirEntry[bytes]]:
    try:
        with os.scandir(os.path.join(root, folder)) as entries:
            return list(entries)
    except OSError as error:
        # A folder that vanished has no files; a root that did (an unmount) says nothing of them.
        if not folder or not isinstance(error, FileNotFoundError):
            unreadable.append(path_text(folder))
        return []


def _lstat(entry: os.DirEntry[bytes], path: bytes, unreadable: list[str]) -> os.stat_result | None:
    try:
        return entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None
    except OSError:
        unreadable.append(path_text(path))
        return None
