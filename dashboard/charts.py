"""The charts: rows in, an Altair chart out. Colours and fonts come from the theme."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from dashboard import format as fmt
from storage.units import UNITS

MAX_BARS = 12
MAX_SERIES = 9
BAR_HEIGHT = 26
OTHERS = "other backends"
TICKS = 4
FEW_DAYS = 7
AROUND = 75  # legend and axis, which Streamlit counts into the height
GROWTH_HEIGHT = 300
Row = dict[str, Any]


def colours(backends: Sequence[Row]) -> list[str]:
    """The series that charts tell apart: the largest backends, then the others together.

    Made from all backends, so that one keeps its colour when the page shows it alone.
    """
    ranked = sorted(backends, key=lambda row: (-row["bytes"], row["name"]))
    names = [row["name"] for row in ranked]
    return names if len(names) <= MAX_SERIES + 1 else [*names[:MAX_SERIES], OTHERS]


def teams(usage: Sequence[Row], domain: Sequence[str]) -> alt.LayerChart:
    """Stored bytes of the largest teams, one bar each, stacked by backend."""
    ranked = team_totals(usage)[:MAX_BARS]
    order = [row["group"] for row in ranked]
    rows = [_segment(row) for row in _folded(usage, domain, "group") if row["group"] in order]
    top = max((row["bytes"] for row in ranked), default=0)
    bars = (
        alt.Chart(alt.Data(values=rows))
        .mark_bar(size=BAR_HEIGHT * 0.6, cornerRadiusEnd=2)
        .encode(
            y=alt.Y("group:N", sort=order, title=None, axis=_names()),
            x=alt.X("bytes:Q", title=None, stack="zero", axis=_size_axis(top), scale=_room(top)),
            color=_colour(domain, rows),
            order=alt.Order("rank:Q"),
            tooltip=_tips(("Team", "group"), ("Backend", "backend"), *_SIZES),
        )
    )
    totals = [
        {"group": row["group"], "bytes": row["bytes"], "text": fmt.size(row["bytes"])}
        for row in ranked
    ]
    labels = (
        alt.Chart(alt.Data(values=totals))
        .mark_text(align="left", dx=6, fontSize=12, color="currentColor")
        .encode(y=alt.Y("group:N", sort=order), x="bytes:Q", text="text:N")
    )
    return _sized(bars + labels, BAR_HEIGHT * max(len(order), 4) + AROUND)


def growth(points: Sequence[Row], domain: Sequence[str]) -> alt.LayerChart:
    """Stored bytes per day, stacked by backend, largest at the bottom."""
    rows = [_segment(row) for row in _folded(points, domain, "day")]
    days = sorted({row["day"] for row in rows})
    tops: dict[str, int] = {}
    for row in rows:
        tops[row["day"]] = tops.get(row["day"], 0) + row["bytes"]
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=_days(days),
        y=alt.Y(
            "bytes:Q", title=None, stack="zero", axis=_size_axis(max(tops.values(), default=0))
        ),
        color=_colour(domain, rows),
        order=alt.Order("rank:Q"),
        tooltip=_tips(("Day", "day"), ("Backend", "backend"), *_SIZES, ("Files", "files_text")),
    )
    area = base.mark_area(line={"strokeWidth": 1.5}, opacity=0.75)
    return _sized(alt.layer(base.mark_bar(size=48) if len(days) == 1 else area), GROWTH_HEIGHT)


def team_totals(usage: Sequence[Row]) -> list[Row]:
    """Files and bytes per team over its backends, largest first; teams without files left out."""
    totals: dict[str, Row] = {}
    for row in usage:
        total = totals.setdefault(row["group"], {"group": row["group"], "files": 0, "bytes": 0})
        total["files"] += row["files"]
        total["bytes"] += row["bytes"]
    stored = [row for row in totals.values() if row["files"]]
    return sorted(stored, key=lambda row: (-row["bytes"], row["group"]))


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


_SIZES = (("Stored", "size"), ("Exactly", "exact"))


def _sized(chart: Any, height: int) -> alt.LayerChart:
    return chart.properties(height=height, background="transparent")


def _folded(rows: Sequence[Row], domain: Sequence[str], key: str) -> list[Row]:
    """Rows per key and series, in the order of the domain; small backends together."""
    found: dict[tuple[str, str], Row] = {}
    for row in rows:
        name = row["backend"] if row["backend"] in domain else OTHERS
        new = {key: row[key], "backend": name, "files": 0, "bytes": 0}
        total = found.setdefault((row[key], name), new)
        total["files"] += row["files"]
        total["bytes"] += row["bytes"]
    rank = {name: place for place, name in enumerate(domain)}
    return [row | {"rank": rank.get(row["backend"], len(domain))} for row in found.values()]


def _segment(row: Row) -> Row:
    texts = {
        "size": fmt.size(row["bytes"]),
        "exact": fmt.exact_size(row["bytes"]),
        "files_text": fmt.count(row["files"]),
    }
    return row | texts


def _tips(*named: tuple[str, str]) -> list[alt.Tooltip]:
    return [alt.Tooltip(field, type="nominal", title=title) for title, field in named]


def _colour(domain: Sequence[str], rows: Sequence[Row]) -> alt.Color:
    shown = [name for name in domain if any(row["backend"] == name for row in rows)]
    legend = alt.Legend(title=None, orient="top", values=shown, **_SQUARES)
    return alt.Color("backend:N", scale=alt.Scale(domain=list(domain)), legend=legend)


def _size_axis(top: int) -> alt.Axis:
    units = ", ".join(f"'{unit}'" for unit in UNITS)
    places = ticks(top)
    return alt.Axis(values=places, labelExpr=_expression(units), grid=True, domain=False)


def _expression(units: str) -> str:
    """Labels are 1024-based like every other number; Vega's own SI prefixes are not."""
    power = "min(5, floor(log(max(1, datum.value) * 1.0001) / log(1024)))"
    shown = f"format(datum.value / pow(1024, {power}), ',.4~r')"
    return f"datum.value == 0 ? '0' : {shown} + ' ' + [{units}][{power}]"


def _room(top: int) -> alt.Scale:
    """Room at the right for the totals written beside the bars."""
    return alt.Scale(domain=[0, max(1, top) * 1.2], nice=False)


def _names() -> alt.Axis:
    return alt.Axis(domain=False, ticks=False, labelLimit=140, labelPadding=8)


def _days(days: Sequence[str]) -> alt.X:
    """UTC days; a few of them are named one by one."""
    if len(days) <= FEW_DAYS:
        return alt.X("day:O", title=None, axis=alt.Axis(labelAngle=0, **_AXIS))
    axis = alt.Axis(tickCount=6, **_AXIS)
    return alt.X("day:T", title=None, scale=alt.Scale(type="utc"), axis=axis)


_SQUARES: dict[str, Any] = {"symbolType": "square", "symbolSize": 110, "symbolOpacity": 1}
_AXIS: dict[str, Any] = {"grid": False, "labelOverlap": True}
