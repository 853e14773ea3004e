"""The largest files of stale_index that match, without reading the rest of it.

The files of the table are sorted by size descending, ties by backend and path, and the log knows
the greatest size in each. So the files are read from the greatest bound down, each from its top,
a few thousand rows at a time, until the last row wanted is larger than all that was not read yet
(Fagin's threshold algorithm, over zone maps). How much is read follows from how many rows are
passed over, not from how many there are: 2 to 20 ms at any size, where one row in ten matches.
What was read is kept, so that a server reads the top of its index once.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import polars as pl

from lake.cursor import Key
from lake.parts import Part, load
from lake.schemas import STALE_INDEX
from lake.store import Identity, Lake

FIRST_ROWS, MOST_ROWS = 2_048, 1_048_576
WHOLE_ROWS = 65_536
"""Up to here windows are read with all columns; further ones by what decides, then by file_id."""
KEPT_VERSIONS = 16
KEPT_BYTES = 64 * 1024**2
"""Of windows that were read, the latest used."""
SIZE = "size_bytes"
ORDER = (SIZE, "backend", "path")
DESCENDING = (True, False, False)
DECIDING = ("backend", "owner", "team", "size_bytes", "last_access_at")


class IndexFile(NamedTuple):
    """One Parquet file of the index and the bounds of its sizes."""

    uri: str
    rows: int
    least: int
    most: int

    @classmethod
    def of(cls, part: Part) -> IndexFile:
        """A bound that the log does not tell leaves nothing out."""
        least, most = part.least.get(SIZE), part.most.get(SIZE)
        return cls(part.uri, part.rows, -1 if least is None else least,
                   2**63 - 1 if most is None else most)  # fmt: skip


_kept: dict[Identity, list[IndexFile]] = {}


def largest(
    lake: Lake, version: int | None, where: pl.Expr, limit: int, *,
    after: Key | None = None, min_size_bytes: int = 0,
) -> pl.DataFrame:  # fmt: skip
    """The `limit` largest rows that match `where`, largest first, ties by backend and path.

    All columns of stale_index. `where` may use backend, owner, team, size_bytes, last_access_at.
    """
    return largest_of(
        files(lake, version), where, limit, after=after, min_size_bytes=min_size_bytes
    )


def largest_of(
    given: Sequence[IndexFile], where: pl.Expr, limit: int, *,
    after: Key | None = None, min_size_bytes: int = 0,
) -> pl.DataFrame:  # fmt: skip
    """As `largest`, of files that the greatest bound is first of; committed or not."""
    found = pl.DataFrame(schema=STALE_INDEX.schema)
    where &= pl.col("size_bytes") >= min_size_bytes
    for file in given:
        if file.most < min_size_bytes or _enough(found, limit, file.most):
            break
        if after is not None and file.least > after.size_bytes:
            continue
        rows = _File(file, where, min_size_bytes).top(limit, after)
        if found.is_empty():
            found = rows
        elif rows.height:
            found = pl.concat([found, rows]).sort(ORDER, descending=DESCENDING).head(limit)
    return found


def files(lake: Lake, version: int | None) -> list[IndexFile]:
    """The files of the index, the one with the greatest bound first; kept for a version."""
    if version is None:
        version = lake.version(STALE_INDEX)
    asked = lake.identity(STALE_INDEX, version)
    if asked not in _kept:
        found = [IndexFile.of(part) for part in lake.parts(STALE_INDEX, version) if part.rows]
        _kept[asked] = sorted(found, key=lambda file: file.most, reverse=True)
        while len(_kept) > KEPT_VERSIONS:
            _kept.pop(next(iter(_kept)), None)
    return _kept[asked]


def _enough(found: pl.DataFrame, limit: int, bound: int) -> bool:
    """Whether nothing in a file with that greatest size can be among the rows wanted."""
    return found.height >= limit and found["size_bytes"][limit - 1] > bound


class _Windows:
    """Rows of files that were read, by file, first row, number of rows and columns.

    Files of a table are never written twice, so that they stay right.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[Any, ...], pl.DataFrame] = OrderedDict()
        self._bytes = 0

    def get(self, key: tuple[Any, ...]) -> pl.DataFrame | None:
        """What was read before."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: tuple[Any, ...], rows: pl.DataFrame) -> None:
        """Keep it, and let go what was not used for longest."""
        size = rows.estimated_size()
        with self._lock:
            if key in self._kept or size > KEPT_BYTES:
                return
            self._kept[key] = rows
            self._bytes += size
            while self._bytes > KEPT_BYTES:
                self._bytes -= self._kept.popitem(last=False)[1].estimated_size()


_windows = _Windows()


class _File:
    """One file of the index, sorted as ORDER says."""

    def __init__(self, file: IndexFile, where: pl.Expr, min_size_bytes: int) -> None:
        self._uri = file.uri
        self._count = file.rows
        self._where = where
        self._min_size = min_size_bytes

    @cached_property
    def _rows(self) -> pl.LazyFrame:
        return load([self._uri], STALE_INDEX.schema)

    def _window(self, names: Sequence[str], offset: int, window: int) -> pl.DataFrame:
        key = (self._uri, offset, window, *names)
        found = _windows.get(key)
        if found is None:
            found = self._rows.select(names).slice(offset, window).collect()
            _windows.put(key, found)
        return found

    def top(self, limit: int, after: Key | None) -> pl.DataFrame:
        """The first `limit` rows that match, behind `after`."""
        where, offset = self._where, 0
        if after is not None:
            where, offset = where & behind(after), self._first_at_most(after.size_bytes)
        parts: list[pl.DataFrame] = []
        window = max(FIRST_ROWS, 2 * limit)
        while offset < self._count and limit > 0:
            whole = window <= WHOLE_ROWS
            rows, smallest = (self._whole if whole else self._narrow)(offset, window, where, limit)
            parts.append(rows)
            limit -= rows.height
            offset += window
            window = min(window * 4, MOST_ROWS)
            if smallest < self._min_size:
                break
        return pl.concat(parts) if parts else pl.DataFrame(schema=STALE_INDEX.schema)

    def _whole(
        self, offset: int, window: int, where: pl.Expr, limit: int
    ) -> tuple[pl.DataFrame, int]:
        rows = self._window(STALE_INDEX.schema.names(), offset, window)
        return rows.filter(where).head(limit), rows["size_bytes"][-1]

    def _narrow(
        self, offset: int, window: int, where: pl.Expr, limit: int
    ) -> tuple[pl.DataFrame, int]:
        """Numbers and short texts first; the rest only of rows that match."""
        names = ("file_id", *DECIDING, *(["path"] if "path" in where.meta.root_names() else []))
        rows = self._window(names, offset, window)
        smallest = rows["size_bytes"][-1]
        chosen = rows.filter(where).head(limit)
        if chosen.is_empty():
            return pl.DataFrame(schema=STALE_INDEX.schema), smallest
        size = pl.col("size_bytes").is_between(chosen["size_bytes"][-1], chosen["size_bytes"][0])
        some = pl.col("file_id").is_in(chosen["file_id"].to_list())
        full = self._rows.filter(size, some).select(STALE_INDEX.schema.names()).collect()
        return full.sort(ORDER, descending=DESCENDING), smallest

    def _first_at_most(self, size: int) -> int:
        """The number of the first row that is not larger: row groups are passed by their bounds."""
        smaller = pl.col("size_bytes") <= size
        rows = self._rows.select("size_bytes").with_row_index("row")
        found = rows.filter(smaller).head(1).collect()
        return int(found["row"][0]) if found.height else self._count


def behind(key: Key) -> pl.Expr:
    """Rows that come after a key in the order of the index."""
    size, backend = pl.col("size_bytes"), pl.col("backend")
    tied = (backend > key.backend) | ((backend == key.backend) & (pl.col("path") > key.path))
    return (size < key.size_bytes) | ((size == key.size_bytes) & tied)


def page(lake: Lake, version: int | None, where: pl.Expr, limit: int, **how: Any) -> pl.DataFrame:
    """As `largest`; a `limit` of 0 is no limit."""
    count = limit or sum(file.rows for file in files(lake, version))
    return largest(lake, version, where, count, **how)
