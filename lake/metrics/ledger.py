"""How complete telemetry is: per node and landing hour, from the ledger and the heartbeats."""

from __future__ import annotations

import polars as pl

from storage.units import MAX_GAPS

COLUMNS = (
    "node", "hour", "events", "objects", "gaps", "duplicates", "late_seconds", "quarantined",
    "drops",
)  # fmt: skip


def by_node_and_hour(ledger: pl.LazyFrame, agents: pl.LazyFrame) -> pl.LazyFrame:
    """One row per node and landing hour, newest hour first.

    `ledger`: the latest row of each object; `agents`: rows of agents. `gaps`: sequence numbers
    that are missing before an object of its boot; `late_seconds`: how long after the end of its
    hour the last object landed; `drops`: events the agent says it lost in that hour.
    """
    key = ["node", "hour"]
    counted = pl.col("state") == "ingested"
    hour_end = (pl.col("hour") + ":00").str.to_datetime(
        "%Y-%m-%dT%H:%M", time_unit="us", time_zone="UTC", strict=False
    ) + pl.duration(hours=1)
    late = (pl.col("landed_at") - hour_end).dt.total_seconds().clip(lower_bound=0)
    rows = (
        ledger.join(_gaps(ledger.filter(counted)), on="object", how="left")
        .group_by(key)
        .agg(
            pl.col("events", "quarantined", "gaps").sum(),
            objects=pl.len().cast(pl.Int64),
            duplicates=(~counted).sum().cast(pl.Int64),
            late_seconds=late.max().fill_null(0),
        )
    )
    return (
        rows.join(_drops(agents), on=key, how="left")
        .with_columns(pl.col("drops").fill_null(0))
        .select(COLUMNS)
        .sort(["hour", "node"], descending=[True, False])
    )


def latest(ledger: pl.LazyFrame) -> pl.LazyFrame:
    """The latest row of each object, of all rows of the ledger."""
    return ledger.sort("batch", "ingested_at").group_by("object").last()


def broken_hours(ledger: pl.LazyFrame) -> pl.LazyFrame:
    """node, hour: landing hours before whose objects sequence numbers are missing."""
    objects = latest(ledger).filter(pl.col("state") == "ingested")
    found = _gaps(objects).filter(pl.col("gaps") > 0)
    return objects.join(found, on="object", how="semi").select("node", "hour").unique()


def _gaps(objects: pl.LazyFrame) -> pl.LazyFrame:
    """object, gaps: numbers missing between it and the object before; a boot begins with 1."""
    before = pl.col("last_seq").shift(1).over("node", "boot", order_by="first_seq").fill_null(0)
    missing = (pl.col("first_seq") - before - 1).clip(0, MAX_GAPS)
    return objects.filter(pl.col("boot") != "").select("object", gaps=missing)


def _drops(agents: pl.LazyFrame) -> pl.LazyFrame:
    """node, hour, drops: the heartbeats count from the start of the recorder."""
    boots = agents.group_by("node", "boot", "hour").agg(pl.col("drops").max())
    before = pl.col("drops").shift(1).over("node", "boot", order_by="hour").fill_null(0)
    return (
        boots.with_columns(drops=pl.col("drops") - before)
        .group_by("node", "hour")
        .agg(pl.col("drops").sum())
    )
