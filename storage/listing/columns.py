"""What every lister yields: Arrow batches in these columns."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Any, NamedTuple

import pyarrow as pa

LISTED = pa.schema([
    ("path", pa.string()),
    ("size_bytes", pa.int64()),
    ("etag", pa.string()),
    ("modified_at", pa.timestamp("us", "UTC")),
    ("native_access_at", pa.timestamp("us", "UTC")),
    ("owner", pa.string()),
    ("tier", pa.string()),
    ("link_of", pa.string()),
    ("uid", pa.int64()),
    ("gid", pa.int64()),
    ("mode", pa.int64()),
    ("inode", pa.int64()),
    ("links", pa.int64()),
    ("allocated_bytes", pa.int64()),
])  # fmt: skip


class Listing(NamedTuple):
    """One complete look at a backend, or as much of it as could be read."""

    batches: Iterable[pa.RecordBatch]
    """Rows in the columns LISTED, each path once."""
    unreadable: list[str]
    """Prefixes that could not be read; complete only after the batches are used up."""
    snapshot_at: dt.datetime
    source: str
    """list or inventory."""
    report: str = ""


def batch(columns: dict[str, Any], count: int) -> pa.RecordBatch:
    """A batch of `count` rows; columns that are not given are null."""
    return pa.RecordBatch.from_arrays(
        [_array(columns.get(f.name), f, count) for f in LISTED],
        schema=LISTED,
    )


def _array(values: Any, field: pa.Field, count: int) -> pa.Array:
    if values is None:
        return pa.nulls(count, field.type)
    return values.cast(field.type) if isinstance(values, pa.Array) else pa.array(values, field.type)
