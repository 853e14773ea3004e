"""When a file was last touched, and how that is known."""

from __future__ import annotations

import datetime as dt

import polars as pl

SKEW = dt.timedelta(hours=24)


def dated(files: pl.LazyFrame) -> pl.LazyFrame:
    """`files` with last_access_at and evidence; `telemetry` is the latest access an agent saw.

    The latest of telemetry, the storage's own access time and the modification; the first sight
    of the file if there is none of them. Times of the storage more than 24 h after the listing
    that reported them are ignored, and the evidence is `skewed`. Of equal times telemetry wins.
    """
    limit = pl.col("last_seen_at") + SKEW
    native, modified = pl.col("native_access_at"), pl.col("modified_at")
    skewed = (native > limit).fill_null(value=False) | (modified > limit).fill_null(value=False)
    times = {
        "telemetry": pl.col("telemetry"),
        "storage": pl.when(native <= limit).then(native),
        "modified": pl.when(modified <= limit).then(modified),
    }
    latest = pl.max_horizontal(times.values()).fill_null(pl.col("first_seen_at"))
    winner = pl.coalesce(
        *(pl.when(time == pl.col("last_access_at")).then(pl.lit(kind))
          for kind, time in times.items()),
        pl.lit("first_seen"),
    )  # fmt: skip
    return files.with_columns(last_access_at=latest).with_columns(
        evidence=pl.when(skewed).then(pl.lit("skewed")).otherwise(winner)
    )
