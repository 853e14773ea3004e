"""How the work is cut: landing hours and backends. Never one run per object or bucket."""

from __future__ import annotations

import datetime as dt

import dagster as dg

from pipelines import settings
from storage import clock
from storage.errors import WarpdriveError
from storage.objectstore import folders, open_store

BACKENDS = dg.DynamicPartitionsDefinition(name="backend")


def first_day() -> dt.date:
    """The first day of the landing zone that is not past retention; today without any.

    Read when the definitions are loaded: an hour before it that lands later is ingested all the
    same, and shows after the next load.
    """
    today = clock.now().date()
    try:
        config = settings.config()
        found = folders(open_store(config.telemetry.landing))
    except WarpdriveError:
        return today
    oldest = today - config.lake.retention
    days = [day for name in found if (day := _day(name)) and oldest <= day <= today]
    return min(days, default=today)


def _day(folder: str) -> dt.date | None:
    try:
        return dt.date.fromisoformat(folder.removeprefix("dt="))
    except ValueError:
        return None


LANDING_HOURS = dg.HourlyPartitionsDefinition(
    start_date=f"{first_day():%Y-%m-%d}-00:00", end_offset=2
)


def partition_of(hour: str) -> str:
    """The partition key of a landing hour `YYYY-MM-DDTHH`: the nearest there is."""
    first, last = LANDING_HOURS.get_first_partition_key(), LANDING_HOURS.get_last_partition_key()
    key = f"{hour.replace('T', '-')}:00"
    return min(max(key, first or key), last or key)


def hour_of(partition: str) -> str:
    """The landing hour of a partition key."""
    return f"{partition[:10]}T{partition[11:13]}"
