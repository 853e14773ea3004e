"""Parquet files of Delta tables, written by whoever computes them and committed by one driver.

A part is what the log needs to know of a file: place, size, partition, and real bounds of its
columns, without which readers could not skip it.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import io
import json
import math
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import obstore
import polars as pl

from lake.schemas import Table
from storage import clock
from storage.errors import LakeError
from storage.objectstore import open_store
from storage.options import delta_options

ROW_GROUP = 131_072
LONGEST_BOUND = 64
LAST = "\U0010ffff"
_NUMBERS = (pl.Int64, pl.Float64, pl.Date, pl.Datetime)
_COUNTED = (*_NUMBERS, pl.String)


@dataclass(frozen=True)
class Part:
    """One Parquet file of a table, committed or not."""

    uri: str
    path: str
    """Relative to the table."""
    size_bytes: int
    rows: int
    partition: Mapping[str, str]
    stats: str
    least: Mapping[str, Any] = field(default_factory=dict)
    most: Mapping[str, Any] = field(default_factory=dict)


def write_part(
    root: str,
    table: Table,
    frame: pl.DataFrame,
    partition: Mapping[str, str] | None = None,
    row_group: int = ROW_GROUP,
    *,
    ordered: bool = True,
) -> Part:
    """Write rows of one partition under a name of their own; nobody sees them until committed.

    `frame` has the table's columns, those of the partition may be missing. Rows that are not
    `ordered` by any text get no bounds of texts: nothing could be skipped by them.
    """
    held = dict(partition or {})
    rows = validated(table, frame.with_columns(
        pl.lit(value).cast(table.schema[name]).alias(name) for name, value in held.items()
    )).drop(held)  # fmt: skip
    folder = "".join(f"{name}={value}/" for name, value in held.items())
    path = f"{folder}{uuid.uuid4().hex}.parquet"
    place = f"{root.rstrip('/')}/{table.name}"
    size = save(place, path, rows, row_group, table.zstd_level)
    least, most = _bounds(rows, _COUNTED if ordered else _NUMBERS)
    return Part(
        f"{place}/{path}", path, size, rows.height, held, _stats(rows, least, most), least, most
    )


def discard(root: str, table: Table, parts: Sequence[Part]) -> None:
    """Delete files that were written and will not be committed."""
    store = open_store(f"{root.rstrip('/')}/{table.name}")
    with contextlib.suppress(FileNotFoundError):
        obstore.delete(store, [part.path for part in parts])


def save(
    place: str, path: str, frame: pl.DataFrame, row_group: int = ROW_GROUP, level: int = 3
) -> int:
    """Write a Parquet file below a folder or URL; its size in bytes."""
    how: dict[str, Any] = {"compression": "zstd", "compression_level": level}
    if "://" not in place:
        file = Path(place) / path
        file.parent.mkdir(parents=True, exist_ok=True)
        frame.write_parquet(file, row_group_size=row_group, **how)
        return file.stat().st_size
    body = io.BytesIO()
    frame.write_parquet(body, row_group_size=row_group, **how)
    obstore.put(open_store(place), path, body.getvalue())
    return body.getbuffer().nbytes


def load(uris: Sequence[str], schema: Mapping[str, pl.DataType]) -> pl.LazyFrame:
    """Rows of Parquet files in the given columns; an empty frame without files."""
    if not uris:
        return pl.LazyFrame(schema=schema)
    return pl.scan_parquet(
        list(uris), glob=False, hive_partitioning=False, schema=dict(schema),
        missing_columns="insert", extra_columns="ignore",
        storage_options=delta_options(uris[0]) or None,
    )  # fmt: skip


def validated(table: Table, frame: pl.DataFrame) -> pl.DataFrame:
    """The rows in declared columns and types. Raises LakeError where they do not fit."""
    missing = [name for name in table.schema if name not in frame.columns]
    if missing:
        raise LakeError(f"table {table.name}: columns missing: {', '.join(missing)}.")
    rows = frame.select(pl.col(name).cast(dtype) for name, dtype in table.schema.items())
    nulls = rows.select(pl.col(table.required).null_count()).row(0) if table.required else ()
    empty = [name for name, count in zip(table.required, nulls, strict=True) if count]
    if empty:
        raise LakeError(f"table {table.name}: null in {', '.join(empty)}.")
    return rows


def _bounds(
    rows: pl.DataFrame, kinds: Sequence[Any] = _COUNTED
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Least and most of each column that has any; long texts are cut, downwards and upwards."""
    names = [name for name, dtype in rows.schema.items() if dtype in kinds]
    if not rows.height:
        return {}, {}
    least = rows.select(pl.col(names).min()).row(0, named=True)
    most = rows.select(pl.col(names).max()).row(0, named=True)
    return (
        {name: _lower(value) for name, value in least.items() if _bounded(value)},
        {name: upper for name, value in most.items() if (upper := _upper(value)) is not None},
    )


def _stats(rows: pl.DataFrame, least: Mapping[str, Any], most: Mapping[str, Any]) -> str:
    return json.dumps({
        "numRecords": rows.height,
        "minValues": {name: _shown(value) for name, value in least.items() if name in most},
        "maxValues": {name: _shown(value) for name, value in most.items() if name in least},
        "nullCount": rows.null_count().row(0, named=True) if rows.height else {},
    })  # fmt: skip


def _bounded(value: Any) -> bool:
    return value is not None and not (isinstance(value, float) and math.isnan(value))


def _lower(value: Any) -> Any:
    return value[:LONGEST_BOUND] if isinstance(value, str) else value


def _upper(value: Any) -> Any:
    if not _bounded(value):
        return None
    if not isinstance(value, str) or len(value) <= LONGEST_BOUND:
        return value
    # Whatever follows the cut sorts before the last code point, unless it begins with that.
    return None if value[LONGEST_BOUND] == LAST else value[:LONGEST_BOUND] + LAST


def _shown(value: Any) -> Any:
    if isinstance(value, dt.datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return value.isoformat() if isinstance(value, dt.date) else value


def now_ms() -> int:
    """The modification time of a new part."""
    return int(clock.now().timestamp() * 1000)
