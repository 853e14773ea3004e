"""List Google's store through obstore. Keys that obstore refuses (`a//b`) fail the listing."""

from __future__ import annotations

from typing import Any

import obstore
import pyarrow as pa
import pyarrow.compute as pc
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import from_url

from storage.config import Backend
from storage.errors import BackendError, first_line
from storage.listing.arrays import etags, paths, rows
from storage.listing.columns import batch
from storage.listing.fetch import Fetcher
from storage.listing.ranges import Page
from storage.options import obstore_options, url_of
from storage.paths import path_text

PAGE_KEYS = 1000


class GcsStore:
    """One bucket, below the configured prefix; keys are relative to it."""

    prefix = ""
    has_ranges = True

    def __init__(self, backend: Backend, tries: int = 0) -> None:
        self._name = backend.name
        self._url = url_of(backend)
        self._fetcher = Fetcher(backend.crawl.requests_per_second, tries)
        self._store: Any = from_url(self._url, **obstore_options(backend))

    def page(self, after: str, marker: str) -> Page:
        """A thousand keys."""
        del marker
        found = self._list(after, PAGE_KEYS)
        keys = [key.encode() for key in found["path"].to_pylist()]
        return Page(
            keys, lambda first, end: _rows(found.slice(first, end - first), keys[first:end]),
            len(keys) == PAGE_KEYS,
        )  # fmt: skip

    def folders(self, level: str, after: str) -> list[bytes]:
        """The common prefixes of a level."""
        del after
        self._fetcher.turn()
        try:
            found = obstore.list_with_delimiter(self._store, prefix=level or None)
        except (BaseError, OSError) as error:
            raise self._failed(error) from None
        return [f"{folder.rstrip('/')}/".encode() for folder in found["common_prefixes"]]

    def first(self, after: str) -> bytes | None:
        """The first key after `after`."""
        found = self._list(after, 1)["path"].to_pylist()
        return found[0].encode() if found else None

    def look(self, key: str) -> pa.RecordBatch:
        """The object of that key, one row or none."""
        self._fetcher.turn()
        try:
            meta: Any = obstore.head(self._store, key)
        except (FileNotFoundError, NotFoundError):
            return rows({}, 0)
        except (BaseError, OSError) as error:
            raise self._failed(error) from None
        return batch(
            {
                "path": [path_text(key)], "size_bytes": [meta["size"]],
                "etag": [(meta.get("e_tag") or "").strip('"') or None],
                "modified_at": [meta["last_modified"]],
            },
            1,
        )  # fmt: skip

    def _list(self, after: str, count: int) -> pa.RecordBatch:
        self._fetcher.turn()
        try:
            stream = obstore.list(
                self._store, offset=after or None, chunk_size=count, return_arrow=True
            )
            return next((pa.record_batch(found) for found in stream), _NOTHING)
        except (BaseError, OSError) as error:
            raise self._failed(error) from None

    def _failed(self, error: Exception) -> BackendError:
        return BackendError(
            f"backend '{self._name}' ({self._url}) cannot be listed: {first_line(error)}."
        )


_NOTHING = pa.RecordBatch.from_pydict({"path": pa.array([], pa.string())})


def _rows(found: pa.RecordBatch, keys: list[bytes]) -> pa.RecordBatch:
    if not keys:
        return rows({}, 0)
    return rows(
        {
            "path": paths(keys),
            "size_bytes": found["size"].cast(pa.int64()),
            "etag": etags(found["e_tag"].cast(pa.string())),
            "modified_at": pc.cast(found["last_modified"], pa.timestamp("us", "UTC")),
        },
        len(keys),
    )
