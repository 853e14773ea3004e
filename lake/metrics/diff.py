"""What changed between the ends of two days, and whose it is."""

from __future__ import annotations

import datetime as dt

import polars as pl

COLUMNS = (
    "group", "backend", "added_files", "added_bytes", "removed_files", "removed_bytes",
    "changed_bytes",
)  # fmt: skip


def between(changes: pl.LazyFrame, first: dt.date, last: dt.date) -> pl.LazyFrame:
    """One row per file whose state at the end of `last` differs from that at the end of `first`.

    Columns backend, path, file_id, was_bytes and is_bytes (null where it was not there).
    `changes`: rows of file_changes. A file that came and went in between is not in it.
    """
    day = pl.col("snapshot_at").dt.date()
    existed, exists = pl.col("began") != "added", pl.col("ended") != "removed"
    return (
        changes.filter(day > first, day <= last)
        .sort("listing")
        .group_by("backend", "file_id")
        .agg(
            pl.col("path").last(),
            began=pl.col("change").first(),
            ended=pl.col("change").last(),
            was=pl.col("previous_bytes").first(),
            now=pl.col("size_bytes").last(),
        )
        .filter(existed | exists)
        .select(
            "backend", "path", "file_id",
            was_bytes=pl.when(existed).then("was"), is_bytes=pl.when(exists).then("now"),
        )
    )  # fmt: skip


def summed(files: pl.LazyFrame) -> pl.LazyFrame:
    """Added, removed and changed per `group` and backend; files as `between` gives them."""
    was, now = pl.col("was_bytes"), pl.col("is_bytes")
    added, removed = was.is_null(), now.is_null()
    return (
        files.group_by("group", "backend")
        .agg(
            added_files=added.sum().cast(pl.Int64),
            added_bytes=now.filter(added).sum(),
            removed_files=removed.sum().cast(pl.Int64),
            removed_bytes=was.filter(removed).sum(),
            changed_bytes=(now - was).filter(~added & ~removed).sum(),
        )
        .select(COLUMNS)
        .sort(["added_bytes", "removed_bytes", "group", "backend"],
              descending=[True, True, False, False])
    )  # fmt: skip
