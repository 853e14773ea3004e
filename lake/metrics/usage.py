"""What each group stores and does, per backend."""

from __future__ import annotations

import polars as pl

from lake.metrics.access import accesses
from lake.schemas import USAGE

GROUPS = ("user", "team", "backend", "prefix")
ATTRIBUTIONS = ("owner", "access")
_ACTIVITY = ("read_count", "write_count", "bytes_read", "bytes_written")


def usage(
    files: pl.LazyFrame, access: pl.LazyFrame, group_by: str, attribution: str
) -> pl.LazyFrame:
    """Rows of `usage` for one grouping, largest first, ties by group and backend.

    `files`: backend, path, file_id, size_bytes, last_access_at, group (of the owner; of the path
    for backend and prefix). `access`: access_daily rows with `group`. Files and bytes are those
    owned by the group or, under `access`, the distinct living ones it ever touched; the activity
    is the group's own in both.
    """
    key = ["group", "backend"]
    done = accesses(access)
    touched = (
        _touched(done, files)
        .group_by(key)
        .agg(touched_files=pl.len(), touched_bytes=pl.col("size_bytes").sum())
    )
    activity = done.group_by(key).agg(
        *(pl.col(name).sum() for name in _ACTIVITY), acted_at=pl.col("last_access_at").max()
    )
    stored = files.group_by(key).agg(
        files=pl.len(), bytes=pl.col("size_bytes").sum(), seen_at=pl.col("last_access_at").max()
    )
    by_group = activity.join(touched, on=key, how="left")
    if attribution == "owner":
        rows = stored.join(by_group, on=key, how="full", coalesce=True).rename(
            {"seen_at": "last_access"}
        )
    else:
        rows = by_group.with_columns(
            files="touched_files", bytes="touched_bytes", last_access="acted_at"
        )
    return _shaped(rows, group_by, attribution)


def _touched(done: pl.LazyFrame, files: pl.LazyFrame) -> pl.LazyFrame:
    pairs = done.select("group", "file_id").unique()
    return pairs.join(files.select("backend", "file_id", "size_bytes"), on="file_id")


def _shaped(rows: pl.LazyFrame, group_by: str, attribution: str) -> pl.LazyFrame:
    counts = ("files", "bytes", *_ACTIVITY, "touched_bytes")
    return (
        rows.with_columns(
            *(pl.col(name).cast(pl.Int64).fill_null(0) for name in counts),
            last_access_at=pl.col("last_access"),
            group_by=pl.lit(group_by),
            attribution=pl.lit(attribution),
        )
        .select(USAGE.schema.names())
        .sort(["bytes", "group", "backend"], descending=[True, False, False])
    )


def prefix(depth: int) -> pl.Expr:
    """The first `depth` segments of `path`."""
    return pl.col("path").str.split("/").list.head(depth).list.join("/")
