"""The published answers of stale questions: the largest files of each window, by spans of days.

For each span one document, `stale-<first day>`: of the largest files that are idle for its first
day, those that are among the STALE_LIMIT largest of any of its windows (the k-skyband of size and
idleness), with `idle_days`, the longest window that a file is stale in. It is little more than one
window's top, and `lake.windows` picks a window's rows out of it. `coverage-<first day>` holds each
backend's coverage of those windows, and `tops` tells which windows each document answers.
"""

from __future__ import annotations

import datetime as dt
from bisect import bisect_left, insort
from collections.abc import Sequence

import polars as pl

from lake.coverage import covered_each
from lake.largest import largest
from lake.published import Generation
from lake.schemas import STALE_INDEX
from lake.store import Lake
from lake.windows import STALE_LIMIT, TOPS
from storage.units import parse_instant

SPANS = (
    (0, 6), (7, 29), (30, 59), (60, 89), (90, 179), (180, 364), (365, 729), (730, 1094),
)  # fmt: skip
"""First and last window, in days."""
LOOKED_AT = 4
"""Times STALE_LIMIT rows are looked at: a span ends early where they hold too few idle ones."""
DAY_US = 86_400_000_000


def tops(lake: Lake, now: Generation) -> dict[str, pl.DataFrame]:
    """The documents by name, of a published generation."""
    found, told = {}, []
    as_of = parse_instant(now.as_of)
    rows = None
    for first, last in SPANS:
        if rows is None or rows.height == LOOKED_AT * STALE_LIMIT:
            rows = _largest(lake, now.versions[STALE_INDEX.name], as_of, first)
        else:  # all that are idle for less: in a young lake another look would be at every file
            rows = rows.filter(pl.col("idle_days") >= first)
        idle_days = rows["idle_days"].to_list()
        until = _answered(idle_days, last)
        if until < first:
            continue
        windows = range(first, until + 1)
        found[f"stale-{first}"] = rows.filter(_in_a_top(idle_days, until))
        found[f"coverage-{first}"] = covered_each(lake.root, now.versions, as_of, windows)
        told.append((first, until))
    schema = {"first_days": pl.Int64, "last_days": pl.Int64}
    return found | {TOPS: pl.DataFrame(told, schema=schema, orient="row")}


def _largest(lake: Lake, version: int, as_of: dt.datetime, days: int) -> pl.DataFrame:
    """Rows of stale_index with `idle_days`: the most days of which a window still has the file."""
    where = pl.col("last_access_at") < as_of - dt.timedelta(days=days)
    idle = (pl.lit(as_of) - pl.col("last_access_at")).dt.total_microseconds()
    # A file is stale in a window if it is idle for longer.
    return largest(lake, version, where, LOOKED_AT * STALE_LIMIT).with_columns(
        idle_days=(idle - 1) // DAY_US
    )


def _answered(idle_days: Sequence[int], last: int) -> int:
    """The last window that the rows looked at answer: all there are, or enough of them."""
    if len(idle_days) < LOOKED_AT * STALE_LIMIT:
        return last
    return min(last, sorted(idle_days, reverse=True)[STALE_LIMIT - 1])


def _in_a_top(idle_days: Sequence[int], last: int) -> list[bool]:
    """Whether each row, largest first, is among the STALE_LIMIT first of some window up to `last`.

    Its longest window has the fewest larger files, so that one decides.
    """
    seen: list[int] = []
    kept = []
    for days in idle_days:
        longest = min(days, last)
        kept.append(len(seen) - bisect_left(seen, longest) < STALE_LIMIT)
        insort(seen, longest)
    return kept
