"""Where `move` writes: one new file at a time, whole or not there at all.

Nothing is ever overwritten: what exists already raises FileExistsError. Paths are relative to the
backend's root, as in `storage.backends`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat as modes
import threading
from collections.abc import Iterator
from typing import Protocol

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, NotFoundError
from obstore.store import from_url

from storage.backends import Stat
from storage.config import Backend
from storage.errors import BackendError, first_line
from storage.fsspecinfo import open_fsspec
from storage.options import obstore_options, url_of
from storage.paths import path_bytes

SINGLE_PUT_BYTES = 64 * 1024**2
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
Parts = Iterator[bytes]


class Target(Protocol):
    """One backend, for writing."""

    def write(self, path: str, parts: Parts, like: Stat) -> None:
        """Make a file of `parts`. Raises FileExistsError, OSError; nothing is left of it then."""
        ...

    def make_folder(self, path: str, like: Stat) -> None:
        """Make a folder unless it is there; nothing where there are none. Raises OSError."""
        ...

    def remove(self, path: str) -> None:
        """Remove a file. Raises FileNotFoundError, OSError."""
        ...

    def remove_folder(self, path: str) -> None:
        """Remove a folder if it is empty; stores without folders do nothing."""
        ...

    def close(self) -> None:
        """Let go of the backend."""
        ...


def open_target(backend: Backend) -> Target:
    """The target of a backend record. Raises WarpdriveError where it cannot be opened."""
    if backend.type == "local":
        return LocalTarget(backend)
    if backend.type in ("s3", "azureblob", "gcs"):
        return ObjectTarget(backend)
    return FsspecTarget(backend)


class LocalTarget:
    """A folder of this machine. No symlink is followed below the root."""

    def __init__(self, backend: Backend) -> None:
        try:
            self._root = os.open(backend.root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise BackendError(
                f"backend '{backend.name}': config.root {backend.root}: {error.strerror}."
            ) from None

    def write(self, path: str, parts: Parts, like: Stat) -> None:
        """Synced before it has a name; times and permissions as the original's."""
        raw = _raw(path)
        with self._folder(os.path.dirname(raw), make=True) as folder:
            name = os.path.basename(raw)
            with _unnamed(folder) as (fd, hidden):
                for part in parts:
                    left = memoryview(part)
                    while left:
                        left = left[os.write(fd, left) :]
                _dress(fd, like)
                os.fsync(fd)
                _link(fd, hidden, folder, name)
            os.fsync(folder)

    def make_folder(self, path: str, like: Stat) -> None:
        """With the permissions of the original, but that its owner may write into it."""
        raw = _raw(path)
        with self._folder(os.path.dirname(raw), make=True) as above:
            name = os.path.basename(raw) or b"."
            made = True
            try:
                os.mkdir(name, 0o700, dir_fd=above)
            except FileExistsError:
                made = False
            fd = os.open(name, _FOLDER, dir_fd=above)
            try:
                if made:
                    if os.geteuid() == 0:
                        os.fchown(fd, like.uid, like.gid)
                    os.fchmod(fd, modes.S_IMODE(like.mode) & 0o3777 | 0o700)
            finally:
                os.close(fd)

    def remove(self, path: str) -> None:
        """Remove a file; its name is gone for good when this returns."""
        raw = _raw(path)
        with self._folder(os.path.dirname(raw)) as folder:
            os.unlink(os.path.basename(raw), dir_fd=folder)
            os.fsync(folder)

    def remove_folder(self, path: str) -> None:
        """Remove a folder unless something is in it."""
        raw = _raw(path)
        with contextlib.suppress(OSError), self._folder(os.path.dirname(raw)) as folder:
            os.rmdir(os.path.basename(raw), dir_fd=folder)

    def close(self) -> None:
        """Let go of the root."""
        os.close(self._root)

    @contextlib.contextmanager
    def _folder(self, raw: bytes, *, make: bool = False) -> Iterator[int]:
        """A descriptor of a folder below the root, made where it is missing."""
        fd = os.open(b".", _FOLDER, dir_fd=self._root)
        try:
            for part in filter(None, raw.split(b"/")):
                if make:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(part, 0o777, dir_fd=fd)
                inner = os.open(part, _FOLDER, dir_fd=fd)
                os.close(fd)
                fd = inner
            yield fd
        finally:
            os.close(fd)


@contextlib.contextmanager
def _unnamed(folder: int) -> Iterator[tuple[int, str]]:
    """A new file without a name, so that a crash leaves nothing; with a hidden one if need be."""
    hidden = ""
    try:
        fd = os.open(b".", os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600, dir_fd=folder)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL):
            raise
        hidden = f".warpdrive-move-{secrets.token_hex(8)}"
        flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(hidden, flags, 0o600, dir_fd=folder)
    try:
        yield fd, hidden
    finally:
        os.close(fd)
        if hidden:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(hidden, dir_fd=folder)


