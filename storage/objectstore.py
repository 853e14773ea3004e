"""Small objects at any location: the landing zone, leases and published results.

A location is a folder or a URL (`s3://bucket/prefix`, `az://container/prefix`). How a URL is
reached says its record (storage/locations.py), else the environment.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, InvalidPathError
from obstore.store import LocalStore, from_url

from storage.errors import BackendError, first_line
from storage.localobjects import ObjectInfo, folder_names, objects
from storage.locations import record_of
from storage.options import obstore_options

if TYPE_CHECKING:
    from obstore import ObjectMeta
    from obstore.store import ObjectStore

log = logging.getLogger(__name__)


def open_store(location: str, *, create: bool = True) -> ObjectStore:
    """A store rooted at `location`. Raises BackendError if it cannot be."""
    try:
        if "://" not in location:
            if create:
                Path(location).mkdir(parents=True, exist_ok=True)
            return LocalStore(location)
        return from_url(location, **obstore_options(record_of(location)))
    except (OSError, BaseError, ValueError) as error:
        raise BackendError(f"{location}: cannot be opened: {first_line(error)}.") from None


def put_if_absent(store: ObjectStore, name: str, data: bytes) -> bool:
    """Write an object that must not be there yet; False if it is, with another size.

    An object of the same size under that name is success: the answer to an earlier try was lost.
    """
    try:
        obstore.put(store, name, data, mode="create")
    except AlreadyExistsError:
        return obstore.head(store, name)["size"] == len(data)
    if isinstance(store, LocalStore):
        _to_disk(Path(str(store.prefix)) / name)
    return True


def _to_disk(path: Path) -> None:
    """What was acknowledged outlives a power cut: the file, and its name in the folder."""
    for place in (path, path.parent):
        handle = os.open(place, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def get(store: ObjectStore, name: str) -> bytes:
    """The whole object. Raises FileNotFoundError, BackendError."""
    try:
        return obstore.get(store, name).bytes().to_bytes()
    except BaseError as error:
        raise BackendError(f"{name}: cannot be read: {first_line(error)}.") from None


def get_range(store: ObjectStore, name: str, offset: int, size_bytes: int) -> bytes:
    """Some bytes of an object. Raises FileNotFoundError, BackendError."""
    try:
        return obstore.get_range(store, name, start=offset, length=size_bytes).to_bytes()
    except BaseError as error:
        raise BackendError(f"{name}: cannot be read: {first_line(error)}.") from None


def listed(store: ObjectStore, prefix: str = "") -> Iterator[ObjectInfo]:
    """Every object below a folder, in no promised order. Raises BackendError.

    What cannot be read as an object is left out, with a warning: on disk that file or folder, in
    a store the folder that holds a key such as `a//b`, which obstore cannot express.
    """
    last = ""
    try:
        if isinstance(store, LocalStore):
            yield from objects(str(store.prefix), prefix)
            return
        try:
            for batch in obstore.list(store, prefix=prefix or None):
                for meta in batch:
                    yield _info(meta)
                    last = meta["path"]
        except InvalidPathError:
            # Stores list in order of keys: what came is known, the rest is asked for by folder.
            yield from (info for info in _by_folder(store, prefix) if info.name > last)
    except (OSError, BaseError) as error:
        raise BackendError(
            f"{prefix or 'the store'}: cannot be listed: {first_line(error)}."
        ) from None


def _by_folder(store: ObjectStore, prefix: str) -> Iterator[ObjectInfo]:
    waiting = [prefix]
    while waiting:
        folder = waiting.pop()
        try:
            found = obstore.list_with_delimiter(store, prefix=folder or None)
        except InvalidPathError as error:
            if folder == prefix:
                raise
            log.warning("%s/ is left out: %s.", folder, first_line(error))
            continue
        yield from map(_info, found["objects"])
        waiting += found["common_prefixes"]


def _info(meta: ObjectMeta) -> ObjectInfo:
    return ObjectInfo(meta["path"], meta["size"], meta["last_modified"], meta["e_tag"])


def folders(store: ObjectStore, prefix: str = "") -> list[str]:
    """The names of the folders directly below a folder."""
    if isinstance(store, LocalStore):
        return sorted(folder_names(str(store.prefix), prefix))
    found = obstore.list_with_delimiter(store, prefix=prefix or None)
    return sorted(name.rstrip("/").rsplit("/", 1)[-1] for name in found["common_prefixes"])
