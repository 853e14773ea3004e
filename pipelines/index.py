"""The index of one backend while a crawl changes it: pieces in path order, written when large."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from lake.metrics.index import replay
from lake.parts import Part, discard, load, write_part
from lake.schemas import FILE_CHANGES, FILES, Table
from lake.store import Lake
from pipelines import staging
from pipelines.transforms import files as transform

IN_MEMORY_ROWS = staging.RANGE_ROWS // 2
Span = tuple[str | None, str | None]


@dataclass
class Piece:
    """Rows of a table that lie together: in memory, or a file, committed or not."""

    rows: int
    frame: pl.DataFrame | None = None
    part: Part | None = None
    committed: bool = False

    def load(self, table: Table, backend: str) -> pl.DataFrame:
        """Its rows in all columns of the table."""
        if self.frame is not None:
            return self.frame
        assert self.part
        return transform.whole(load([self.part.uri], table.schema).collect(), table.schema, backend)

    def meets(self, low: str | None, high: str | None) -> bool:
        """Whether it may have rows with low <= path < high."""
        if self.part is None:
            return True
        least, most = (bounds.get("path") for bounds in (self.part.least, self.part.most))
        before = high is None or least is None or least < high
        return before and (low is None or most is None or most >= low)


@dataclass
class Pieces:
    """Rows of one table and backend, in pieces."""

    lake: Lake
    table: Table
    backend: str
    pieces: list[Piece] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """How many there are."""
        return sum(piece.rows for piece in self.pieces)

    def samples(self) -> list[tuple[str, int]]:
        """Paths and how many rows each stands for."""
        found = []
        for piece in self.pieces:
            if piece.part is None:
                paths = piece.load(self.table, self.backend)["path"]
                step = staging.BLOCK_ROWS
                found += [(path, step) for path in paths.gather_every(step)]
            else:
                found.append((piece.part.least.get("path") or "", piece.rows))
        return found

    def edges(self) -> list[str]:
        """The paths with which its files begin."""
        return [p.part.least["path"] for p in self.pieces if p.part and p.part.least.get("path")]

    def between(self, low: str | None, high: str | None) -> pl.DataFrame:
        """Rows with low <= path < high, by path."""
        found = []
        for piece in self.pieces:
            if piece.meets(low, high):
                rows = piece.load(self.table, self.backend)
                above = True if low is None else pl.col("path") >= low
                under = True if high is None else pl.col("path") < high
                found.append(rows if (low, high) == (None, None) else rows.filter(above, under))
        if not found:
            return pl.DataFrame(schema=self.table.schema)
        rows = found[0] if len(found) == 1 else pl.concat(found)
        return rows if rows["path"].is_sorted() else rows.sort("path", "file_id")

    def add(self, frame: pl.DataFrame, *, write: bool) -> None:
        """More rows (columns of the table); written at once where they are many."""
        if not frame.height:
            return
        piece = Piece(frame.height, frame)
        self.pieces.append(self._written(piece) if write else piece)

    def _written(self, piece: Piece) -> Piece:
        assert piece.frame is not None
        where = {"backend": self.backend}
        return Piece(piece.rows, None, write_part(self.lake.root, self.table, piece.frame, where))

    def parts(self) -> list[Part]:
        """All rows as files that can be committed; what was in memory is written, and stays."""
        written = []
        for piece in self.pieces:
            if piece.part is None:
                piece.part = self._written(piece).part
            assert piece.part
            written.append(piece.part)
        return written

    def settle(self) -> None:
        """The files were committed."""
        for piece in self.pieces:
            piece.committed = True

    def drop(self) -> None:
        """Delete what was written and not committed."""
        loose = [piece.part for piece in self.pieces if piece.part and not piece.committed]
        if loose:
            discard(self.lake.root, self.table, loose)


def current(lake: Lake, backend: str) -> Pieces:
    """The committed index of a backend; in memory where it is small."""
    found = Pieces(lake, FILES, backend, [
        Piece(part.rows, None, part, committed=True)
        for part in lake.parts(FILES)
        if part.partition == {"backend": backend}
    ])  # fmt: skip
    if 0 < found.rows <= IN_MEMORY_ROWS:
        whole = found.between(None, None)
        found.pieces = [Piece(whole.height, whole, None, committed=False)]
    return found


def since(lake: Lake, backend: str, listing: int) -> Pieces:
    """The files of `file_changes` that may hold changes after a listing."""
    return Pieces(lake, FILE_CHANGES, backend, [
        Piece(part.rows, None, part, committed=True)
        for part in lake.parts(FILE_CHANGES)
        if part.partition == {"backend": backend}
        and (part.most.get("listing") or listing + 1) > listing
    ])  # fmt: skip


def spans(*sources: Any) -> list[Span]:
    """Ranges of paths that bound how many rows of all the sources are in one."""
    samples: Iterable[tuple[str, int]] = (s for source in sources for s in source.samples())
    edges = {edge for source in sources if isinstance(source, Pieces) for edge in source.edges()}
    return staging.ranges(staging.cuts(list(samples), edges))


def mark_renames(changes: Pieces) -> int:
    """Write `renamed_from` into the changes of one listing; how many files it marks."""
    parts = -(-changes.rows // staging.RANGE_ROWS)
    pairs = pl.concat([_PAIRS, *(_renames(changes, k, parts) for k in range(parts))])
    if pairs.is_empty():
        return 0
    pieces, changes.pieces = changes.pieces, []
    for piece in pieces:
        rows = piece.load(FILE_CHANGES, changes.backend)
        marked = rows.drop("renamed_from").join(
            pairs, on="file_id", how="left", maintain_order="left"
        ).select(FILE_CHANGES.schema.names())  # fmt: skip
        changes.add(marked, write=piece.part is not None)
        if piece.part is not None:
            discard(changes.lake.root, FILE_CHANGES, [piece.part])
    return pairs.height


_PAIRS = pl.DataFrame(schema={"file_id": pl.Int64, "renamed_from": pl.String})


def _renames(changes: Pieces, part: int, parts: int) -> pl.DataFrame:
    """The renames among one of several parts of all etags."""
    columns = ["path", "file_id", "change", "etag", "size_bytes", "previous_bytes"]
    mine = (pl.col("change") != "changed") & (pl.col("etag").hash() % parts == part)
    return transform.renames(
        pl.concat([frame.filter(mine).select(columns) for frame in piece_frames(changes)])
    )


def replayed(files: Pieces, changes: Pieces, listing: int) -> Pieces:
    """The index after the changes that came after the `listing` it was last written for."""
    after = Pieces(files.lake, FILES, files.backend)
    cut: Sequence[Span] = spans(files, changes)
    for low, high in cut:
        old, new = files.between(low, high), changes.between(low, high)
        later = new.lazy().filter(pl.col("listing") > listing)
        rows = replay(old.lazy(), later).collect().sort("path", "file_id")
        after.add(rows, write=len(cut) > 1)
    return after


def piece_frames(pieces: Pieces) -> Iterator[pl.DataFrame]:
    """The rows, piece by piece."""
    for piece in pieces.pieces:
        yield piece.load(pieces.table, pieces.backend)
