"""An object store as a backend: keys as paths, prefixes as folders.

Names that a file system cannot hold (`..`, an empty name, NUL, more than 255 bytes) are hidden and
counted. Where a key is also a folder's name, the folder is shown.
"""

from __future__ import annotations

import datetime as dt
import errno
import os
import stat as modes
from typing import Any, Protocol

import obstore
from obstore.exceptions import BaseError, NotFoundError, PermissionDeniedError, UnauthenticatedError
from obstore.store import from_url

from storage.backends import Entry, Stat
from storage.config import Backend
from storage.errors import BackendError
from storage.objectstore import first_line
from storage.options import obstore_options, url_of
from storage.paths import path_bytes, path_text

NAME_BYTES = 255
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class ObjectSource:
    """The objects of one bucket or container, below the configured prefix."""

    local = False
    slow = True

    def __init__(self, backend: Backend) -> None:
        self.name = backend.name
        self.hidden = 0
        self._uid = os.getuid() if backend.uid is None else backend.uid
        self._gid = os.getgid() if backend.gid is None else backend.gid
        self._mode = backend.mode
        try:
            self._store = from_url(url_of(backend), **obstore_options(backend))
        except (BaseError, ValueError) as error:
            raise BackendError(
                f"backend '{self.name}': cannot be opened: {first_line(error)}."
            ) from None

    def stat(self, path: str) -> Stat:
        """What is at `path`: an object, or a folder where keys begin with it."""
        if not path:
            return self._folder()
        key = _key(path)
        try:
            meta: Any = self._ask(obstore.head, key)
        except FileNotFoundError:
            found = self._ask(obstore.list_with_delimiter, f"{key}/")
            if found["objects"] or found["common_prefixes"]:
                return self._folder()
            raise
        return self._file(meta)

    def list(self, path: str) -> list[Entry]:
        """The entries of a folder, sorted by name."""
        prefix = f"{_key(path)}/" if path else None
        found = self._ask(obstore.list_with_delimiter, prefix)
        entries: dict[str, Entry] = {}
        for meta in found["objects"]:
            self._add(entries, meta["path"], self._file(meta), prefix)
        for folder in found["common_prefixes"]:
            self._add(entries, folder.rstrip("/"), self._folder(), prefix)
        if path and not found["objects"] and not found["common_prefixes"]:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return [entries[name] for name in sorted(entries)]

    def read(self, path: str, offset: int, size: int) -> bytes:
        """A byte range of an object, shorter only at its end."""
        reader = self.open(path)
        return reader.read(offset, size)

    def open(self, path: str) -> ObjectReader:
        """A reader of the object at `path`, as it is now."""
        found = self.stat(path)
        if found.is_folder:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        return ObjectReader(self, path, found)

    def fetch(self, path: str, version: str, offset: int, size: int) -> bytes:
        """Exactly `size` bytes of that version; ESTALE if it changed, EIO if the body is short."""
        options: Any = {"range": (offset, offset + size), "if_match": version or None}
        result = self._ask(obstore.get, _key(path), options=options)
        try:
            data = result.bytes().to_bytes()
        except (BaseError, OSError) as error:
            raise OSError(errno.EIO, first_line(error), path) from None
        if version and (result.meta.get("e_tag") or "") != version:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), path)
        if len(data) != size:
            raise OSError(errno.EIO, f"{len(data)} bytes came instead of {size}", path)
        return data

    def readlink(self, path: str) -> str:
        """Object stores have no symlinks."""
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path)

    def xattrs(self, path: str) -> dict[str, bytes]:
        """Object stores have no extended attributes; the etag is shown as one."""
        found = self.stat(path)
        return {"user.etag": found.version.encode()} if found.version else {}

    def space(self) -> os.statvfs_result | None:
        """Nobody knows."""
        return None

    def close(self) -> None:
        """Nothing is held."""

    def _ask(self, call: Any, *args: Any, **kwargs: Any) -> Any:
        """Call obstore; its errors become the errno that a program should see."""
        try:
            return call(self._store, *args, **kwargs)
        except (FileNotFoundError, NotFoundError):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)) from None
        except (PermissionDeniedError, UnauthenticatedError) as error:
            raise PermissionError(errno.EACCES, first_line(error)) from None
        except obstore.exceptions.PreconditionError:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE)) from None
        except BaseError as error:  # LIST has one error for everything
            refused = "status code: 403" in str(error) or "status code: 401" in str(error)
            code = errno.EACCES if refused else errno.EIO
            raise OSError(code, first_line(error)) from None

    def _add(self, entries: dict[str, Entry], key: str, found: Stat, prefix: str | None) -> None:
        name = key.removeprefix(prefix or "")
        if found.is_file and (name == "" or f"{key}/" == prefix):
            return  # the folder's own marker object, whose slash obstore leaves out
        if not holdable(name):
            self.hidden += 1
            return
        text = path_text(name)
        entries[text] = Entry(text, found)

    def _file(self, meta: Any) -> Stat:
        modified = (meta["last_modified"] - _EPOCH) // dt.timedelta(microseconds=1) * 1000
        version = meta.get("e_tag") or f"{meta['size']}-{modified}"
        return Stat(
            modes.S_IFREG | self._mode, meta["size"], modified, self._uid, self._gid, version,
            changed_ns=modified, accessed_ns=modified,
        )  # fmt: skip

    def _folder(self) -> Stat:
        searchable = self._mode | (self._mode & 0o444) >> 2
        return Stat(modes.S_IFDIR | searchable, 0, 0, self._uid, self._gid, "", links=2)


class Fetches(Protocol):
    """What a reader needs of its source."""

    def fetch(self, path: str, version: str, offset: int, size: int) -> bytes:
        """Exactly `size` bytes of that version."""
        ...


class ObjectReader:
    """One object in the version it had when it was opened; nothing of it is kept here."""

    def __init__(self, source: Fetches, path: str, stat: Stat) -> None:
        self.stat = stat
        self._source = source
        self._path = path

    def ready(self, offset: int, into: memoryview) -> int:
        """Only what is past the end needs no waiting."""
        del into
        return 0 if offset >= self.stat.size_bytes else -1

    def read(self, offset: int, size: int) -> bytes:
        """Exactly `size` bytes, fewer only at the end of the object."""
        size = min(size, self.stat.size_bytes - offset)
        if size <= 0:
            return b""
        return self._source.fetch(self._path, self.stat.version, offset, size)

    def stat_now(self) -> Stat:
        """The version that was opened: nothing else is ever read."""
        return self.stat

    def close(self) -> None:
        """Nothing is held."""


def holdable(name: str) -> bool:
    """Whether a file system can hold a name."""
    return (
        name not in ("", ".", "..")
        and "\0" not in name
        and "/" not in name
        and len(name.encode()) <= NAME_BYTES
    )


def _key(path: str) -> str:
    try:
        return path_bytes(path).decode()
    except (ValueError, UnicodeDecodeError):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path) from None
