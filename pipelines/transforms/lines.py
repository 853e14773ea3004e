"""What one line of JSON must be, and blocks of such lines as columns. Pure.

One strict decoder decides, for whole blocks and for single lines alike. Blocks are small on
purpose: the objects of half a megabyte stay in the processor's cache on their way into columns,
which makes this faster than giving the accepted bytes to a second parser that makes columns.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated, Any

import msgspec
import numpy as np
import polars as pl

# Polars' own constructors: what pl.Series does around them costs as much as they do.
from polars._plr import PyDataFrame, PySeries

from storage.units import MAX_BYTES

BLOCK_BYTES = 512 * 1024
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


NAMES = Line.__struct_fields__
DEFAULTS = {
    name: default
    for name, default in zip(NAMES, Line.__struct_defaults__, strict=True)
    if default is not None
}
SCHEMA = {
    **dict.fromkeys(NAMES, pl.String()),
    **dict.fromkeys(("weight", "latency_ms"), pl.Float64()),
    **dict.fromkeys(("cache_hit", "kernel_cached"), pl.Boolean()),
    **dict.fromkeys(
        ("bytes_read", "bytes_written", "count", "uid", "seq", "bytes_hit", "bytes_miss", "size",
         "drops"), pl.Int64(),
    ),
    "backends": pl.List(pl.String()),
}  # fmt: skip


@lru_cache(1024)
def _constant(name: str, value: Any) -> PySeries:
    return _as_made(name, [value])


def _as_made(name: str, values: Sequence[Any]) -> PySeries:
    return pl.Series(name, values, dtype=SCHEMA[name])._s  # noqa: SLF001


_CONSTRUCTORS = {
    name: {
        pl.String(): PySeries.new_str,
        pl.Int64(): PySeries.new_opt_i64,
        pl.Float64(): PySeries.new_opt_f64,
        pl.Boolean(): PySeries.new_opt_bool,
    }[dtype]
    for name, dtype in SCHEMA.items()
    if name != "backends"
}
_SAME = 32
"""Values at the begin of a column that tell whether it may be one value all along. Shorter columns
are made as they are: what is kept is a value of many lines, which cannot be long."""
_NEWLINE, _OPEN, _CLOSE = b"\n{}"
_DECODER = msgspec.json.Decoder(Line)
REFUSED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def decode(line: bytes) -> Line:
    """One line. Raises one of REFUSED, whose text says what is wrong."""
    found = _DECODER.decode(line)
    if not line.isascii():
        line.decode()  # the decoder does not look into the values of unknown keys
    return found


def decode_block(block: bytes) -> list[Line] | None:
    """The lines of a block that ends with a newline, if each of them is good; else None."""
    try:
        rows = _DECODER.decode_lines(block)
        if not block.isascii():
            block.decode()
    except REFUSED:
        return None
    return rows if _one_object_a_line(block, len(rows)) else None


def _one_object_a_line(block: bytes, objects: int) -> bool:
    # The decoder takes objects over several lines and several objects of one line. An object that a
    # new line cuts leaves a line that does not begin or does not end with a brace: without such
    # lines, as many objects as lines means one object in each.
    data = np.frombuffer(block, np.uint8)
    ends = np.flatnonzero(data == _NEWLINE)
    return (
        len(ends) == objects > 0
        and data[0] == _OPEN
        and ends[-1] == len(data) - 1
        and bool((data[ends - 1] == _CLOSE).all() and (data[ends[:-1] + 1] == _OPEN).all())
    )


def columns(rows: Sequence[Line]) -> pl.DataFrame:
    """The columns of decoded lines, as SCHEMA; null where the value is."""
    if not rows:
        return pl.DataFrame(schema=SCHEMA)
    # One flat list and its strides: zip(*tuples) takes twice the time.
    values: list[Any] = []
    deque(map(values.extend, map(msgspec.structs.astuple, rows)), maxlen=0)
    found = [_column(name, values[at :: len(NAMES)]) for at, name in enumerate(NAMES)]
    return pl.DataFrame._from_pydf(PyDataFrame(found))  # noqa: SLF001


def _column(name: str, values: Sequence[Any]) -> PySeries:
    first = values[0]
    same = (
        len(values) > _SAME
        and values[:_SAME].count(first) == _SAME
        and values.count(first) == len(values)
    )
    if same and not isinstance(first, list):
        return _constant(name, first).new_from_index(0, len(values))
    make = _CONSTRUCTORS.get(name)
    return make(name, values, True) if make else _as_made(name, values)
