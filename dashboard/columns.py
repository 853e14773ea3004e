"""The columns of each table: what a cell shows, and what hovering tells."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dashboard import format as fmt
from dashboard.tables import Cell, Column, text

Row = dict[str, Any]
Show = Callable[[Row], Cell]
_WORST_FIRST = {"EXCEEDED": 0, "WARNING": 1, "OK": 2}
_MARKS = {"EXCEEDED": "wd-bad", "WARNING": "wd-warn", "OK": "wd-good"}
_STATES = {"complete": "wd-good", "failed": "wd-bad"}


def worst_first(row: Row) -> tuple[int, float, str, str]:
    """The order of quotas: by status, then by the share of the limit that is used."""
    return _WORST_FIRST.get(row["status"], 0), -_filled(row), row["team"], row["backend"]


def _sized(name: str) -> Show:
    return lambda row: Cell(fmt.size(row[name]), fmt.exact_size(row[name]))


def _limited(name: str) -> Show:
    sized = _sized(name)
    return lambda row: sized(row) if row[name] else Cell("none")


def _counted(name: str) -> Show:
    return lambda row: Cell(fmt.count(row[name]))


def _instant(name: str) -> Show:
    return lambda row: Cell(fmt.day(row[name]), fmt.exact_instant(row[name]))


def _badge(name: str, marks: dict[str, str]) -> Show:
    return lambda row: Cell(row[name].lower(), mark=marks.get(row[name], "wd-warn"))


def _filled(row: Row) -> float:
    limit = row["hard_bytes"] or row["soft_bytes"]
    return row["usage_bytes"] / limit if limit else 0.0


def _of_limit(row: Row) -> Cell:
    kind = "hard" if row["hard_bytes"] else "soft"
    part = _filled(row)
    return Cell(f"{fmt.share(part)} of {kind}", mark=_MARKS.get(row["status"], ""), fill=part)


def _coverage(row: Row) -> Cell:
    known = "share of the node-hours of 90 days with unbroken telemetry"
    return Cell(
        fmt.share(row["coverage"]), "no agent reports" if row["coverage"] is None else known
    )


QUOTA = (
    Column("Team", text("team")),
    Column("Backend", text("backend", "all together")),
    Column("Status", _badge("status", _MARKS)),
    Column("Stored", _sized("usage_bytes"), number=True),
    Column("Of its limit", _of_limit),
    Column("Soft limit", _limited("soft_bytes"), number=True),
    Column("Hard limit", _limited("hard_bytes"), number=True),
    Column("Grace until", _instant("grace_until_at")),
)
USAGE = (
    Column("Team", text("group")),
    Column("Backend", text("backend")),
    Column("Files", _counted("files"), number=True),
    Column("Stored", _sized("bytes"), number=True),
    Column("Read", _sized("bytes_read"), number=True),
    Column("Last access", _instant("last_access_at")),
)
GROWTH = (
    Column("Day", text("day")),
    Column("Backend", text("backend")),
    Column("Files", _counted("files"), number=True),
    Column("Stored", _sized("bytes"), number=True),
    Column("Added", _sized("added_bytes"), number=True),
    Column("Removed", _sized("removed_bytes"), number=True),
)
BACKENDS = (
    Column("Backend", text("name")),
    Column("Type", text("type")),
    Column("Files", _counted("files"), number=True),
    Column("Stored", _sized("bytes"), number=True),
    Column("Last crawl", _badge("state", _STATES)),
    Column("Listed", _instant("crawled_at")),
    Column("Telemetry coverage", _coverage, number=True),
)
