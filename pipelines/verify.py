"""The self-audit: random rows of the index and random live objects, checked both ways.

A row of the index agrees when the store has that object with its size, and its etag or time of
modification; a live object agrees when the index has it so. What changed since the listing
disagrees: the interval says how far the numbers are from the store as it is now.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from lake.agreement import order, wilson
from lake.ids import file_id
from lake.parts import load
from lake.schemas import FILES, LISTINGS, VERIFICATIONS
from lake.store import Lake
from storage.backends import Source, Stat, open_backend
from storage.config import Backend
from storage.errors import UsageError, WarpdriveError
from storage.listing.objects import object_store
from storage.listing.ranges import Store
from storage.listing.ranges import text as raw_text
from storage.options import OBJECT_STORES
from storage.paths import path_bytes

log = logging.getLogger(__name__)
SAMPLE = 1000
TRIES = 3
AT_ONCE = 16
COUNTED = ("complete", "partial", "held")
COLUMNS = {name: FILES.schema[name] for name in
           ("path", "file_id", "size_bytes", "etag", "modified_at")}  # fmt: skip
Row = dict[str, Any]
Ask = Callable[[Row], "bool | None"]
Lister = Callable[[Backend, dt.datetime], Iterable[pa.RecordBatch]]


@dataclass(frozen=True)
class Asked:
    """How to audit: how many rows each way, drawn by which seed, at which instant."""

    sample: int
    seed: int
    now: dt.datetime


def verify(lake: Lake, backend: Backend, asked: Asked, lister: Lister) -> Row:
    """Check `sample` rows of the index and as many live objects; store and return the result.

    Columns of VERIFICATIONS. Raises UsageError for a sample of 0, BackendError where the store
    cannot be listed.
    """
    if asked.sample < 1:
        raise UsageError(f"--sample '{asked.sample}' is not a number of rows: write 1 or more.")
    index = drawn_from_index(lake, backend.name, asked)
    checks = checked_live(backend, index)
    live = drawn_from_store(lister(backend, asked.now), backend.name, asked)
    known = rows_of(lake, backend.name, live["file_id"])
    both = live.join(known, on="file_id", how="left", suffix="_index")
    same = [_same(row, "_index") for row in both.iter_rows(named=True)]
    row = result(lake, backend.name, asked, "verify") | counted(checks, same)
    lake.append(VERIFICATIONS, pl.DataFrame([row], schema=VERIFICATIONS.schema))
    return row


def result(lake: Lake, backend: str, asked: Asked, kind: str) -> Row:
    """The row of an audit without its counts."""
    last = (
        lake.scan(LISTINGS)
        .filter(pl.col("backend") == backend, pl.col("state").is_in(COUNTED))
        .select(pl.col("snapshot_at").max()).collect().item()
    )  # fmt: skip
    lag = None if last is None else max((asked.now - last).total_seconds(), 0.0)
    return {
        "backend": backend, "kind": kind, "verified_at": asked.now, "seed": asked.seed,
        "sample": asked.sample, "lag_seconds": lag,
    }  # fmt: skip


def counted(checks: Sequence[bool | None], live: Sequence[bool]) -> Row:
    """Counts of both ways and their interval; None is a row that could not be asked for."""
    mine = [check for check in checks if check is not None]
    checked, agree = len(mine) + len(live), sum(mine) + sum(live)
    low, high = wilson(agree, checked)
    return {
        "index_checked": len(mine), "index_agree": sum(mine),
        "live_checked": len(live), "live_agree": sum(live), "unchecked": len(checks) - len(mine),
        "checked": checked, "agree": agree, "agreement_low": low, "agreement_high": high,
    }  # fmt: skip


def drawn_from_index(lake: Lake, backend: str, asked: Asked) -> pl.DataFrame:
    """A sample of the index, the same for the same seed. Reads file_ids only, file by file."""
    best = np.empty(0, np.int64)
    for part in lake.parts(FILES):
        if part.partition == {"backend": backend}:
            ids = load([part.uri], {"file_id": pl.Int64()}).collect()["file_id"].to_numpy()
            best = _smallest(np.concatenate([best, ids]), asked)
    return rows_of(lake, backend, pl.Series(best))


def _smallest(ids: np.ndarray, asked: Asked) -> np.ndarray:
    if len(ids) <= asked.sample:
        return ids
    where = np.argpartition(order(np.ascontiguousarray(ids), asked.seed), asked.sample)
    return ids[where[: asked.sample]]


def rows_of(lake: Lake, backend: str, file_ids: pl.Series) -> pl.DataFrame:
    """The rows of the index with these ids: COLUMNS."""
    mine = pl.col("file_id").is_in(file_ids.implode())
    rows = lake.scan(FILES).filter(pl.col("backend") == backend, mine)
    return rows.select(*COLUMNS).collect(engine="streaming").sort("path")


def drawn_from_store(batches: Iterable[pa.RecordBatch], backend: str, asked: Asked) -> pl.DataFrame:
    """A sample of live objects, whatever the order they come in: COLUMNS."""
    names = [name for name in COLUMNS if name != "file_id"]
    best = pl.DataFrame(schema=COLUMNS)
    for batch in batches:
        rows = pl.DataFrame(pl.from_arrow(batch.select(names)))
        rows = rows.with_columns(file_id(pl.lit(backend))).select(*COLUMNS)
        both = pl.concat([best, rows.cast(pl.Schema(COLUMNS))]).unique("file_id", keep="last")
        keep = _smallest(both["file_id"].to_numpy(), asked)
        best = both.filter(pl.col("file_id").is_in(pl.Series(keep).implode()))
    return best.sort("path")


def checked_live(
    backend: Backend, index: pl.DataFrame, changed_after: dt.datetime | None = None
) -> list[bool | None]:
    """Ask the store for each row: whether it agrees, None where it could not be asked for.

    changed_after: None too for what the store says was modified later. Raises WarpdriveError or
    OSError where the first one cannot be asked for: then the store is away.
    """
    if index.is_empty():
        return []
    rows = list(index.iter_rows(named=True))
    hands = min(AT_ONCE, backend.crawl.parallel)
    with _asking(backend, changed_after) as ask, ThreadPoolExecutor(hands) as pool:
        first = ask(rows[0])

        def quietly(row: Row) -> bool | None:
            try:
                return ask(row)
            except (OSError, WarpdriveError):
                return None

        return [first, *pool.map(quietly, rows[1:])]


@contextmanager
def _asking(backend: Backend, changed_after: dt.datetime | None) -> Iterator[Ask]:
    """What asks a store about one row of the index."""
    if backend.type in OBJECT_STORES:
        store = object_store(backend, TRIES)
        yield lambda row: _look(store, row, changed_after)
        return
    source = open_backend(backend)
    try:
        yield lambda row: _stat(source, row, changed_after)
    finally:
        source.close()


def _look(store: Store, row: Row, changed_after: dt.datetime | None) -> bool | None:
    """Object stores by their own listing of one key: no key is changed on the way."""
    try:
        key = raw_text(path_bytes(row["path"]))
    except ValueError:  # the text of no key
        return False
    found = store.look(key).to_pylist()
    if not found:
        return False
    modified = found[0]["modified_at"]
    if changed_after is not None and modified is not None and modified > changed_after:
        return None
    return _alike(row, found[0])


def _stat(source: Source, row: Row, changed_after: dt.datetime | None) -> bool | None:
    try:
        there = source.stat(row["path"])
    except (FileNotFoundError, NotADirectoryError):
        return False
    after = None if changed_after is None else _microseconds(changed_after)
    if after is not None and there.modified_ns // 1000 > after:
        return None
    return _agrees(there, row, local=source.local)


def _agrees(there: Stat, row: Row, *, local: bool) -> bool:
    # Of several hard links only one has its bytes in the index.
    size = there.size_bytes if row["size_bytes"] or there.links < 2 else row["size_bytes"]
    if not there.is_file or size != row["size_bytes"]:
        return False
    if local:
        modified = row["modified_at"]
        return modified is None or _microseconds(modified) == there.modified_ns // 1000
    etag = there.version.strip('"')
    return not row["etag"] or not etag or row["etag"] == etag


def _same(row: Row, suffix: str) -> bool:
    """Whether a live object and its row of the index are one and the same."""
    if row[f"size_bytes{suffix}"] is None:
        return False
    return _alike(row, {name: row[name + suffix] for name in ("size_bytes", "etag")})


def _alike(one: Row, other: Row) -> bool:
    """Whether size and etag are the same, as far as both are known."""
    pairs = [(one[name], other[name]) for name in ("size_bytes", "etag")]
    return all(a == b or not a or not b for a, b in pairs[1:]) and pairs[0][0] == pairs[0][1]


def _microseconds(at: dt.datetime) -> int:
    return round((at - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) / dt.timedelta(microseconds=1))
