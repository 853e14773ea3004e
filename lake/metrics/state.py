"""What is kept per file and user: partials of one landing day, and how they are folded.

A partial says everything about its landing day and is replaced with it. Fields of `file_state`
are latest and earliest only, so that folding the same day twice changes nothing. Rows of
`file_user` keep the landing day they came from while their bytes count for ownership: a day that
is opened again takes the place of what was folded of it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection

import polars as pl

from lake.metrics.access import accesses
from lake.metrics.ownership import NOBODY, READER_WINDOW
from lake.metrics.usage import first_segment

BASE = "base"
UNFOLDED = "-1"
STATE = ("file_id", "last_access_at", "first_write_at", "first_writer")
USERS = ("file_id", "user", "source_day", "day", "bytes_read", "last_access_at")
ACTIVITY_SUMS = ("read_count", "write_count", "bytes_read", "bytes_written")


def file_state(access: pl.LazyFrame) -> pl.LazyFrame:
    """Rows of `file_state` (STATE), sorted by file_id, from rows of `access_daily`."""
    named = ~pl.col("user").is_in(NOBODY)
    written = (
        accesses(access).filter(named, pl.col("first_write_at").is_not_null())
        .select("file_id", "first_write_at", first_writer="user")
    )  # fmt: skip
    seen = accesses(access).group_by("file_id").agg(pl.col("last_access_at").max())
    return (
        seen.join(_earliest(written), on="file_id", how="left").select(STATE).sort("file_id")
    )  # fmt: skip


def file_user(access: pl.LazyFrame, landing_day: str) -> pl.LazyFrame:
    """Rows of `file_user` (USERS), sorted by file_id, from one landing day of `access_daily`."""
    return (
        accesses(access)
        .group_by("file_id", "user", "day")
        .agg(pl.col("bytes_read").sum(), pl.col("last_access_at").max())
        .with_columns(source_day=pl.lit(landing_day))
        .select(USERS)
        .sort("file_id", "user", "day")
    )


def activity(access: pl.LazyFrame) -> pl.LazyFrame:
    """Rows of `activity` but for its landing day, from rows of `access_daily`."""
    return (
        accesses(access)
        .with_columns(prefix=first_segment())
        .group_by("backend", "prefix", "user")
        .agg(*(pl.col(name).sum() for name in ACTIVITY_SUMS), pl.col("last_access_at").max())
        .sort("backend", "prefix", "user")
    )


def folded_state(rows: pl.LazyFrame) -> pl.LazyFrame:
    """One row per file from any rows of `file_state`, sorted by file_id."""
    seen = rows.group_by("file_id").agg(pl.col("last_access_at").max())
    written = rows.filter(pl.col("first_writer").is_not_null())
    return seen.join(_earliest(written), on="file_id", how="left").select(STATE).sort("file_id")


def state_with(base: pl.DataFrame, partials: pl.DataFrame) -> pl.DataFrame:
    """One row per file from a base that has one and partials; only what changed is grouped."""
    if partials.is_empty():
        return base
    new = partials.lazy().select("file_id").unique()
    changed = base.lazy().join(new, on="file_id", how="semi")
    same = base.lazy().join(new, on="file_id", how="anti")
    folded = folded_state(pl.concat([changed, partials.lazy()]))
    return pl.concat([same.select(STATE), folded]).collect()


def pairs(base: pl.DataFrame, partials: pl.DataFrame) -> pl.DataFrame:
    """file_id, user: who ever touched which file, once. `base` is sorted by both."""
    again = (pl.col("file_id") == pl.col("file_id").shift(1)) & (
        pl.col("user") == pl.col("user").shift(1)
    )
    known = base.lazy().select("file_id", "user").filter(~again.fill_null(value=False))
    if partials.is_empty():
        return known.collect()
    key = ["file_id", "user"]
    new = partials.lazy().select(key).unique()
    there = known.join(new.select("file_id").unique(), on="file_id", how="semi")
    return pl.concat([known, new.join(there, on=key, how="anti")]).collect()


def folded_users(
    base: pl.LazyFrame, partials: pl.LazyFrame, replaced: Collection[str], today: dt.date
) -> pl.LazyFrame:
    """`file_user` rows of folded days and of partials as one, sorted by file_id, user and day.

    `replaced`: landing days whose partials take the place of what `base` holds of them. Days that
    no window of ownership from `today` on can reach are joined to one row per file and user.
    """
    rows = pl.concat([in_force(base, replaced), partials])
    old = pl.col("day").is_null() | (pl.col("day") <= today - READER_WINDOW)
    joined = (
        rows.filter(old).group_by("file_id", "user").agg(pl.col("last_access_at").max())
        .with_columns(
            source_day=pl.lit(""), day=pl.lit(None, pl.Date), bytes_read=pl.lit(0, pl.Int64)
        )
        .select(USERS)
    )  # fmt: skip
    return pl.concat([rows.filter(~old).select(USERS), joined]).sort(
        "file_id", "user", "day", "source_day"
    )


def in_force(base: pl.LazyFrame, replaced: Collection[str]) -> pl.LazyFrame:
    """Folded `file_user` rows without those of the landing days that have a partial again."""
    return base.filter(~pl.col("source_day").is_in(list(replaced))) if replaced else base


def _earliest(written: pl.LazyFrame) -> pl.LazyFrame:
    """file_id, first_write_at, first_writer: the earliest write, ties by name."""
    first = pl.col("first_write_at").min()
    return written.group_by("file_id").agg(
        first, pl.col("first_writer").filter(pl.col("first_write_at") == first).min()
    )
