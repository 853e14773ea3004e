"""Questions of the pages and their answers, kept until what they came from changes.

Answers from published results are keyed on the generation's number, others on the versions of
their tables; both are read again every few seconds. No page reads a whole table.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec, TypeVar

import streamlit as st

from dashboard.viewer import Viewer
from lake import published
from lake.read import Reader
from lake.schemas import Table
from lake.scoped import ScopedReader, reader_of
from lake.store import Lake
from storage.config import Config
from storage.errors import LakeError

FRESH_SECONDS = 5
KEPT_ANSWERS = 64
TRIES = 5
MAX_POINTS = 400
Row = dict[str, Any]
P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Source:
    """What a question is put to: one generation, as one viewer may see it."""

    reader: Reader | ScopedReader
    lake: Lake
    generation: published.Generation
    teams: tuple[str, ...] | None
    config: Config

    @property
    def published(self) -> bool:
        """Whether a refresh has ever published."""
        return "usage-team-owner" in self.generation.documents

    @property
    def as_of(self) -> dt.datetime:
        """The instant that the answers describe. Raises LakeError where nothing is published."""
        if self.reader.as_of is None:
            raise LakeError("nothing is published yet: run `warpdrive refresh`.")
        return self.reader.as_of

    def version(self, table: Table) -> int | None:
        """The version of a table that belongs to the generation."""
        return self.generation.versions.get(table.name)


def number(viewer: Viewer) -> int:
    """The number of the published generation, at most a few seconds old; 0 = none."""
    return _number(viewer.config.lake.root)


def version(viewer: Viewer, *tables: Table) -> tuple[int, ...]:
    """The versions of tables, at most a few seconds old; -1 = not there."""
    names = tuple(table.name for table in tables)
    return _versions(viewer.config.lake.root, names, tables)


def ask(
    viewer: Viewer, question: Callable[Concatenate[Source, P], T], *args: P.args, **how: P.kwargs
) -> T:
    """The answer of a pure function of a source. Raises WarpdriveError."""
    return ask_beside((), viewer, question, *args, **how)


def ask_beside(
    beside: tuple[int, ...], viewer: Viewer, question: Callable[Concatenate[Source, P], T],
    *args: P.args, **how: P.kwargs,
) -> T:  # fmt: skip
    """The same, kept no longer than `beside`, the versions of other tables that it reads, stay."""
    config = viewer.config
    names = tuple((b.name, b.type) for b in config.backends)
    name = f"{question.__module__}.{question.__qualname__}"
    key = (name, config.file, config.lake.root, names, number(viewer), beside, viewer.scope.teams)
    return _answer(key, args, how, viewer, question)


def ask_live(
    viewer: Viewer, question: Callable[Concatenate[Source, P], T], *args: P.args, **how: P.kwargs
) -> T:
    """An answer that is read later, such as a lazy frame: never kept."""
    return question(_source(viewer, published.current(viewer.config.lake.root)), *args, **how)


def forget() -> None:
    """Look at the lake again at once: something was just changed."""
    _number.clear()
    _versions.clear()


@st.cache_data(ttl=FRESH_SECONDS, show_spinner=False)
def _number(lake_root: str) -> int:
    return published.current(lake_root).number


@st.cache_data(ttl=FRESH_SECONDS, show_spinner=False)
def _versions(root: str, names: tuple[str, ...], _tables: tuple[Table, ...]) -> tuple[int, ...]:
    del names  # it only tells answers apart
    return tuple(Lake(root).version(table) for table in _tables)


@st.cache_data(max_entries=KEPT_ANSWERS, show_spinner="Reading …")
def _answer(key: Any, args: Any, how: Any, _viewer: Viewer, _question: Callable[..., T]) -> T:
    del key
    for _ in range(TRIES):
        before = published.current(_viewer.config.lake.root)
        found = _question(_source(_viewer, before), *args, **how)
        if published.current(_viewer.config.lake.root).number == before.number:
            return found
    raise LakeError("results are published faster than they can be read: reload the page.")


def _source(viewer: Viewer, generation: published.Generation) -> Source:
    config, teams = viewer.config, viewer.scope.teams
    lake = Lake(config.lake.root)
    return Source(reader_of(Reader(config), lake, teams), lake, generation, teams, config)


def thinned(rows: list[Row], points: int) -> list[Row]:
    """At most about `points` days, evenly spread, the first and the last among them.

    What was added and removed on a day left out is told on the next day kept.
    """
    days = sorted({row["day"] for row in rows})
    step = -(-len(days) // points)
    if step <= 1:
        return rows
    kept = set(days[::-1][::step]) | {days[0]}
    waiting: dict[str, tuple[int, int]] = {}
    found = []
    for row in rows:
        added, removed = waiting.pop(row["backend"], (0, 0))
        added, removed = added + row["added_bytes"], removed + row["removed_bytes"]
        if row["day"] in kept:
            found.append(row | {"added_bytes": added, "removed_bytes": removed})
        else:
            waiting[row["backend"]] = (added, removed)
    return found
