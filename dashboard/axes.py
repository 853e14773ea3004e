"""What all charts share: 1024-based axes, days, tooltips, height."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from storage.units import UNITS

TICKS = 4
FEW_DAYS = 7


def ticks(top: int) -> list[int]:
    """About four round 1024-based values from 0 up to `top`."""
    unit = 1
    while unit * 1024 <= top and unit < 1024 ** (len(UNITS) - 1):
        unit *= 1024
    wanted = top / unit / TICKS
    step = next((s for s in _steps(unit) if s >= wanted), wanted)
    size = max(1, int(step * unit))
    return list(range(0, top + 1, size)) if top else [0]


def _steps(unit: int) -> list[float]:
    halves = [0.25, 0.5] if unit > 1 else []
    return [*halves, 1, 2, 5, 10, 20, 50, 100, 200, 250, 500, 1000, 2500]


SIZES = (("Stored", "size"), ("Exactly", "exact"))


def sized(chart: Any, height: int) -> alt.LayerChart:
    """The chart with its height, on the page's own background."""
    return chart.properties(height=height, background="transparent")


def tips(*named: tuple[str, str]) -> list[alt.Tooltip]:
    """What hovering tells: (title, field) each."""
    return [alt.Tooltip(field, type="nominal", title=title) for title, field in named]


def size_axis(top: int, bottom: int = 0) -> alt.Axis:
    """Bytes from `bottom` (0 or below) to `top`, at round 1024-based values."""
    units = ", ".join(f"'{unit}'" for unit in UNITS)
    step = [*ticks(max(top, -bottom)), 1][1]
    places = list(range(-step * (-bottom // step), top + 1, step)) if bottom else ticks(top)
    return alt.Axis(values=places, labelExpr=_expression(units), grid=True, domain=False)


def _expression(units: str) -> str:
    """Labels are 1024-based like every other number; Vega's own SI prefixes are not."""
    power = "min(5, floor(log(max(1, abs(datum.value)) * 1.0001) / log(1024)))"
    shown = f"format(datum.value / pow(1024, {power}), ',.4~r')"
    return f"datum.value == 0 ? '0' : {shown} + ' ' + [{units}][{power}]"


def names() -> alt.Axis:
    """Names at the left, without lines."""
    return alt.Axis(domain=False, ticks=False, labelLimit=140, labelPadding=8, labelOverlap=False)


def days(shown: Sequence[str]) -> alt.X:
    """UTC days; a few of them are named one by one."""
    if len(shown) <= FEW_DAYS:
        return alt.X("day:O", title=None, axis=alt.Axis(labelAngle=0, **PLAIN))
    axis = alt.Axis(tickCount=6, **PLAIN)
    return alt.X("day:T", title=None, scale=alt.Scale(type="utc"), axis=axis)


SQUARES: dict[str, Any] = {"symbolType": "square", "symbolSize": 110, "symbolOpacity": 1}
PLAIN: dict[str, Any] = {"grid": False, "labelOverlap": True}
