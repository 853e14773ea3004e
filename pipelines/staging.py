"""A listing on its way into the index: sorted by path, in runs on local disk.

Memory is bounded by one run, however many files the backend has. Nothing in here is seen by
anybody; what a crash leaves is deleted by the next crawl of the backend.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import polars as pl
import pyarrow as pa

from lake.ids import file_id

RUN_ROWS = 1_000_000
RANGE_ROWS = 1_500_000
BLOCK_ROWS = 4096
IDS_IN_MEMORY = 16_000_000


@dataclass
class _Run:
    """Sorted rows: in memory, or as an Arrow file in blocks of BLOCK_ROWS."""

    frame: pl.DataFrame | None
    file: Path | None
    firsts: list[str] = field(default_factory=list)
    """The first path of each block."""

    def between(self, low: str | None, high: str | None) -> pl.DataFrame:
        """Rows with low <= path < high."""
        if self.frame is not None:
            return _cut(self.frame, low, high)
        start = 0 if low is None else max(bisect.bisect_left(self.firsts, low) - 1, 0)
        end = len(self.firsts) if high is None else bisect.bisect_left(self.firsts, high)
        assert self.file
        rows = pl.scan_ipc(self.file).slice(start * BLOCK_ROWS, (end - start) * BLOCK_ROWS)
        return _cut(rows.collect(), low, high)


def _cut(frame: pl.DataFrame, low: str | None, high: str | None) -> pl.DataFrame:
    start = 0 if low is None else _place(frame["path"], low)
    end = frame.height if high is None else _place(frame["path"], high)
    return frame.slice(start, end - start)


def _place(paths: pl.Series, path: str) -> int:
    return int(paths.search_sorted(path, side="left"))


class Staged:
    """All rows of one listing. Raises what the listing raises."""

    def __init__(self, backend: str, batches: Iterable[pa.RecordBatch], folder: Path) -> None:
        self._backend = backend
        self._folder = folder
        self._runs: list[_Run] = []
        self._seen = 0
        kept: list[pa.RecordBatch] = []
        rows = 0
        for batch in batches:
            kept.append(batch)
            rows += batch.num_rows
            if rows >= RUN_ROWS:
                self._spill(kept)
                kept, rows = [], 0
        if kept:
            self._add(self._sorted(kept))

    @property
    def rows(self) -> int:
        """Rows listed; a path that was listed twice counts twice."""
        return self._seen

    def _sorted(self, batches: list[pa.RecordBatch]) -> pl.DataFrame:
        frame = _frame(in_order(batches))
        if len(batches) > 1 and not frame["path"].is_sorted():
            frame = _frame(batches)
        first, self._seen = self._seen, self._seen + frame.height
        rows = frame.with_row_index("seq", first)
        return tidy(rows.with_columns(file_id(pl.lit(self._backend))))

    def _add(self, frame: pl.DataFrame) -> None:
        self._runs.append(_Run(frame, None, frame["path"].gather_every(BLOCK_ROWS).to_list()))

    def _spill(self, batches: list[pa.RecordBatch]) -> None:
        frame = self._sorted(batches)
        file = self._folder / f"run-{len(self._runs)}.arrow"
        frame.write_ipc(
            file, compression="uncompressed", record_batch_size=BLOCK_ROWS,
            compat_level=pl.CompatLevel.oldest(),
        )  # fmt: skip
        firsts = frame["path"].gather_every(BLOCK_ROWS).to_list()
        self._runs.append(_Run(None, file, firsts))

    def samples(self) -> list[tuple[str, int]]:
        """Paths of the listing and how many rows each stands for."""
        return [(path, BLOCK_ROWS) for run in self._runs for path in run.firsts]

    def between(self, low: str | None, high: str | None) -> pl.DataFrame:
        """Rows with low <= path < high, each path once (the last one listed), by path."""
        found = [part for run in self._runs if (part := run.between(low, high)).height]
        if not found:
            return _EMPTY
        if len(found) == 1:
            return found[0].drop("seq")
        return tidy(pl.concat(found, how="diagonal_relaxed")).drop("seq")


_EMPTY = pl.DataFrame(
    schema={"path": pl.String, "size_bytes": pl.Int64, "etag": pl.String, "file_id": pl.Int64}
)


def _frame(batches: list[pa.RecordBatch]) -> pl.DataFrame:
    """The rows in those columns that say anything."""
    table = pa.Table.from_batches(batches)
    there = [name for name in table.column_names if table[name].null_count < table.num_rows]
    # One column at a time: its pieces are let go before the next one is brought together.
    return pl.DataFrame({
        name: pl.from_arrow(table[name], rechunk=True)
        for name in dict.fromkeys(["path", "size_bytes", *there])
    })  # fmt: skip


def in_order(batches: list[pa.RecordBatch]) -> list[pa.RecordBatch]:
    """Batches by path where none seems to reach into another, as pages of a store do not.

    Of those that are so nothing has to be sorted row by row.
    """
    ends = sorted(
        (rows["path"][0].as_py(), rows["path"][-1].as_py(), place)
        for place, rows in enumerate(batches)
        if rows.num_rows
    )
    apart = all(one[1] < other[0] for one, other in itertools.pairwise(ends))
    return [batches[place] for *_, place in ends] if ends and apart else batches


def tidy(frame: pl.DataFrame) -> pl.DataFrame:
    """Sorted by path, each path once: the row with the largest `seq`."""
    paths = frame["path"]
    if not paths.is_sorted():
        # Two keys take the sort that compares rows as bytes, three times as fast as one text key.
        frame = frame.sort("path", "seq")
        paths = frame["path"]
    last = paths != paths.shift(-1)
    return frame if last.fill_null(value=True).all() else frame.filter(last.fill_null(value=True))


def cuts(samples: Sequence[tuple[str, int]], edges: Collection[str] = ()) -> list[str]:
    """Paths that cut what the samples stand for into ranges of about RANGE_ROWS.

    edges: where files of the index begin; a cut there keeps them from being read twice, so a range
    may end half full or a quarter later for it.
    """
    found: list[str] = []
    rows = 0
    for path, weight in sorted(samples):
        edge = path in edges
        limit = RANGE_ROWS // 2 if edge else RANGE_ROWS * 5 // 4 if edges else RANGE_ROWS
        more = 0 if edge else weight
        if rows and rows + more > limit and (not found or path > found[-1]):
            found.append(path)
            rows = 0
        rows += weight
    return found


def ranges(found: Sequence[str]) -> list[tuple[str | None, str | None]]:
    """The half-open ranges between the cuts; the first and the last one have no end."""
    return list(zip([None, *found], [*found, None], strict=True))


class Ids:
    """The file_ids of all live files, to see that no two are equal. 8 bytes of disk each."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.count = 0

    def add(self, ids: pl.Series) -> None:
        """More of them."""
        self._file.write(np.ascontiguousarray(ids.to_numpy()).tobytes())
        self.count += ids.len()

    def twice(self) -> int | None:
        """An id that two files have, None if there is none."""
        if not self.count:
            return None
        self._file.flush()
        every = np.memmap(self._file.name, np.int64, "r", shape=(self.count,))
        parts = -(-self.count // IDS_IN_MEMORY)
        for part in range(parts):
            mine = every if parts == 1 else _of_part(every, part, parts)
            ordered = np.sort(mine)
            same = np.flatnonzero(ordered[1:] == ordered[:-1])
            if same.size:
                return int(ordered[same[0]])
        return None


def _of_part(every: Any, part: int, parts: int) -> Any:
    step = IDS_IN_MEMORY
    chunks = (every[i : i + step] for i in range(0, len(every), step))
    return np.concatenate([chunk[chunk % parts == part] for chunk in chunks])
