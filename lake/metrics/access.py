"""Events folded per file, user and day; the agents' heartbeats folded per node and hour."""

from __future__ import annotations

import datetime as dt

import polars as pl

from lake.schemas import ACCESS_DAILY, AGENTS

HEARTBEATS_PER_HOUR = 60
UNBROKEN = 55  # a restart or a slow minute does not break an hour
SEEN_WITHIN = dt.timedelta(days=7)
DAY_US = 86_400_000_000
_NUMBERS = ("file_id", "user", "day")


def daily(events: pl.LazyFrame, landing_day: str) -> pl.LazyFrame:
    """Rows of `access_daily` from events. Only reads and writes that did not fail are accesses.

    Numbers are grouped by file_id, and sorted by the place of the path among the sorted paths:
    texts are neither hashed nor compared once per event, and fetched last. Collected by the
    streaming engine a day of 5 M events takes 1.3 GB.
    """
    op, ok = pl.col("op"), pl.col("error") == ""
    read, write = ok & (op == "read"), ok & (op == "write")
    weighted = pl.col("count") * pl.col("weight")
    sums = {
        "read_count": _where(read, pl.col("count")),
        "write_count": _where(write, pl.col("count")),
        "stat_count": _where(op == "stat", weighted),
        "list_count": _where(op == "list", weighted),
        "bytes_read": _where(read, pl.col("bytes_read")),
        "bytes_written": _where(write, pl.col("bytes_written")),
        "bytes_hit": _where(read, pl.col("bytes_hit")),
    }
    seen = events.filter(op != "agent")
    rows = (
        seen.select(
            *_NUMBERS,
            **sums,
            first_write_at=pl.when(write).then("ts"),
            last_access_at=pl.when(read | write).then("ts"),
        )
        .group_by(_NUMBERS)
        .agg(pl.col(list(sums)).sum(), pl.col("first_write_at").min(),
             pl.col("last_access_at").max())
    )  # fmt: skip
    paths = seen.select("file_id", "backend", "path").unique("file_id").sort("backend", "path")
    places = paths.with_row_index("place")
    return (
        rows.join(places.select("file_id", "place"), on="file_id")
        .sort("place", "user", "day")
        .join(places.select("place", "backend", "path"), on="place", how="left",
              maintain_order="left")
        .with_columns(landing_day=pl.lit(landing_day))
        .select(ACCESS_DAILY.schema.names())
    )  # fmt: skip


def _where(which: pl.Expr, value: pl.Expr) -> pl.Expr:
    return pl.when(which).then(value).otherwise(0)


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


def coverage(
    agents: pl.LazyFrame,
    as_of: dt.datetime,
    window: dt.timedelta,
    broken: pl.LazyFrame | None = None,
) -> pl.DataFrame:
    """Share of node-hours with unbroken heartbeats and no gap in seq, per backend.

    Columns backend, coverage (0…1). Counted over `window` up to `as_of`, for the nodes that
    mounted the backend within seven days before it; a backend without such a node has no row.
    `broken`: node, hour of landing hours with a gap.
    """
    return share(whole_hours(agents, as_of, window, broken), as_of, window)


def whole_hours(
    agents: pl.LazyFrame,
    as_of: dt.datetime,
    window: dt.timedelta,
    broken: pl.LazyFrame | None = None,
) -> pl.DataFrame:
    """backend, at, whole, nodes: how many of the backend's nodes were heard all of that hour.

    The `nodes` are those that `coverage` counts. For any window of SEEN_WITHIN or more they are
    the same, so that one frame answers for all shorter ones.
    """
    hour = (pl.col("hour") + ":00").str.to_datetime(
        "%Y-%m-%dT%H:%M", time_unit="us", time_zone="UTC"
    )
    nowhere = pl.LazyFrame(schema={"node": pl.String, "hour": pl.String})
    gaps = (nowhere if broken is None else broken).with_columns(gap=pl.lit(value=True))
    seen = (
        agents.with_columns(at=hour)
        .filter(pl.col("at") <= as_of, pl.col("at") > as_of - window)
        .explode("backends", empty_as_null=False)
        .rename({"backends": "backend"})
    )
    recent = seen.filter(pl.col("at") > as_of - SEEN_WITHIN).select("backend", "node").unique()
    counted = recent.with_columns(nodes=pl.len().over("backend"))
    unbroken = (pl.col("beats") >= UNBROKEN) & pl.col("gap").is_null()
    return (
        seen.join(counted, on=["backend", "node"])
        .group_by("backend", "node", "hour", "at", "nodes")
        .agg(beats=pl.col("heartbeats").sum())
        .join(gaps, on=["node", "hour"], how="left")
        .group_by("backend", "at", "nodes")
        .agg(whole=unbroken.sum())
        .collect()
    )


def share(hours: pl.DataFrame, as_of: dt.datetime, window: dt.timedelta) -> pl.DataFrame:
    """Rows of `coverage` from those of `whole_hours`, of this window or a longer one."""
    within = hours.filter(pl.col("at") > as_of - window)
    expected = pl.col("nodes").first() * (window / dt.timedelta(hours=1))
    return (
        within.group_by("backend")
        .agg(coverage=(pl.col("whole").sum() / expected).clip(0, 1))
        .sort("backend")
    )


def shares(hours: pl.DataFrame, as_of: dt.datetime, windows: range) -> pl.DataFrame:
    """backend, coverage: a list of what `share` says of each of these windows, in days."""
    ago = (pl.lit(as_of) - pl.col("at")).dt.total_microseconds()
    first = (ago // DAY_US + 1).clip(lower_bound=windows[0])  # the shortest window it is within
    added = hours.group_by("backend", days=first).agg(whole=pl.col("whole").sum().cast(pl.Int64))
    days = pl.DataFrame({"days": list(windows)}, schema={"days": pl.Int64})
    nodes = hours.group_by("backend").agg(pl.col("nodes").first())
    whole = pl.col("whole").fill_null(0).cum_sum().over("backend", order_by="days")
    expected = pl.col("nodes") * (pl.col("days") * 24.0)
    return (
        nodes.join(days, how="cross")
        .join(added, on=["backend", "days"], how="left")
        .with_columns(coverage=(whole / expected).clip(0, 1))
        .sort("backend", "days")
        .group_by("backend", maintain_order=True)
        .agg("coverage")
    )
