"""What is known at one instant: the tables as they were at as-of, ready for the metrics."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import polars as pl

from lake import control
from lake.metrics.access import daily
from lake.metrics.index import ever_seen, replay
from lake.metrics.ownership import UNASSIGNED, Rule, owners, prefix_rules, team_of
from lake.metrics.stale import last_access
from lake.schemas import ACCESS_DAILY, AGENTS, EVENTS, FILE_CHANGES, FILES, LISTINGS, STALE_INDEX
from lake.store import Lake
from storage.config import Config

COUNTED = ("complete", "partial", "held")


@dataclass(frozen=True)
class Policy:
    """What the config says about backends and ownership."""

    backends: tuple[tuple[str, str], ...]
    """Name and type of each."""
    rules: tuple[Rule, ...]
    ignore_owners: tuple[str, ...]


def policy(config: Config) -> Policy:
    """The policy of a config file."""
    return Policy(
        tuple((b.name, b.type) for b in config.backends),
        tuple(Rule(*rule) for rule in config.ownership.rules),
        config.ownership.ignore_owners,
    )


@dataclass(frozen=True)
class World:
    """Frames at `as_of`; all lazy but the small ones."""

    as_of: dt.datetime
    files: pl.LazyFrame
    access: pl.LazyFrame
    agents: pl.LazyFrame
    listings: pl.LazyFrame
    changes: pl.LazyFrame
    members: pl.DataFrame
    """user, team, since_at, rank."""
    rules: tuple[Rule, ...]
    ignore_owners: tuple[str, ...]

    @property
    def first_team(self) -> pl.DataFrame:
        """user, team: the team a user counts for."""
        return self.members.filter(pl.col("rank") == 0).select("user", "team")


def at(lake: Lake, rules: Policy, as_of: dt.datetime) -> World:
    """The world at `as_of`: events and listings up to it."""
    listings = _listings(lake).filter(pl.col("snapshot_at") <= as_of)
    changes = lake.scan(FILE_CHANGES).filter(pl.col("snapshot_at") <= as_of)
    return World(
        as_of=as_of,
        files=_files(lake, changes, as_of),
        access=_access(lake, as_of),
        agents=lake.scan(AGENTS),
        listings=listings,
        changes=changes,
        members=control.memberships(lake, as_of),
        rules=(*prefix_rules(control.rules(lake)), *rules.rules),
        ignore_owners=rules.ignore_owners,
    )


def _listings(lake: Lake) -> pl.LazyFrame:
    return lake.scan(LISTINGS).sort("written_at").group_by("backend", "listing").last()


def _files(lake: Lake, changes: pl.LazyFrame, as_of: dt.datetime) -> pl.LazyFrame:
    """The index as at the latest listing up to `as_of`."""
    files = lake.scan(FILES)
    counted = _listings(lake).filter(pl.col("state").is_in(COUNTED))
    later = counted.filter(pl.col("snapshot_at") > as_of).select("backend").unique().collect()
    if later.is_empty():
        return files
    behind = pl.col("backend").is_in(later["backend"].to_list())
    nothing = pl.LazyFrame(schema=FILES.schema)
    return pl.concat([files.filter(~behind), replay(nothing, changes.filter(behind))])


def _access(lake: Lake, as_of: dt.datetime) -> pl.LazyFrame:
    """Whole days from `access_daily`, the day of `as_of` from its events."""
    folded = lake.scan(ACCESS_DAILY)
    day = as_of.date()
    if folded.filter(pl.col("day") >= day).head(1).collect().is_empty():
        return folded
    today = lake.scan(EVENTS).filter(pl.col("day") == day, pl.col("ts") <= as_of)
    return pl.concat([folded.filter(pl.col("day") < day), daily(today, "")])


def stale_index(world: World) -> pl.DataFrame:
    """Every living file with owner, team and last access, largest first."""
    owned = owners(world.files, world.access, world.rules, world.ignore_owners, world.as_of)
    touched = last_access(world.files, world.access)
    return (
        world.files.select(
            "backend", "path", "file_id", "size_bytes", last_modified_at="modified_at"
        )
        .join(touched, on="file_id")
        .join(owned, on="file_id")
        .with_columns(team=team_of("owner", world.first_team))
        .select(STALE_INDEX.schema.names())
        .sort(["size_bytes", "backend", "path"], descending=[True, False, False])
        .collect()
    )


def teams_of_files(world: World) -> pl.LazyFrame:
    """file_id, team for every file that was ever listed up to as-of."""
    seen = ever_seen(world.changes)
    owned = owners(seen, world.access, world.rules, world.ignore_owners, world.as_of)
    return owned.select("file_id", team=team_of("owner", world.first_team))


def grouped_access(world: World, group: pl.Expr) -> pl.LazyFrame:
    """access_daily rows with the group of each: of the user, or of the path."""
    return world.access.with_columns(group=group)


__all__ = ["UNASSIGNED", "Policy", "World", "at", "policy", "stale_index", "teams_of_files"]
