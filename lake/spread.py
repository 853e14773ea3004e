"""The tables that lie in path order, by span of `file_id`: one pass, a chunk at a time."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from lake.buckets import Span, bucket
from lake.parts import load, save
from lake.runner import Runner
from lake.schemas import FILE_CHANGES, FILES, Table
from lake.store import Lake

CHUNK_ROWS = 262_144
COLUMNS: Mapping[str, tuple[str, ...]] = {
    FILES.name: (
        "backend", "path", "file_id", "size_bytes", "modified_at", "native_access_at", "owner",
        "first_seen_at", "last_seen_at",
    ),
    FILE_CHANGES.name: (
        "backend", "path", "file_id", "size_bytes", "modified_at", "native_access_at", "owner",
        "first_seen_at", "listing", "snapshot_at", "change", "previous_bytes",
    ),
}  # fmt: skip
"""What results are computed from."""
_TABLES = {table.name: table for table in (FILES, FILE_CHANGES)}


@dataclass(frozen=True)
class Piece:
    """A Parquet file of one backend; the backend is named where the file does not say it."""

    uri: str
    backend: str | None = None


@dataclass(frozen=True)
class Chunk:
    """Rows of a file to be spread."""

    place: str
    table: str
    piece: Piece
    offset: int
    rows: int
    buckets: int
    spans: int


def pieces(lake: Lake, table: Table, spans: Sequence[Span], place: str, runner: Runner
) -> list[tuple[Piece, ...]]:  # fmt: skip
    """For each span the files that hold its rows; with one span, the table's own."""
    parts = lake.parts(table)
    whole = [(part, Piece(part.uri, part.partition["backend"])) for part in parts]
    if len(spans) == 1:
        return [tuple(piece for _, piece in whole)]
    chunks = [
        Chunk(place, table.name, piece, offset, CHUNK_ROWS, spans[-1].last + 1, len(spans))
        for part, piece in whole
        for offset in range(0, part.rows, CHUNK_ROWS)
    ]
    found: list[list[Piece]] = [[] for _ in spans]
    for written in runner.map(spread, chunks):
        for number, uri in written.items():
            found[number].append(Piece(uri))
    return [tuple(one) for one in found]


def spread(chunk: Chunk) -> dict[int, str]:
    """The task: write the rows of a chunk by span; number of the span → file."""
    table = _TABLES[chunk.table]
    # The span that holds a bucket, as `buckets.spans` cuts them.
    number = ((bucket(chunk.buckets) + 1) * chunk.spans - 1) // chunk.buckets
    rows = (
        read(table, [chunk.piece]).slice(chunk.offset, chunk.rows)
        .with_columns(span=number.cast(pl.Int32)).collect()
    )  # fmt: skip
    split = rows.partition_by("span", as_dict=True, include_key=False, maintain_order=True)
    found = {}
    for (span,), frame in split.items():
        name = f"{chunk.table}/{span}/{uuid.uuid4().hex}.parquet"
        save(chunk.place, name, frame, passing=True)
        found[int(str(span))] = f"{chunk.place}/{name}"
    return found


def read(table: Table, given: Sequence[Piece]) -> pl.LazyFrame:
    """Rows of the files in COLUMNS."""
    names = COLUMNS[table.name]
    types = {name: table.schema[name] for name in names}
    by_backend: dict[str | None, list[str]] = {}
    for piece in given:
        by_backend.setdefault(piece.backend, []).append(piece.uri)
    if not by_backend:
        return pl.LazyFrame(schema=types)
    return pl.concat([
        load(uris, types) if backend is None
        else load(uris, types).with_columns(backend=pl.lit(backend))
        for backend, uris in by_backend.items()
    ])  # fmt: skip
