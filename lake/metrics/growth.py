"""Files and bytes at the end of each day that has a listing."""

from __future__ import annotations

import polars as pl

from lake.schemas import GROWTH

COUNTED = ("complete", "partial", "late")


def by_backend(listings: pl.LazyFrame) -> pl.LazyFrame:
    """Rows of `growth` by backend: the last listing of each day that counts.

    A held listing is no point; a late one (older than what was taken before it) is a point only.
    """
    return (
        listings.filter(pl.col("state").is_in(COUNTED))
        .with_columns(day=pl.col("snapshot_at").dt.date())
        .sort("snapshot_at", "listing")
        .group_by("backend", "day", maintain_order=True)
        .agg(
            pl.col("files", "bytes").last(),
            pl.col("added_bytes", "removed_bytes").sum(),
        )
        .with_columns(by=pl.lit("backend"), team=pl.lit(""))
        .select(GROWTH.schema.names())
        .sort("backend", "day")
    )


def daily(changes: pl.LazyFrame, teams: pl.LazyFrame) -> pl.LazyFrame:
    """What came and went per backend, team and day: came (files), grew, added_, removed_bytes.

    `teams`: file_id, team, for every file ever seen; a file counts for the team of its owner at
    as-of on every day, so the teams of a day add up to the backend.
    """
    delta = pl.col("size_bytes") - pl.col("previous_bytes")
    sign = (pl.col("change") == "added").cast(pl.Int64) - (pl.col("change") == "removed").cast(
        pl.Int64
    )
    return (
        changes.select("backend", "file_id", day=pl.col("snapshot_at").dt.date(), delta=delta,
                       sign=sign)
        .join(teams, on="file_id", how="left")
        .group_by("backend", "team", "day")
        .agg(
            came=pl.col("sign").sum(),
            grew=pl.col("delta").sum(),
            added_bytes=pl.col("delta").filter(pl.col("delta") > 0).sum(),
            removed_bytes=-pl.col("delta").filter(pl.col("delta") < 0).sum(),
        )
    )  # fmt: skip


def by_team(days: pl.DataFrame) -> pl.DataFrame:
    """Rows of `growth` by backend and team, from the rows of `daily`."""
    return (
        days.sort("backend", "team", "day")
        .with_columns(
            files=pl.col("came").cum_sum().over("backend", "team"),
            bytes=pl.col("grew").cum_sum().over("backend", "team"),
            by=pl.lit("team"),
        )
        .select(GROWTH.schema.names())
    )
