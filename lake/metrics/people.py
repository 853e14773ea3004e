"""What users did by day, file and job: the small rows that a person's page is made of.

Each is made of one landing day and replaced with it, and sorted by user, so that the rows of one
are found by the bounds of row groups.
"""

from __future__ import annotations

import polars as pl

from lake.metrics.access import accesses
from lake.metrics.state import ACTIVITY_SUMS

MOST_FILES = 500
ORDER = ("day", "backend", "path")
NEWEST_FIRST = (True, False, False)
"""The order of a user's files. It does not depend on what landed when: a file among the first of
all landing days is among the first of each that knows it, so that sums over them are whole."""


def user_daily(access: pl.LazyFrame) -> pl.LazyFrame:
    """Rows of `user_daily` but for the landing day, from one landing day of `access_daily`."""
    sums = (pl.col(name).sum() for name in ACTIVITY_SUMS)
    return (
        accesses(access)
        .group_by("user", "day", "backend")
        .agg(*sums, files=pl.len().cast(pl.Int64))  # a file is one row of a user and day
        .sort("user", "day", "backend")
    )


def user_files(access: pl.LazyFrame) -> pl.LazyFrame:
    """Rows of `user_files` but for the landing day, from one landing day of `access_daily`."""
    # The table is in order of backend and path: most rows go before a path is read or sorted.
    rows = access.with_row_index("row")
    first = pl.int_range(pl.len()).over("user", "day") < MOST_FILES
    kept = accesses(rows).select("row", "user", "day").filter(first).select("row").collect()
    return (
        rows.join(kept.lazy(), on="row", how="semi")
        .select("user", *ORDER, *ACTIVITY_SUMS, "last_access_at")
        .sort("user", *ORDER, descending=[False, *NEWEST_FIRST])
        .filter(pl.int_range(pl.len()).over("user") < MOST_FILES)
    )


def user_jobs(events: pl.LazyFrame) -> pl.LazyFrame:
    """Rows of `user_jobs` but for the landing day, from the events of one landing day."""
    job = pl.when(pl.col("job") != "").then("job").otherwise("pod")
    mine = events.filter(
        pl.col("op").is_in(["read", "write"]), pl.col("error") == "", pl.col("user") != "",
        (pl.col("job") != "") | (pl.col("pod") != ""),
    )  # fmt: skip
    return (
        mine.group_by("user", "day", job=job)
        .agg(
            nodes=pl.col("node").unique().sort(),
            first_at=pl.col("ts").min(),
            last_at=pl.col("ts").max(),
            files=pl.col("file_id").n_unique().cast(pl.Int64),
            accesses=pl.col("count").sum(),
            bytes_read=pl.col("bytes_read").sum(),
            bytes_written=pl.col("bytes_written").sum(),
        )
        .sort("user", "job", "day")
    )
