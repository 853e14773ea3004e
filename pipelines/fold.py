"""Events to `access_daily` and what is made of it, one landing day at a time.

A landing day whose ledger moved is computed anew by one task: its rows of `access_daily` and
`agents`, and its partials of `file_state`, `file_user` and `activity`. Each table gets one commit.
What users did (`pipelines.people`) is made of `access_daily` then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from lake import state
from lake.buckets import DEFAULT_BUCKETS
from lake.counted import event_files, up_to
from lake.metrics.access import daily, heartbeats
from lake.parts import Part, load, write_part
from lake.runner import INLINE, Runner
from lake.schemas import ACCESS_DAILY, AGENTS, EVENTS, LEDGER, Table
from lake.store import Lake
from pipelines.people import fold_users

DAYS_AT_ONCE = 32
TABLES = (AGENTS, ACCESS_DAILY, *state.PARTIALS)
"""In the order of their commits; `access_daily` is what the others can be made from again."""


@dataclass(frozen=True)
class Day:
    """One landing day to fold."""

    root: str
    name: str
    moves: int
    """Rows of its ledger."""
    events: tuple[str, ...]
    batch: int
    """The latest whose events count."""
    before: tuple[str, ...] = ()
    """Files that hold what was folded of it, if that is in the base of `file_state`."""


@dataclass(frozen=True)
class Folded:
    """What folding a day wrote."""

    day: Day
    rows: int
    parts: Mapping[str, Part] = field(default_factory=dict)
    lost: bool = False
    """Accesses that the base of `file_state` knows are not there any more."""


def fold(
    lake: Lake, *, rebuild: bool = False, runner: Runner = INLINE, buckets: int = DEFAULT_BUCKETS
) -> dict[str, int]:
    """Fold the landing days whose ledger moved since they were folded; rows per day.

    With `rebuild` every day whose events are kept is folded again, and every state is made anew
    from `access_daily`; of a day whose events were let go by retention the fold stays.
    """
    state.create(lake, buckets)
    found: dict[str, int] = {}
    # The ledger before the events: what is committed in between is folded the next time.
    moves, batch = ledger_moves(lake)
    days = _days(lake, moves, batch, rebuild=rebuild)
    for first in range(0, len(days), DAYS_AT_ONCE):
        done = list(runner.map(fold_day, days[first : first + DAYS_AT_ONCE]))
        if any(one.lost for one in done):
            state.doubt(lake)
        for table in TABLES:
            _commit(lake, table, done, rebuild=rebuild)
        found |= {one.day.name: one.rows for one in done}
    if rebuild or state.is_doubted(lake):
        state.rebuild(lake, runner)
    fold_users(lake, list(moves), batch, runner, rebuild=rebuild)
    return found


def fold_day(day: Day) -> Folded:
    """The task: read the events of one landing day, write every table's rows of it."""
    events = load(day.events, EVENTS.schema).filter(up_to(day.batch))
    access = daily(events, day.name).collect(engine="streaming")
    beats = heartbeats(events, day.name).collect()
    made = {AGENTS: beats, ACCESS_DAILY: access}
    where = {"landing_day": day.name}
    parts = {
        table.name: write_part(day.root, table, frame, where)
        for table, frame in made.items()
        if frame.height
    }
    lost = bool(day.before) and state.loses(load(day.before, ACCESS_DAILY.schema), access.lazy())
    return Folded(day, access.height, parts | state.partials(day.root, day.name, access), lost)


def days_with_events(lake: Lake) -> set[str]:
    """Landing days of which `events` has rows."""
    return {part.partition["hour"][:10] for part in lake.parts(EVENTS) if part.rows}


def _commit(lake: Lake, table: Table, done: Sequence[Folded], *, rebuild: bool) -> None:
    days = {one.day.name for one in done}
    old = [part for part in lake.parts(table) if part.partition["landing_day"] in days]
    new = [one.parts[table.name] for one in done if table.name in one.parts]
    versions = [(f"fold:{one.day.name}", one.day.moves) for one in done]
    # A rebuild writes versions again that are there.
    apps, notes = ([], versions) if rebuild else (versions, [])
    lake.commit(table, new, old, apps, notes)


def _days(lake: Lake, moves: Mapping[str, int], batch: int, *, rebuild: bool) -> list[Day]:
    files: dict[str, list[str]] = {}
    for part in event_files(lake, batch):
        files.setdefault(part.partition["hour"][:10], []).append(part.uri)
    held: dict[str, list[str]] = {}
    for part in lake.parts(ACCESS_DAILY):
        held.setdefault(part.partition["landing_day"], []).append(part.uri)
    done = [lake.app_versions(table, [f"fold:{day}" for day in moves]) for table in TABLES]
    return [
        Day(
            lake.root, day, number, tuple(files.get(day, ())), batch,
            tuple(held.get(day, ())) if state.may_be_folded(lake, day) else (),
        )
        for day, number in moves.items()
        if (day in files if rebuild else any(v[f"fold:{day}"] < number for v in done))
    ]  # fmt: skip


def ledger_moves(lake: Lake) -> tuple[dict[str, int], int]:
    """Landing day → rows of its ledger, and its latest batch.

    The ledger only grows, so a change is a larger number.
    """
    days = lake.scan(LEDGER).group_by(day=landing_day()).agg(
        moves=pl.len(), batch=pl.col("batch").max()
    ).sort("day").collect()  # fmt: skip
    return dict(days.select("day", "moves").iter_rows()), max(days["batch"].to_list(), default=0)


def landing_day() -> pl.Expr:
    """The day of the landing hour, or skewed."""
    return pl.col("hour").str.head(10)
