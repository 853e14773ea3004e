"""The objects of a store that is a folder: every regular file below it that a store can name.

The walk is our own: the store's one ends at the first name it cannot express, at a loop of links
and at a folder that it may not read, and one of these must not hide the other objects.
"""

from __future__ import annotations

import datetime as dt
import errno
import logging
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

log = logging.getLogger(__name__)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_UNFINISHED = re.compile(r".*#\d+")
"""How the store names a file that it still writes."""
_UNFIT = "no store can name it: rename it."
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_LATEST = dt.datetime.max.replace(tzinfo=dt.UTC)


class ObjectInfo(NamedTuple):
    """One listed object."""

    name: str
    size_bytes: int
    modified_at: dt.datetime
    etag: str | None = None
    """What the store tells one version of an object from another by; on disk inode and mtime."""


class _Folder(NamedTuple):
    name: str
    """With a slash at its end; empty for the root."""
    above: tuple[tuple[int, int], ...]
    """Device and inode of every folder on the way to it."""


def objects(root: str, prefix: str = "") -> Iterator[ObjectInfo]:
    """The objects below a folder, links followed; what cannot be listed is told in one warning.

    There are none if the folder is not there. Raises OSError if it cannot be read itself.
    """
    first = _Folder(f"{prefix.strip('/')}/" if prefix else "", ())
    waiting, left_out = [first], dict[str, str]()
    while waiting:
        folder = waiting.pop()
        try:
            above, entries = _inside(root, folder)
        except (FileNotFoundError, NotADirectoryError):
            continue  # it went meanwhile
        except OSError as error:
            if folder is first:
                raise
            left_out[folder.name] = f"{error.strerror}."
            continue
        yield from _files(folder.name, entries, left_out)
        waiting += [_Folder(f"{n}/", above) for n in _folders(folder.name, entries, left_out)]
    _tell(root, left_out)


def _inside(
    root: str, folder: _Folder
) -> tuple[tuple[tuple[int, int], ...], list[os.DirEntry[str]]]:
    """The folders on the way to what lies in a folder, and this."""
    path = Path(root, folder.name)
    stat = path.stat()
    place = (stat.st_dev, stat.st_ino)
    if place in folder.above:
        raise OSError(errno.ELOOP, "it is a link to a folder that it lies in")
    with os.scandir(path) as found:
        return (*folder.above, place), list(found)


def folder_names(root: str, prefix: str = "") -> list[str]:
    """The names of the folders directly below a folder; none if it is not there. Raises OSError."""
    try:
        with os.scandir(Path(root, prefix)) as entries:
            return list(_folders("", entries, {}))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _files(
    folder: str, entries: Iterable[os.DirEntry[str]], left_out: dict[str, str]
) -> Iterator[ObjectInfo]:
    for entry in entries:
        name = folder + entry.name
        try:
            if not entry.is_file() or _UNFINISHED.fullmatch(entry.name):
                continue
            if _is_fit(entry.name):
                yield _info(name, entry.stat())
            else:
                left_out[name] = _UNFIT
        except FileNotFoundError:
            pass  # it went meanwhile
        except OSError as error:
            left_out[name] = f"{error.strerror}."


def _folders(
    folder: str, entries: Iterable[os.DirEntry[str]], left_out: dict[str, str]
) -> Iterator[str]:
    for entry in entries:
        name = folder + entry.name
        try:
            if not entry.is_dir():
                continue
        except OSError:
            continue  # told by _files
        if _is_fit(entry.name):
            yield name
        else:
            left_out[name] = _UNFIT


def _tell(root: str, left_out: dict[str, str]) -> None:
    if left_out:
        name, why = next(iter(left_out.items()))
        more = f" ({len(left_out) - 1} more are left out)" if len(left_out) > 1 else ""
        log.warning("%s: %s is left out: %s%s", root, _shown(name), why, more)


def _is_fit(name: str) -> bool:
    return _CONTROL.search(name) is None and not any("\ud800" <= c <= "\udfff" for c in name)


def _shown(name: str) -> str:
    return ascii(name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"))


def _info(name: str, stat: os.stat_result) -> ObjectInfo:
    # The etag is the store's own: the ledger compares it with what the store said before.
    micros = stat.st_mtime_ns // 1000
    try:
        modified_at = _EPOCH + dt.timedelta(microseconds=micros)
    except OverflowError:
        modified_at = _LATEST if micros > 0 else _EPOCH
    etag = f'"{stat.st_ino:x}-{max(micros, 0):x}-{stat.st_size:x}"'
    return ObjectInfo(name, stat.st_size, modified_at, etag)
