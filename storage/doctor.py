"""Is what the config names there, and does it work? Each check says what to do if not."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import obstore
from obstore.exceptions import BaseError
from obstore.store import from_url

from storage import clock
from storage.config import Backend, Config
from storage.errors import WarpdriveError
from storage.objectstore import first_line, get, listed, open_store, put_if_absent
from storage.options import obstore_options, url_of

MIN_FREE_BYTES = 1024**3
PROBE = ".warpdrive-doctor"


def examine(config: Config) -> Iterator[tuple[str, str]]:
    """(check, problem) for the lake, the landing zone and each backend; '' where all is well."""
    yield f"config {config.file}", ""
    for name, place in (("lake", config.lake.root), ("landing", config.telemetry.landing)):
        yield f"{name} {place}: writable", _problem(lambda place=place: _write_probe(place))
        if "://" not in place:
            yield f"{name} {place}: free space", _free_space(place)
    for backend in config.backends:
        yield f"backend {backend.name}: lists", _problem(lambda b=backend: _list_probe(b))


def _problem(probe: Callable[[], None]) -> str:
    try:
        probe()
    except (WarpdriveError, BaseError, OSError, ValueError) as error:
        return f"{first_line(error)}."
    return ""


def _write_probe(place: str) -> None:
    """Create-if-absent must work and must refuse a second time: the lake is safe only then."""
    store = open_store(place)
    name = f"{PROBE}-{os.getpid()}"
    try:
        put_if_absent(store, name, b"one")
        try:
            obstore.put(store, name, b"two", mode="create")
        except obstore.exceptions.AlreadyExistsError:
            pass
        else:
            raise ValueError(
                "create-if-absent overwrites what is there: Delta would lose rows on this store"
            )
        if get(store, name) != b"one":
            raise ValueError("what was written is not what is read")
    finally:
        obstore.delete(store, [name])


def _free_space(place: str) -> str:
    free = shutil.disk_usage(place).free
    if free >= MIN_FREE_BYTES:
        return ""
    return f"{free // 1024**2} MB free, at least {MIN_FREE_BYTES // 1024**2} MB are needed."


def _list_probe(backend: Backend) -> None:
    if backend.inventory is not None:
        found = next(iter(listed(open_store(backend.inventory.location, create=False))), None)
        if found is None:
            raise ValueError(f"no report at {backend.inventory.location}")
    elif backend.type == "local":
        next(Path(backend.root).iterdir(), None)
    elif backend.type not in ("s3", "azureblob", "gcs"):
        from storage.listing.generic import list_generic  # pyarrow: not on a GPU node

        next(iter(list_generic(backend, clock.now()).batches), None)
    else:
        store = from_url(url_of(backend), **obstore_options(backend))
        next(iter(obstore.list(store, chunk_size=1)), None)
