"""Events folded per file, user and day; the agents' heartbeats folded per node and hour."""

from __future__ import annotations

import datetime as dt

import polars as pl

from lake.schemas import ACCESS_DAILY, AGENTS

HEARTBEATS_PER_HOUR = 60
UNBROKEN = 55  # a restart or a slow minute does not break an hour
SEEN_WITHIN = dt.timedelta(days=7)
KEY = ("backend", "path", "file_id", "user", "day")


def daily(events: pl.LazyFrame, landing_day: str) -> pl.LazyFrame:
    """Rows of `access_daily` from events. Only reads and writes that did not fail are accesses."""
    ok = pl.col("error") == ""
    read, write = ok & (pl.col("op") == "read"), ok & (pl.col("op") == "write")
    weighted = pl.col("count") * pl.col("weight")
    return (
        events.filter(pl.col("op") != "agent")
        .group_by(KEY)
        .agg(
            read_count=pl.col("count").filter(read).sum(),
            write_count=pl.col("count").filter(write).sum(),
            stat_count=weighted.filter(pl.col("op") == "stat").sum(),
            list_count=weighted.filter(pl.col("op") == "list").sum(),
            bytes_read=pl.col("bytes_read").filter(read).sum(),
            bytes_written=pl.col("bytes_written").filter(write).sum(),
            bytes_hit=pl.col("bytes_hit").filter(read).sum(),
            first_write_at=pl.col("ts").filter(write).min(),
            last_access_at=pl.col("ts").filter(read | write).max(),
        )
        .with_columns(landing_day=pl.lit(landing_day))
        .select(ACCESS_DAILY.schema.names())
        .sort(KEY)
    )


def heartbeats(events: pl.LazyFrame, landing_day: str) -> pl.LazyFrame:
    """Rows of `agents` from the events of op agent."""
    beats = events.filter(pl.col("op") == "agent").sort("ts")
    return (
        beats.with_columns(hour=pl.col("ts").dt.strftime("%Y-%m-%dT%H"))
        .group_by("hour", "node", "boot")
        .agg(
            heartbeats=pl.len().cast(pl.Int64),
            last_seq=pl.col("seq").max(),
            drops=pl.col("drops").max().fill_null(0),
            backends=pl.col("backends").drop_nulls().last().fill_null([]),
        )
        .with_columns(landing_day=pl.lit(landing_day))
        .select(AGENTS.schema.names())
        .sort("hour", "node", "boot")
    )


def accesses(access: pl.LazyFrame) -> pl.LazyFrame:
    """Rows that are accesses by somebody: reads or writes with a user and a backend."""
    happened = pl.col("last_access_at").is_not_null()
    return access.filter(happened, pl.col("user") != "", pl.col("backend") != "")


def coverage(agents: pl.LazyFrame, as_of: dt.datetime, window: dt.timedelta) -> pl.DataFrame:
    """Share of node-hours with unbroken heartbeats, per backend.

    Columns backend, coverage (0…1). Counted over `window` up to `as_of`, for the nodes that
    mounted the backend within seven days before it; a backend without such a node has no row.
    """
    hour = (pl.col("hour") + ":00").str.to_datetime(
        "%Y-%m-%dT%H:%M", time_unit="us", time_zone="UTC"
    )
    seen = (
        agents.with_columns(at=hour)
        .filter(pl.col("at") <= as_of, pl.col("at") > as_of - window)
        .explode("backends", empty_as_null=False)
        .rename({"backends": "backend"})
    )
    recent = seen.filter(pl.col("at") > as_of - SEEN_WITHIN).select("backend", "node").unique()
    hours = window / dt.timedelta(hours=1)
    return (
        seen.join(recent, on=["backend", "node"], how="semi")
        .group_by("backend", "node", "hour")
        .agg(beats=pl.col("heartbeats").sum())
        .group_by("backend")
        .agg(
            whole=(pl.col("beats") >= UNBROKEN).sum(),
            nodes=pl.col("node").n_unique(),
        )
        .select("backend", coverage=(pl.col("whole") / (pl.col("nodes") * hours)).clip(0, 1))
        .sort("backend")
        .collect()
    )
