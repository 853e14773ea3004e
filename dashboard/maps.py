"""Areas and grids: the treemap of prefixes, the heat maps of days and of landing hours."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any, NamedTuple

import altair as alt

from dashboard import axes
from dashboard import format as fmt

MAP_WIDTH, MAP_HEIGHT = 1200.0, 340.0
ROW_HEIGHT = 22
MAX_NODES = 40
WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
LABEL_WIDTH_PER_LETTER = 7.5
Row = dict[str, Any]


class Tile(NamedTuple):
    """A rectangle and the place of its value in the list."""

    x: float
    y: float
    width: float
    height: float
    place: int


def squarified(sizes: Sequence[float], width: float, height: float) -> list[Tile]:
    """Rectangles with areas as `sizes` (largest first, all above 0) that fill width x height.

    Rows are laid along the shorter side as long as that makes their worst rectangle squarer
    (Bruls, Huizing, van Wijk, Squarified treemaps, 2000).
    """
    scale = width * height / sum(sizes) if sizes else 0.0
    areas = [size * scale for size in sizes]
    found: list[Tile] = []
    x = y = 0.0
    first = 0
    while first < len(areas):
        side = min(width, height)
        last = first + 1
        while last < len(areas) and _worst(areas[first : last + 1], side) <= _worst(
            areas[first:last], side
        ):
            last += 1
        thick = sum(areas[first:last]) / side
        along = 0.0
        for place in range(first, last):
            long = areas[place] / thick
            tile = (x, y + along, thick, long) if width >= height else (x + along, y, long, thick)
            found.append(Tile(*tile, place))
            along += long
        if width >= height:
            x, width = x + thick, max(width - thick, 1e-9)
        else:
            y, height = y + thick, max(height - thick, 1e-9)
        first = last
    return found


def _worst(areas: Sequence[float], side: float) -> float:
    total = sum(areas)
    return max(side**2 * max(areas) / total**2, total**2 / (side**2 * min(areas)))


def treemap(rows: Sequence[Row], name: str, title: str) -> alt.LayerChart:
    """One rectangle per row, its area the bytes."""
    ranked = sorted((r for r in rows if r["bytes"] > 0), key=lambda r: (-r["bytes"], r[name]))
    total = sum(row["bytes"] for row in ranked)
    shown = [
        {
            "x": t.x, "x2": t.x + t.width, "y": t.y, "y2": t.y + t.height,
            "rank": t.place, "name": ranked[t.place][name] or "(top)",
            "label": _fitting(ranked[t.place][name] or "(top)", t),
            "size_label": _fitting(fmt.size(ranked[t.place]["bytes"]), t, 40, whole=True),
            "size": fmt.size(ranked[t.place]["bytes"]),
            "exact": fmt.exact_size(ranked[t.place]["bytes"]),
            "files": fmt.count(ranked[t.place]["files"]),
            "share": fmt.share(ranked[t.place]["bytes"] / total),
        }
        for t in squarified([row["bytes"] for row in ranked], MAP_WIDTH, MAP_HEIGHT)
    ]  # fmt: skip
    flat = alt.Scale(domain=[0, MAP_WIDTH], nice=False)
    down = alt.Scale(domain=[0, MAP_HEIGHT], nice=False, reverse=True)
    base = alt.Chart(alt.Data(values=shown)).encode(
        x=alt.X("x:Q", axis=None, scale=flat), y=alt.Y("y:Q", axis=None, scale=down),
        tooltip=axes.tips((title, "name"), *axes.SIZES, ("Of all", "share"), ("Files", "files")),
    )  # fmt: skip
    tiles = base.mark_rect(stroke="white", strokeWidth=1.5, strokeOpacity=0.8, cornerRadius=2)
    shade = alt.Color("rank:Q", legend=None, scale=alt.Scale(range=["#17439c", "#3d63a8"]))
    text = {"align": "left", "baseline": "top", "dx": 6, "color": "white"}
    return axes.sized(
        tiles.encode(x2="x2:Q", y2="y2:Q", color=shade)
        + base.mark_text(**text, dy=6, fontSize=12, fontWeight=600).encode(text="label:N")
        + base.mark_text(**text, dy=23, fontSize=11).encode(text="size_label:N"),
        int(MAP_HEIGHT),
    )


def _fitting(text: str, tile: Tile, height: float = 22, *, whole: bool = False) -> str:
    """The text if the tile has room for it, cut unless it must be `whole`, else nothing."""
    room = int((tile.width - 10) / LABEL_WIDTH_PER_LETTER)
    if tile.height < height or room < 3:
        return ""
    if len(text) <= room:
        return text
    return "" if whole else text[: room - 1] + "…"


def calendar(rows: Sequence[Row], last_day: dt.date, days: int) -> alt.LayerChart:
    """A square per day: accesses of one user, weeks from left to right."""
    told = {row["day"]: row for row in rows}
    nothing = {"accesses": 0, "bytes_read": 0, "bytes_written": 0, "files": 0}
    shown = []
    for back in range(days - 1, -1, -1):
        day = last_day - dt.timedelta(days=back)
        row = told.get(day.isoformat(), nothing)
        shown.append({
            "day": day.isoformat(), "week": str(day - dt.timedelta(days=day.weekday())),
            "weekday": WEEKDAYS[day.weekday()], "accesses": row["accesses"] or None,
            "text": fmt.count(row["accesses"]), "read": fmt.size(row["bytes_read"]),
            "written": fmt.size(row["bytes_written"]), "files": fmt.count(row["files"]),
        })  # fmt: skip
    weeks = alt.Axis(labelExpr="substring(datum.label, 0, 7)", ticks=False, domain=False,
                     labelAngle=0, labelOverlap=True, labelAlign="left")  # fmt: skip
    chart = (
        alt.Chart(alt.Data(values=shown))
        .mark_rect(**SQUARE)
        .encode(
            x=alt.X("week:O", title=None, axis=weeks),
            y=alt.Y("weekday:O", title=None, sort=list(WEEKDAYS), axis=axes.names()),
            color=_heat("accesses:Q"),
            tooltip=axes.tips(("Day", "day"), ("Accesses", "text"), ("Files", "files"),
                              ("Read", "read"), ("Written", "written")),
        )
    )  # fmt: skip
    return axes.sized(chart, 190)


def hours(rows: Sequence[Row], shown_hours: Sequence[str]) -> alt.LayerChart:
    """A square per node and landing hour: events, and a cross where something is missing."""
    nodes = sorted({row["node"] for row in rows})[:MAX_NODES]
    told = {(row["node"], row["hour"]): row for row in rows}
    nothing = {"events": 0, "gaps": 0, "drops": 0, "quarantined": 0, "late_seconds": 0}
    cells = []
    for node in nodes:
        for hour in shown_hours:
            row = told.get((node, hour), nothing)
            cells.append({
                "node": node or "imports", "hour": hour, "events": row["events"] or None,
                "text": fmt.count(row["events"]) if (node, hour) in told else "nothing landed",
                "gaps": fmt.count(row["gaps"]), "drops": fmt.count(row["drops"]),
                "refused": fmt.count(row["quarantined"]), "late": fmt.count(row["late_seconds"]),
                "bad": bool(row["gaps"] or row["drops"]),
            })  # fmt: skip
    every = alt.Axis(labelExpr="substring(datum.label, 5, 13)", ticks=False, domain=False,
                     labelAngle=0, labelOverlap=True)  # fmt: skip
    base = alt.Chart(alt.Data(values=cells)).encode(
        x=alt.X("hour:O", title=None, sort=list(shown_hours), axis=every),
        y=alt.Y("node:O", title=None, sort=[node or "imports" for node in nodes],
                axis=axes.names()),
        tooltip=axes.tips(("Node", "node"), ("Hour", "hour"), ("Events", "text"),
                          ("Gaps", "gaps"), ("Drops", "drops"), ("Quarantined", "refused"),
                          ("Late (s)", "late")),
    )  # fmt: skip
    squares = base.mark_rect(**SQUARE)
    crosses = base.mark_text(text="✕", fontSize=12, fontWeight=700, color="#c2410c")
    return axes.sized(
        squares.encode(color=_heat("events:Q")) + crosses.transform_filter("datum.bad"),
        ROW_HEIGHT * max(len(nodes), 2) + 50,
    )


def _heat(field: str) -> Any:
    """The darker the more; squares without a value stay pale."""
    scale = alt.Scale(range=["#9fc0ff", "#12388a"], type="sqrt")
    shade = alt.Color(field, legend=None, scale=scale)
    known = f"isValid(datum.{field.split(':', maxsplit=1)[0]})"
    return alt.condition(known, shade, alt.value("rgba(128, 128, 128, 0.10)"))


SQUARE: dict[str, Any] = {
    "cornerRadius": 2, "stroke": "gray", "strokeOpacity": 0.25, "invalid": None,
}  # fmt: skip
