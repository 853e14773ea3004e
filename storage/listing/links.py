"""Rows of a walker: lists of numbers to batches, and hard links counted once."""

from __future__ import annotations

import pwd
from collections.abc import Iterable, Iterator, Mapping
from functools import cache

import numpy as np
import pyarrow as pa

from storage.listing.arrow import Numbers, call, integers, numbers, texts
from storage.listing.columns import LISTED, batch

ROWS = 50_000
# What a walker reads of one file; blocks are of 512 bytes.
RAW: tuple[str, ...] = (
    "size_bytes", "modified_ns", "accessed_ns", "uid", "gid", "mode", "inode", "links", "blocks",
    "device",
)  # fmt: skip
LAST_SECOND = 2**63 // 10**9 - 1
"""What is later (the year 2262) is told as this: it must not come out as long ago."""
WALKED = pa.schema([*LISTED, ("device", pa.int64())])


@cache
def owner_name(uid: int) -> str | None:
    """The user's name, or None where the id does not resolve."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return None


def walked(path: pa.Array, raw: Mapping[str, Numbers]) -> pa.RecordBatch:
    """A batch in the columns WALKED; `raw` has Int64 arrays by the names RAW."""
    number = {name: integers(values) for name, values in raw.items()}
    etag = call(
        "binary_join_element_wise",
        number["modified_ns"].cast(pa.string()),
        number["inode"].cast(pa.string()),
        texts(["-"])[0],
    )
    known = batch(
        {
            "path": path,
            "etag": etag,
            "modified_at": _instants(raw["modified_ns"]),
            "native_access_at": _instants(raw["accessed_ns"]),
            "owner": _owners(raw["uid"]),
            "allocated_bytes": integers(raw["blocks"] * 512),
            **{n: number[n] for n in ("size_bytes", "uid", "gid", "mode", "inode", "links")},
        },
        len(path),
    )
    return pa.RecordBatch.from_arrays([*known.columns, number["device"]], names=WALKED.names)


def _instants(nanoseconds: Numbers) -> pa.Array:
    return integers(nanoseconds // 1000).cast(pa.timestamp("us", "UTC"))


def _owners(uids: Numbers) -> pa.Array:
    known, where = np.unique(uids, return_inverse=True)
    return texts([owner_name(int(uid)) for uid in known]).take(integers(where))


def counted_once(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The rows; of the links of one file, only the smallest path keeps its bytes."""
    several = []
    for rows in batches:
        linked = numbers(rows["links"]) > 1
        if linked.any():
            several.append(rows.take(integers(np.flatnonzero(linked))))
            yield rows.take(integers(np.flatnonzero(~linked)))
        else:
            yield rows
    if several:
        yield from _resolved(pa.Table.from_batches(several)).to_batches(max_chunksize=ROWS)


def _resolved(rows: pa.Table) -> pa.Table:
    rows = rows.sort_by("path")
    first = rows.group_by(["device", "inode"], use_threads=False).aggregate([("path", "first")])
    rows = rows.drop_columns(["link_of"]).join(first, ["device", "inode"])
    holds = call("equal", rows["path"], rows["path_first"])
    link_of = call("if_else", holds, texts([None])[0], rows["path_first"])
    nothing = integers(np.zeros(1))[0]
    for name in ("size_bytes", "allocated_bytes"):
        values = call("if_else", holds, rows[name], nothing)
        rows = rows.set_column(rows.column_names.index(name), name, values)
    return rows.append_column("link_of", link_of).select(WALKED.names)
