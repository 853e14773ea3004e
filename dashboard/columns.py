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
_STATES = {"complete": "wd-good", "failed": "wd-bad", "late": "wd-plain", "writing": "wd-plain"}


def worst_first(row: Row) -> tuple[int, float, str, str]:
    """The order of quotas: by status, then by the share of the limit that is used."""
    return _WORST_FIRST.get(row["status"], 0), -_filled(row), row["team"], row["backend"]


def _sized(name: str) -> Show:
    return lambda row: Cell(fmt.size(row[name]), fmt.exact_size(row[name]))


def _limited(name: str) -> Show:
    sized = _sized(name)
    return lambda row: sized(row) if row[name] else Cell("none")


def _signed(name: str) -> Show:
    return lambda row: Cell(fmt.signed(fmt.size, row[name]), fmt.exact_size(row[name]))


def _counted_signed(name: str) -> Show:
    return lambda row: Cell(fmt.signed(fmt.count, row[name]))


def _counted(name: str) -> Show:
    return lambda row: Cell(fmt.count(row[name]))


def _instant(name: str) -> Show:
    return lambda row: Cell(fmt.day(row[name]), fmt.exact_instant(row[name]))


def _instant_minute(name: str) -> Show:
    return lambda row: Cell(
        row[name][:16].replace("T", " ") if row[name] else "—", fmt.exact_instant(row[name])
    )


def _decimal(name: str) -> Show:
    return lambda row: Cell(f"{row[name]:,.1f}", f"{row[name]}")


def _badge(name: str, marks: dict[str, str]) -> Show:
    return lambda row: Cell(row[name].lower(), mark=marks.get(row[name], "wd-warn"))


def _filled(row: Row) -> float:
    limit = row["hard_bytes"] or row["soft_bytes"]
    return row["usage_bytes"] / limit if limit else 0.0


def _of_limit(row: Row) -> Cell:
    kind = "hard" if row["hard_bytes"] else "soft"
    part = _filled(row)
    return Cell(f"{fmt.share(part)} of {kind}", mark=_MARKS.get(row["status"], ""), fill=part)


def _crossing(row: Row) -> Cell:
    """The day on which the forecast reaches the next limit, its bounds on hover."""
    if "next_limit_bytes" not in row:
        return Cell("—", "told by the next refresh")
    if not row["next_limit_bytes"]:
        return Cell("all limits crossed" if row["status"] != "OK" else "no limit")
    size = fmt.size(row["next_limit_bytes"])
    if not row["crossed_on"]:
        early = row["crossed_early"]
        told = f"at the earliest {early}" if early else "nor does its upper bound"
        return Cell("not within a year", f"the forecast does not reach {size}; {told}")
    late = row["crossed_late"] or "more than a year from now"
    return Cell(row["crossed_on"], f"{size}; between {row['crossed_early']} and {late}")


def state(row: Row) -> Cell:
    """The state of a crawl, in its colour."""
    return _badge("state", _STATES)(row)


def coverage(row: Row) -> Cell:
    """The share of node-hours with unbroken telemetry."""
    known = "share of the node-hours of 90 days with unbroken telemetry"
    return Cell(
        fmt.share(row["coverage"]), "no agent reports" if row["coverage"] is None else known
    )


def agreement(row: Row) -> Cell:
    """How far the index can be trusted: the bounds of its last audit against the store."""
    low, high = row.get("agreement_low"), row.get("agreement_high")
    if low is None or high is None:
        return Cell("—", "never audited: `warpdrive verify` does it")
    told = f"{fmt.count(row['agree'])} of {fmt.count(row['checked'])} compared rows agree"
    at = fmt.exact_instant(row.get("verified_at"))
    return Cell(f"{low:.1%} to {high:.1%}", f"{told} (95 % bounds), audited {at}")


