"""JSON schemas of bodies and answers, for OpenAPI."""

from __future__ import annotations

from typing import Any

from storage.units import MAX_BYTES

Schema = dict[str, Any]
TEXT: Schema = {"type": "string"}
INTEGER: Schema = {"type": "integer", "format": "int64"}
COUNT: Schema = {"type": "integer", "format": "int64", "minimum": 0, "maximum": MAX_BYTES}
INT64: Schema = INTEGER | {"minimum": -MAX_BYTES - 1, "maximum": MAX_BYTES}
NUMBER: Schema = {"type": "number"}
FLAG: Schema = {"type": "boolean"}
INSTANT: Schema = {"type": "string", "format": "date-time"}
DAY: Schema = {"type": "string", "format": "date"}
SHOWN = "[ -~\u00a0-\ud7ff\ue000-\U0010ffff]"
"""A character of a name, as `lake.change` has it: no control character."""
NAME: Schema = {
    "type": "string", "minLength": 1, "maxLength": 200, "pattern": f"^{SHOWN}+$",
}  # fmt: skip
SHARE: Schema = {"type": ["number", "null"], "minimum": 0, "maximum": 1}


def maybe(schema: Schema) -> Schema:
    """The schema, or null."""
    return {**schema, "type": [schema["type"], "null"]}


def row(required: dict[str, Schema], **optional: Schema) -> Schema:
    """An object with these keys and no others."""
    return {
        "type": "object", "properties": {**required, **optional}, "required": list(required),
        "additionalProperties": False,
    }  # fmt: skip


def rows(required: dict[str, Schema], **optional: Schema) -> Schema:
    """An array of such objects."""
    return {"type": "array", "items": row(required, **optional)}


ERROR = row({
    "error": row({
        "status": {"type": "integer"}, "code": TEXT, "message": TEXT, "hint": TEXT, "param": TEXT,
    }),
})  # fmt: skip
_LIST_STATE = {"type": "string"}
_BACKEND_STATE = {"type": "string"}
EVENT: Schema = {
    "type": "object",
    "properties": {
        "ts": maybe(TEXT) | {"description": "RFC 3339; stamped by the server when missing."},
        "op": maybe(TEXT) | {"examples": ["read", "write", "stat", "list", "agent"]},
        **{name: maybe(TEXT) for name in (
            "user", "backend", "path", "node", "error", "ts_open", "job", "pod", "boot",
        )},
        **{name: maybe(INT64) for name in (
            "bytes_read", "bytes_written", "count", "uid", "seq", "bytes_hit", "bytes_miss",
            "size", "drops",
        )},
        **{name: maybe(FLAG) for name in ("cache_hit", "kernel_cached")},
        **{name: maybe(NUMBER) for name in ("weight", "latency_ms")},
        "backends": {"type": ["array", "null"], "items": TEXT},
    },
}  # fmt: skip
NANOSECONDS: Schema = {
    "type": ["string", "integer", "null"],
    "description": "64-bit integers of OTLP travel as texts.",
}  # fmt: skip


def _lists(**properties: Schema) -> Schema:
    """An array of such objects, or null: proto3's JSON takes null for what is not there."""
    return {"type": ["array", "null"], "items": {"type": "object", "properties": properties}}


