"""List an object store: in parallel, page by page, going on where a stopped listing was."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import pyarrow as pa

from storage.config import Backend
from storage.errors import ConfigError
from storage.listing.columns import Listing
from storage.listing.progress import Progress
from storage.listing.ranges import Ranges, Store
from storage.listing.staging import Staging
from storage.listing.tasks import list_in_parallel
from storage.options import url_of


def list_objects(
    backend: Backend, snapshot_at: dt.datetime, staging: str = "", progress: Progress | None = None
) -> Listing:
    """Every object of a bucket or container.

    With a staging location, a listing that is stopped goes on there the next time, and its
    snapshot is the instant at which it was begun. Raises BackendError when it cannot be listed.
    """
    identity = f"{backend.name}\n{url_of(backend)}\n{sorted(backend.crawl.need)}"
    kept = Staging(staging, identity, snapshot_at)
    begun_at = kept.resume()
    batches = _batches(backend, kept, progress or Progress(backend.name))
    return Listing(batches, [], begun_at, "list")


def _batches(backend: Backend, kept: Staging, progress: Progress) -> Iterator[pa.RecordBatch]:
    parallel = backend.crawl.parallel
    try:
        yield from list_in_parallel(Ranges(object_store(backend)), kept, progress, parallel)
    finally:
        progress.close()


def object_store(backend: Backend, tries: int = 0) -> Store:
    """The store of a backend, to be asked for pages and single keys; `tries` of each request."""
    if backend.type == "s3":
        from storage.listing.s3 import S3Store

        return S3Store(backend, tries)
    if backend.type == "azureblob":
        from storage.listing.azure import AzureStore

        return AzureStore(backend, tries)
    if backend.type == "gcs":
        from storage.listing.gcs import GcsStore

        return GcsStore(backend, tries)
    raise ConfigError(f"backend '{backend.name}': type '{backend.type}' is no object store.")
