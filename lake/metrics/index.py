"""The index of files as it was: changes replayed over it."""

from __future__ import annotations

import polars as pl


def replay(files: pl.LazyFrame, changes: pl.LazyFrame) -> pl.LazyFrame:
    """The index after `changes` (in order of listing), from the index before them.

    `last_seen_at` of a file that did not change stays what it was before.
    """
    newest = changes.sort("listing").group_by("file_id").last()
    untouched = files.join(newest, on="file_id", how="anti")
    upserts = newest.filter(pl.col("change") != "removed").with_columns(
        last_seen_at=pl.col("snapshot_at")
    )
    names = files.collect_schema().names()
    return pl.concat([untouched.select(names), upserts.select(names)])
