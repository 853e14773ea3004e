"""`stale_index`: every living file, in files of disjoint ranges of size, the largest first.

Spans know everything of a file but its path, which was written by class (`lake.spread`); a class
brings the two together and sorts them. The class of the largest files has small row groups, so
that the largest files of any window are found in a few of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from lake.metrics.span import INDEX
from lake.parts import Part, write_part
from lake.pieces import Piece, load_pieces, write_pieces
from lake.runner import Runner
from lake.schemas import STALE_INDEX
from lake.spread import PATHS, divided
from storage.errors import LakeError

TOP_GROUP, CLASS_GROUP = 8_192, 65_536
ORDER = ("size_bytes", "backend", "path")
DESCENDING = (True, False, False)


@dataclass(frozen=True)
class Run:
    """Rows of INDEX of one span, by class: where they are and how many."""

    pieces: Mapping[int, Piece]
    rows: Mapping[int, int]


@dataclass(frozen=True)
class Class:
    """The rows of one class: what spans know of them, and their paths."""

    number: int
    rows: int
    runs: tuple[Piece, ...]
    paths: tuple[Piece, ...]
    root: str = ""


def write_run(place: str, rows: pl.DataFrame) -> Run:
    """Keep rows of INDEX and their class until all spans are there."""
    found = divided(rows, "class")
    counts = {number: frame.height for number, frame in found.items()}
    return Run(write_pieces(place, "runs", found), counts)


def classes(runs: Sequence[Run], paths: Mapping[int, Sequence[Piece]]) -> list[Class]:
    """All classes that have rows, the largest files first."""
    numbers = sorted({number for run in runs for number in run.rows})
    return [
        Class(
            number,
            sum(run.rows.get(number, 0) for run in runs),
            tuple(run.pieces[number] for run in runs if number in run.rows),
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
    known, paths = load_pieces(given.runs, INDEX), load_pieces(given.paths, PATHS)
    rows = paths.join(known, on="file_id", maintain_order="left")
    frame = ordered(rows.select(STALE_INDEX.schema.names()))
    if frame.height != given.rows:
        raise LakeError(
            f"stale_index: {given.rows} files and {frame.height} paths in one class of sizes: "
            "`files` has a file_id twice: crawl its backend again."
        )
    return frame


def ordered(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows largest first, ties by backend and path.

    Mostly they come in order of backend and path, as `files` has them: then no texts are sorted.
    """
    found = rows.sort("size_bytes", descending=True, maintain_order=True)
    size, backend, path = (pl.col(name) for name in ORDER)
    later = (backend > backend.shift()) | ((backend == backend.shift()) & (path >= path.shift()))
    right = found.select(((size != size.shift()) | later).all()).item()
    return found if right else rows.sort(ORDER, descending=DESCENDING)


def gathered(found: Sequence[Class]) -> pl.DataFrame:
    """All rows of the index, in memory."""
    return pl.concat([rows_of(c) for c in found] or [pl.DataFrame(schema=STALE_INDEX.schema)])
