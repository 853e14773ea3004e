"""The tables that lie in path order, once through, a chunk at a time.

What decides about a file is narrow and goes to the span of its `file_id`. Its path is as large as
all the rest and only needed to be written: it goes to the class of `stale_index` that it will be
in (`lake.classes`), where both meet again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from lake.buckets import at_once, bucket
from lake.classes import Cut, class_of
from lake.metrics.ownership import Rule, ruled
from lake.metrics.usage import first_segment
from lake.parts import Part, load
from lake.pieces import Piece, write_pieces
from lake.runner import Runner
from lake.schemas import FILE_CHANGES, FILES, Table
from lake.store import Lake

CHUNK_ROWS = 524_288
"""Four row groups, so that none is decoded twice; with fewer rows there are more small files."""
FILE = (
    "backend", "path", "file_id", "size_bytes", "modified_at", "native_access_at", "owner",
    "first_seen_at", "last_seen_at",
)  # fmt: skip
CHANGE = ("backend", "file_id", "size_bytes", "snapshot_at", "change", "previous_bytes")
TOLD = (
    "backend", "path", "file_id", "size_bytes", "modified_at", "native_access_at", "owner",
    "first_seen_at", "listing", "snapshot_at", "change",
)  # fmt: skip
NARROW = {
    **{n: FILES.schema[n] for n in FILE if n != "path"},
    "prefix": pl.String(), "at_root": pl.Boolean(), "rule": pl.String(), "class": pl.Int32(),
}  # fmt: skip
"""What is known of a file but its path: of that the first segment, and the rule it falls under."""
REMOVED = "removed"
PATHS = {"file_id": pl.Int64(), "path": pl.String()}


@dataclass(frozen=True)
class Plan:
    """How rows are divided."""

    place: str
    buckets: int
    spans: int
    cuts: tuple[Cut, ...] = ()
    rules: tuple[Rule, ...] = ()
    paths: bool = True
    """Whether paths are kept: there will be an index."""


@dataclass(frozen=True)
class Chunk:
    """Rows of a file to be spread; `only` those with a change of this kind."""

    plan: Plan
    uri: str
    backend: str
    offset: int
    rows: int
    only: str = ""


@dataclass(frozen=True)
class Spread:
    """Where rows are, by number of the span, and paths, by number of the class."""

    spans: Mapping[int, Piece]
    classes: Mapping[int, Piece]


@dataclass(frozen=True)
class Spreads:
    """Those of all chunks."""

    spans: Mapping[int, tuple[Piece, ...]]
    classes: Mapping[int, tuple[Piece, ...]]


def spread_files(lake: Lake, plan: Plan, replayed: Sequence[str], runner: Runner) -> Spreads:
    """Rows of `files` as NARROW by span and as PATHS by class, those of `replayed` left out."""
    parts = [p for p in lake.parts(FILES) if p.partition["backend"] not in replayed]
    parts.sort(key=lambda p: (p.partition["backend"], p.least.get("path") or ""))
    return _spread(spread, _chunks(plan, parts), runner)


def spread_changes(lake: Lake, plan: Plan, runner: Runner) -> Spreads:
    """Rows of `file_changes` as CHANGE by span."""
    return _spread(spread_numbers, _chunks(plan, lake.parts(FILE_CHANGES)), runner)


def spread_told(lake: Lake, plan: Plan, replayed: Sequence[str], runner: Runner) -> Spreads:
    """Rows of `file_changes` as TOLD by span: removed files, and everything of `replayed`."""
    parts = lake.parts(FILE_CHANGES)
    whole = [p for p in parts if p.partition["backend"] in replayed]
    # Of the three kinds of change `removed` sorts last: the bounds of a file tell if it has any.
    some = [p for p in parts if p not in whole and p.most.get("change") in (None, REMOVED)]
    return _spread(spread_told_rows, _chunks(plan, whole) + _chunks(plan, some, REMOVED), runner)


def _chunks(plan: Plan, parts: Sequence[Part], only: str = "") -> list[Chunk]:
    rows = at_once(CHUNK_ROWS, sum(part.rows for part in parts))
    return [
        Chunk(plan, part.uri, part.partition["backend"], offset, rows, only)
        for part in parts
        for offset in range(0, part.rows, rows)
    ]


def _spread(task: Callable[[Chunk], Spread], chunks: Sequence[Chunk], runner: Runner) -> Spreads:
    spans: defaultdict[int, list[Piece]] = defaultdict(list)
    classes: defaultdict[int, list[Piece]] = defaultdict(list)
    for made in runner.map(task, chunks):
        for found, new in ((spans, made.spans), (classes, made.classes)):
            for number, piece in new.items():
                found[number].append(piece)
    held = ({n: tuple(pieces) for n, pieces in found.items()} for found in (spans, classes))
    return Spreads(*held)


def spread(chunk: Chunk) -> Spread:
    """The task: the rows of a chunk of `files`, by span and by class."""
    narrow, classes = parted(chunk.plan, _rows(FILES, FILE, chunk))
    return Spread(_by_span(chunk.plan, narrow), classes)


def spread_numbers(chunk: Chunk) -> Spread:
    """The task: the numbers of a chunk of `file_changes`, by span."""
    return Spread(_by_span(chunk.plan, _rows(FILE_CHANGES, CHANGE, chunk)), {})


def spread_told_rows(chunk: Chunk) -> Spread:
    """The task: whole rows of a chunk of `file_changes`, by span."""
    return Spread(_by_span(chunk.plan, _rows(FILE_CHANGES, TOLD, chunk)), {})


def parted(plan: Plan, files: pl.DataFrame) -> tuple[pl.DataFrame, dict[int, Piece]]:
    """Files (columns of FILE) as rows of NARROW; their paths are written, by class."""
    known = files.with_columns(
        class_of(files, plan.cuts), prefix=first_segment(), rule=ruled(plan.rules)
    ).with_columns(at_root=pl.col("prefix").str.len_bytes() == pl.col("path").str.len_bytes())
    paths = known.select(*PATHS, "class") if plan.paths else known.clear().select(*PATHS, "class")
    return known.select(NARROW.keys()), _written(plan, "paths", paths, "class")


def _by_span(plan: Plan, rows: pl.DataFrame) -> dict[int, Piece]:
    # The span that holds a bucket, as `buckets.spans` cuts them.
    number = ((bucket(plan.buckets) + 1) * plan.spans - 1) // plan.buckets
    return _written(plan, "spans", rows.with_columns(span=number.cast(pl.Int32)), "span")


def _written(plan: Plan, kind: str, rows: pl.DataFrame, by: str) -> dict[int, Piece]:
    """Rows written, a piece for each value of a column."""
    return write_pieces(plan.place, kind, divided(rows, by))


def divided(rows: pl.DataFrame, by: str) -> dict[int, pl.DataFrame]:
    """Rows by the number in a column, which they lose."""
    if rows.is_empty():
        return {}
    split = rows.partition_by(by, as_dict=True, include_key=False, maintain_order=True)
    return {int(str(number)): frame for (number,), frame in split.items()}


def _rows(table: Table, names: Sequence[str], chunk: Chunk) -> pl.DataFrame:
    schema = {name: table.schema[name] for name in names if name != "backend"}
    rows = load([chunk.uri], schema).slice(chunk.offset, chunk.rows)
    if chunk.only:
        rows = rows.filter(pl.col("change") == chunk.only)
    return rows.with_columns(backend=pl.lit(chunk.backend)).select(names).collect()
