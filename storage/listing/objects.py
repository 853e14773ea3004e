"""List an object store through obstore: Arrow batches, no Python object per key."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import obstore
import pyarrow as pa
import pyarrow.compute as pc
from obstore.exceptions import BaseError
from obstore.store import from_url

from storage.config import Backend
from storage.errors import BackendError
from storage.listing.columns import LISTED, Listing
from storage.objectstore import first_line
from storage.options import obstore_options, url_of

CHUNK_ROWS = 50_000


def list_objects(backend: Backend, snapshot_at: dt.datetime) -> Listing:
    """Every object of a bucket or container. Raises BackendError when it cannot be listed."""
    return Listing(_batches(backend), [], snapshot_at, "list")


def _batches(backend: Backend) -> Iterator[pa.RecordBatch]:
    try:
        store = from_url(url_of(backend), **obstore_options(backend))
        for found in obstore.list(store, chunk_size=CHUNK_ROWS, return_arrow=True):
            yield _listed(pa.record_batch(found))
    except (BaseError, OSError, ValueError) as error:
        raise BackendError(
            f"backend '{backend.name}' ({url_of(backend)}) cannot be listed: {first_line(error)}."
        ) from None


def _listed(found: pa.RecordBatch) -> pa.RecordBatch:
    quotes = pc.TrimOptions(characters='"')
    etag = pc.call_function("utf8_trim", [found["e_tag"].cast(pa.string())], quotes)
    doubled = pc.ReplaceSubstringOptions(pattern="\\", replacement="\\\\")
    path = pc.call_function("replace_substring", [found["path"].cast(pa.string())], doubled)
    columns = {
        "path": path,
        "size_bytes": found["size"].cast(pa.int64()),
        "etag": etag,
        "modified_at": found["last_modified"].cast(pa.timestamp("us", "UTC")),
    }
    nulls = {f.name: pa.nulls(found.num_rows, f.type) for f in LISTED}
    return pa.RecordBatch.from_arrays([(nulls | columns)[f.name] for f in LISTED], schema=LISTED)
