"""What each report looks like: its CSV columns, its JSON body. Standard library only.

Rows come in as the columns of the result tables (`lake.schemas`), instants and days as the texts
of the published documents.
"""

from __future__ import annotations

from typing import Any

from storage.units import format_size

Row = dict[str, Any]
ZERO_TIME = "0001-01-01T00:00:00Z"

CSV = {
    "usage": (
        "group", "backend", "files", "bytes", "last_access", "read_count", "write_count",
        "bytes_read", "bytes_written", "touched_bytes",
    ),
    "stale": (
        "backend", "path", "size_bytes", "last_modified", "last_access", "owner", "evidence",
        "coverage",
    ),
    "growth": (
        "date", "backend", "file_count", "total_bytes", "added_bytes", "removed_bytes",
    ),
    "quota": (
        "team", "backend", "soft_bytes", "hard_bytes", "usage_bytes", "status", "grace_until",
    ),
    "user": (
        "backend", "path", "day", "read_count", "write_count", "bytes_read", "bytes_written",
        "last_access",
    ),
    "backends": ("name", "type", "file_count", "total_bytes", "state", "crawled_at", "coverage"),
    "team": ("user", "team", "since"),
    "alias": ("name", "canonical", "since"),
    "rule": ("backend", "prefix", "team", "since", "files", "bytes"),
    "ledger": (
        "node", "hour", "events", "objects", "gaps", "duplicates", "late_seconds", "quarantined",
        "drops",
    ),
    "diff": (
        "group", "backend", "added_files", "added_bytes", "removed_files", "removed_bytes",
        "changed_bytes",
    ),
    "audit-log": ("at", "who", "action", "object", "before", "after"),
    "verify": (
        "backend", "checked", "agree", "agreement_low", "agreement_high", "lag_seconds",
    ),
    "crawl": (
        "backend", "source", "state", "files", "bytes", "added", "removed", "seconds", "error",
    ),
}  # fmt: skip
VERIFIED = (
    "backend", "verified_at", "checked", "agree", "agreement_low", "agreement_high", "lag_seconds",
    "sample", "index_checked", "index_agree", "live_checked", "live_agree", "unchecked",
)  # fmt: skip
AUDITED = ("verified_at", "checked", "agree", "agreement_low", "agreement_high")
INSTANTS = ("last_access", "last_modified", "grace_until", "crawled_at", "since", "at")

# Names of a report's columns where they differ from the result table's.
_RENAMED = {
    "last_access": "last_access_at", "last_modified": "last_modified_at", "date": "day",
    "grace_until": "grace_until_at", "crawled_at": "crawled_at", "since": "since_at",
    "file_count": "files", "total_bytes": "bytes",
}  # fmt: skip


def growth_columns(by: str, *, forecast: bool) -> tuple[str, ...]:
    """CSV columns of growth: by team the team stands for the backend; forecasts have bounds."""
    columns = CSV["growth"]
    if by == "team":
        columns = tuple("team" if name == "backend" else name for name in columns)
    return (*columns, "low_bytes", "high_bytes") if forecast else columns


def forecast_errors(rows: list[Row]) -> list[str]:
    """A line for each series that is forecast: the method, and how wrong it was in the past."""
    told = {row.get("team") or row.get("backend") or "all": row for row in rows if "method" in row}
    return [
        f"{name}: {row['method']}, wrong by {format_size(row['error_bytes'])} on average "
        f"{row['error_days']} days ahead in its own past."
        if row["error_bytes"] is not None
        else f"{name}: goes on as it is, too short to test a method on."
        for name, row in told.items()
    ]


def flat(report: str, rows: list[Row], columns: tuple[str, ...] = ()) -> list[Row]:
    """Rows in the report's CSV columns; values untouched."""
    names = columns or CSV[report]
    return [{name: _value(row, name) for name in names} for row in rows]


def _value(row: Row, name: str) -> Any:
    return row[name] if name in row else row.get(_RENAMED.get(name, name))


def body(report: str, rows: list[Row]) -> list[Row]:
    """Rows as the REST body has them; the contract's keys first."""
    return rows.body if isinstance(rows, Answer) else [_BODIES[report](row) for row in rows]


def _usage(row: Row) -> Row:
    return {
        "group_name": row["group"],
        "backend_name": row["backend"],
        "file_count": row["files"],
        "total_bytes": row["bytes"],
        "last_access": row["last_access_at"] or ZERO_TIME,
        "bytes_read": row["bytes_read"],
        "read_count": row["read_count"],
        "write_count": row["write_count"],
        "bytes_written": row["bytes_written"],
        "touched_bytes": row["touched_bytes"],
    }


def _stale(row: Row) -> Row:
    return {
        "backend_name": row["backend"],
        "path": row["path"],
        "size_bytes": row["size_bytes"],
        "last_modified": row["last_modified_at"] or ZERO_TIME,
        "last_access": row["last_access_at"],
        "evidence": row["evidence"],
        "coverage": row["coverage"],
        "owner": row["owner"],
    }


