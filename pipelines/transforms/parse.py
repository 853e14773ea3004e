"""JSON lines to typed events and quarantined lines. Pure: bytes in, frames out.

Whole blocks, of one object or of many small ones, are decoded at once; only a block that holds a
bad line is decoded line by line. What is refused does not depend on the company it is in.
"""

from __future__ import annotations

import datetime as dt
import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from lake.ids import file_id
from lake.schemas import EVENTS, QUARANTINE
from pipelines.transforms.lines import (
    BLOCK_BYTES,
    DEFAULTS,
    REFUSED,
    Line,
    columns,
    decode,
    decode_block,
)

MAX_LINE_BYTES = 1024**2
MAX_TEXT_CHARACTERS = 64 * 1024
FUTURE = dt.timedelta(hours=24)
AT = pl.Datetime("us", "UTC")
_YEAR_2 = -62_104_060_800_000_000  # microseconds
_YEAR_9999 = 253_370_764_800_000_000
TEAM = "team:"
_POSING = "user is a team, not a person"
_SOURCE = {"hour": pl.String, "object": pl.String, "batch": pl.Int64}


class Source(NamedTuple):
    """The object that lines came from."""

    hour: str
    object: str
    batch: int
    landed_at: dt.datetime


class Part(NamedTuple):
    """Whole lines of an object: `first` is the number of the first of them, from 1."""

    source: Source
    first: int
    data: bytes


class Bad(NamedTuple):
    """A refused line of `parts[part]`."""

    part: int
    line: int
    reason: str
    text: str


class Span(NamedTuple):
    """Lines of `parts[part]` that follow each other."""

    part: int
    first: int
    lines: int


class Parsed(NamedTuple):
    """Accepted events, refused lines, and per part how many lines there were that are not blank."""

    events: pl.DataFrame
    quarantine: pl.DataFrame
    lines: list[int]


def parse(parts: Sequence[Part]) -> Parsed:
    """The events of a block, in the order of its lines.

    A timestamp that is missing, zero, unparsable or more than 24 h after its object landed sends
    its line to the quarantine; it is never re-dated. Rows carry hour, object, line and batch.
    """
    bad: list[Bad] = []
    with _no_collector():
        rows, spans, lines = _decoded(parts, bad)
    events = _dated(rows, _places(spans), parts, bad)
    return Parsed(events, refused(parts, bad), lines)


@contextmanager
def _no_collector() -> Iterator[None]:
    # The collector would go through the decoded lines over and over, and there is nothing to find:
    # a third of the time.
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _decoded(parts: Sequence[Part], bad: list[Bad]) -> tuple[pl.DataFrame, list[Span], list[int]]:
    """Rows as SCHEMA, where they stood, and the lines of each part."""
    frames: list[pl.DataFrame] = []
    spans: list[Span] = []
    for run in _runs(parts):
        ended = [_ended(parts[number].data) for number in run]
        rows = _whole(b"".join(ended)) if len(run) > 1 else None
        if rows is None:
            for number in run:
                _decode_part(number, parts[number], frames, spans, bad)
        else:
            frames.append(columns(rows))
            spans += (
                Span(number, parts[number].first, data.count(b"\n"))
                for number, data in zip(run, ended, strict=True)
            )
    lines = [0] * len(parts)
    for span in spans:
        lines[span.part] += span.lines
    for each in bad:
        lines[each.part] += 1
    return (pl.concat(frames) if frames else columns([])), spans, lines


def _runs(parts: Sequence[Part]) -> Iterator[list[int]]:
    """The parts in their order, small ones together up to a block: each block has its own cost."""
    run: list[int] = []
    size = 0
    for number, part in enumerate(parts):
        if run and size + len(part.data) > BLOCK_BYTES:
            yield run
            run, size = [], 0
        run.append(number)
        size += len(part.data)
    if run:
        yield run


