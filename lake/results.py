"""All results at one as-of, from the world to the result tables. Pure but for the world."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import polars as pl

from lake import world as worlds
from lake.compute import Sums
from lake.compute import compute as compute_spans
from lake.index import Class, gathered
from lake.metrics import growth, quota
from lake.metrics.access import accesses, coverage
from lake.metrics.ownership import team_of
from lake.metrics.usage import ATTRIBUTIONS, GROUPS, few_prefixes, prefix, usage
from lake.parts import Part
from lake.schemas import BACKENDS, QUOTA_STATUS, STALE_ROLLUP, VERIFICATIONS
from lake.store import Lake
from lake.work import Work, workplace
from lake.world import Policy, World

COVERAGE_WINDOW = dt.timedelta(days=90)
NEVER_CRAWLED = "never crawled"
Results = dict[str, pl.DataFrame]


@dataclass(frozen=True)
class Built:
    """The results of one as-of, but for the index, which is too large to hold."""

    tables: Results
    """usage, growth, quota_status, quota_events, backends, stale_rollup."""
    index: list[Class]
    """Every row of `stale_index`, by class, in files that are gone with the place of work."""
    readers: list[Part]
    """New rows of `file_reader`, not committed."""


def build(
    world: World, policy: Policy, quotas: pl.DataFrame, before: pl.DataFrame | None = None,
    *, work: Work,
) -> Built:  # fmt: skip
    """Every result table by name; memory is bounded by one task of the runner.

    `quotas` as `lake.control.quotas` gives them; `before`: the previous quota_status.
    """
    sums = compute_spans(world.whole, work)
    used = pl.concat(
        [usage_of(world, sums, group, how) for group in GROUPS for how in ATTRIBUTIONS]
    )
    was = before if before is not None else pl.DataFrame(schema=QUOTA_STATUS.schema)
    limits = quota.status(quotas, owned_bytes(used), was, world.as_of)
    tables = {
        "usage": used,
        "growth": pl.concat([
            growth.by_backend(world.listings).collect(), growth.by_team(sums.grown)
        ]),
        "quota_status": limits,
        "quota_events": quota.crossings(was, limits, world.as_of),
        "backends": backends(world, policy, sums.owned),
        "stale_rollup": sums.rollup.sort(STALE_ROLLUP.schema.names()),
    }  # fmt: skip
    return Built(tables, sums.index, sums.readers)


def compute(
    world: World, policy: Policy, quotas: pl.DataFrame, before: pl.DataFrame | None = None
) -> Results:
    """Every result table by name, `stale_index` too: in memory, for answers and small lakes."""
    with workplace(world.lake.root) as place:
        built = build(world, policy, quotas, before, work=Work(place))
        return built.tables | {"stale_index": gathered(built.index)}


def usage_of(world: World, sums: Sums, group_by: str, attribution: str) -> pl.DataFrame:
    """Rows of `usage` for one published question."""
    owned, touched = sums.owned.lazy(), sums.touched.lazy()
    prefixes, done = sums.prefixes, sums.activity
    if group_by == "prefix":
        prefixes, done = few_prefixes(prefixes, done)
    by_path = prefixes.lazy()
    if group_by in ("user", "team"):
        stored = owned.with_columns(group=pl.col("owner" if group_by == "user" else "team"))
        seen = touched.filter(pl.col("by") == group_by)
        first_team = dict(world.first_team.iter_rows())
        who = pl.col("user") if group_by == "user" else team_of("user", first_team)
    else:
        who = pl.col("backend" if group_by == "backend" else "prefix")
        stored = seen = by_path.with_columns(group=who)
    activity = done.lazy().with_columns(group=who)
    return usage(stored, seen, activity, group_by, attribution).collect()


def prefix_rows(world: World, index: pl.LazyFrame, attribution: str, depth: int) -> pl.DataFrame:
    """Rows of `usage` by the first `depth` path segments; `index` is that of the same world."""
    group = prefix(depth)
    done = accesses(world.access)
    seen = index.join(done.select("file_id").unique(), on="file_id", how="semi")
    key = ["group", "backend"]
    stored = (
        index.with_columns(group=group).group_by(key)
        .agg(
            files=pl.len(), bytes=pl.col("size_bytes").sum(),
            seen_at=pl.col("last_access_at").max(),
        )
    )  # fmt: skip
    touched = (
        seen.with_columns(group=group).group_by(key)
        .agg(touched_files=pl.len(), touched_bytes=pl.col("size_bytes").sum())
    )  # fmt: skip
    found = usage(stored, touched, done.with_columns(group=group), "prefix", attribution)
    return found.collect(engine="streaming")


def owned_bytes(used: pl.DataFrame) -> pl.DataFrame:
    """team, backend, bytes by owner, from the rows of `usage`."""
    return used.filter(pl.col("group_by") == "team", pl.col("attribution") == "owner").select(
        "backend", "bytes", team="group"
    )


def backends(world: World, policy: Policy, owned: pl.DataFrame) -> pl.DataFrame:
    """Rows of `backends`: those of the config and those that were ever crawled, by name."""
    latest = world.listings.sort("listing").group_by("backend").last().collect()
    counted = (
        world.listings.filter(pl.col("state").is_in(worlds.COUNTED)).group_by("backend")
        .agg(crawled_at=pl.col("snapshot_at").max()).collect()
    )  # fmt: skip
    stored = owned.group_by("backend").agg(pl.col("files", "bytes").sum())
    known = pl.DataFrame(
        policy.backends, schema={"name": pl.String, "type": pl.String}, orient="row"
    )
    names = pl.concat([known["name"], latest["backend"]]).unique().sort()
    return (
        pl.DataFrame({"name": names})
        .join(known, on="name", how="left")
        .join(stored, left_on="name", right_on="backend", how="left")
        .join(latest.select("backend", "state"), left_on="name", right_on="backend", how="left")
        .join(counted, left_on="name", right_on="backend", how="left")
        .join(
            coverage(world.agents, world.as_of, COVERAGE_WINDOW, world.broken),
            left_on="name", right_on="backend", how="left",
        )
        .join(audited(world.lake, world.as_of), left_on="name", right_on="backend", how="left")
        .with_columns(
            pl.col("type").fill_null(""),
            pl.col("files", "bytes").fill_null(0),
            pl.col("state").fill_null(NEVER_CRAWLED),
        )
        .select(BACKENDS.schema.names())
        .sort("name")
    )  # fmt: skip


AUDITED = ("verified_at", "checked", "agree", "agreement_low", "agreement_high")


def audited(lake: Lake, as_of: dt.datetime) -> pl.DataFrame:
    """The latest audit of each backend up to as-of: backend and AUDITED."""
    return (
        lake.scan(VERIFICATIONS)
        .filter(pl.col("checked") > 0, pl.col("verified_at") <= as_of)
        .sort("verified_at").group_by("backend").last()
        .select("backend", *AUDITED).collect()
    )  # fmt: skip
