"""Small objects that several writers change: written only where they still are what was read.

On stores by conditional PUT (the etag), on local disk by a lock file and rename.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError
from obstore.store import LocalStore

from storage.errors import BackendError
from storage.objectstore import first_line

if TYPE_CHECKING:
    from obstore import UpdateVersion
    from obstore.store import ObjectStore

MODE = 0o640
"""Of what is written on local disk: its group may read it, others may not."""


class Tagged(NamedTuple):
    """The bytes of an object, and what tells them from any others under that name."""

    data: bytes
    e_tag: str | None
    version: str | None


def read_tagged(store: ObjectStore, name: str) -> Tagged | None:
    """An object with its tag, None where there is none. Raises BackendError."""
    try:
        found = obstore.get(store, name)
        data = found.bytes().to_bytes()
    except FileNotFoundError:
        return None
    except BaseError as error:
        raise BackendError(f"{name}: cannot be read: {first_line(error)}.") from None
    return Tagged(data, found.meta["e_tag"], found.meta.get("version"))


def write_if_unchanged(store: ObjectStore, name: str, data: bytes, before: Tagged | None) -> bool:
    """Replace an object that still is `before` (None: that is not there); False if it is not.

    A lost answer counts as success if the object holds `data`. Raises BackendError.
    """
    if isinstance(store, LocalStore):
        return _swap_local(Path(str(store.prefix)) / name, data, before)
    try:
        if before is None:
            obstore.put(store, name, data, mode="create", use_multipart=False)
        else:
            _replace(store, name, data, before)
    except (AlreadyExistsError, PreconditionError, FileNotFoundError):
        # object_store tries again by itself: the first try may have been ours and have landed.
        return _holds(store, name, data)
    except BaseError as error:
        if _holds(store, name, data):
            return True
        raise BackendError(f"{name}: cannot be written: {first_line(error)}.") from None
    return True


def _replace(store: ObjectStore, name: str, data: bytes, before: Tagged) -> None:
    """Conditional on the tag as it came, then without its quotes: Ceph matches only those."""
    tags = dict.fromkeys((before.e_tag or "", (before.e_tag or "").strip('"')))
    for last, tag in enumerate(tags, start=1 - len(tags)):
        known: UpdateVersion = {"e_tag": tag} if tag else {}
        if before.version is not None:
            known["version"] = before.version
        try:
            obstore.put(store, name, data, mode=known, use_multipart=False)
        except PreconditionError:
            if last == 0:
                raise
        else:
            return


def create(store: ObjectStore, name: str) -> bool:
    """Make an empty object; False where it is there already. Raises BackendError."""
    if isinstance(store, LocalStore):
        path = Path(str(store.prefix)) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL, MODE))
        except FileExistsError:
            return False
        return True
    try:
        obstore.put(store, name, b"", mode="create", use_multipart=False)
    except AlreadyExistsError:
        return False
    except BaseError as error:
        raise BackendError(f"{name}: cannot be written: {first_line(error)}.") from None
    return True


def write_new(store: ObjectStore, name: str, data: bytes) -> None:
    """Write an object under a name that nobody else uses; on disk it outlives a power cut."""
    if isinstance(store, LocalStore):
        _rename_into(Path(str(store.prefix)) / name, data)
        return
    try:
        obstore.put(store, name, data)
    except BaseError as error:
        raise BackendError(f"{name}: cannot be written: {first_line(error)}.") from None


def _holds(store: ObjectStore, name: str, data: bytes) -> bool:
    found = read_tagged(store, name)
    return found is not None and found.data == data


def _swap_local(path: Path, data: bytes, before: Tagged | None) -> bool:
    with _locked(path):
        try:
            now = path.read_bytes()
        except FileNotFoundError:
            now = None
        if now != (None if before is None else before.data):
            return False
        _rename_into(path, data)
    return True


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One writer of `path` at a time; the lock goes with the process that holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT, MODE)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _rename_into(path: Path, data: bytes) -> None:
    """The whole object or nothing, and on disk before it is there under its name."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        staged = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        handle = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, MODE)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            staged.replace(path)
        except BaseException:
            staged.unlink(missing_ok=True)
            raise
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise BackendError(f"{path}: cannot be written: {error.strerror}.") from None