_FORECAST = ("low_bytes", "high_bytes", "method", "error_bytes", "error_days")


def _growth(row: Row) -> Row:
    named = {"backend_name": row["backend"]} if row.get("backend") else {}
    named |= {"team_name": row["team"]} if row.get("team") else {}
    return {
        "date": row["day"],
        "total_bytes": row["bytes"],
        "file_count": row["files"],
        **named,
        "added_bytes": row["added_bytes"],
        "removed_bytes": row["removed_bytes"],
        **{name: row[name] for name in _FORECAST if name in row},
    }


def _quota(row: Row) -> Row:
    soft, hard, used = row["soft_bytes"], row["hard_bytes"], row["usage_bytes"]
    return {
        "ID": row["quota_id"],
        "TeamName": row["team"],
        "BackendName": row["backend"],
        "SoftLimit": soft,
        "HardLimit": hard,
        "current_usage": used,
        "usage_percent": used / hard * 100 if hard else 0.0,
        "exceeded": hard > 0 and used >= hard,
        "soft_exceeded": soft > 0 and used >= soft,
        "status": row["status"],
        "grace_until": row["grace_until_at"],
    }


def _user(row: Row) -> Row:
    return {
        "BackendName": row["backend"],
        "Path": row["path"],
        "UserID": row["user"],
        "Date": row["day"],
        "ReadCount": row["read_count"],
        "BytesRead": row["bytes_read"],
        "LastAccess": row["last_access_at"] or ZERO_TIME,
        "WriteCount": row["write_count"],
        "BytesWritten": row["bytes_written"],
    }


def _backend(row: Row) -> Row:
    return {
        "name": row["name"],
        "type": row["type"],
        "file_count": row["files"],
        "total_bytes": row["bytes"],
        "state": row["state"],
        "crawled_at": row["crawled_at"],
        "coverage": row["coverage"],
        **{name: row.get(name) for name in AUDITED},
    }


def _team(row: Row) -> Row:
    return {"user_id": row["user"], "team_name": row["team"], "since": row["since_at"]}


def _alias(row: Row) -> Row:
    return {"name": row["name"], "canonical": row["canonical"], "since": row["since_at"]}


def _verify(row: Row) -> Row:
    return {name: row[name] for name in VERIFIED}


_BODIES = {
    "usage": _usage,
    "stale": _stale,
    "growth": _growth,
    "quota": _quota,
    "user": _user,
    "backends": _backend,
    "team": _team,
    "alias": _alias,
    "rule": dict,
    "ledger": dict,
    "diff": dict,
    "audit-log": dict,
    "verify": _verify,
    "crawl": dict,
}

# Columns of the result tables by the keys of a REST body, where those differ.
_COLUMNS = {
    "usage": {"group_name": "group", "backend_name": "backend", "file_count": "files",
              "total_bytes": "bytes", "last_access": "last_access_at"},
    "stale": {"backend_name": "backend", "last_modified": "last_modified_at",
              "last_access": "last_access_at"},
    "growth": {"date": "day", "total_bytes": "bytes", "file_count": "files",
               "backend_name": "backend", "team_name": "team"},
    "quota": {"ID": "quota_id", "TeamName": "team", "BackendName": "backend",
              "SoftLimit": "soft_bytes", "HardLimit": "hard_bytes",
              "current_usage": "usage_bytes", "grace_until": "grace_until_at"},
    "user": {"BackendName": "backend", "Path": "path", "UserID": "user", "Date": "day",
             "ReadCount": "read_count", "BytesRead": "bytes_read",
             "LastAccess": "last_access_at", "WriteCount": "write_count",
             "BytesWritten": "bytes_written"},
    "backends": {"file_count": "files", "total_bytes": "bytes"},
    "team": {"user_id": "user", "team_name": "team", "since": "since_at"},
    "alias": {"since": "since_at"},
}  # fmt: skip


class Answer(list[Row]):
    """Rows that came as a REST body, which is kept: it is what `--format json` prints."""

    body: list[Row]


def rows_of(report: str, told: list[Row] | None) -> Answer:
    """The rows of a REST body in the columns of the result tables; None is no rows.

    Servers of the Go version say `null` for nothing, and know fewer keys.
    """
    columns = _COLUMNS.get(report, {})
    found = Answer(
        {columns.get(key, key): None if value == ZERO_TIME else value
         for key, value in item.items()}
        for item in told or []
    )  # fmt: skip
    found.body = told or []
    if report == "quota":
        for row in found:
            row.setdefault("status", "EXCEEDED" if row.get("exceeded") else
                           "WARNING" if row.get("soft_exceeded") else "OK")  # fmt: skip
    return found
