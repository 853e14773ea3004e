"""What one user did, from the small tables made for it (`lake.metrics.people`).

Files and row groups that have nothing of the user are passed by their bounds. Days are UTC days,
up to and with that of as-of.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from functools import reduce
from operator import or_
from typing import Any

import polars as pl

from lake.metrics.people import MOST_FILES, NEWEST_FIRST, ORDER
from lake.metrics.state import ACTIVITY_SUMS
from lake.parts import Part, load
from lake.schemas import USER_DAILY, USER_FILES, USER_JOBS, Table
from lake.store import Lake

AT_ONCE = 16
Names = Sequence[str]
"""Every name of a person, the one that counts first (`lake.names`)."""
BYTES = ("bytes_read", "bytes_written")


def active_days(lake: Lake, names: Names, as_of: dt.datetime, days: int) -> pl.DataFrame:
    """day, accesses, bytes_read, bytes_written, files of the last `days`, oldest first.

    A file whose accesses of one day landed on two, or were made under two names, counts twice:
    `files` is exact where agents report within the day.
    """
    first = as_of.date() - dt.timedelta(days=days)
    return (
        _rows(lake, USER_DAILY, names, first)
        .filter(pl.col("day") > first, pl.col("day") <= as_of.date())
        .group_by("day")
        .agg(
            pl.col(BYTES).sum(),
            accesses=(pl.col("read_count") + pl.col("write_count")).sum(),
            files=pl.col("files").sum(),
        )
        .select("day", "accesses", *BYTES, "files")
        .sort("day")
        .collect()
    )


def jobs(lake: Lake, names: Names, as_of: dt.datetime, days: int, limit: int) -> pl.DataFrame:
    """job, nodes, first_at, last_at, files, accesses, bytes_read, bytes_written; newest first.

    Slurm jobs and Kubernetes pods of the last `days`. `nodes`: how many; `files`: those touched on
    the day with the most.
    """
    first = as_of.date() - dt.timedelta(days=days)
    rows = _rows(lake, USER_JOBS, names, first).filter(
        pl.col("day") > first, pl.col("day") <= as_of.date()
    )
    return (
        rows.group_by("job")
        .agg(
            nodes=pl.col("nodes").list.explode().n_unique().cast(pl.Int64),
            first_at=pl.col("first_at").min(),
            last_at=pl.col("last_at").max(),
            files=pl.col("files").max(),
            accesses=pl.col("accesses").sum(),
            bytes_read=pl.col("bytes_read").sum(),
            bytes_written=pl.col("bytes_written").sum(),
        )
        .sort(["last_at", "job"], descending=[True, False])
        .head(limit)
        .collect()
    )


def touched(lake: Lake, names: Names, as_of: dt.datetime, limit: int = MOST_FILES) -> pl.DataFrame:
    """backend, path, user, day, counts, bytes, last_access_at per file and day.

    The newest day first, then by backend and path; `limit` is at most MOST_FILES. Landing days are
    read from the latest down, until what was not read yet is all older.
    """
    parts = sorted(_parts(lake, USER_FILES, names), key=_latest, reverse=True)
    found = pl.DataFrame(schema=_TOUCHED)
    for start in range(0, len(parts), AT_ONCE):
        some = parts[start : start + AT_ONCE]
        if found.height >= limit and _latest(some[0]) < found["day"][-1]:
            break
        rows = _of(some, USER_FILES, names).filter(pl.col("day") <= as_of.date())
        found = (
            pl.concat([found.lazy(), rows.select(*_TOUCHED)])
            .group_by(ORDER)
            .agg(pl.col(ACTIVITY_SUMS).sum(), pl.col("last_access_at").max())
            .with_columns(user=pl.lit(names[0]))
            .sort(ORDER, descending=NEWEST_FIRST)
            .select(*_TOUCHED)
            .head(limit)
            .collect()
        )
    return found


_TOUCHED: dict[str, Any] = {
    name: USER_FILES.schema[name]
    for name in ("backend", "path", "user", "day", *ACTIVITY_SUMS, "last_access_at")
}


def _rows(lake: Lake, table: Table, names: Names, after: dt.date) -> pl.LazyFrame:
    parts = [part for part in _parts(lake, table, names) if _latest(part) > after]
    return _of(parts, table, names)


def _of(parts: Sequence[Part], table: Table, names: Names) -> pl.LazyFrame:
    mine = (pl.col("user") == name for name in names)
    return load([part.uri for part in parts], table.schema).filter(reduce(or_, mine))


def _parts(lake: Lake, table: Table, names: Names) -> list[Part]:
    """The files that may have rows of a user."""
    return [part for part in lake.parts(table) if any(_may_hold(part, name) for name in names)]


def _may_hold(part: Part, name: str) -> bool:
    most = part.most.get("user")
    return (part.least.get("user") or "") <= name and (most is None or name <= most)


def _latest(part: Part) -> dt.date:
    return part.most.get("day") or dt.date.max
