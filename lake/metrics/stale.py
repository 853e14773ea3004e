"""When a file was last touched, and how that is known."""

from __future__ import annotations

import datetime as dt

import polars as pl

from lake.metrics.access import accesses

SKEW = dt.timedelta(hours=24)


def last_access(files: pl.LazyFrame, access: pl.LazyFrame) -> pl.LazyFrame:
    """file_id, last_access_at, evidence for each row of `files`.

    The latest of telemetry, the storage's own access time and the modification; the first sight
    of the file if there is none of them. Times of the storage more than 24 h after the listing
    that reported them are ignored, and the evidence is `skewed`. Of equal times telemetry wins.
    """
    seen = accesses(access).group_by("file_id").agg(telemetry=pl.col("last_access_at").max())
    limit = pl.col("last_seen_at") + SKEW
    native, modified = pl.col("native_access_at"), pl.col("modified_at")
    skewed = (native > limit).fill_null(value=False) | (modified > limit).fill_null(value=False)
    kinds = ("telemetry", "storage", "modified")
    winner = pl.coalesce(
        *(pl.when(pl.col(k) == pl.col("last_access_at")).then(pl.lit(k)) for k in kinds),
        pl.lit("first_seen"),
    )
    return (
        files.join(seen, on="file_id", how="left")
        .with_columns(
            storage=pl.when(native <= limit).then(native),
            modified=pl.when(modified <= limit).then(modified),
            skewed=skewed,
        )
        .with_columns(
            last_access_at=pl.max_horizontal(kinds).fill_null(pl.col("first_seen_at")),
        )
        .select(
            "file_id",
            "last_access_at",
            evidence=pl.when("skewed").then(pl.lit("skewed")).otherwise(winner),
        )
    )
