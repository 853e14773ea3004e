"""The one place that reads the wall clock."""

from __future__ import annotations

import datetime as dt


def now() -> dt.datetime:
    """This instant, UTC, microseconds."""
    return dt.datetime.now(dt.UTC)
