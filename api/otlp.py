"""OTLP/HTTP logs as events: `POST /v1/logs`, JSON encoding.

One log record is one event. Its attributes are the keys of an event, with or without the prefix
`warpdrive.`; `user.name` or `enduser.id`, `file.path`, `error.type` and the resource's `host.name`
stand for `user`, `path`, `error` and `node`. The time is `timeUnixNano`, else
`observedTimeUnixNano`. A record without `backend` and `op` is some other log: it is rejected and
counted in `partialSuccess`, as the protocol has it.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec

from api import events
from storage.units import MAX_BYTES

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


class KeyValue(msgspec.Struct):
    """An attribute."""

    key: str = ""
    value: dict[str, Any] = {}


class Record(msgspec.Struct, rename="camel"):
    """A log record."""

    time_unix_nano: str | int = 0
    observed_time_unix_nano: str | int = 0
    attributes: list[KeyValue] = []


class Resource(msgspec.Struct):
    """What sent the records."""

    attributes: list[KeyValue] = []


class ScopeLogs(msgspec.Struct, rename="camel"):
    """Records of one library."""

    log_records: list[Record] = []


class ResourceLogs(msgspec.Struct, rename="camel"):
    """Records of one resource."""

    resource: Resource = msgspec.field(default_factory=Resource)
    scope_logs: list[ScopeLogs] = []


class Request(msgspec.Struct, rename="camel"):
    """ExportLogsServiceRequest."""

    resource_logs: list[ResourceLogs] = []


_DECODER = msgspec.json.Decoder(Request)


def read_logs(body: bytes) -> tuple[list[dict[str, Any]], int]:
    """Events of a request, as `POST /ingest` takes them, and how many records are none.

    Raises ValueError for what is no ExportLogsServiceRequest.
    """
    found: list[dict[str, Any]] = []
    rejected = 0
    for group in _DECODER.decode(body).resource_logs:
        shared = _attributes(group.resource.attributes)
        for scope in group.scope_logs:
            for record in scope.log_records:
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


def _attributes(given: list[KeyValue]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for one in given:
        name = one.key.removeprefix(PREFIX)
        name = ALIASES.get(name, name)
        # The key's own name stands over what merely means the same.
        wins = name not in found or one.key.removeprefix(PREFIX) == name
        if name in KEYS and wins and (value := _value(one.value)) is not None:
            found[name] = value
    return found


def _value(value: dict[str, Any]) -> Any:
    """An AnyValue; 64-bit integers travel as texts."""
    if "intValue" in value:
        text = str(value["intValue"])
        return int(text) if text.removeprefix("-").isdigit() else text
    if "arrayValue" in value:
        return [_value(item) for item in (value["arrayValue"] or {}).get("values", [])]
    for kind in ("stringValue", "boolValue", "doubleValue"):
        if kind in value:
            return value[kind]
    return None


def _time(nanoseconds: str | int) -> str:
    text = str(nanoseconds)
    if not text.isdigit() or not 0 < int(text) <= MAX_BYTES:
        return ""
    at = _EPOCH + dt.timedelta(microseconds=int(text) // 1000)
    return at.isoformat().replace("+00:00", "Z")
