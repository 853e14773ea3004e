"""The stale index page by page: any window, any order, without reading whole tables.

A page begins after the last row of the page before it (keyset), so that page 10,000 costs what
page 1 costs, and rows that come or go between two pages are neither repeated nor skipped. The
largest are read from the top of the table. In another order, numbers decide first which rows can
be on the page; texts are read for those only.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any, NamedTuple

import polars as pl

from lake import cursor
from lake.largest import largest
from lake.metrics.span import AGES
from lake.schemas import STALE_INDEX, STALE_ROLLUP
from lake.store import Lake
from storage.errors import UnknownNameError

ORDERS = {
    "largest": ("size_bytes", True),
    "smallest": ("size_bytes", False),
    "longest untouched": ("last_access_at", False),
    "touched last": ("last_access_at", True),
}
TIES = ("backend", "path")
COLUMNS = (
    "backend", "path", "file_id", "size_bytes", "last_modified_at", "last_access_at", "evidence",
    "owner", "team",
)  # fmt: skip
Key = tuple[Any, str, str]
"""Where a page ends: the value it is ordered by, backend, path."""


@dataclass(frozen=True)
class Wanted:
    """Which files: not touched for `days` before `as_of`, and what else narrows them."""

    as_of: dt.datetime
    days: int = 90
    min_size_bytes: int = 0
    backend: str = ""
    teams: tuple[str, ...] | None = None
    """Only files of these teams; None = of all."""
    owner: str = ""

    @property
    def where(self) -> pl.Expr:
        """The rows of stale_index that are meant."""
        limit = self.as_of - dt.timedelta(days=self.days)
        old = pl.col("last_access_at") < limit
        return old & (pl.col("size_bytes") >= self.min_size_bytes) & self.whose

    @property
    def whose(self) -> pl.Expr:
        """The rows of a table with backend, team and owner that are meant."""
        found = pl.lit(value=True)
        if self.backend:
            found &= pl.col("backend") == self.backend
        if self.teams is not None:
            found &= pl.col("team").is_in(list(self.teams))
        if self.owner:
            found &= pl.col("owner") == self.owner
        return found


class Totals(NamedTuple):
    """All files that match."""

    files: int
    bytes: int


def totals(
    lake: Lake, version: int | None, wanted: Wanted, rollup_version: int | None = None
) -> Totals:
    """How many files match, and how many bytes they have.

    From the rollup of the same refresh where it knows the window; of the index then only the
    class of sizes that `min_size_bytes` cuts. Any other window passes over what decides.
    """
    if rollup_version is None or wanted.days not in AGES:
        return _counted(_index(lake, version).filter(wanted.where))
    least = wanted.min_size_bytes
    first = least.bit_length() - 1
    cut = bool(least & (least - 1))
    rows = lake.scan(STALE_ROLLUP, rollup_version).filter(
        pl.col("age_days") >= wanted.days, pl.col("size_class") >= first + cut, wanted.whose
    )
    sums = rows.select(pl.col("files").sum(), pl.col("bytes").sum()).collect()
    found = Totals(*sums.row(0))
    if not cut:
        return found
    within = pl.col("size_bytes") < 1 << (first + 1)
    part = _counted(_index(lake, version).filter(wanted.where, within))
    return Totals(found.files + part.files, found.bytes + part.bytes)


def _counted(rows: pl.LazyFrame) -> Totals:
    sums = rows.select(pl.len(), pl.col("size_bytes").sum()).collect(engine="streaming")
    return Totals(*sums.row(0))


def matching(lake: Lake, version: int | None, wanted: Wanted) -> pl.LazyFrame:
    """All rows that match, in the order of the table: to look through, not to collect."""
    return _index(lake, version).filter(wanted.where).select(COLUMNS)


def page(
    lake: Lake, version: int | None, wanted: Wanted, order: str, rows: int,
    after: Key | None = None,
) -> pl.DataFrame:  # fmt: skip
    """The next `rows` files in an order, after the end of the page before; COLUMNS.

    Raises UnknownNameError for an order that is not one of ORDERS.
    """
    if order not in ORDERS:
        raise UnknownNameError("order", order, ORDERS)
    column, descending = ORDERS[order]
    if order == "largest":
        key = None if after is None else cursor.Key(*after)
        least = wanted.min_size_bytes
        top = largest(lake, version, wanted.where, rows, after=key, min_size_bytes=least)
        return top.select(COLUMNS)
    found = _index(lake, version).filter(wanted.where)
    if after is not None:
        found = found.filter(_behind(column, after, descending=descending))
    last = _last_value(found.select(column), rows, descending=descending)
    if last is None:
        return pl.DataFrame(schema={name: STALE_INDEX.schema[name] for name in COLUMNS})
    near = pl.col(column) >= last if descending else pl.col(column) <= last
    return (
        found.filter(near).select(COLUMNS)
        .sort([column, *TIES], descending=[descending, False, False])
        .head(rows)
        .collect(engine="streaming")
    )  # fmt: skip


def end(frame: pl.DataFrame, order: str) -> Key | None:
    """The key of a page's last row; None for an empty page."""
    if frame.is_empty():
        return None
    last = frame.row(-1, named=True)
    return last[ORDERS[order][0]], last["backend"], last["path"]


def _index(lake: Lake, version: int | None) -> pl.LazyFrame:
    return lake.scan(STALE_INDEX, version)


def _behind(column: str, after: Key, *, descending: bool) -> pl.Expr:
    value, backend, path = after
    same = pl.col(column) == value
    tied = (pl.col("backend") > backend) | (
        (pl.col("backend") == backend) & (pl.col("path") > path)
    )
    further = pl.col(column) < value if descending else pl.col(column) > value
    # The first half lets whole files of the table be left out by their bounds.
    here = pl.col(column) <= value if descending else pl.col(column) >= value
    return here & (further | (same & tied))


def _last_value(column: pl.LazyFrame, rows: int, *, descending: bool) -> Any:
    """The value that the last row of the page has: nothing beyond it can be on the page."""
    name = column.collect_schema().names()[0]
    best = pl.col(name).top_k(rows) if descending else pl.col(name).bottom_k(rows)
    best = best.min() if descending else best.max()
    return column.select(best).collect(engine="streaming").item()