def _dress(fd: int, like: Stat) -> None:
    if os.geteuid() == 0:
        os.fchown(fd, like.uid, like.gid)
    os.fchmod(fd, modes.S_IMODE(like.mode) & 0o777)
    os.utime(fd, ns=(like.accessed_ns or like.modified_ns, like.modified_ns))


def _link(fd: int, hidden: str, folder: int, name: bytes) -> None:
    """Give the file its name; FileExistsError where something has it."""
    if hidden:
        os.link(hidden.encode(), name, src_dir_fd=folder, dst_dir_fd=folder)
    else:
        os.link(f"/proc/self/fd/{fd}".encode(), name, dst_dir_fd=folder, follow_symlinks=True)


class ObjectTarget:
    """A bucket or container; a put is whole or not there."""

    def __init__(self, backend: Backend) -> None:
        try:
            self.store = from_url(url_of(backend), **obstore_options(backend))
        except (BaseError, ValueError) as error:
            raise BackendError(
                f"backend '{backend.name}': cannot be opened: {first_line(error)}."
            ) from None

    def write(self, path: str, parts: Parts, like: Stat) -> None:
        """A look, then one conditional put; above SINGLE_PUT_BYTES one in several parts."""
        key = _key(path)
        try:
            if not self._is_free(key):  # not every store minds the condition of a put
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
            if like.size_bytes <= SINGLE_PUT_BYTES:
                obstore.put(self.store, key, b"".join(parts), mode="create")
            else:
                obstore.put(self.store, key, parts)
        except AlreadyExistsError:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path) from None
        except BaseError as error:
            raise OSError(errno.EIO, first_line(error), path) from None
        except ValueError:
            raise _no_key(path) from None

    def make_folder(self, path: str, like: Stat) -> None:
        """There are no folders."""

    def _is_free(self, key: str) -> bool:
        try:
            obstore.head(self.store, key)
        except (FileNotFoundError, NotFoundError):
            return True
        return False

    def remove(self, path: str) -> None:
        """Delete an object."""
        key = _key(path)
        try:
            obstore.delete(self.store, key)
        except BaseError as error:
            raise OSError(errno.EIO, first_line(error), path) from None
        except ValueError:
            raise _no_key(path) from None

    def remove_folder(self, path: str) -> None:
        """There are no folders."""

    def close(self) -> None:
        """Nothing is held."""


class FsspecTarget:
    """What only fsspec opens: written under another name, then renamed."""

    def __init__(self, backend: Backend) -> None:
        self._system, root = open_fsspec(backend, skip_instance_cache=True)
        self._root = root.rstrip("/")
        self._turn = threading.Lock()  # most plug-ins do not promise to serve several threads

    def write(self, path: str, parts: Parts, like: Stat) -> None:
        """A crash leaves the file under its other name, which the next try overwrites."""
        del like
        place = self._place(path)
        unfinished = f"{place}.warpdrive-move"
        with self._turn, _plug_in(path):
            self._system.makedirs(place.rpartition("/")[0], exist_ok=True)
            with self._system.open(unfinished, "wb") as stream:
                for part in parts:
                    stream.write(part)
            self._system.invalidate_cache()
            if self._system.exists(place):
                self._system.rm_file(unfinished)
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
            self._system.mv(unfinished, place)

    def make_folder(self, path: str, like: Stat) -> None:
        """Make it; permissions are the plug-in's own."""
        del like
        with self._turn, _plug_in(path):
            self._system.makedirs(self._place(path), exist_ok=True)

    def remove(self, path: str) -> None:
        """Remove a file."""
        with self._turn, _plug_in(path):
            self._system.rm_file(self._place(path))
            self._system.invalidate_cache()

    def remove_folder(self, path: str) -> None:
        """Remove a folder that is empty, where the plug-in has folders."""
        with contextlib.suppress(Exception):
            place = self._place(path)
            if not self._system.ls(place):
                self._system.rmdir(place)

    def close(self) -> None:
        """Let go of the connection where the plug-in has one."""
        with contextlib.suppress(Exception):
            self._system.close()

    def _place(self, path: str) -> str:
        return f"{self._root}/{_key(path)}"


@contextlib.contextmanager
def _plug_in(path: str) -> Iterator[None]:
    """What a plug-in raises, as an OSError: fsspec has no family of errors."""
    try:
        yield
    except OSError:
        raise
    except NotImplementedError:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), path) from None
    except Exception as error:
        raise OSError(errno.EIO, f"{type(error).__name__}: {first_line(error)}", path) from error


def _key(path: str) -> str:
    """The path as text. Raises OSError where it is none: stores and plug-ins take UTF-8 only."""
    try:
        return _raw(path).decode()
    except UnicodeDecodeError:
        raise _no_key(path) from None


def _no_key(path: str) -> OSError:
    return OSError(errno.EINVAL, "its name cannot be written there: rename it", path)


def _raw(path: str) -> bytes:
    return path_bytes(path)
