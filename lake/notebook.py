"""The lake for notebooks: every question and every table as a Polars LazyFrame."""

from __future__ import annotations

import datetime as dt
from typing import Any

import polars as pl

from lake.read import Reader
from lake.schemas import (
    ACCESS_DAILY,
    BACKENDS,
    GROWTH,
    QUOTA_STATUS,
    STALE_INDEX,
    TABLES,
    USAGE,
    Column,
    Table,
)
from lake.store import Lake
from storage.config import load_config
from storage.errors import UnknownNameError
from storage.units import parse_instant

_GROWTH = Table(
    GROWTH.name, GROWTH.doc,
    (
        *GROWTH.columns,
        Column("low_bytes", pl.Int64(), "10th percentile of the forecast", nullable=True),
        Column("high_bytes", pl.Int64(), "90th percentile of the forecast", nullable=True),
    ),
)  # fmt: skip


class OpenLake:
    """Answers are those of the commands, for one as-of (default: that of the last refresh)."""

    def __init__(self, config: str | None = None, as_of: str | None = None) -> None:
        self._config = load_config(config)
        self._reader = Reader(self._config, parse_instant(as_of) if as_of else None)
        self._lake = Lake(self._config.lake.root)

    def usage(
        self, by: str = "user", backend: str = "", attribution: str = "owner", depth: int = 1
    ) -> pl.LazyFrame:
        """Stored files and bytes and the activity per group and backend, largest first."""
        return _frame(self._reader.usage(by, backend, attribution, depth), USAGE)

    def stale(
        self, days: int = 90, min_size_bytes: int = 0, backend: str = "", limit: int = 1000
    ) -> pl.LazyFrame:
        """Files not touched for `days`, largest first; `limit` 0 is no limit."""
        return _frame(self._reader.stale(days, min_size_bytes, backend, limit), STALE_INDEX)

    @property
    def as_of(self) -> dt.datetime | None:
        """The instant that the answers describe; None where nothing is published yet."""
        return self._reader.as_of

    def growth(
        self, backend: str = "", period_days: int = 0, by: str = "backend", forecast_days: int = 0
    ) -> pl.LazyFrame:
        """Files and bytes at the end of each day; `by`: backend, team, or empty for the sum.

        Rows of a forecast follow, with `low_bytes` and `high_bytes`, which are null before them.
        """
        rows = self._reader.growth(backend, period_days, by, forecast_days)
        return _frame(rows, _GROWTH)

    def user(self, user: str, backend: str = "", limit: int = 0) -> pl.LazyFrame:
        """What a user touched, per file and day, newest first; `limit` 0 is no limit."""
        return _frame(self._reader.user(user, backend, limit), ACCESS_DAILY)

    def quota(self) -> pl.LazyFrame:
        """Every quota with what its team owns."""
        return _frame(self._reader.quota(), QUOTA_STATUS)

    def backends(self) -> pl.LazyFrame:
        """Every backend with its size, state and coverage."""
        return _frame(self._reader.backends(), BACKENDS)

    def table(self, name: str) -> pl.LazyFrame:
        """A table of the lake as it is now, such as events, files or listings.

        Raises UnknownNameError for a name that is no table.
        """
        if name not in TABLES:
            raise UnknownNameError("table", name, TABLES)
        return self._lake.scan(TABLES[name])


def _frame(rows: list[dict[str, Any]], table: Table) -> pl.LazyFrame:
    """Rows in the types of the table they are of; only the columns that they have."""
    # Rows of a forecast come last and have columns of their own.
    names = list(rows[0] | rows[-1]) if rows else list(table.schema)
    types = {name: table.schema.get(name) for name in names}
    texts = {n: pl.String if isinstance(t, (pl.Datetime, pl.Date)) else t for n, t in types.items()}
    frame = pl.DataFrame(rows, schema=texts, infer_schema_length=None)
    instants = [n for n, t in types.items() if isinstance(t, pl.Datetime)]
    days = [n for n, t in types.items() if isinstance(t, pl.Date)]
    return frame.lazy().with_columns(
        pl.col(instants).str.to_datetime("%+", time_unit="us", time_zone="UTC"),
        pl.col(days).str.to_date("%Y-%m-%d"),
    )
