"""Rows as text: tables for people, CSV and JSON for programs. Standard library only.

CSV is byte-exact RFC 4180 with LF: sizes in bytes, instants `YYYY-MM-DD HH:MM:SS` UTC, nothing
cut or rounded. JSON is the REST body. Tables cut paths and escape control characters.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from lake.reports import CSV, INSTANTS, body, flat
from storage.units import csv_instant, format_size

RULE = "─" * 60
PATH_WIDTH = 30
FORMATS = ("table", "csv", "json")
Row = dict[str, Any]


def _known(value: Any) -> str:
    """`-` for what a server of the Go version does not know."""
    return "-" if value is None else str(value)


class Cell(NamedTuple):
    """One column of a table: heading, width (negative = left aligned), source, how to print."""

    heading: str
    width: int
    column: str
    show: Callable[[Any], str] = _known


def _day(value: Any) -> str:
    return str(value)[:10] if value else "-"


def _second(value: Any) -> str:
    return csv_instant(value)


def _size(value: Any) -> str:
    return format_size(value or 0)


def _bound(value: Any) -> str:
    return "-" if value is None else format_size(value)


def _limit(value: Any) -> str:
    return format_size(value) if value else "none"


def _share(value: Any) -> str:
    return "-" if value is None else f"{value:.0%}"


def _percent(value: Any) -> str:
    return "-" if value is None else f"{value:.2%}"


def _whole(value: Any) -> str:
    return "-" if value is None else f"{value:.0f}"


def _cut(value: Any) -> str:
    text = str(value)
    return text if len(text) <= PATH_WIDTH else "..." + text[-(PATH_WIDTH - 3) :]


def _or_all(value: Any) -> str:
    return str(value) or "all"


def _or_dash(value: Any) -> str:
    return "-" if value in (None, "") else str(value)


TABLES: dict[str, tuple[str, tuple[Cell, ...], str]] = {
    "usage": ("Storage Usage", (
        Cell("GROUP", -20, "group", _or_dash), Cell("BACKEND", -15, "backend"),
        Cell("FILES", 8, "files"), Cell("BYTES", 12, "bytes", _size),
        Cell("LAST ACCESS", -11, "last_access", _day), Cell("READS", 8, "read_count"),
        Cell("READ", 12, "bytes_read", _size), Cell("TOUCHED", 12, "touched_bytes", _size),
    ), "(no usage data)"),
    "stale": ("Stale Data", (
        Cell("BACKEND", -15, "backend"), Cell("PATH", -30, "path", _cut),
        Cell("SIZE", 12, "size_bytes", _size), Cell("LAST ACCESS", -11, "last_access", _day),
        Cell("OWNER", -20, "owner"), Cell("EVIDENCE", -10, "evidence"),
        Cell("COVERAGE", 8, "coverage", _share),
    ), "(no stale files found)"),
    "growth": ("Storage Growth", (
        Cell("DATE", -10, "date"), Cell("BACKEND", -15, "backend", _or_all),
        Cell("FILES", 8, "file_count"), Cell("BYTES", 12, "total_bytes", _size),
        Cell("ADDED", 12, "added_bytes", _size), Cell("REMOVED", 12, "removed_bytes", _size),
        Cell("LOW", 12, "low_bytes", _bound), Cell("HIGH", 12, "high_bytes", _bound),
    ), "(no growth data)"),
    "quota": ("Quotas", (
        Cell("TEAM", -15, "team"), Cell("BACKEND", -15, "backend", _or_all),
        Cell("SOFT LIMIT", 12, "soft_bytes", _limit), Cell("HARD LIMIT", 12, "hard_bytes", _limit),
        Cell("USAGE", 12, "usage_bytes", _size), Cell("STATUS", -8, "status"),
        Cell("GRACE UNTIL", -11, "grace_until", _day),
    ), "(no quotas configured)"),
    "user": ("User", (
        Cell("BACKEND", -15, "backend"), Cell("PATH", -30, "path", _cut), Cell("DAY", -10, "day"),
        Cell("READS", 6, "read_count"), Cell("WRITES", 6, "write_count"),
        Cell("READ", 12, "bytes_read", _size), Cell("WRITTEN", 12, "bytes_written", _size),
    ), "(no accesses)"),
    "backends": ("Backends", (
        Cell("NAME", -15, "name"), Cell("TYPE", -10, "type", _or_dash),
        Cell("FILES", 8, "file_count"), Cell("BYTES", 12, "total_bytes", _size),
        Cell("STATE", -13, "state"), Cell("CRAWLED", -10, "crawled_at", _day),
        Cell("COVERAGE", 8, "coverage", _share),
    ), "(no backends configured)"),
    "team": ("Teams", (
        Cell("USER", -30, "user"), Cell("TEAM", -20, "team"), Cell("SINCE", -10, "since", _day),
    ), "(no teams)"),
    "alias": ("Aliases", (
        Cell("NAME", -30, "name"), Cell("CANONICAL", -30, "canonical"),
        Cell("SINCE", -10, "since", _day),
    ), "(no aliases)"),
    "rule": ("Ownership Rules", (
        Cell("BACKEND", -15, "backend"), Cell("PREFIX", -30, "prefix", _or_all),
        Cell("TEAM", -20, "team"), Cell("SINCE", -10, "since", _day), Cell("FILES", 8, "files"),
        Cell("BYTES", 12, "bytes", _size),
    ), "(no rules)"),
    "ledger": ("Ledger", (
        Cell("NODE", -20, "node", _or_dash), Cell("HOUR", -13, "hour"), Cell("EVENTS", 9, "events"),
        Cell("OBJECTS", 7, "objects"), Cell("GAPS", 6, "gaps"),
        Cell("DUPLICATES", 10, "duplicates"), Cell("LATE S", 8, "late_seconds"),
        Cell("QUARANTINED", 11, "quarantined"), Cell("DROPS", 6, "drops"),
    ), "(nothing landed)"),
    "diff": ("Changes", (
        Cell("GROUP", -20, "group"), Cell("BACKEND", -15, "backend"),
        Cell("ADDED", 8, "added_files"), Cell("BYTES", 12, "added_bytes", _size),
        Cell("REMOVED", 8, "removed_files"), Cell("BYTES", 12, "removed_bytes", _size),
        Cell("CHANGED", 12, "changed_bytes", _size),
    ), "(no changes)"),
    "audit-log": ("Audit Log", (
        Cell("AT", -19, "at", _second), Cell("WHO", -12, "who"), Cell("ACTION", -12, "action"),
        Cell("OBJECT", -30, "object", _cut), Cell("BEFORE", -20, "before", _or_dash),
        Cell("AFTER", -20, "after", _or_dash),
    ), "(no changes yet)"),
    "verify": ("Index against Store", (
        Cell("BACKEND", -15, "backend"), Cell("CHECKED", 8, "checked"), Cell("AGREE", 8, "agree"),
        Cell("LOW", 8, "agreement_low", _percent), Cell("HIGH", 8, "agreement_high", _percent),
        Cell("LAG S", 9, "lag_seconds", _whole),
    ), "(no backends configured)"),
    "crawl": ("Crawl", (
        Cell("BACKEND", -15, "backend"), Cell("SOURCE", -9, "source"), Cell("STATE", -9, "state"),
        Cell("FILES", 8, "files"), Cell("BYTES", 12, "bytes", _size), Cell("ADDED", 8, "added"),
        Cell("REMOVED", 8, "removed"), Cell("SECONDS", 8, "seconds"),
        Cell("ERROR", -10, "error", _or_dash),
    ), "(no backends configured)"),
}  # fmt: skip


def render(
    report: str, rows: list[Row], fmt: str, *, columns: tuple[str, ...] = (), title: str = ""
) -> str:
    """The whole text of a report. `columns` overrides its CSV columns."""
    if fmt == "json":
        return json.dumps(body(report, rows), ensure_ascii=False, separators=(",", ":")) + "\n"
    lines = flat(report, rows, columns)
    if fmt == "csv":
        return as_csv(lines, columns or CSV[report])
    return _table(report, lines, title)


def as_csv(rows: Iterable[Row], columns: tuple[str, ...]) -> str:
    """RFC 4180 with LF and a header."""
    lines = [columns, *([_csv_value(n, row[n]) for n in columns] for row in rows)]
    # A lone \r must be quoted too, which csv does only where \r is part of the line end.
    text = _csv(lines)
    if text.count("\r") == len(lines):  # of line ends only
        return text.replace("\r\n", "\n")
    return "".join(_csv([line]).removesuffix("\r\n") + "\n" for line in lines)


def _csv(lines: Iterable[Sequence[Any]]) -> str:
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\r\n").writerows(lines)
    return out.getvalue()


def _csv_value(name: str, value: Any) -> Any:
    if value is None:
        return ""
    return csv_instant(value) if name in INSTANTS and value else value


def _table(report: str, rows: list[Row], title: str) -> str:
    heading, cells, nothing = TABLES[report]
    cells = tuple(cell for cell in cells if not rows or cell.column in rows[0])
    if rows and "team" in rows[0] and report == "growth":
        cells = (cells[0], Cell("TEAM", -20, "team"), *cells[1:])
    lines = [_plain(title) or heading, RULE]
    lines.append(" ".join(_aligned(cell.heading, cell.width) for cell in cells).rstrip())
    for row in rows:
        shown = (_aligned(_plain(cell.show(row[cell.column])), cell.width) for cell in cells)
        lines.append(" ".join(shown).rstrip())
    if not rows:
        lines.append(f"  {nothing}")
    return "\n".join(lines) + "\n"


def _aligned(text: str, width: int) -> str:
    return text.ljust(-width) if width < 0 else text.rjust(width)


def _plain(text: str) -> str:
    """Control characters escaped: a path must not steer the terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