_ATTRIBUTES = _lists(key=maybe(TEXT), value={"type": ["object", "null"]})
BODIES: dict[str, dict[str, Schema]] = {
    "quota_body": {"application/json": row(
        {"team_name": NAME},
        backend_name=maybe(NAME | {"minLength": 0, "pattern": f"^{SHOWN}*$"}),
        soft_limit=maybe(COUNT), hard_limit=maybe(COUNT),
        grace=maybe({"type": "string", "pattern": "^([1-9][0-9]{0,3}[smhd])?$"}),
    ) | {"additionalProperties": True}},
    "member_body": {"application/json": row(
        {"user_id": NAME, "team_name": NAME}, since=maybe(INSTANT),
    ) | {"additionalProperties": True}},
    "alias_body": {"application/json": row(
        {"name": NAME, "canonical": NAME}, since=maybe(INSTANT),
    ) | {"additionalProperties": True}},
    "rule_body": {"application/json": row(
        {"backend": NAME, "team": NAME}, prefix=maybe({"type": "string", "maxLength": 4096,
                                               "pattern": f"^{SHOWN}*$"}),
    ) | {"additionalProperties": True}},
    "members_csv": {
        "text/csv": {
            "type": "string", "pattern": "^user_id,team_name\n([a-z]+,[a-z]+\n)*$",
            "examples": ["user_id,team_name\nann,vision\n"],
        },
    },
    "events": {
        "application/json": {"type": ["array", "null"], "items": maybe(EVENT) | {
            "description": "null is an event without any key, as in the Go version."}},
        "application/x-ndjson": {"examples": ['{"op":"read"}\n{"op":"stat"}\n']},
    },
    "otlp_logs": {"application/json": {
        "type": "object",
        "properties": {"resourceLogs": _lists(
            resource={"type": ["object", "null"], "properties": {"attributes": _ATTRIBUTES}},
            scopeLogs=_lists(logRecords=_lists(
                timeUnixNano=NANOSECONDS, observedTimeUnixNano=NANOSECONDS, attributes=_ATTRIBUTES,
            )),
        )},
    }},
}  # fmt: skip
AUDIT = {
    "backend": TEXT, "verified_at": INSTANT, "checked": COUNT, "agree": COUNT,
    "agreement_low": SHARE, "agreement_high": SHARE,
    "lag_seconds": maybe(NUMBER | {"minimum": 0}), "sample": COUNT, "index_checked": COUNT,
    "index_agree": COUNT, "live_checked": COUNT, "live_agree": COUNT, "unchecked": COUNT,
}  # fmt: skip
ANSWERS: dict[str, Schema] = {
    "usage": rows({
        "group_name": TEXT, "backend_name": TEXT, "file_count": COUNT, "total_bytes": COUNT,
        "last_access": INSTANT, "bytes_read": COUNT, "read_count": COUNT, "write_count": COUNT,
        "bytes_written": COUNT, "touched_bytes": COUNT,
    }),
    "stale": rows({
        "backend_name": TEXT, "path": TEXT, "size_bytes": COUNT, "last_modified": INSTANT,
        "last_access": INSTANT, "evidence": TEXT, "coverage": SHARE, "owner": TEXT,
    }),
    "growth": rows({
        "date": DAY, "total_bytes": COUNT, "file_count": COUNT, "added_bytes": COUNT,
        "removed_bytes": COUNT,
    }, backend_name=TEXT, team_name=TEXT, low_bytes=INTEGER, high_bytes=INTEGER,
       method=TEXT, error_bytes=maybe(INTEGER), error_days=maybe(COUNT)),
    "quota": rows({
        "ID": COUNT, "TeamName": TEXT, "BackendName": TEXT, "SoftLimit": COUNT, "HardLimit": COUNT,
        "current_usage": COUNT, "usage_percent": NUMBER, "exceeded": FLAG, "soft_exceeded": FLAG,
        "status": {"type": "string", "enum": ["OK", "WARNING", "EXCEEDED"]},
        "grace_until": maybe(INSTANT),
    }),
    "user": rows({
        "BackendName": TEXT, "Path": TEXT, "UserID": TEXT, "Date": DAY, "ReadCount": COUNT,
        "BytesRead": COUNT, "LastAccess": INSTANT, "WriteCount": COUNT, "BytesWritten": COUNT,
    }),
    "backends": rows({
        "name": TEXT, "type": TEXT, "file_count": COUNT, "total_bytes": COUNT,
        "state": _BACKEND_STATE, "crawled_at": maybe(INSTANT), "coverage": SHARE,
        "verified_at": maybe(INSTANT), "checked": maybe(COUNT), "agree": maybe(COUNT),
        "agreement_low": SHARE, "agreement_high": SHARE,
    }),
    "team": rows({"user_id": TEXT, "team_name": TEXT, "since": maybe(INSTANT)}),
    "alias": rows({"name": TEXT, "canonical": TEXT, "since": maybe(INSTANT)}),
    "rule": rows({
        "backend": TEXT, "prefix": TEXT, "team": TEXT, "since": maybe(INSTANT), "files": COUNT,
        "bytes": COUNT,
    }),
    "ledger": rows({
        "node": TEXT, "hour": TEXT, "events": COUNT, "objects": COUNT, "gaps": COUNT,
        "duplicates": COUNT, "late_seconds": NUMBER, "quarantined": COUNT, "drops": COUNT,
    }),
    "diff": rows({
        "group": TEXT, "backend": TEXT, "added_files": COUNT, "added_bytes": COUNT,
        "removed_files": COUNT, "removed_bytes": COUNT, "changed_bytes": INTEGER,
    }),
    "verify": rows(AUDIT),
    "audit_log": rows({
        "at": INSTANT, "who": TEXT, "action": TEXT, "object": TEXT, "before": TEXT, "after": TEXT,
    }),
    "done": row(
        {"status": {"type": "string", "enum": ["ok"]}}, new=COUNT, members=COUNT, note=TEXT,
    ),
    "ingested": row({"accepted": COUNT, "quarantined": COUNT}),
    "exported": row({}, partialSuccess=row({"rejectedLogRecords": TEXT, "errorMessage": TEXT})),
    "run": row({
        "status": {"type": "string", "enum": ["requested", "running", "ok", "partial", "error",
                                              "interrupted"]},
        "run_id": TEXT,
    }, kind=TEXT, who=TEXT, requested_at=INSTANT, ended_at=maybe(INSTANT),
       backends={"type": "array", "items": {"type": "object"}}, audits=rows(AUDIT),
       failed={"type": "object"}, error=TEXT),
    "document": {"type": "object"},
    "health": row({
        "status": {"type": "string", "enum": ["ok", "degraded"]}, "checks": {"type": "object"},
    }),
}  # fmt: skip
