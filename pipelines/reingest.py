"""Replace landing hours in one commit, sorted: backfills from the objects, and hours that end.

An hour is sealed once it is over and its stragglers had their time: its rows are sorted and
brought together. What still arrives opens it again, and it is sealed anew.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Iterator, Sequence
from typing import Any

import polars as pl

from lake.datafiles import ROW_GROUP_ROWS, discard, write_frames
from lake.parts import Part, load
from lake.schemas import EVENTS, LEDGER, QUARANTINE, Table
from lake.store import Lake
from pipelines.batch import Batch
from pipelines.candidates import SKEWED, Candidate, Identities, Row, Window
from pipelines.ingest import ledger
from storage.errors import LakeError
from storage.landing import hour_start, parse_name
from storage.objectstore import ObjectInfo, open_store

log = logging.getLogger(__name__)
SEALED_AFTER = dt.timedelta(hours=3)
SORT_ROWS = 1_000_000
ORDER = ("backend", "path", "ts", "object", "line")


def replace_hour(lake: Lake, landing: str, hour: str, window: Window) -> int:
    """Re-read every ingested object of `hour` and replace its rows, sorted; how many objects.

    Raises LakeError, naming them, when objects that the ledger lists are gone or damaged since;
    nothing changes then.
    """
    known = ledger(lake).filter(pl.col("hour") == hour, pl.col("state") == "ingested")
    rows = {row["object"]: row for row in known.sort("object").to_dicts()}
    if not rows:
        return 0
    batch = Batch(lake, open_store(landing), 0, window)
    batch.read([_candidate(row) for row in rows.values()], Identities(()))
    lost = [name for name, row in rows.items() if not _as_whole(batch.rows.get(name), row)]
    if lost:
        batch.discard()
        raise _refusal(hour, lost, len(rows), f"are gone from {landing} or damaged")
    schema = {n: d for n, d in EVENTS.schema.items() if n != "hour"}
    staged = load([file.uri for file in batch.files], schema)
    events = staged.with_columns(hour=pl.lit(hour)).select(EVENTS.schema.names())
    files = _sorted(lake, hour, events, sum(row["events"] for row in batch.rows.values()))
    for table, new in ((QUARANTINE, batch.refusals), (EVENTS, files)):
        old = _parts(lake, table, hour)
        if new or old:
            lake.commit(table, new, old)
    discard(lake.root, EVENTS, batch.files)
    updated = [row | {"batch": rows[name]["batch"]} for name, row in batch.rows.items()]
    lake.append(LEDGER, pl.DataFrame(updated, schema=LEDGER.schema))
    return len(rows)


def seal(lake: Lake, window: Window) -> list[str]:
    """Sort and bring together the hours that have ended and moved since they were sealed; which.

    An hour with fewer rows than its ledger counts is left as it is, and named in the log.
    """
    rows = ledger(lake)
    moves = dict(lake.scan(LEDGER).group_by("hour").len().collect().iter_rows())
    over = [hour for hour in sorted(moves) if _is_over(hour, window)]
    done = lake.app_versions(EVENTS, [f"seal:{hour}" for hour in over])
    sealed = []
    for hour in over:
        app = (f"seal:{hour}", int(moves[hour]))
        if done[app[0]] >= app[1]:
            continue
        try:
            _seal(lake, hour, rows.filter(pl.col("hour") == hour), app)
        except LakeError as error:
            log.warning("%s", error)
        else:
            sealed.append(hour)
    return sealed


def _is_over(hour: str, window: Window) -> bool:
    if hour == SKEWED:
        return False
    end = hour_start(hour) + dt.timedelta(hours=1)
    return window.now - window.retention <= end <= window.now - SEALED_AFTER


def _parts(lake: Lake, table: Table, hour: str) -> list[Part]:
    return [part for part in lake.parts(table) if part.partition["hour"] == hour]


def _seal(lake: Lake, hour: str, rows: pl.DataFrame, app: tuple[str, int]) -> None:
    old = _parts(lake, EVENTS, hour)
    events = lake.scan(EVENTS).filter(pl.col("hour") == hour)
    there = events.group_by("object").agg(there=pl.len()).collect()
    counted = rows.filter(pl.col("events") > 0).join(there, on="object", how="full", coalesce=True)
    unlike = counted.filter(~pl.col("events").eq_missing(pl.col("there")))["object"].to_list()
    if unlike:
        raise _refusal(hour, unlike, counted.height, "do not have the rows that the ledger counts")
    files = _sorted(lake, hour, events, int(there["there"].sum()))
    lake.commit(EVENTS, files, old, [app])


def _sorted(lake: Lake, hour: str, events: pl.LazyFrame, rows: int) -> list[Part]:
    """Files in the order of `ORDER`, each of about SORT_ROWS rows: what is held at a time."""
    key = pl.concat_str("backend", pl.lit("\0"), "path")
    bounds: list[str] = []
    if rows > SORT_ROWS:
        every = max(1, rows // 10_000)
        sample = events.select(key=key).gather_every(every).collect()["key"].sort().to_list()
        count = -(-rows // SORT_ROWS)
        bounds = sorted({sample[len(sample) * i // count] for i in range(1, count)})
    found = []
    for low, high in zip([None, *bounds], [*bounds, None], strict=True):
        inside = [key >= low] if low is not None else []
        inside += [key < high] if high is not None else []
        piece = events.filter(*inside) if inside else events
        frame = piece.sort(ORDER).collect(engine="streaming")
        file = write_frames(lake.root, EVENTS, {"hour": hour}, _slices(frame))
        found += [file] if file else []
    return found


def _slices(frame: pl.DataFrame) -> Iterator[pl.DataFrame]:
    yield from (frame.slice(at, ROW_GROUP_ROWS) for at in range(0, frame.height, ROW_GROUP_ROWS))


def _candidate(row: Row) -> Candidate:
    landed = parse_name(row["object"])
    assert landed is not None, row["object"]  # the ledger lists event objects only
    info = ObjectInfo(row["object"], row["size_bytes"], row["landed_at"], row["etag"])
    return Candidate(landed, info, row["hour"], row["batch"])


def _as_whole(now: Row | None, before: Row) -> bool:
    """Whether an object could be read, and is not damaged where it was not before."""
    return now is not None and bool(now["sha256"] or not before["sha256"])


def _refusal(hour: str, lost: Sequence[Any], total: int, why: str) -> LakeError:
    return LakeError(
        f"hour {hour} is not replaced: {len(lost)} of its {total} ingested objects {why}: "
        f"{', '.join(lost[:5])}. Bring them back, or leave the hour as it is."
    )
