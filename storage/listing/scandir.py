"""Our own walker, for machines without GNU find: os.scandir and one lstat per entry."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from storage.listing.links import LAST_SECOND, RAW, ROWS, walked
from storage.paths import path_text


class _Folder(NamedTuple):
    path: bytes
    above: tuple[tuple[int, int], ...]
    """Device and inode of it and of every folder it is in."""


def walk(
    root: bytes, unreadable: list[str], *, one_file_system: bool = False
) -> Iterator[pa.RecordBatch]:
    """Batches in the columns WALKED; prefixes that cannot be read are added to `unreadable`."""
    paths: list[bytes] = []
    found: list[tuple[int, ...]] = []
    for path, info in _files(root, unreadable, one_file_system=one_file_system):
        paths.append(path)
        found.append((
            info.st_size, info.st_mtime_ns, info.st_atime_ns, info.st_uid, info.st_gid,
            stat.S_IMODE(info.st_mode), info.st_ino, info.st_nlink, info.st_blocks, info.st_dev,
        ))  # fmt: skip
        if len(found) == ROWS:
            yield _batch(paths, found)
            paths, found = [], []
    if found:
        yield _batch(paths, found)


def _batch(paths: list[bytes], found: list[tuple[int, ...]]) -> pa.RecordBatch:
    try:
        columns = np.array(found, dtype=np.int64).T
    except OverflowError:
        columns = np.array([[*map(_kept, RAW, row)] for row in found], dtype=np.int64).T
    raw = dict(zip(RAW, columns, strict=True))
    return walked(pa.array([path_text(path) for path in paths], pa.string()), raw)


def _kept(name: str, value: int) -> int:
    """As the other walker keeps it: times up to the last that fits, the rest as signed."""
    if name.endswith("_ns"):
        last = LAST_SECOND * 10**9
        return min(max(value, -last), last + 10**9 - 1)
    return value if value < 2**63 else value - 2**64


def _files(
    root: bytes, unreadable: list[str], *, one_file_system: bool
) -> Iterator[tuple[bytes, os.stat_result]]:
    """Regular files with their path relative to `root`. What vanishes meanwhile is left out."""
    try:
        top = os.stat(root)
    except OSError:
        unreadable.append("")
        return
    todo = [_Folder(b"", ((top.st_dev, top.st_ino),))]
    while todo:
        folder = todo.pop()
        for entry in _entries(root, folder.path, unreadable):
            path = os.path.join(folder.path, entry.name)
            info = _lstat(entry, path, unreadable)
            if info is None:
                continue
            if stat.S_ISREG(info.st_mode):
                yield path, info
            elif stat.S_ISDIR(info.st_mode):
                here = (info.st_dev, info.st_ino)
                elsewhere = one_file_system and info.st_dev != top.st_dev
                if not elsewhere and here not in folder.above:  # a mount can close a loop
                    todo.append(_Folder(path, (*folder.above, here)))


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
