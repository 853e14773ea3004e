"""Which files hold what was known at an instant: accesses, the index, its changes."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

import polars as pl

from lake import state
from lake.buckets import Span
from lake.counted import event_files, last_batch, up_to
from lake.metrics.access import daily
from lake.metrics.state import BASE
from lake.parts import Part, load
from lake.runner import Runner
from lake.schemas import ACCESS_DAILY, ACTIVITY, EVENTS, FILE_STATE, FILE_USER, Table
from lake.store import Lake

Uris = tuple[str, ...]


class Ranged(NamedTuple):
    """A file that is sorted by `file_id`, and its bounds."""

    uri: str
    low: int
    high: int


@dataclass(frozen=True)
class Accesses:
    """Files of the state tables that hold every access up to an instant and none after it."""

    state: tuple[Ranged, ...]
    """The folded base, in order of buckets."""
    partial_state: tuple[Ranged, ...]
    users: tuple[Ranged, ...]
    """The folded base, in order of buckets."""
    partial_users: tuple[Ranged, ...]
    replaced: Uris
    """Landing days of `partial_users`."""
    activity: Uris
    rows: int
    """Of the larger table."""

    def within(self, span: Span) -> Accesses:
        """Those whose files have rows of a span."""
        ranged = ("state", "partial_state", "users", "partial_users")
        found = {
            name: tuple(f for f in getattr(self, name) if f.high >= span.low and f.low <= span.high)
            for name in ranged
        }
        return replace(self, **found)


@dataclass(frozen=True)
class Until:
    """A landing day that holds accesses after an instant, to be taken only up to it."""

    place: str
    day: str
    access: Uris
    events: Uris
    as_of: dt.datetime
    batch: int
    """The latest whose events count."""


def accesses_at(lake: Lake, as_of: dt.datetime, place: str, runner: Runner) -> Accesses:
    """The accesses up to `as_of`.

    Landing days that hold later ones are made again below `place`, as if the lake had been looked
    at then: whole UTC days from `access_daily`, the day of `as_of` from its events. The folded
    base is one of them only where `as_of` lies before the last fold.
    """
    parts = {table.name: lake.parts(table) for table in state.PARTIALS}
    late = {
        part.partition["landing_day"]
        for found in parts.values() for part in found
        if part.most["last_access_at"] > as_of
    }  # fmt: skip
    folded = by_day(lake.parts(ACCESS_DAILY), "landing_day")
    if BASE in late:
        late |= set(folded)
    kept = {
        name: [p for p in found if p.partition["landing_day"] not in late]
        for name, found in parts.items()
    }
    batch = last_batch(lake) if late else 0
    events = by_day(event_files(lake, batch), "hour") if late else {}
    again = [
        Until(place, day, folded.get(day, ()), events.get(day, ()), as_of, batch)
        for day in sorted(late - {BASE})
    ]
    for made in runner.map(partials_until, again):
        for name, part in made.items():
            kept[name].append(part)
    return _accesses(kept)


def _accesses(kept: dict[str, list[Part]]) -> Accesses:
    base, new = {}, {}
    for table in (FILE_STATE, FILE_USER):
        parts = kept[table.name]
        old = [p for p in parts if p.partition["landing_day"] == BASE]
        base[table] = sorted(old, key=lambda p: int(p.partition["bucket"]))
        new[table] = [p for p in parts if p.partition["landing_day"] != BASE]
    return Accesses(
        state=_ranged(base[FILE_STATE]),
        partial_state=_ranged(new[FILE_STATE]),
        users=_ranged(base[FILE_USER]),
        partial_users=_ranged(new[FILE_USER]),
        replaced=tuple(sorted({p.partition["landing_day"] for p in new[FILE_USER]})),
        activity=uris(kept[ACTIVITY.name]),
        rows=max(sum(p.rows for p in kept[t.name]) for t in (FILE_STATE, FILE_USER)),
    )


def _ranged(parts: Iterable[Part]) -> tuple[Ranged, ...]:
    return tuple(Ranged(p.uri, p.least["file_id"], p.most["file_id"]) for p in parts)


def partials_until(until: Until) -> dict[str, Part]:
    """The task: what a landing day says of the time up to an instant."""
    day = until.as_of.date()
    before = load(until.access, ACCESS_DAILY.schema).filter(pl.col("day") < day)
    today = load(until.events, EVENTS.schema).filter(
        pl.col("day") == day, pl.col("ts") <= until.as_of, up_to(until.batch)
    )
    access = pl.concat([before, daily(today, until.day)]).collect()
    return state.partials(until.place, until.day, access)


def by_day(parts: Iterable[Part], column: str) -> dict[str, Uris]:
    """Files by landing day, from their partition."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for part in parts:
        found[part.partition[column][:10]].append(part.uri)
    return {day: tuple(files) for day, files in found.items()}


def by_backend(lake: Lake, table: Table) -> list[tuple[str, Part]]:
    """Files of a table that is partitioned by backend."""
    return [(part.partition["backend"], part) for part in lake.parts(table)]


def uris(parts: Iterable[Part]) -> Uris:
    """Where the parts are."""
    return tuple(part.uri for part in parts)
