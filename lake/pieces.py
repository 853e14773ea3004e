"""Frames that pass from one step to the next: many in one file, each read by its place in it.

A step that divides its rows among hundreds of later ones leaves each a few thousand. As a Parquet
file of its own such a frame costs five times the CPU of an Arrow stream among others to write, and
on an object store a request.
"""

from __future__ import annotations

import io
import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import obstore
import polars as pl

from storage.objectstore import get_range, open_store

READERS = 16


class Piece(NamedTuple):
    """Where a frame lies: folder or URL, file in it, first byte and how many."""

    place: str
    name: str
    offset: int
    size_bytes: int


def write_pieces(place: str, kind: str, frames: Mapping[int, pl.DataFrame]) -> dict[int, Piece]:
    """Write frames into one new file below a folder or URL; where each is, under its number.

    No frames, no file.
    """
    if not frames:
        return {}
    name, offset = f"{kind}/{uuid.uuid4().hex}.arrows", 0
    found, bodies = {}, []
    for number, frame in frames.items():
        body = io.BytesIO()
        frame.write_ipc_stream(body, compression="lz4")
        bodies.append(body.getbuffer())
        found[number] = Piece(place, name, offset, bodies[-1].nbytes)
        offset += bodies[-1].nbytes
    if "://" in place:
        obstore.put(open_store(place), name, b"".join(bodies))
    else:
        file = Path(place) / name
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("wb") as out:
            out.writelines(bodies)
    return found


def load_pieces(pieces: Sequence[Piece], schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """The rows of some frames, which all have this schema; none without frames.

    Raises FileNotFoundError, BackendError.
    """
    if not pieces:
        return pl.DataFrame(schema=schema)
    return pl.concat([pl.read_ipc_stream(body) for body in _bodies(pieces)], rechunk=True)


def _bodies(pieces: Sequence[Piece]) -> Iterator[bytes]:
    if "://" not in pieces[0].place:
        yield from map(_local, pieces)
        return
    with ThreadPoolExecutor(READERS) as pool:  # each is a request
        yield from pool.map(_remote, pieces)


def _local(piece: Piece) -> bytes:
    file = os.open(f"{piece.place}/{piece.name}", os.O_RDONLY)  # a Path would cost more than this
    try:
        return os.pread(file, piece.size_bytes, piece.offset)
    finally:
        os.close(file)


def _remote(piece: Piece) -> bytes:
    return get_range(open_store(piece.place), piece.name, piece.offset, piece.size_bytes)