def _most_a_day(row: Row) -> Cell:
    return Cell(fmt.count(row["files"]), "files touched on the day with the most")


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
    Column("Index agrees with store", agreement, number=True),
    Column("Telemetry coverage", coverage, number=True),
)
WEEK = (
    Column("Team", text("team")),
    Column("Added", _sized("added_bytes"), number=True),
    Column("Removed", _sized("removed_bytes"), number=True),
    Column("Net", _signed("moved_bytes"), number=True),
    Column("Files", _counted_signed("moved_files"), number=True),
)
MOVES = (
    Column("Day", text("day")),
    Column("Added", _sized("added_bytes"), number=True),
    Column("Removed", _sized("removed_bytes"), number=True),
    Column("Files", _counted("files"), number=True),
)
PREFIXES = (
    Column("Backend", text("backend")),
    Column("Prefix", text("prefix", "(top)")),
    Column("Files", _counted("files"), number=True),
    Column("Stored", _sized("bytes"), number=True),
)
OWNERS = (
    Column("Owner", text("group")),
    Column("Files", _counted("files"), number=True),
    Column("Stored", _sized("bytes"), number=True),
    Column("Last access", _instant("last_access_at")),
)
TIERS = (
    Column("Tier", text("tier")),
    Column("Files", _counted("files"), number=True),
    Column("Stored", _sized("bytes"), number=True),
)
CRAWLS = (
    Column("Listed", _instant_minute("snapshot_at")),
    Column("Source", text("source")),
    Column("State", state),
    Column("Files", _counted("files"), number=True),
    Column("Stored", _sized("bytes"), number=True),
    Column("Added", _counted("added"), number=True),
    Column("Removed", _counted("removed"), number=True),
    Column("Seconds", _decimal("seconds"), number=True),
    Column("Error", text("error")),
)
LIMITS = (
    Column("Team", text("team")),
    Column("Backend", text("backend", "all together")),
    Column("Status", _badge("status", _MARKS)),
    Column("Stored", _sized("usage_bytes"), number=True),
    Column("Of its limit", _of_limit),
    Column("Soft", _limited("soft_bytes"), number=True),
    Column("Hard", _limited("hard_bytes"), number=True),
    Column("Grace until", _instant("grace_until_at")),
    Column("Next limit reached", _crossing),
)
PARTS = (
    Column("Backend", text("backend")),
    Column("Team", text("team")),
    Column("Files", _counted("files"), number=True),
    Column("Bytes", _sized("bytes"), number=True),
)
FREED = (
    Column("Team", text("team")),
    Column("Files", _counted("files"), number=True),
    Column("Would free", _sized("bytes"), number=True),
)
DAYS = (
    Column("Day", text("day")),
    Column("Accesses", _counted("accesses"), number=True),
    Column("Files", _counted("files"), number=True),
    Column("Read", _sized("bytes_read"), number=True),
    Column("Written", _sized("bytes_written"), number=True),
)
FILES = (
    Column("Path", text("path")),
    Column("Backend", text("backend")),
    Column("Size", _sized("size_bytes"), number=True),
    Column("Last access", _instant("last_access_at")),
    Column("Evidence", text("evidence")),
)
TOUCHED = (
    Column("Day", text("day")),
    Column("Path", text("path")),
    Column("Backend", text("backend")),
    Column("Reads", _counted("read_count"), number=True),
    Column("Writes", _counted("write_count"), number=True),
    Column("Read", _sized("bytes_read"), number=True),
    Column("Written", _sized("bytes_written"), number=True),
)
JOBS = (
    Column("Job", text("job")),
    Column("First seen", _instant_minute("first_at")),
    Column("Last seen", _instant_minute("last_at")),
    Column("Nodes", _counted("nodes"), number=True),
    Column("Files a day", _most_a_day, number=True),
    Column("Accesses", _counted("accesses"), number=True),
    Column("Read", _sized("bytes_read"), number=True),
    Column("Written", _sized("bytes_written"), number=True),
)
LEDGER = (
    Column("Node", text("node", "imports")),
    Column("Hour", text("hour")),
    Column("Events", _counted("events"), number=True),
    Column("Objects", _counted("objects"), number=True),
    Column("Gaps", _counted("gaps"), number=True),
    Column("Drops", _counted("drops"), number=True),
    Column("Duplicates", _counted("duplicates"), number=True),
    Column("Quarantined", _counted("quarantined"), number=True),
    Column("Late (s)", _counted("late_seconds"), number=True),
)
REASONS = (
    Column("Reason", text("reason")),
    Column("Lines", _counted("lines"), number=True),
    Column("Objects", _counted("objects"), number=True),
)
LINES = (
    Column("Hour", text("hour")),
    Column("Object", lambda row: Cell(fmt.tail(row["object"], 40), row["object"])),
    Column("Line", _counted("line"), number=True),
    Column("Reason", text("reason")),
    Column("Text", lambda row: Cell(fmt.cut(row["text"], 120), fmt.cut(row["text"], 2000))),
)
EVIDENCE = (
    Column("Evidence", text("source")),
    Column("Files", _counted("files"), number=True),
    Column("Stored", _sized("bytes"), number=True),
)
RULES = (
    Column("Backend", text("backend")),
    Column("Prefix", text("prefix", "(all)")),
    Column("Team", text("team")),
    Column("Since", _instant("since")),
    Column("Files", _counted("files"), number=True),
    Column("Decides about", _sized("bytes"), number=True),
)