def _decode_part(
    number: int, part: Part, frames: list[pl.DataFrame], spans: list[Span], bad: list[Bad]
) -> None:
    first = part.first
    for block in _blocks(part.data):
        rows = _whole(_ended(block))
        if rows is not None:
            spans.append(Span(number, first, len(rows)))
            first += len(rows)
        else:
            rows, numbers = _by_line(number, first, block, bad)
            spans += (Span(number, at, 1) for at in numbers)
            first += block.count(b"\n")
        frames.append(columns(rows))


def refused(parts: Sequence[Part], bad: Sequence[Bad]) -> pl.DataFrame:
    """Rows of `quarantine`, in the order of the lines."""
    rows = [
        (source.hour, source.object, line, source.batch, reason, text)
        for part, line, reason, text in sorted(bad, key=lambda b: (b.part, b.line))
        for source in (parts[part].source,)
    ]
    return pl.DataFrame(rows, schema=QUARANTINE.schema, orient="row")


def _blocks(data: bytes) -> Iterator[bytes]:
    """Blocks of whole lines; what is not much longer than one is not copied."""
    start = 0
    while len(data) - start > 2 * BLOCK_BYTES:
        end = data.find(b"\n", start + BLOCK_BYTES) + 1 or len(data)
        yield data[start:end]
        start = end
    if start < len(data):
        yield data[start:]


def _ended(data: bytes) -> bytes:
    return data if not data or data.endswith(b"\n") else data + b"\n"


def _whole(block: bytes) -> list[Line] | None:
    return None if _has_long_line(block) else decode_block(block)


def _has_long_line(block: bytes) -> bool:
    # A line over the cap spans one of these windows whole: a newline in each clears them all.
    step = MAX_LINE_BYTES // 2
    return any(block.find(b"\n", at, at + step) < 0 for at in range(0, len(block) - step, step))


def _by_line(
    part: int, first: int, block: bytes, bad: list[Bad]
) -> tuple[list[Line], list[int]]:  # fmt: skip
    rows: list[Line] = []
    numbers: list[int] = []
    for at, line in enumerate(block.split(b"\n"), first):
        if not line or line.isspace():
            continue
        if len(line) > MAX_LINE_BYTES:
            bad.append(Bad(part, at, too_long(len(line)), text_of(line)))
            continue
        try:
            rows.append(decode(line))
        except REFUSED as error:
            bad.append(Bad(part, at, str(error)[:500], text_of(line)))
        else:
            numbers.append(at)
    return rows, numbers


def _places(spans: Sequence[Span]) -> pl.DataFrame:
    """Part and line number of every row."""
    part, first, count = np.array(spans, np.int64).reshape(-1, 3).T
    before = np.cumsum(count) - count
    line = np.arange(count.sum()) + np.repeat(first - before, count)
    return pl.DataFrame({"part": np.repeat(part.astype(np.uint32), count), "line": line})


def too_long(size: int) -> str:
    """The reason of a line over the cap."""
    return f"line of {size} bytes is over {MAX_LINE_BYTES}"


def text_of(line: bytes) -> str:
    """The line for people: cut at 64 KiB, undecodable bytes escaped."""
    return line[:MAX_TEXT_CHARACTERS].decode("utf-8", "backslashreplace")


def _dated(
    rows: pl.DataFrame, places: pl.DataFrame, parts: Sequence[Part], bad: list[Bad]
) -> pl.DataFrame:
    """Rows as `events`; those whose time is refused go to `bad`."""
    at = instants(rows["ts"])
    latest = pl.Series([part.source.landed_at + FUTURE for part in parts], dtype=AT).to_physical()
    micros = at.to_physical()  # as numbers: a time may be one that Python has no object for
    least, most, limit = micros.min(), micros.max(), latest.min()
    if at.null_count() or (rows.height and not (least >= _YEAR_2 and most <= limit)):  # type: ignore[operator]
        wrong = at.is_null() | (micros < _YEAR_2) | (micros > latest.gather(places["part"]))
        taken = places.with_columns(rows["ts"], at.alias("at")).filter(wrong)
        _refuse_dates(taken, parts, bad)
        rows, places, at = rows.filter(~wrong), places.filter(~wrong), at.filter(~wrong)
    # Whoever could write as `team:x` would put files on that team's account.
    posing = rows["user"].str.starts_with(TEAM).fill_null(value=False)
    if posing.any():
        taken = places.with_columns(rows["user"].alias("value"), why=pl.lit(_POSING))
        _refuse(taken.filter(posing), parts, bad)
        rows, places, at = rows.filter(~posing), places.filter(~posing), at.filter(~posing)
    computed = _computed(rows, places, at, parts)
    return rows.select_seq(computed.get(n, pl.col(n)).alias(n) for n in EVENTS.schema.names())


