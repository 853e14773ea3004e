"""Coverage of any window a stale question has: node-hours are summed once per generation."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from functools import lru_cache

import polars as pl

from lake import results
from lake.metrics.access import SEEN_WITHIN, coverage, share, shares, whole_hours
from lake.metrics.ledger import broken_hours
from lake.schemas import AGENTS, LEDGER
from lake.store import Identity, Lake

REACHES = (dt.timedelta(days=90), dt.timedelta(days=365), dt.timedelta(days=1_095))
"""So far back hours are summed at once, the shortest that will do; beyond, for the window asked."""
KEPT = 8


def covered(root: str, versions: Mapping[str, int], as_of: dt.datetime, days: int) -> pl.DataFrame:
    """backend, coverage over the window of a stale question (0 days: the usual one).

    `versions`: of the tables of a published generation; empty where the latest are meant.
    """
    window = dt.timedelta(days=days) or results.COVERAGE_WINDOW
    lake = Lake(root)
    if not versions:
        return coverage(lake.scan(AGENTS), as_of, window, broken_hours(lake.scan(LEDGER)))
    return share(_known(root, versions, as_of, window), as_of, window)


def covered_each(
    root: str, versions: Mapping[str, int], as_of: dt.datetime, windows: range
) -> pl.DataFrame:
    """backend, coverage: a list, of each of these windows (in days) what `covered` says.

    `versions` as there, of a published generation.
    """
    if windows[0] >= SEEN_WITHIN.days:
        hours = _known(root, versions, as_of, dt.timedelta(days=windows[-1]))
        return shares(hours, as_of, windows)
    every = [covered(root, versions, as_of, days).rename({"coverage": str(days)})
             for days in windows]  # fmt: skip
    found = pl.concat(every, how="align_full")
    return found.select("backend", coverage=pl.concat_list(str(days) for days in windows))


def with_coverage(
    rows: pl.DataFrame, root: str, versions: Mapping[str, int], as_of: dt.datetime, days: int
) -> pl.DataFrame:
    """Rows of stale_index with `coverage` of their backend, as `covered` has it."""
    cover = covered(root, versions, as_of, days)
    return rows.join(cover, on="backend", how="left", maintain_order="left")


def _known(
    root: str, versions: Mapping[str, int], as_of: dt.datetime, window: dt.timedelta
) -> pl.DataFrame:
    """Rows of `whole_hours`, of this window or a longer one."""
    lake = Lake(root)
    agents, ledger = (
        lake.identity(table, versions.get(table.name, -1)) for table in (AGENTS, LEDGER)
    )
    longer = (reach for reach in REACHES if SEEN_WITHIN <= window <= reach)
    return _hours(root, agents, ledger, as_of, next(longer, window))


@lru_cache(maxsize=KEPT)
def _hours(
    root: str, agents: Identity, ledger: Identity, as_of: dt.datetime, window: dt.timedelta
) -> pl.DataFrame:
    lake = Lake(root)
    broken = broken_hours(lake.scan(LEDGER, ledger[1]))
    return whole_hours(lake.scan(AGENTS, agents[1]), as_of, window, broken)
