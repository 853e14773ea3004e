"""Growth carried into the future by the method that would have done best in the past.

Each method is back-tested on the series' own history: from many past days it forecasts as far
ahead as is asked for now (or as far as the history allows). The method with the smallest mean
absolute error wins, the naive one (tomorrow is as today) included. The bounds are the 10th and
90th percentile of the winner's own errors, scaled to the distance by its square root.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Sequence
from statistics import fmean, quantiles
from typing import Any, NamedTuple

ORIGINS = 40
MIN_HISTORY_DAYS = 8
Row = dict[str, Any]
Method = Callable[[Sequence[float]], float]
"""From the values of all days up to today to the slope by which they go on, per day."""


def naive(_values: Sequence[float]) -> float:
    """As it is today."""
    return 0.0


def drift(values: Sequence[float]) -> float:
    """On along the line from the first day to the last (Hyndman, Forecasting, 5.2)."""
    return (values[-1] - values[0]) / max(len(values) - 1, 1)


def recent(days: int) -> Method:
    """On by the slope of the last `days` (least squares)."""

    def method(values: Sequence[float]) -> float:
        window = values[-days:]
        # Days are 0, 1, 2 …: their mean and squares have closed forms.
        count = len(window)
        if count < 2:
            return 0.0
        middle = (count - 1) / 2
        products = math.fsum((day - middle) * value for day, value in enumerate(window))
        return products * 12 / (count * (count * count - 1))

    return method


METHODS: dict[str, Method] = {
    "naive": naive, "drift": drift, "trend-30": recent(30), "trend-90": recent(90),
}  # fmt: skip


class Backtest(NamedTuple):
    """How a method did on the past."""

    method: str
    mean_error_bytes: float
    errors: list[float]
    """Actual minus forecast of each trial."""
    ahead: int
    """Days ahead that were tried."""


def backtest(values: Sequence[float], ahead: int) -> Backtest:
    """The best method for a series of daily values; ties go to the simpler one, named first."""
    tried = max(1, min(ahead, len(values) // 2))
    first = max(2, len(values) - tried - 365)
    step = max(1, (len(values) - tried - first) // ORIGINS)
    origins = range(first, len(values) - tried + 1, step)
    trials = [
        Backtest(name, fmean(map(abs, errors)) if errors else math.inf, errors, tried)
        for name, method in METHODS.items()
        for errors in [
            [values[o + tried - 1] - values[o - 1] - tried * method(values[:o]) for o in origins]
        ]
    ]
    return min(trials, key=lambda trial: trial.mean_error_bytes)


def extended(history: Sequence[Row], days: int) -> list[Row]:
    """Rows for `days` after each series of daily growth rows, in order of day and series.

    A series shorter than eight days goes on as it is, with bounds equal to it. Each row says which
    `method` won, its mean error on the past in `error_bytes` (null where nothing could be tried)
    and how many days ahead that was, `error_days`.
    """
    series: dict[tuple[str, str], list[Row]] = {}
    for row in history:
        series.setdefault((row["backend"], row["team"]), []).append(row)
    found = [row for rows in series.values() for row in _ahead(rows, days)]
    return sorted(found, key=lambda row: (row["day"], row["backend"], row["team"]))


def _ahead(rows: list[Row], days: int) -> list[Row]:
    values = [float(row["bytes"]) for row in rows]
    files = [float(row["files"]) for row in rows]
    best = backtest(values, days) if len(values) >= MIN_HISTORY_DAYS else None
    slope_of = METHODS[best.method] if best else naive
    rise, more_files = slope_of(values), slope_of(files)
    low, high = _bounds(best)
    last = dt.date.fromisoformat(rows[-1]["day"])
    told = {
        "method": best.method if best else "naive",
        "error_bytes": round(best.mean_error_bytes) if best and best.errors else None,
        "error_days": best.ahead if best else None,
    }
    return [
        {
            "day": (last + dt.timedelta(days=day)).isoformat(),
            "backend": rows[-1]["backend"], "team": rows[-1]["team"],
            "files": max(0, round(files[-1] + day * more_files)),
            "added_bytes": 0, "removed_bytes": 0,
            "bytes": max(0, round(middle := values[-1] + day * rise)),
            "low_bytes": max(0, round(middle + low * _reach(day, best))),
            "high_bytes": max(0, round(middle + high * _reach(day, best))),
            **told,
        }
        for day in range(1, days + 1)
    ]  # fmt: skip


def _bounds(best: Backtest | None) -> tuple[float, float]:
    if best is None or len(best.errors) < 2:
        return 0.0, 0.0
    cuts = quantiles(best.errors, n=10, method="inclusive")
    return min(cuts[0], 0.0), max(cuts[-1], 0.0)


def _reach(day: int, best: Backtest | None) -> float:
    return math.sqrt(day / best.ahead) if best else 0.0
