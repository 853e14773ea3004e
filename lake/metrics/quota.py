"""Quotas against what teams own."""

from __future__ import annotations

import datetime as dt

import polars as pl

from lake.schemas import QUOTA_EVENTS, QUOTA_STATUS


def status(
    quotas: pl.DataFrame, owned: pl.DataFrame, before: pl.DataFrame, as_of: dt.datetime
) -> pl.DataFrame:
    """Rows of `quota_status`, by team and backend.

    `quotas`: quota_id, team, backend (empty = all), soft_bytes, hard_bytes, grace_seconds.
    `owned`: team, backend, bytes. `before`: the previous quota_status, which knows since when a
    soft limit is crossed. A limit of 0 is none; reaching a limit is crossing it.
    """
    everywhere = owned.group_by("team").agg(pl.col("bytes").sum()).with_columns(backend=pl.lit(""))
    usage = pl.concat([owned.select("team", "backend", "bytes"),
                       everywhere.select("team", "backend", "bytes")])  # fmt: skip
    since = before.select("team", "backend", was_since="soft_since_at")
    used, soft, hard = (pl.col(n) for n in ("usage_bytes", "soft_bytes", "hard_bytes"))
    over_soft = (soft > 0) & (used >= soft)
    at = pl.lit(as_of).cast(pl.Datetime("us", "UTC"))
    grace = pl.duration(seconds="grace_seconds")
    until = pl.when(pl.col("grace_seconds") > 0).then(pl.col("soft_since_at") + grace)
    return (
        quotas.join(usage, on=["team", "backend"], how="left")
        .join(since, on=["team", "backend"], how="left")
        .with_columns(usage_bytes=pl.col("bytes").fill_null(0))
        .with_columns(soft_since_at=pl.when(over_soft).then(pl.coalesce("was_since", at)))
        .with_columns(grace_until_at=until)
        .with_columns(
            status=pl.when((hard > 0) & (used >= hard))
            .then(pl.lit("EXCEEDED"))
            .when(pl.col("grace_until_at") <= at)
            .then(pl.lit("EXCEEDED"))
            .when(over_soft)
            .then(pl.lit("WARNING"))
            .otherwise(pl.lit("OK"))
        )
        .select(QUOTA_STATUS.schema.names())
        .sort("team", "backend")
    )


def told(events: pl.DataFrame) -> pl.DataFrame:
    """team, backend, status that the rows of `quota_events` lead to, from OK.

    In whatever order they are: what was entered once more often than left is where it stands.
    """
    key = ["team", "backend"]
    steps = [
        events.select(*key, status=name, n=pl.lit(n)) for name, n in (("after", 1), ("before", -1))
    ] + [events.select(*key, status=pl.lit("OK"), n=pl.lit(1)).unique()]
    net = pl.concat(steps).group_by(*key, "status").agg(pl.col("n").sum())
    return net.filter(pl.col("n") > 0).unique(key, keep="first").drop("n")


def crossings(before: pl.DataFrame, after: pl.DataFrame, as_of: dt.datetime) -> pl.DataFrame:
    """Rows of `quota_events`: quotas whose status is not what it was (OK where it was not)."""
    was = before.select("team", "backend", before="status")
    used, hard = pl.col("usage_bytes"), pl.col("hard_bytes")
    limit = pl.when((hard > 0) & (used >= hard)).then(hard).otherwise("soft_bytes")
    return (
        after.join(was, on=["team", "backend"], how="left")
        .with_columns(pl.col("before").fill_null("OK"))
        .filter(pl.col("before") != pl.col("status"))
        .with_columns(
            after="status", limit_bytes=limit, at=pl.lit(as_of).cast(pl.Datetime("us", "UTC"))
        )
        .select(QUOTA_EVENTS.schema.names())
    )
