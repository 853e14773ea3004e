"""From the recorder's tuples to events of the wire format, off the hot path."""

from __future__ import annotations

import datetime as dt
import math

from storage.landing import Event
from warpdrive_agent.identity import Identity
from warpdrive_agent.recorder import Raw, Recorder

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
SAMPLED = ("stat", "list")


def to_event(seq: int, raw: Raw, recorder: Recorder, identity: Identity) -> Event:
    """The event of one recorded tuple."""
    (op, backend, path, who, at, size_read, hit, count, latency, error, opened, cached, size) = raw
    event = Event(
        ts=_instant(at),
        user=identity.user_of(who),
        backend=backend,
        path=path,
        op=op,
        bytes_read=size_read,
        cache_hit=size_read == hit and not error and op == "read",
        node=recorder.node,
        latency_ms=_milliseconds(latency, count),
        error=error,
        count=count,
        ts_open=_instant(opened) if opened else None,
        uid=None if who is None else who.uid,
        job="" if who is None else who.job,
        pod="" if who is None else who.pod,
        seq=seq,
        boot=recorder.boot,
        bytes_hit=hit,
        bytes_miss=size_read - hit,
        kernel_cached=cached,
        size=size,
    )
    if op in SAMPLED and recorder.rate < 1:
        event.weight = 1.0 / recorder.rate
    return event


def _instant(nanoseconds: int) -> dt.datetime:
    return _EPOCH + dt.timedelta(microseconds=nanoseconds // 1000)


def _milliseconds(latency_ns: int, count: int) -> float:
    mean = latency_ns / max(1, count) / 1e6
    return round(mean, 6) if math.isfinite(mean) else 0.0
