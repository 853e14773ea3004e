"""Classes of neighbouring sizes: which file of `stale_index` a row belongs to.

The index is in order of size descending, ties by backend and path; a class is a range of it. Most
classes begin at a size; where more files than a class may hold have one size, at a name.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import NamedTuple

import polars as pl

from lake.buckets import at_once
from lake.parts import Part, load
from lake.schemas import FILE_CHANGES, FILES, Table
from lake.store import Lake

TOP_ROWS, CLASS_ROWS = 262_144, 196_608
SAMPLES = 64
"""Sizes that are looked at per class."""


class Cut(NamedTuple):
    """Where a class begins: at a size, or at a name among the files of that size."""

    size_bytes: int
    name: str = ""


def cuts(lake: Lake, replayed: Sequence[str]) -> tuple[Cut, ...]:
    """Where all classes but the first begin; files of `replayed` are those of the changes."""
    parts = [
        (table, part)
        for table in (FILES, FILE_CHANGES)
        for part in lake.parts(table)
        if (part.partition["backend"] in replayed) == (table is FILE_CHANGES)
    ]
    total = sum(part.rows for _, part in parts)
    if total <= TOP_ROWS:
        return ()
    most = at_once(CLASS_ROWS, total)
    rows = [_keys(table, part) for table, part in parts]
    every = max(1, most // SAMPLES)
    sizes = pl.concat([
        frame.select("size_bytes").gather_every(every).collect() for frame in rows
    ])["size_bytes"].sort(descending=True)  # fmt: skip
    found: list[Cut] = []
    room = float(TOP_ROWS)
    for size, equal in groupby(sizes.to_list()):
        weight = sum(1 for _ in equal) * every
        if room <= 0:
            found.append(Cut(size))
            room = float(most)
        names = _names(rows, size, room, most) if weight > most else []
        found += [Cut(size, name) for name in names]
        room = 0.0 if names else room - weight
    return tuple(found)


def _keys(table: Table, part: Part) -> pl.LazyFrame:
    schema = {name: table.schema[name] for name in ("path", "size_bytes")}
    return load([part.uri], schema).with_columns(backend=pl.lit(part.partition["backend"]))


def _names(rows: Iterable[pl.LazyFrame], size: int, room: float, most: int) -> list[str]:
    """Names at which the files of one size are cut: after `room` rows, then every `most`."""
    every = max(1, most // SAMPLES)
    same = [
        frame.filter(pl.col("size_bytes") == size).select(_name()).gather_every(every).collect()
        for frame in rows
    ]
    ordered = pl.concat(same)["name"].sort()
    first = int(room) if room > 0 else most
    chosen = range(first // every, ordered.len(), max(1, most // every))
    return ordered.gather(list(chosen)).unique().sort().to_list()


def _name() -> pl.Expr:
    """What files of one size are ordered by."""
    return pl.concat_str("backend", pl.lit("\0"), "path").alias("name")


def class_of(rows: pl.DataFrame, found: Sequence[Cut]) -> pl.Series:
    """The class of each row (backend, path, size_bytes): how many begin at or before it."""
    sizes = pl.Series([-cut.size_bytes for cut in found], dtype=pl.Int64)
    number = sizes.search_sorted(-rows["size_bytes"], side="right").cast(pl.Int32)
    named = [cut for cut in found if cut.name]
    for size, tied in groupby(named, key=lambda cut: cut.size_bytes):
        names = pl.Series([cut.name for cut in tied])
        here = (rows["size_bytes"] == size).arg_true()
        if here.len():
            own = rows[here].select(_name())["name"]
            at_or_before = names.search_sorted(own, side="right").cast(pl.Int32)
            number = number.scatter(here, number[here] - names.len() + at_or_before)
    return number.alias("class")
