"""Parquet files of Delta tables, written piece by piece while their rows come.

Memory is one row group however many rows there are. A file that is never committed is seen by
nobody; vacuum removes it.
"""

from __future__ import annotations

import datetime as dt
import io
import json
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import obstore
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from obstore.store import LocalStore

from lake.parts import LONGEST_BOUND, Part
from lake.schemas import Table
from storage.errors import LakeError
from storage.objectstore import open_store

ROW_GROUP_ROWS = 65_536
ZSTD_LEVEL = 3
SINGLE = {"line", "seq", "ts", "ts_open"}
_ORDERED = (pl.Int64, pl.Float64, pl.Date, pl.Datetime, pl.String)


class _Remote(io.RawIOBase):
    """An upload as pyarrow wants a file: what ends the upload is its own block, not a close."""

    def __init__(self, upload: Any) -> None:
        self._upload = upload

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._upload.write(bytes(data))
        return len(data)


@dataclass
class Bounds:
    """Least and greatest value of each column and how many are null, over all rows so far."""

    unbounded: frozenset[str] = frozenset()
    rows: int = 0
    least: dict[str, Any] = field(default_factory=dict)
    most: dict[str, Any] = field(default_factory=dict)
    nulls: dict[str, int] = field(default_factory=dict)

    def add(self, frame: pl.DataFrame) -> None:
        """Take the rows of a frame in."""
        self.rows += frame.height
        ordered = [
            name
            for name, dtype in frame.schema.items()
            if isinstance(dtype, _ORDERED) and name not in self.unbounded
        ]
        found = frame.select_seq(
            *(pl.col(n).min().name.prefix("least ") for n in ordered),
            *(pl.col(n).max().name.prefix("most ") for n in ordered),
            *(pl.col(n).null_count().name.prefix("nulls ") for n in frame.columns),
        ).row(0, named=True)
        for name in ordered:
            low, high = found[f"least {name}"], found[f"most {name}"]
            if low is not None:
                self.least[name] = min(self.least.get(name, low), low)
                self.most[name] = max(self.most.get(name, high), high)
        for name in frame.columns:
            self.nulls[name] = self.nulls.get(name, 0) + found[f"nulls {name}"]

    def as_json(self) -> str:
        """The statistics of a file, as the Delta log keeps them."""
        bounded = [n for n in self.least if _short(self.least[n]) and _short(self.most[n])]
        return json.dumps(
            {
                "numRecords": self.rows,
                "minValues": {name: _shown(self.least[name]) for name in bounded},
                "maxValues": {name: _shown(self.most[name]) for name in bounded},
                "nullCount": self.nulls,
            }
        )


def write_frames(
    root: str, table: Table, partition: Mapping[str, str], frames: Iterable[pl.DataFrame],
    *, ordered: bool = True,
) -> Part | None:  # fmt: skip
    """Write frames with the table's columns as one file of a partition; None without any row.

    Rows that are not `ordered` by any text get no bounds of texts: nothing could be skipped by
    them, and they are an eighth of the cost of writing. Nobody sees the file until it is
    committed. What `frames` raises is raised, and no file is left. Raises LakeError where it
    cannot be written.
    """
    schema = pl.Schema({n: d for n, d in table.schema.items() if n not in partition})
    texts = frozenset(n for n, d in schema.items() if d == pl.String)
    bounds = Bounds(frozenset() if ordered else texts)
    arrow = _arrow_schema(table, schema)
    groups = _groups(_batches(frames, table, schema, bounds), arrow)
    first = next(groups, None)
    if first is None:
        return None
    folder = "".join(f"{name}={quote(value, safe='')}/" for name, value in partition.items())
    path = f"{folder}{uuid.uuid4().hex}.parquet"
    place = f"{root.rstrip('/')}/{table.name}"
    store = open_store(place)
    with _target(store, path) as target, _writer(target, arrow, bounds.unbounded) as writer:
        for group in _chained(first, groups):
            try:
                writer.write_table(group)
            except OSError as error:
                raise LakeError(f"{place}/{path} cannot be written: {error}.") from error
    size = obstore.head(store, path)["size"]
    return Part(f"{place}/{path}", path, size, bounds.rows, dict(partition), bounds.as_json())


def discard(root: str, table: Table, parts: Iterable[Part]) -> None:
    """Remove files that are not going to be committed."""
    if paths := [part.path for part in parts]:
        obstore.delete(open_store(f"{root.rstrip('/')}/{table.name}"), paths)


def _chained(first: pa.Table, left: Iterator[pa.Table]) -> Iterator[pa.Table]:
    yield first
    del first
    yield from left


def _batches(
    frames: Iterable[pl.DataFrame], table: Table, schema: pl.Schema, bounds: Bounds
) -> Iterator[pa.RecordBatch]:
    """Frames as Arrow has them, each on its own: what a frame is made of is let go at once."""
    for frame in frames:
        if not frame.height:
            continue
        rows = frame[list(schema)]
        if rows.schema != schema:
            rows = rows.select(pl.col(n).cast(d) for n, d in schema.items())
        bounds.add(rows)
        empty = [n for n in table.required if bounds.nulls.get(n)]
        if empty:
            raise LakeError(f"table {table.name}: null in {', '.join(empty)}.")
        yield from rows.to_arrow(compat_level=pl.CompatLevel.newest()).to_batches()


def _groups(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.Table]:
    """Row groups: batches brought together until they have ROW_GROUP_ROWS rows."""
    held: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        held.append(pa.RecordBatch.from_arrays(batch.columns, schema=schema))
        rows += batch.num_rows
        if rows >= ROW_GROUP_ROWS:
            yield pa.Table.from_batches(held)
            held, rows = [], 0
    if rows:
        yield pa.Table.from_batches(held)


@contextmanager
def _target(store: Any, path: str) -> Iterator[Any]:
    """A file to write to; on a local disk it outlives a power cut once the block has ended."""
    if not isinstance(store, LocalStore):
        with obstore.open_writer(store, path) as remote:
            yield _Remote(remote)
        return
    place = Path(str(store.prefix)) / path
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        with place.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        place.unlink(missing_ok=True)
        raise


def _arrow_schema(table: Table, schema: pl.Schema) -> pa.Schema:
    """The columns as Arrow has them; without nulls where none may be: it costs a tenth less."""
    found = pl.DataFrame(schema=schema).to_arrow(compat_level=pl.CompatLevel.newest()).schema
    return pa.schema(each.with_nullable(each.name not in table.required) for each in found)


def _writer(target: Any, schema: pa.Schema, unbounded: frozenset[str]) -> pq.ParquetWriter:
    # Numbers that seldom come twice get no dictionary: it would be thrown away after its cost.
    names = schema.names
    single = {each.name for each in schema if each.type in (pa.bool_(), pa.float64())} | SINGLE
    return pq.ParquetWriter(
        target,
        schema,
        compression="zstd",
        compression_level=ZSTD_LEVEL,
        use_dictionary=[n for n in names if n not in single],  # pyright: ignore[reportArgumentType]
        column_encoding=dict.fromkeys(SINGLE & {*names}, "DELTA_BINARY_PACKED") or None,
        write_statistics=[n for n in names if n not in unbounded],  # pyright: ignore[reportArgumentType]
    )


def _short(value: Any) -> bool:
    return not isinstance(value, str) or len(value) <= LONGEST_BOUND


def _shown(value: Any) -> Any:
    if isinstance(value, dt.datetime):
        return f"{value.replace(tzinfo=None).isoformat()}Z"
    return value.isoformat() if isinstance(value, dt.date) else value
