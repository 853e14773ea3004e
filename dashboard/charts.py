"""The charts: rows in, an Altair chart out. Colours and fonts come from the theme."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from dashboard import axes
from dashboard import format as fmt

MAX_BARS = 12
MAX_QUOTAS = 30
MAX_SERIES = 9
BAR_HEIGHT = 26
OTHERS = "other backends"
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
            y=alt.Y("group:N", sort=order, title=None, axis=axes.names()),
            x=alt.X(
                "bytes:Q", title=None, stack="zero", axis=axes.size_axis(top), scale=_room(top)
            ),
            color=_colour(domain, rows),
            order=alt.Order("rank:Q"),
            tooltip=axes.tips(("Team", "group"), ("Backend", "backend"), *axes.SIZES),
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
    return axes.sized(bars + labels, BAR_HEIGHT * max(len(order), 4) + AROUND)


def growth(points: Sequence[Row], domain: Sequence[str]) -> alt.LayerChart:
    """Stored bytes per day, stacked by backend, largest at the bottom."""
    rows = [_segment(row) for row in _folded(points, domain, "day")]
    days = sorted({row["day"] for row in rows})
    tops: dict[str, int] = {}
    for row in rows:
        tops[row["day"]] = tops.get(row["day"], 0) + row["bytes"]
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=axes.days(days),
        y=alt.Y(
            "bytes:Q", title=None, stack="zero", axis=axes.size_axis(max(tops.values(), default=0))
        ),
        color=_colour(domain, rows),
        order=alt.Order("rank:Q"),
        tooltip=axes.tips(
            ("Day", "day"), ("Backend", "backend"), *axes.SIZES, ("Files", "files_text")
        ),
    )
    area = base.mark_area(line={"strokeWidth": 1.5}, opacity=0.75)
    return axes.sized(alt.layer(base.mark_bar(size=48) if len(days) == 1 else area), GROWTH_HEIGHT)


def moves(teams: Sequence[Row]) -> alt.LayerChart:
    """Bytes that came (to the right) and went (to the left), one bar per team."""
    shown = list(teams)[:MAX_BARS]
    rows = [
        {"team": row["team"], "way": way, "bytes": sign * row[name], "size": fmt.size(row[name]),
         "exact": fmt.exact_size(row[name])}
        for row in shown
        for way, name, sign in (("added", "added_bytes", 1), ("removed", "removed_bytes", -1))
        if row[name]
    ]  # fmt: skip
    order = [row["team"] for row in shown]
    ends = [row["bytes"] for row in rows]
    chart = (
        alt.Chart(alt.Data(values=rows))
        .mark_bar(size=BAR_HEIGHT * 0.6, cornerRadiusEnd=2)
        .encode(
            y=alt.Y("team:N", sort=order, title=None, axis=axes.names()),
            x=alt.X("bytes:Q", title=None, axis=axes.size_axis(max(ends), min(0, *ends))),
            color=_ways(),
            tooltip=axes.tips(("Team", "team"), ("What", "way"), ("Bytes", "size"),
                              ("Exactly", "exact")),
        )
    )  # fmt: skip
    return axes.sized(chart, BAR_HEIGHT * max(len(order), 2) + AROUND)


def daily_moves(points: Sequence[Row]) -> alt.LayerChart:
    """Bytes added (up) and removed (down) per day."""
    rows = [
        {"day": row["day"], "way": way, "bytes": sign * row[name], "size": fmt.size(row[name]),
         "exact": fmt.exact_size(row[name])}
        for row in points
        for way, name, sign in (("added", "added_bytes", 1), ("removed", "removed_bytes", -1))
        if row[name]
    ]  # fmt: skip
    ends = [row["bytes"] for row in rows] or [0]
    days = sorted({row["day"] for row in points})
    wide: dict[str, Any] = {"size": 32} if len(days) <= axes.FEW_DAYS else {}
    chart = (
        alt.Chart(alt.Data(values=rows))
        .mark_bar(**wide)
        .encode(
            x=axes.days(days),
            y=alt.Y("bytes:Q", title=None,
                    axis=axes.size_axis(max(0, *ends, 0), min(0, *ends, 0))),
            color=_ways(),
            tooltip=axes.tips(("Day", "day"), ("What", "way"), ("Bytes", "size"),
                              ("Exactly", "exact")),
        )
    )  # fmt: skip
    return axes.sized(chart, GROWTH_HEIGHT)


def file_count(points: Sequence[Row]) -> alt.LayerChart:
    """Files per day."""
    rows = [{"day": r["day"], "files": r["files"], "text": fmt.count(r["files"])} for r in points]
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=axes.days([row["day"] for row in rows]),
        y=alt.Y("files:Q", title=None, axis=alt.Axis(domain=False, tickCount=4, format=",d",
                                                      tickMinStep=1)),
        tooltip=axes.tips(("Day", "day"), ("Files", "text")),
    )  # fmt: skip
    area = base.mark_area(line={"strokeWidth": 1.5}, opacity=0.75)
    return axes.sized(base.mark_bar(size=48) if len(rows) == 1 else area, GROWTH_HEIGHT)


def shares(rows: Sequence[Row], name: str, title: str) -> alt.LayerChart:
    """Bytes of each of a few kinds, one bar each, the largest first."""
    shown = [
        {"name": row[name], "bytes": row["bytes"], "size": fmt.size(row["bytes"]),
         "exact": fmt.exact_size(row["bytes"]), "files": fmt.count(row["files"])}
        for row in list(rows)[:MAX_BARS]
    ]  # fmt: skip
    top = max((row["bytes"] for row in shown), default=0)
    order = [row["name"] for row in shown]
    base = alt.Chart(alt.Data(values=shown)).encode(
        y=alt.Y("name:N", sort=order, title=None, axis=axes.names()),
        x=alt.X("bytes:Q", title=None, axis=axes.size_axis(top), scale=_room(top)),
        tooltip=axes.tips((title, "name"), *axes.SIZES, ("Files", "files")),
    )
    bars = base.mark_bar(size=BAR_HEIGHT * 0.6, cornerRadiusEnd=2)
    labels = base.mark_text(align="left", dx=6, fontSize=12, color="currentColor").encode(
        text="size:N"
    )
    return axes.sized(bars + labels, BAR_HEIGHT * max(len(order), 3) + 40)


def limits(quotas: Sequence[Row]) -> alt.LayerChart:
    """What teams store, one bar per quota, against its limits: soft a line, hard a thick one."""
    shown = [
        {
            "name": f"{row['team']} · {row['backend'] or 'all'}", "bytes": row["usage_bytes"],
            "status": row["status"].lower(), "size": fmt.size(row["usage_bytes"]),
            "exact": fmt.exact_size(row["usage_bytes"]),
            "soft": row["soft_bytes"] or None, "hard": row["hard_bytes"] or None,
            "soft_text": fmt.limit(row["soft_bytes"]), "hard_text": fmt.limit(row["hard_bytes"]),
        }
        for row in list(quotas)[:MAX_QUOTAS]
    ]  # fmt: skip
    top = max((max(r["bytes"], r["soft"] or 0, r["hard"] or 0) for r in shown), default=0)
    base = alt.Chart(alt.Data(values=shown)).encode(
        y=alt.Y("name:N", sort=[row["name"] for row in shown], title=None, axis=axes.names()),
        tooltip=axes.tips(("Quota", "name"), ("Status", "status"), *axes.SIZES,
                          ("Soft limit", "soft_text"), ("Hard limit", "hard_text")),
    )  # fmt: skip
    across = {"title": None, "axis": axes.size_axis(top), "scale": alt.Scale(domain=[0, top or 1])}
    status = alt.Color(
        "status:N", legend=alt.Legend(title=None, orient="top", **axes.SQUARES),
        scale=alt.Scale(domain=["ok", "warning", "exceeded"],
                        range=["#0d9488", "#e08600", "#c0392b"]),
    )  # fmt: skip
    bars = base.mark_bar(size=BAR_HEIGHT * 0.5).encode(x=alt.X("bytes:Q", **across), color=status)
    tick: dict[str, Any] = {"size": BAR_HEIGHT * 0.9, "color": "currentColor"}
    soft = base.mark_tick(thickness=1.5, **tick).encode(x=alt.X("soft:Q", **across))
    hard = base.mark_tick(thickness=4, **tick).encode(x=alt.X("hard:Q", **across))
    return axes.sized(bars + soft + hard, BAR_HEIGHT * max(len(shown), 2) + AROUND)


def team_totals(usage: Sequence[Row]) -> list[Row]:
    """Files and bytes per team over its backends, largest first; teams without files left out."""
    totals: dict[str, Row] = {}
    for row in usage:
        total = totals.setdefault(row["group"], {"group": row["group"], "files": 0, "bytes": 0})
        total["files"] += row["files"]
        total["bytes"] += row["bytes"]
    stored = [row for row in totals.values() if row["files"]]
    return sorted(stored, key=lambda row: (-row["bytes"], row["group"]))


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


def _colour(domain: Sequence[str], rows: Sequence[Row]) -> alt.Color:
    shown = [name for name in domain if any(row["backend"] == name for row in rows)]
    legend = alt.Legend(title=None, orient="top", values=shown, **axes.SQUARES)
    return alt.Color("backend:N", scale=alt.Scale(domain=list(domain)), legend=legend)


def _ways() -> alt.Color:
    legend = alt.Legend(title=None, orient="top", **axes.SQUARES)
    return alt.Color("way:N", scale=alt.Scale(domain=["added", "removed"]), legend=legend)


def _room(top: int) -> alt.Scale:
    """Room at the right for the totals written beside the bars."""
    return alt.Scale(domain=[0, max(1, top) * 1.2], nice=False)
