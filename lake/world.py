"""What is known at one instant: the tables as they were at as-of, ready for the metrics."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import polars as pl

from lake import compute, control, index
from lake.compute import Whole
from lake.counted import events
from lake.metrics.access import daily
from lake.metrics.index import replay
from lake.metrics.ledger import broken_hours
from lake.metrics.ownership import UNASSIGNED, Rule, prefix_rules
from lake.metrics.span import Context
from lake.names import resolved
from lake.runner import INLINE, Runner
from lake.schemas import ACCESS_DAILY, AGENTS, FILE_CHANGES, FILES, LEDGER, LISTINGS
from lake.store import Lake
from lake.work import Work, workplace
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

    lake: Lake
    as_of: dt.datetime
    replayed: tuple[str, ...]
    """Backends with a listing after `as_of`: their files are told by the changes up to it."""
    files: pl.LazyFrame
    access: pl.LazyFrame
    agents: pl.LazyFrame
    broken: pl.LazyFrame
    """node, hour: landing hours with a gap in what arrived."""
    listings: pl.LazyFrame
    changes: pl.LazyFrame
    members: pl.DataFrame
    """user, team, since_at, rank."""
    rules: tuple[Rule, ...]
    ignore_owners: tuple[str, ...]
    aliases: pl.DataFrame
    """name, canonical, since_at."""

    @property
    def people(self) -> dict[str, str]:
        """Name → the name that counts, of names that have an alias."""
        return resolved(self.aliases.select("name", "canonical").iter_rows())

    @property
    def first_team(self) -> pl.DataFrame:
        """user, team: the team a user counts for."""
        return self.members.filter(pl.col("rank") == 0).select("user", "team")

    @property
    def whole(self) -> Whole:
        """What is needed to compute every file's results."""
        teams = dict(self.first_team.iter_rows())
        decided = Context(self.as_of, self.rules, self.ignore_owners, teams, self.people)
        return Whole(self.lake, decided, self.replayed)


def at(lake: Lake, rules: Policy, as_of: dt.datetime) -> World:
    """The world at `as_of`: events and listings up to it."""
    listings = _listings(lake).filter(pl.col("snapshot_at") <= as_of)
    changes = lake.scan(FILE_CHANGES).filter(pl.col("snapshot_at") <= as_of)
    replayed = _replayed(lake, as_of)
    return World(
        lake=lake,
        as_of=as_of,
        replayed=replayed,
        files=_files(lake, changes, replayed),
        access=_access(lake, as_of),
        agents=lake.scan(AGENTS),
        broken=broken_hours(lake.scan(LEDGER)),
        listings=listings,
        changes=changes,
        members=control.memberships(lake, as_of),
        rules=(*prefix_rules(control.rules(lake)), *rules.rules),
        ignore_owners=rules.ignore_owners,
        aliases=control.aliases(lake, as_of),
    )


def _listings(lake: Lake) -> pl.LazyFrame:
    return lake.scan(LISTINGS).sort("written_at").group_by("backend", "listing").last()


def _replayed(lake: Lake, as_of: dt.datetime) -> tuple[str, ...]:
    counted = _listings(lake).filter(pl.col("state").is_in(COUNTED))
    later = counted.filter(pl.col("snapshot_at") > as_of).select(pl.col("backend").unique())
    return tuple(later.collect()["backend"].sort())


def _files(lake: Lake, changes: pl.LazyFrame, replayed: tuple[str, ...]) -> pl.LazyFrame:
    """The index as at the latest listing up to as-of."""
    files = lake.scan(FILES)
    if not replayed:
        return files
    behind = pl.col("backend").is_in(list(replayed))
    nothing = pl.LazyFrame(schema=FILES.schema)
    return pl.concat([files.filter(~behind), replay(nothing, changes.filter(behind))])


def _access(lake: Lake, as_of: dt.datetime) -> pl.LazyFrame:
    """Whole days from `access_daily`, the day of `as_of` from its events."""
    folded = lake.scan(ACCESS_DAILY)
    day = as_of.date()
    if folded.filter(pl.col("day") >= day).head(1).collect().is_empty():
        return folded
    today = events(lake).filter(pl.col("day") == day, pl.col("ts") <= as_of)
    return pl.concat([folded.filter(pl.col("day") < day), daily(today, "")])


def stale_index(world: World, runner: Runner = INLINE) -> pl.DataFrame:
    """Every living file with owner, team and last access, largest first; in memory."""
    with workplace(world.lake.root) as place:
        return index.gathered(compute.compute(world.whole, Work(place, runner)).index)


def teams_of_files(world: World, runner: Runner = INLINE) -> pl.LazyFrame:
    """file_id, team for every file that was ever listed up to as-of."""
    with workplace(world.lake.root) as place:
        return compute.teams(world.whole, Work(place, runner)).lazy()


def grouped_access(world: World, group: pl.Expr) -> pl.LazyFrame:
    """access_daily rows with the group of each: of the user, or of the path."""
    return world.access.with_columns(group=group)


__all__ = ["UNASSIGNED", "Policy", "World", "at", "policy", "stale_index", "teams_of_files"]
