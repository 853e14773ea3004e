"""The tables of what each user did, one landing day at a time.

A landing day is made anew when its rows of `access_daily` were: also those of a lake that had these
tables not yet, from what `access_daily` and the kept events say. Each table gets one commit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lake.counted import event_files, up_to
from lake.metrics import people
from lake.parts import Part, load, write_part
from lake.runner import INLINE, Runner
from lake.schemas import ACCESS_DAILY, EVENTS, USER_DAILY, USER_FILES, USER_JOBS, Table
from lake.sources import by_day
from lake.store import Lake

TABLES = (USER_DAILY, USER_FILES, USER_JOBS)
DAYS_AT_ONCE = 32
ROW_GROUP = 8_192
"""Rows that are read together: a user's are found by the bounds of these groups."""


@dataclass(frozen=True)
class Day:
    """One landing day: where its rows are."""

    root: str
    name: str
    version: int
    """What `access_daily` has of it."""
    access: tuple[str, ...]
    events: tuple[str, ...]
    batch: int
    """The latest whose events count."""

    @property
    def app(self) -> str:
        """The application id of its commits."""
        return f"fold:{self.name}"


def fold_users(
    lake: Lake, days: Sequence[str], batch: int, runner: Runner = INLINE, *, rebuild: bool = False
) -> None:
    """Make what is behind `access_daily`, of the landing days `days`; with `rebuild` all of them.

    Of a day whose events were let go a rebuild keeps the jobs.
    """
    todo = _behind(lake, days, batch, rebuild=rebuild)
    for first in range(0, len(todo), DAYS_AT_ONCE):
        some = todo[first : first + DAYS_AT_ONCE]
        done = list(runner.map(day_of_users, some))
        for table in TABLES:
            fixed = table is USER_JOBS and rebuild
            mine = [
                (d, parts) for d, parts in zip(some, done, strict=True) if d.events or not fixed
            ]
            _commit(lake, table, mine, rebuild=rebuild)


def day_of_users(day: Day) -> Mapping[str, Part]:
    """The task: what one landing day says of users."""
    access = load(day.access, ACCESS_DAILY.schema)
    events = load(day.events, EVENTS.schema).filter(up_to(day.batch))
    made = {
        USER_DAILY: people.user_daily(access),
        USER_FILES: people.user_files(access),
        USER_JOBS: people.user_jobs(events),
    }
    parts = {}
    for table, rows in made.items():
        frame = rows.collect(engine="streaming")
        if frame.height:
            where = {"landing_day": day.name}
            parts[table.name] = write_part(day.root, table, frame, where, ROW_GROUP)
    return parts


def _behind(lake: Lake, days: Sequence[str], batch: int, *, rebuild: bool) -> list[Day]:
    apps = [f"fold:{day}" for day in days]
    told = lake.app_versions(ACCESS_DAILY, apps)
    known = [lake.app_versions(table, apps) for table in TABLES]
    todo = [
        day
        for day, app in zip(days, apps, strict=True)
        if told[app] >= 0 and (rebuild or any(have[app] < told[app] for have in known))
    ]
    if not todo:
        return []
    access = by_day(lake.parts(ACCESS_DAILY), "landing_day")
    events = by_day(event_files(lake, batch), "hour")
    return [
        Day(lake.root, day, told[f"fold:{day}"], access.get(day, ()), events.get(day, ()), batch)
        for day in todo
    ]


def _commit(
    lake: Lake, table: Table, done: Sequence[tuple[Day, Mapping[str, Part]]], *, rebuild: bool
) -> None:
    days = {day.name for day, _ in done}
    old = [part for part in lake.parts(table) if part.partition["landing_day"] in days]
    new = [parts[table.name] for _, parts in done if table.name in parts]
    versions = [(day.app, day.version) for day, _ in done]
    # A rebuild writes versions again that are there.
    apps, notes = ([], versions) if rebuild else (versions, [])
    lake.commit(table, new, old, apps, notes)
