"""Events to `access_daily` and `agents`, one landing day at a time."""

from __future__ import annotations

import polars as pl

from lake.metrics.access import daily, heartbeats
from lake.schemas import ACCESS_DAILY, AGENTS, EVENTS, LEDGER
from lake.store import Lake


def fold(lake: Lake, *, rebuild: bool = False) -> dict[str, int]:
    """Fold the landing days whose ledger moved since they were folded; rows per day.

    With `rebuild` every day whose events are kept is folded again; of a day whose events were let
    go by retention the fold stays.
    """
    found: dict[str, int] = {}
    kept = days_with_events(lake) if rebuild else set()
    for day, moves in ledger_moves(lake).items():
        if rebuild and day not in kept:
            continue
        app = None if rebuild else (f"fold:{day}", moves)
        if app and lake.app_version(ACCESS_DAILY, app[0]) >= moves:
            continue
        events = lake.scan(EVENTS).filter(landing_day() == day)
        lake.replace(AGENTS, heartbeats(events, day).collect(), {"landing_day": day}, app)
        rows = daily(events, day).collect()
        lake.replace(ACCESS_DAILY, rows, {"landing_day": day}, app)
        found[day] = rows.height
    return found


def ledger_moves(lake: Lake) -> dict[str, int]:
    """Landing day → rows of its ledger. The ledger only grows, so a change is a larger number."""
    rows = lake.scan(LEDGER).group_by(day=landing_day()).len().sort("day").collect()
    return dict(rows.iter_rows())


def days_with_events(lake: Lake) -> set[str]:
    """Landing days of which `events` has rows."""
    days = lake.scan(EVENTS).select(day=landing_day()).unique().collect()
    return set(days["day"])


def landing_day() -> pl.Expr:
    """The day of the landing hour, or skewed."""
    return pl.col("hour").str.head(10)