def _computed(
    rows: pl.DataFrame, places: pl.DataFrame, at: pl.Series, parts: Sequence[Part]
) -> dict[str, Any]:
    """The columns of `events` that are not those of the lines."""
    filled = {
        name: pl.col(name).fill_null(value)
        for name, value in DEFAULTS.items()
        if rows[name].null_count()
    }
    return {
        **filled, **_source(places["part"], parts), "line": places["line"],
        "ts": at, "day": at.dt.date(), "ts_open": _opened(rows["ts_open"]),
        "file_id": file_id(*(filled.get(n, pl.col(n)) for n in ("backend", "path"))),
    }  # fmt: skip


def _opened(texts: pl.Series) -> pl.Series:
    """When files were opened: null where a text is no instant, or none that readers can show."""
    at = instants(texts)
    shown = at.to_physical().is_between(_YEAR_2, _YEAR_9999)
    return at if shown.all() else at.to_frame().select(pl.when(shown).then(at)).to_series()


def _source(part: pl.Series, parts: Sequence[Part]) -> dict[str, Any]:
    sources = [part.source[:3] for part in parts]
    if len(set(sources)) == 1:
        return {n: pl.lit(v, d) for (n, d), v in zip(_SOURCE.items(), sources[0], strict=True)}
    frame = pl.DataFrame(sources, schema=_SOURCE, orient="row")
    return frame.select(pl.all().gather(part)).to_dict()


def instants(texts: pl.Series) -> pl.Series:
    """RFC 3339 texts as instants, microseconds in UTC; null where a text is none."""
    # The agent's own form takes a third of the time of the general one.
    found = texts.str.to_datetime(
        "%Y-%m-%dT%H:%M:%S.%6fZ", time_unit="us", time_zone="UTC", strict=False, cache=False
    )
    if found.null_count() == texts.null_count():
        return found
    general = texts.str.to_datetime("%+", time_unit="us", time_zone="UTC", strict=False)
    return found.zip_with(found.is_not_null(), general)


def _refuse_dates(rows: pl.DataFrame, parts: Sequence[Part], bad: list[Bad]) -> None:
    raw, at = pl.col("ts"), pl.col("at")
    reason = (
        pl.when(raw.is_null() | (raw == "")).then(pl.lit("ts is missing"))
        .when(at.is_null()).then(pl.lit("ts is not an RFC 3339 time"))
        .when(at.dt.year() <= 1).then(pl.lit("ts is zero"))
        .otherwise(pl.lit("ts is more than 24 h after its landing"))
    )  # fmt: skip
    _refuse(rows.with_columns(reason.alias("why"), raw.alias("value")), parts, bad)


def _refuse(rows: pl.DataFrame, parts: Sequence[Part], bad: list[Bad]) -> None:
    """Lines by part and line, each with why and the value that is wrong."""
    texts: dict[int, list[bytes]] = {}
    for part, line, why, value in rows.select("part", "line", "why", "value").iter_rows():
        if part not in texts:
            texts[part] = parts[part].data.split(b"\n")
        text = text_of(texts[part][line - parts[part].first])
        bad.append(Bad(part, line, f"{why}: {value!r}"[:500], text))
