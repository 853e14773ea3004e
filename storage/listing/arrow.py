"""Plain values as Arrow without `pa.array` and `pa.scalar`: those import pandas to look at them.

That import costs more CPU than listing a hundred thousand files.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

Numbers = np.ndarray[Any, Any]


def call(function: str, *values: Any, options: Any = None) -> Any:
    """An Arrow compute function on Arrow values."""
    import pyarrow.compute as pc  # an import that a listing of S3 does without

    return pc.call_function(function, list(values), options)


def integers(values: Numbers) -> pa.Array:
    """Int64 values as Arrow."""
    whole = np.ascontiguousarray(values, np.int64)
    return pa.Array.from_buffers(pa.int64(), len(whole), [None, pa.py_buffer(whole)])


def numbers(values: pa.Array) -> Numbers:
    """An Int64 array without nulls as numpy, not copied."""
    found = np.frombuffer(values.buffers()[1], np.int64)
    return found[values.offset : values.offset + len(values)]


def texts(values: Sequence[str | None]) -> pa.Array:
    """A few texts as Arrow."""
    raw = [b"" if value is None else value.encode() for value in values]
    offsets = np.concatenate(([0], np.cumsum([len(item) for item in raw]))).astype(np.int32)
    there = np.packbits(np.array([v is not None for v in values], np.bool_), bitorder="little")
    buffers = [pa.py_buffer(there), pa.py_buffer(offsets), pa.py_buffer(b"".join(raw))]
    return pa.Array.from_buffers(pa.string(), len(raw), buffers)


def instants(values: Sequence[dt.datetime | None]) -> pa.Array:
    """Instants as Arrow, in UTC microseconds."""
    epoch, one = dt.datetime(1970, 1, 1, tzinfo=dt.UTC), dt.timedelta(microseconds=1)
    whole = np.array([0 if at is None else (at - epoch) // one for at in values], np.int64)
    there = np.packbits(np.array([at is not None for at in values], np.bool_), bitorder="little")
    buffers = [pa.py_buffer(there), pa.py_buffer(whole)]
    return pa.Array.from_buffers(pa.timestamp("us", "UTC"), len(whole), buffers)
