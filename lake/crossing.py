"""When the forecast of what a team owns reaches the next limit of its quota.

Computed when quotas are published, so that readers only read. Standard library only.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Any

from lake.forecast import extended
from lake.read import carried

FORECAST_DAYS = 365
LIMITS = ("team", "backend", "soft_bytes", "hard_bytes", "usage_bytes")
DAYS = (("crossed_on", "bytes"), ("crossed_early", "high_bytes"), ("crossed_late", "low_bytes"))
Row = dict[str, Any]


def crossings(
    quotas: Iterable[Row], points: Sequence[Row], last_day: dt.date, known: Iterable[Row] = ()
) -> list[Row]:
    """A row per quota: LIMITS, next_limit_bytes, and the days on which it is reached, or null.

    `points`: the published growth by team; series go on from `last_day` for a year as
    `growth --by team --forecast` has them. Rows of `known` with the same limits and usage are taken
    as they are.
    """
    before = {_key(row): row for row in known}
    teams: dict[str, list[Row]] = {}
    for point in points:
        teams.setdefault(point["team"], []).append(point)
    found = []
    for quota in quotas:
        row = before.get(_key(quota))
        if row is None:
            mine = _on(teams.get(quota["team"], []), quota["backend"])
            ahead = extended(carried(mine, "team", last_day, 0), FORECAST_DAYS) if mine else []
            row = {name: quota[name] for name in LIMITS} | crossing(quota, ahead)
        found.append(row)
    return found


def crossing(quota: Row, ahead: Iterable[Row]) -> Row:
    """The next limit of a quota and the days on which the forecast and its bounds reach it."""
    limits = [n for n in (quota["soft_bytes"], quota["hard_bytes"]) if n > quota["usage_bytes"]]
    limit = min(limits, default=0)
    found: Row = {"next_limit_bytes": limit or None}
    for name, column in DAYS:
        days = (point["day"] for point in ahead if limit and point[column] >= limit)
        found[name] = next(days, None)
    return found


def _on(points: list[Row], backend: str) -> list[Row]:
    """Those of a backend; of all for an empty one."""
    return [p for p in points if p["backend"] == backend] if backend else points


def _key(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in LIMITS)
