"""`stale_index`: every living file, in files of disjoint ranges of size, the largest first.

Spans leave runs that are sorted each; a class of neighbouring sizes is brought together from all
runs at a time. The class of the largest files is small and has small row groups, so that the
largest files of any window are found in a few of them.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from lake.parts import Part, load, save, write_part
from lake.runner import Runner
from lake.schemas import STALE_INDEX

TOP_ROWS, TOP_GROUP = 262_144, 8_192
CLASS_ROWS, CLASS_GROUP = 393_216, 65_536
SAMPLES = 256
ORDER = ("size_bytes", "backend", "path")
DESCENDING = (True, False, False)
Key = tuple[int, str, str]


@dataclass(frozen=True)
class Run:
    """Sorted rows of one span."""

    uri: str
    rows: int
    sample: tuple[Key, ...]
    """Every so many rows the key of one."""


@dataclass(frozen=True)
class Class:
    """The rows of all runs from one key up to another, None = no end."""

    root: str
    runs: tuple[str, ...]
    first: Key | None
    end: Key | None
    row_group: int


def write_run(place: str, rows: pl.DataFrame) -> Run:
    """Keep sorted rows of `stale_index` until all spans are there."""
    name = f"runs/{uuid.uuid4().hex}.parquet"
    save(place, name, rows, CLASS_GROUP // 4, passing=True)
    every = max(1, rows.height // SAMPLES)
    return Run(f"{place}/{name}", rows.height, tuple(rows.select(ORDER).gather_every(every).rows()))


def write_index(root: str, runs: Sequence[Run], runner: Runner) -> list[tuple[Part, int]]:
    """Write the files of `stale_index`, not committed yet, the largest sizes first.

    Each with the bytes of its rows' files.
    """
    filled = [run for run in runs if run.rows]
    uris = tuple(run.uri for run in filled)
    cuts = boundaries(filled)
    ends = [*cuts, None]
    tasks = [
        Class(root, uris, first, end, TOP_GROUP if first is None else CLASS_GROUP)
        for first, end in zip([None, *cuts], ends, strict=True)
    ]
    return list(runner.map(write_class, tasks)) if filled else []


def write_class(given: Class) -> tuple[Part, int]:
    """The task: bring one class together and write its file; it, and the bytes of the files."""
    rows = load(given.runs, STALE_INDEX.schema)
    if given.first is not None:
        rows = rows.filter(pl.col("size_bytes") <= given.first[0], ~before(given.first))
    if given.end is not None:
        rows = rows.filter(pl.col("size_bytes") >= given.end[0], before(given.end))
    frame = ordered(rows.collect())
    part = write_part(given.root, STALE_INDEX, frame, row_group=given.row_group)
    return part, int(frame["size_bytes"].sum())


def ordered(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows largest first, ties by backend and path."""
    return rows.sort(ORDER, descending=DESCENDING)


def before(key: Key) -> pl.Expr:
    """Whether a row comes before a key in the order of the index."""
    size, backend, path = key
    name = (pl.col("backend") < backend) | (
        (pl.col("backend") == backend) & (pl.col("path") < path)
    )
    return (pl.col("size_bytes") > size) | ((pl.col("size_bytes") == size) & name)


def boundaries(runs: Sequence[Run]) -> list[Key]:
    """Keys at which classes begin: after TOP_ROWS rows, then about every CLASS_ROWS."""
    keys = sorted(
        ((-key[0], *key[1:]), run.rows / len(run.sample)) for run in runs for key in run.sample
    )
    found: list[Key] = []
    room = float(TOP_ROWS)
    for (size, backend, path), rows in keys:
        if room <= 0:
            found.append((-size, backend, path))
            room = float(CLASS_ROWS)
        room -= rows
    return found


def largest(runs: Sequence[Run], where: pl.Expr, limit: int) -> pl.DataFrame:
    """The first rows of the index that match."""
    best = [load([run.uri], STALE_INDEX.schema).filter(where).head(limit).collect() for run in runs]
    rows = pl.concat(best) if best else pl.DataFrame(schema=STALE_INDEX.schema)
    return ordered(rows).head(limit)


def gathered(runs: Sequence[Run]) -> pl.DataFrame:
    """All rows of the index, in memory."""
    return ordered(load([run.uri for run in runs if run.rows], STALE_INDEX.schema).collect())
