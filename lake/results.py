"""All results at one as-of, from the world to the result tables. Pure but for the world."""

from __future__ import annotations

import datetime as dt

import polars as pl

from lake import world as worlds
from lake.metrics import growth, quota
from lake.metrics.access import coverage
from lake.metrics.ownership import team_of
from lake.metrics.usage import ATTRIBUTIONS, GROUPS, prefix, usage
from lake.schemas import BACKENDS, QUOTA_STATUS
from lake.world import Policy, World

COVERAGE_WINDOW = dt.timedelta(days=90)
NEVER_CRAWLED = "never crawled"
Results = dict[str, pl.DataFrame]


def compute(
    world: World, policy: Policy, quotas: pl.DataFrame, before: pl.DataFrame | None = None
) -> Results:
    """Every result table by name.

    `quotas` as `lake.control.quotas` gives them; `before`: the previous quota_status.
    """
    index = worlds.stale_index(world)
    used = pl.concat([
        usage_rows(world, index, group, how) for group in GROUPS for how in ATTRIBUTIONS
    ])  # fmt: skip
    team_changes = growth.by_team(world.changes, worlds.teams_of_files(world)).collect()
    per_backend = growth.by_backend(world.listings).collect()
    was = before if before is not None else pl.DataFrame(schema=QUOTA_STATUS.schema)
    limits = quota.status(quotas, owned_bytes(used), was, world.as_of)
    return {
        "stale_index": index,
        "usage": used,
        "growth": pl.concat([per_backend, team_changes]),
        "quota_status": limits,
        "quota_events": quota.crossings(was, limits, world.as_of),
        "backends": backends(world, policy),
    }


def usage_rows(
    world: World, index: pl.DataFrame, group_by: str, attribution: str, depth: int = 1
) -> pl.DataFrame:
    """Rows of `usage` for one question; `index` is the stale_index of the same world."""
    if group_by == "user":
        mine, theirs = pl.col("user"), pl.col("owner")
    elif group_by == "team":
        mine, theirs = team_of("user", world.first_team), pl.col("team")
    else:
        mine = theirs = pl.col("backend") if group_by == "backend" else prefix(depth)
    return usage(
        index.lazy().with_columns(group=theirs),
        worlds.grouped_access(world, mine),
        group_by,
        attribution,
    ).collect()


def owned_bytes(used: pl.DataFrame) -> pl.DataFrame:
    """team, backend, bytes by owner, from the rows of `usage`."""
    return used.filter(pl.col("group_by") == "team", pl.col("attribution") == "owner").select(
        "backend", "bytes", team="group"
    )


def backends(world: World, policy: Policy) -> pl.DataFrame:
    """Rows of `backends`: those of the config and those that were ever crawled, by name."""
    latest = world.listings.sort("listing").group_by("backend").last().collect()
    counted = (
        world.listings.filter(pl.col("state").is_in(worlds.COUNTED)).group_by("backend")
        .agg(crawled_at=pl.col("snapshot_at").max()).collect()
    )  # fmt: skip
    stored = world.files.group_by("backend").agg(
        files=pl.len().cast(pl.Int64), bytes=pl.col("size_bytes").sum()
    )
    known = pl.DataFrame(
        policy.backends, schema={"name": pl.String, "type": pl.String}, orient="row"
    )
    names = pl.concat([known["name"], latest["backend"]]).unique().sort()
    return (
        pl.DataFrame({"name": names})
        .join(known, on="name", how="left")
        .join(stored.collect(), left_on="name", right_on="backend", how="left")
        .join(latest.select("backend", "state"), left_on="name", right_on="backend", how="left")
        .join(counted, left_on="name", right_on="backend", how="left")
        .join(
            coverage(world.agents, world.as_of, COVERAGE_WINDOW),
            left_on="name", right_on="backend", how="left",
        )
        .with_columns(
            pl.col("type").fill_null(""),
            pl.col("files", "bytes").fill_null(0),
            pl.col("state").fill_null(NEVER_CRAWLED),
        )
        .select(BACKENDS.schema.names())
        .sort("name")
    )  # fmt: skip
