"""How the work is cut: landing hours and backends. Never one run per object or bucket."""

from __future__ import annotations

import dagster as dg

FIRST_KEY = "2025-01-01-00:00"
LANDING_HOURS = dg.HourlyPartitionsDefinition(start_date=FIRST_KEY, end_offset=1)
BACKENDS = dg.DynamicPartitionsDefinition(name="backend")
KEY_FORMAT = "%Y-%m-%d-%H:%M"


def partition_of(hour: str) -> str:
    """The partition key of a landing hour `YYYY-MM-DDTHH`: the nearest there is."""
    key = f"{hour.replace('T', '-')}:00"
    return min(max(key, FIRST_KEY), LANDING_HOURS.get_last_partition_key() or FIRST_KEY)


def hour_of(partition: str) -> str:
    """The landing hour of a partition key."""
    return f"{partition[:10]}T{partition[11:13]}"
