"""OTLP/HTTP logs as events: `POST /v1/logs`, JSON encoding.

One log record is one event. Its attributes are the keys of an event, with or without the prefix
`warpdrive.`; `user.name` or `enduser.id`, `file.path`, `error.type` and the resource's `host.name`
stand for `user`, `path`, `error` and `node`. The time is `timeUnixNano`, else
`observedTimeUnixNano`; without either it is the server's now. A record without `backend` and `op`
is some other log: it is rejected and counted in `partialSuccess`, as the protocol has it. `null`
is as if the key were not there, which is what proto3's JSON says.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

import msgspec

from api import events

PREFIX = "warpdrive."
ALIASES = {
    "user.name": "user", "enduser.id": "user", "file.path": "path", "error.type": "error",
    "host.name": "node", "k8s.pod.name": "pod", "user.id": "uid",
}  # fmt: skip
KEYS = frozenset((
    "user", "backend", "path", "op", "bytes_read", "bytes_written", "count", "weight", "cache_hit",
    "node", "latency_ms", "error", "ts_open", "uid", "job", "pod", "seq", "boot", "bytes_hit",
    "bytes_miss", "kernel_cached", "size", "backends", "drops",
))  # fmt: skip
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_INTEGER = re.compile(r"-?[0-9]{1,20}")
_NANOSECONDS = re.compile(r"[0-9]{1,20}")


class KeyValue(msgspec.Struct):
    """An attribute."""

    key: str | None = None
    value: dict[str, Any] | None = None


class Record(msgspec.Struct, rename="camel"):
    """A log record."""

    time_unix_nano: str | int | None = None
    observed_time_unix_nano: str | int | None = None
    attributes: list[KeyValue] | None = None


class Resource(msgspec.Struct):
    """What sent the records."""

    attributes: list[KeyValue] | None = None


class ScopeLogs(msgspec.Struct, rename="camel"):
    """Records of one library."""

    log_records: list[Record] | None = None


class ResourceLogs(msgspec.Struct, rename="camel"):
    """Records of one resource."""

    resource: Resource | None = None
    scope_logs: list[ScopeLogs] | None = None


class Request(msgspec.Struct, rename="camel"):
    """ExportLogsServiceRequest."""

    resource_logs: list[ResourceLogs] | None = None


_DECODER = msgspec.json.Decoder(Request)


def read_logs(body: bytes) -> tuple[list[dict[str, Any]], int]:
    """Events of a request, as `POST /ingest` takes them, and how many records are none.

    Raises ValueError for what is no ExportLogsServiceRequest.
    """
    found: list[dict[str, Any]] = []
    rejected = 0
    for group in _DECODER.decode(body).resource_logs or ():
        shared = _attributes(group.resource.attributes if group.resource else None)
        for scope in group.scope_logs or ():
            for record in scope.log_records or ():
                event = _event(record, shared)
                if event is None:
                    rejected += 1
                else:
                    found.append(event)
    return found, rejected


def batch_of(found: list[dict[str, Any]], rules: events.Rules) -> tuple[events.Batch, int]:
    """The events as a batch, and how many were refused for a value of a wrong type."""
    whole = events.Batch()
    bad = 0
    for event in found:
        try:
            for block in events.of_array(msgspec.json.encode([event]), rules):
                whole.add(block)
        except events.BadBatchError:
            bad += 1
    return whole, bad


def _event(record: Record, shared: dict[str, Any]) -> dict[str, Any] | None:
    event = {**shared, **_attributes(record.attributes)}
    if not event.get("backend") or not event.get("op"):
        return None
    ts = _time(record.time_unix_nano) or _time(record.observed_time_unix_nano)
    return {"ts": ts, **event} if ts else event


def _attributes(given: list[KeyValue] | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for one in given or ():
        own, value = (one.key or "").removeprefix(PREFIX), _value(one.value)
        name = ALIASES.get(own, own)
        if own == "user.id" and isinstance(value, str):  # of whatever kind the sender's ids are
            name, value = ("uid", int(value)) if _INTEGER.fullmatch(value) else ("user", value)
        # The key's own name stands over what merely means the same.
        wins = name not in found or own == name
        if name in KEYS and wins and value is not None:
            found[name] = value
    return found


def _value(value: Any) -> Any:
    """An AnyValue; 64-bit integers travel as texts. What is none stays as it is, to be refused."""
    if not isinstance(value, dict):
        return value
    if "intValue" in value:
        text = str(value["intValue"])
        return int(text) if _INTEGER.fullmatch(text) else text
    if "arrayValue" in value:
        held = value["arrayValue"] or {}
        items = (held.get("values") or []) if isinstance(held, dict) else held
        return [_value(item) for item in items] if isinstance(items, list) else items
    for kind in ("stringValue", "boolValue", "doubleValue"):
        if kind in value:
            return value[kind]
    return None


def _time(nanoseconds: str | int | None) -> str:
    """RFC 3339, or '' where no time is told; what is no time goes to the quarantine as it is."""
    text = str(nanoseconds or "")
    if not _NANOSECONDS.fullmatch(text):
        return text
    at = _EPOCH + dt.timedelta(microseconds=int(text) // 1000)
    return "" if at == _EPOCH else at.isoformat().replace("+00:00", "Z")
