"""Anything that fsspec opens as a backend: the fallback for types without a reader of their own.

fsspec has no conditional read: what was read is checked against the file's version afterwards, so
that a file that changes while it is read is an error and never a mix.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import errno
import os
import stat as modes
import threading
from typing import Any

from storage.backends import Entry, Stat
from storage.config import Backend
from storage.fsspecinfo import etag_of, modified_of, open_fsspec
from storage.objectfiles import ObjectReader, holdable
from storage.objectstore import first_line
from storage.paths import path_bytes, path_text

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class FsspecSource:
    """The files below one fsspec URL; `config:` but for root and url goes to the file system."""

    local = False
    slow = True

    def __init__(self, backend: Backend) -> None:
        self.name = backend.name
        self.hidden = 0
        self._uid = os.getuid() if backend.uid is None else backend.uid
        self._gid = os.getgid() if backend.gid is None else backend.gid
        self._mode = backend.mode
        # Listings are remembered by the agent, for as long as its config says.
        self._system, root = open_fsspec(
            backend, use_listings_cache=False, skip_instance_cache=True
        )
        self._root = root.rstrip("/")
        # Only asynchronous plug-ins promise to serve several threads (archives share one handle).
        asynchronous = getattr(self._system, "async_impl", False)
        self._turn = contextlib.nullcontext() if asynchronous else threading.Lock()

    def stat(self, path: str) -> Stat:
        """What is at `path`."""
        if not path:
            return self._folder()
        return self._stat_of(self._ask(self._system.info, self._place(path)))

    def list(self, path: str) -> list[Entry]:
        """The entries of a folder, sorted by name."""
        place = self._place(path)
        found: list[dict[str, Any]] = self._ask(self._system.ls, place, detail=True)
        if path and [i["name"].rstrip("/") for i in found] == [place] and _is_file(found[0]):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
        entries = {}
        for info in found:
            name = info["name"].rstrip("/").rsplit("/", 1)[-1]
            if info["name"].rstrip("/") == place:
                continue  # the folder's own marker
            if not holdable(name):
                self.hidden += 1
                continue
            entries[path_text(name)] = Entry(path_text(name), self._stat_of(info))
        return [entries[name] for name in sorted(entries)]

    def read(self, path: str, offset: int, size: int) -> bytes:
        """A byte range of a file, shorter only at its end."""
        return self.open(path).read(offset, size)

    def open(self, path: str) -> ObjectReader:
        """A reader of the file at `path`, as it is now."""
        found = self.stat(path)
        if found.is_folder:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        return ObjectReader(self, path, found)

    def fetch(self, path: str, version: str, offset: int, size: int) -> bytes:
        """Exactly `size` bytes of that version; ESTALE if it changed, EIO if they are fewer."""
        data = self._ask(self._system.cat_file, self._place(path), start=offset, end=offset + size)
        if self.stat(path).version != version:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), path)
        if len(data) != size:
            raise OSError(errno.EIO, f"{len(data)} bytes came instead of {size}", path)
        return data

    def readlink(self, path: str) -> str:
        """Fsspec follows symlinks by itself and shows none."""
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path)

    def xattrs(self, path: str) -> dict[str, bytes]:
        """Fsspec knows no extended attributes."""
        del path
        return {}

    def space(self) -> os.statvfs_result | None:
        """Nobody knows."""
        return None

    def close(self) -> None:
        """Let go of the connection where the plug-in has one; twice is harmless."""
        with contextlib.suppress(Exception):
            close = getattr(self._system, "close", None)
            if close is not None:
                close()

    def _place(self, path: str) -> str:
        try:
            name = path_bytes(path).decode()
        except (ValueError, UnicodeDecodeError):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path) from None
        return f"{self._root}/{name}" if name and self._root else name or self._root

    def _ask(self, call: Any, *args: Any, **kwargs: Any) -> Any:
        """Call the file system; its errors become the errno that a program should see."""
        try:
            with self._turn:
                return call(*args, **kwargs)
        except FileNotFoundError:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)) from None
        except OSError as error:
            raise OSError(error.errno or errno.EIO, error.strerror or first_line(error)) from None
        except Exception as error:
            raise OSError(errno.EIO, f"{type(error).__name__}: {first_line(error)}") from error

    def _stat_of(self, info: dict[str, Any]) -> Stat:
        if not _is_file(info):
            return self._folder()
        at = modified_of(info)
        modified = 0 if at is None else (at - _EPOCH) // dt.timedelta(microseconds=1) * 1000
        size = int(info.get("size") or 0)
        version = etag_of(info) or f"{size}-{modified}"
        return Stat(
            modes.S_IFREG | self._mode, size, modified, self._uid, self._gid, version,
            changed_ns=modified, accessed_ns=modified,
        )  # fmt: skip

    def _folder(self) -> Stat:
        searchable = self._mode | (self._mode & 0o444) >> 2
        return Stat(modes.S_IFDIR | searchable, 0, 0, self._uid, self._gid, "", links=2)


def _is_file(info: dict[str, Any]) -> bool:
    return info.get("type") == "file"
