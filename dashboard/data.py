"""What the pages show, read from the published results and kept until the next generation.

Caches are keyed on the generation's number, which itself is read again every few seconds. No page
reads a table.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

import streamlit as st

from lake import published
from lake.read import Reader
from storage.config import Config, load_config
from storage.errors import LakeError

NUMBER_TTL_SECONDS = 5
KEPT_ANSWERS = 32
TRIES = 5
CHANGE_DAYS = 30
MAX_POINTS = 400
Row = dict[str, Any]


@dataclass(frozen=True)
class Overview:
    """Everything on the overview page: all numbers of one generation."""

    number: int
    published: bool
    as_of: dt.datetime | None
    published_at: dt.datetime | None
    ingest_lag_seconds: float | None
    usage: list[Row]
    backends: list[Row]
    quota: list[Row]
    growth: list[Row]
    month: list[Row]


def config() -> Config:
    """The config of this server. Raises ConfigError."""
    return load_config()


def number(found: Config) -> int:
    """The number of the published generation, at most a few seconds old; 0 = none."""
    return _number(found.lake.root)


def overview(found: Config, backend: str, period_days: int) -> Overview:
    """The overview of one backend, or of all for an empty name. Raises WarpdriveError."""
    names = tuple((b.name, b.type) for b in found.backends)
    key = (found.file, found.lake.root, names, number(found))
    return _overview(key, backend, period_days, found)


@st.cache_data(ttl=NUMBER_TTL_SECONDS, show_spinner=False)
def _number(lake_root: str) -> int:
    return published.current(lake_root).number


@st.cache_data(max_entries=KEPT_ANSWERS, show_spinner="Reading the published results …")
def _overview(key: tuple[Any, ...], backend: str, period_days: int, _config: Config) -> Overview:
    del key  # it only tells answers apart
    for _ in range(TRIES):
        before = published.current(_config.lake.root)
        answer = _read(_config, before, backend, period_days)
        if published.current(_config.lake.root).number == before.number:
            return answer
    raise LakeError("results are published faster than they can be read: reload the page.")


def _read(
    config: Config, generation: published.Generation, backend: str, period_days: int
) -> Overview:
    reader = Reader(config)
    backends = reader.backends()
    known = backend in {row["name"] for row in backends}
    name = backend if known else ""
    return Overview(
        number=generation.number,
        published="usage-team-owner" in generation.documents,
        as_of=reader.as_of,
        published_at=reader.published_at,
        ingest_lag_seconds=generation.ingest_lag_seconds,
        usage=reader.usage("team", name),
        backends=backends,
        quota=[row for row in reader.quota() if row["backend"] in ("", name) or not name],
        growth=thinned(reader.growth(name, period_days, "backend"), MAX_POINTS),
        month=reader.growth(name, CHANGE_DAYS),
    )


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
