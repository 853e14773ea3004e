"""`stale_index`: every living file, in files of disjoint ranges of size, the largest first.

Spans know everything of a file but its path, which was written by class (`lake.spread`); a class
brings the two together and sorts them. The class of the largest files has small row groups, so
that the largest files of any window are found in a few of them.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from lake.metrics.span import INDEX
from lake.parts import Part, load, save, write_part
from lake.runner import Runner
from lake.schemas import STALE_INDEX
from lake.spread import PATHS
from storage.errors import LakeError

TOP_GROUP, CLASS_GROUP, RUN_GROUP = 8_192, 65_536, 16_384
ORDER = ("size_bytes", "backend", "path")
DESCENDING = (True, False, False)


@dataclass(frozen=True)
class Run:
    """Rows of INDEX of one span, in order of class, and how many each class has."""

    uri: str
    rows: Mapping[int, int]


@dataclass(frozen=True)
class Class:
    """The rows of one class: what spans know of them, and their paths."""

    number: int
    rows: int
    runs: tuple[str, ...]
    paths: tuple[str, ...]
    root: str = ""


def write_run(place: str, rows: pl.DataFrame) -> Run:
    """Keep rows of INDEX until all spans are there."""
    name = f"runs/{uuid.uuid4().hex}.parquet"
    save(place, name, rows, RUN_GROUP, passing=True)
    counts = rows["class"].value_counts().rows()
    return Run(f"{place}/{name}", dict(counts))


def classes(runs: Sequence[Run], paths: Mapping[int, Sequence[str]]) -> list[Class]:
    """All classes that have rows, the largest files first."""
    numbers = sorted({number for run in runs for number in run.rows})
    return [
        Class(
            number,
            sum(run.rows.get(number, 0) for run in runs),
            tuple(run.uri for run in runs if number in run.rows),
            tuple(paths.get(number, ())),
        )
        for number in numbers
    ]


def write_index(root: str, found: Sequence[Class], runner: Runner) -> list[tuple[Part, int]]:
    """Write the files of `stale_index`, not committed yet, the largest sizes first.

    Each with the bytes of its rows' files.
    """
    tasks = [Class(c.number, c.rows, c.runs, c.paths, root) for c in found]
    return list(runner.map(write_class, tasks))


def write_class(given: Class) -> tuple[Part, int]:
    """The task: bring one class together and write its file; it, and the bytes of the files."""
    frame = rows_of(given)
    group = CLASS_GROUP if given.number else TOP_GROUP
    part = write_part(given.root, STALE_INDEX, frame, row_group=group, ordered=False)
    return part, int(frame["size_bytes"].sum())


def rows_of(given: Class) -> pl.DataFrame:
    """The rows of a class, in order. Raises LakeError where rows and paths do not match."""
    known = load(given.runs, INDEX).filter(pl.col("class") == given.number)
    rows = known.join(load(given.paths, PATHS), on="file_id").select(STALE_INDEX.schema.names())
    frame = ordered(rows.collect())
    if frame.height != given.rows:
        raise LakeError(
            f"stale_index: {given.rows} files and {frame.height} paths in one class of sizes: "
            "`files` has a file_id twice: crawl its backend again."
        )
    return frame


def ordered(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows largest first, ties by backend and path."""
    return rows.sort(ORDER, descending=DESCENDING)


def gathered(found: Sequence[Class]) -> pl.DataFrame:
    """All rows of the index, in memory."""
    return pl.concat([rows_of(c) for c in found] or [pl.DataFrame(schema=STALE_INDEX.schema)])
