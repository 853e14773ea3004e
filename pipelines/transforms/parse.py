"""JSON lines to typed events and quarantined lines. Pure: bytes in, frames out.

Whole blocks are decoded in one call; only a block that holds a bad line is decoded line by line.
Both ways use the same decoder, so what is refused does not depend on the company it is in.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import msgspec
import polars as pl

from lake.ids import file_id
from lake.schemas import EVENTS, QUARANTINE
from storage.units import MAX_BYTES

MAX_LINE_BYTES = 1024**2
MAX_TEXT_CHARACTERS = 64 * 1024
FUTURE = dt.timedelta(hours=24)
BLOCK_LINES = 20_000

_Bytes = Annotated[int, msgspec.Meta(ge=0, le=MAX_BYTES)]
_Int = Annotated[int, msgspec.Meta(ge=-MAX_BYTES, le=MAX_BYTES)]
_Weight = Annotated[float, msgspec.Meta(gt=0, le=1e12)]


class Line(msgspec.Struct, gc=False):
    """One line as it arrives. A missing key has its zero value; unknown keys are ignored."""

    ts: str | None = None
    user: str | None = ""
    backend: str | None = ""
    path: str | None = ""
    op: str | None = ""
    bytes_read: _Bytes | None = 0
    bytes_written: _Bytes | None = 0
    count: _Bytes | None = 1
    weight: _Weight | None = 1.0
    cache_hit: bool | None = False
    node: str | None = ""
    latency_ms: float | None = 0.0
    error: str | None = ""
    ts_open: str | None = None
    uid: _Int | None = None
    job: str | None = ""
    pod: str | None = ""
    seq: _Bytes | None = None
    boot: str | None = ""
    bytes_hit: _Bytes | None = 0
    bytes_miss: _Bytes | None = 0
    kernel_cached: bool | None = False
    size: _Bytes | None = None
    backends: list[str] | None = None
    drops: _Bytes | None = None


class Bad(NamedTuple):
    """A refused line."""

    line: int
    reason: str
    text: str


@dataclass(frozen=True)
class Parsed:
    """What one object holds: accepted events, refused lines, and how many lines there were."""

    events: pl.DataFrame
    quarantine: pl.DataFrame
    lines: int


_DECODER = msgspec.json.Decoder(Line)
_DEFAULTS = {
    name: default
    for name, default in zip(Line.__struct_fields__, Line.__struct_defaults__, strict=True)
    if default is not None
}
_DTYPES = {
    "ts": pl.String, "ts_open": pl.String, "backends": pl.List(pl.String), "weight": pl.Float64,
    "latency_ms": pl.Float64, "cache_hit": pl.Boolean, "kernel_cached": pl.Boolean,
    **dict.fromkeys(
        ("bytes_read", "bytes_written", "count", "uid", "seq", "bytes_hit", "bytes_miss", "size",
         "drops"), pl.Int64,
    ),
}  # fmt: skip


def parse(data: bytes, *, hour: str, name: str, batch: int, landed_at: dt.datetime) -> Parsed:
    """The events of one landed object.

    A timestamp that is missing, zero, unparsable or more than 24 h after `landed_at` sends its
    line to the quarantine; it is never re-dated. Rows carry `hour`, `name` and `batch`.
    """
    good: list[pl.DataFrame] = []
    bad: list[Bad] = []
    lines = 0
    for numbers, block in _blocks(data):
        lines += len(block)
        kept, decoded = _decode(numbers, block, bad)
        good.append(_typed(kept, decoded))
    rows = pl.concat(good) if good else _typed([], [])
    events = _dated(rows, landed_at, data, bad)
    where = {"hour": pl.lit(hour), "object": pl.lit(name), "batch": pl.lit(batch, pl.Int64)}
    refused = pl.DataFrame(bad, schema=Bad._fields, orient="row", schema_overrides=_BAD_TYPES)
    return Parsed(
        events.with_columns(file_id(), **where).select(EVENTS.schema.names()),
        refused.sort("line").with_columns(**where).select(QUARANTINE.schema.names()),
        lines,
    )


_BAD_TYPES = {"line": pl.Int64, "reason": pl.String, "text": pl.String}


def _blocks(data: bytes) -> Iterator[tuple[list[int], list[bytes]]]:
    """Lines that are not blank, with their numbers from 1, in blocks."""
    numbers: list[int] = []
    block: list[bytes] = []
    for number, line in enumerate(data.split(b"\n"), 1):
        if line.strip():
            numbers.append(number)
            block.append(line)
        if len(block) == BLOCK_LINES:
            yield numbers, block
            numbers, block = [], []
    if block:
        yield numbers, block


def _decode(numbers: list[int], block: list[bytes], bad: list[Bad]) -> tuple[list[int], list[Line]]:
    # An object cut by a new line leaves a line that does not begin or does not end with a brace:
    # without such lines, as many objects as lines means one object in each.
    whole = all(line.startswith(b"{") and line.endswith((b"}", b"}\r")) for line in block)
    if whole and max(map(len, block)) <= MAX_LINE_BYTES:
        try:
            decoded = _DECODER.decode_lines(b"\n".join(block))
        except (msgspec.DecodeError, UnicodeDecodeError):
            pass
        else:
            if len(decoded) == len(block):
                return numbers, decoded
    kept: list[int] = []
    found: list[Line] = []
    for number, line in zip(numbers, block, strict=True):
        try:
            found.append(_one(line))
            kept.append(number)
        except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
            bad.append(Bad(number, str(error)[:500], _text(line)))
    return kept, found


def _one(line: bytes) -> Line:
    if len(line) > MAX_LINE_BYTES:
        raise ValueError(f"line of {len(line)} bytes is over {MAX_LINE_BYTES}")
    return _DECODER.decode(line)


def _text(line: bytes) -> str:
    return line[:MAX_TEXT_CHARACTERS].decode("utf-8", "backslashreplace")


def _typed(numbers: list[int], decoded: list[Line]) -> pl.DataFrame:
    names = Line.__struct_fields__
    values = (
        zip(*map(msgspec.structs.astuple, decoded), strict=True) if decoded else ([] for _ in names)
    )
    columns = [
        pl.Series(name, column, dtype=_DTYPES.get(name, pl.String))
        for name, column in zip(names, values, strict=True)
    ]
    return pl.DataFrame([pl.Series("line", numbers, dtype=pl.Int64), *columns])


def _dated(rows: pl.DataFrame, landed_at: dt.datetime, data: bytes, bad: list[Bad]) -> pl.DataFrame:
    latest = pl.lit(landed_at + FUTURE).cast(pl.Datetime("us", "UTC"))
    raw = pl.col("ts")
    at = raw.str.to_datetime("%+", time_unit="us", time_zone="UTC", strict=False)
    reason = (
        pl.when(raw.is_null() | (raw == "")).then(pl.lit("ts is missing"))
        .when(at.is_null()).then(pl.lit("ts is not an RFC 3339 time"))
        .when(at.dt.year() <= 1).then(pl.lit("ts is zero"))
        .when(at > latest).then(pl.lit("ts is more than 24 h after its landing"))
    )  # fmt: skip
    checked = rows.with_columns(reason=reason)
    refused = checked.filter(pl.col("reason").is_not_null()).select("line", "reason", "ts")
    lines = data.split(b"\n") if refused.height else []
    for number, why, ts in refused.iter_rows():
        bad.append(Bad(number, f"{why}: {ts!r}", _text(lines[number - 1])))
    opened = pl.col("ts_open").str.to_datetime("%+", time_unit="us", time_zone="UTC", strict=False)
    return (
        checked.filter(pl.col("reason").is_null())
        .with_columns(ts=at, ts_open=opened)
        .with_columns(
            pl.col("ts").dt.date().alias("day"),
            *(pl.col(name).fill_null(default) for name, default in _DEFAULTS.items()),
        )
        .drop("reason")
    )
