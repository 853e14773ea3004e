"""Landing zone to `events`, exactly once.

The ledger is the only memory of what is ingested. Every batch commits quarantine, events, ledger,
in this order; rows of a batch that never reached the ledger are removed before anything else.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from lake.lease import held
from lake.schemas import EVENTS, LEDGER, QUARANTINE
from lake.store import Lake
from pipelines.transforms.parse import Parsed, parse
from storage import clock
from storage.landing import IMPORT_NODE, Landed, decompress, hour_of, hour_start, parse_name
from storage.objectstore import ObjectInfo, get, listed, open_store

APP = "ingest"
SKEWED = "skewed"
LEASE_WAIT_SECONDS = 120.0
BATCH_BYTES = 64 * 1024**2
MAX_OBJECT_BYTES = 1024**3
READERS = 8
Row = dict[str, Any]


@dataclass(frozen=True)
class Candidate:
    """An object that is to be ingested, under the hour it counts for."""

    landed: Landed
    info: ObjectInfo
    hour: str

    @property
    def order(self) -> tuple[str, str]:
        """Of two objects with the same events the smaller one counts."""
        return (self.hour, self.landed.name)


@dataclass
class IngestReport:
    """What an ingest did."""

    objects: int = 0
    duplicates: int = 0
    events: int = 0
    quarantined: int = 0
    bytes_read: int = 0
    last_event_at: dt.datetime | None = None
    hours: set[str] = field(default_factory=set)

    def add(self, row: Row) -> None:
        """Count one ledger row."""
        self.objects += 1
        self.duplicates += row["state"] == "duplicate"
        self.hours.add(row["hour"])
        for name in ("events", "quarantined", "bytes_read"):
            setattr(self, name, getattr(self, name) + row[name])
        if row["last_event_at"] is not None:
            self.last_event_at = max(self.last_event_at or row["last_event_at"],
                                     row["last_event_at"])  # fmt: skip


@dataclass(frozen=True)
class Window:
    """Which landing hours count: the instant of the run and how far back hours are kept."""

    now: dt.datetime
    retention: dt.timedelta

    def hour(self, landed: Landed, info: ObjectInfo) -> str:
        """The hour an object counts for; `skewed` if its name claims one that cannot be."""
        if not landed.hour:
            return hour_of(info.modified_at)
        at = hour_start(landed.hour)
        fits = self.now - self.retention <= at <= self.now + dt.timedelta(hours=1)
        return landed.hour if fits else SKEWED


def ingest(
    lake: Lake, landing: str, window: Window, hours: Sequence[str] | None = None
) -> IngestReport:
    """Ingest what has landed and is not in the ledger; only `hours`, if given.

    Raises LeaseBusyError when another ingest runs and does not end, BackendError when the landing
    zone cannot be read.
    """
    with held(lake.root, "ingest", LEASE_WAIT_SECONDS):
        return _ingest(lake, landing, window, hours)


def reingest(lake: Lake, landing: str, window: Window, hours: Sequence[str]) -> IngestReport:
    """Ingest what is new in `hours`, then replace each hour from its objects, sorted.

    An hour whose ledger lists objects that have gone is refused by name and stays as it is.
    """
    from pipelines.reingest import replace_hour

    with held(lake.root, "ingest", LEASE_WAIT_SECONDS):
        report = _ingest(lake, landing, window, hours)
        for hour in sorted(set(hours)):
            replace_hour(lake, landing, hour)
        return report


def _ingest(lake: Lake, landing: str, window: Window, hours: Sequence[str] | None) -> IngestReport:
    next_batch = recover(lake)
    store = open_store(landing)
    known = {row["object"]: row for row in ledger(lake).to_dicts()}
    changed, new = _candidates(listed(store), known, window, hours)
    for name in changed:
        _remove_rows(lake, known.pop(name))
    seen = Identities(known.values())
    report = IngestReport()
    for number, group in enumerate(_batches(new), next_batch):
        with ThreadPoolExecutor(READERS) as pool:
            bodies = list(pool.map(lambda c: get(store, c.landed.name), group))
        rows = _commit_batch(lake, number, list(zip(group, bodies, strict=True)), seen, window)
        for row in rows:
            report.add(row)
    return report


def pending_hours(
    lake: Lake, landing: str, window: Window, since: dt.datetime | None = None
) -> set[str]:
    """Landing hours that hold objects which are not ingested; from the day of `since` on."""
    store = open_store(landing)
    known = {row["object"]: row for row in ledger(lake).to_dicts()}
    objects = listed(store) if since is None else _landed_since(store, since, window.now)
    _, new = _candidates(objects, known, window, None)
    return {candidate.hour for candidate in new}


def _landed_since(store: Any, since: dt.datetime, now: dt.datetime) -> Iterator[ObjectInfo]:
    for ahead in range((now.date() - since.date()).days + 2):
        yield from listed(store, (since + dt.timedelta(days=ahead)).strftime("dt=%Y-%m-%d"))


def ledger(lake: Lake) -> pl.DataFrame:
    """The latest row of every object."""
    rows = lake.scan(LEDGER).sort("batch", "ingested_at")
    return rows.group_by("object").last().select(LEDGER.schema.names()).collect()


def recover(lake: Lake) -> int:
    """Remove the rows of batches that never reached the ledger; the next free batch number."""
    done = lake.app_version(LEDGER, APP)
    started = max(lake.app_version(QUARANTINE, APP), lake.app_version(EVENTS, APP), done)
    for batch in range(max(done, 0) + 1, started + 1):
        for table in (QUARANTINE, EVENTS):
            lake.delete(table, {"batch": batch})
    return max(started, 0) + 1


def _candidates(
    objects: Iterable[ObjectInfo], known: dict[str, Row], window: Window,
    hours: Sequence[str] | None,
) -> tuple[list[str], list[Candidate]]:  # fmt: skip
    changed, new = [], []
    for info in objects:
        landed = parse_name(info.name)
        if landed is None:
            continue
        before = known.get(info.name)
        if before is not None and before["size_bytes"] == info.size_bytes:
            continue
        hour = window.hour(landed, info)
        if hours is not None and hour not in hours:
            continue
        if before is not None:
            changed.append(info.name)
        new.append(Candidate(landed, info, hour))
    return changed, sorted(new, key=lambda c: c.order)


def _batches(new: list[Candidate]) -> Iterator[list[Candidate]]:
    group: list[Candidate] = []
    size = 0
    for candidate in new:
        # Compressed JSON lines unpack about ninefold.
        grown = candidate.info.size_bytes * (1 if candidate.landed.name.endswith("l") else 9)
        if group and size + grown > BATCH_BYTES * 4:
            yield group
            group, size = [], 0
        group.append(candidate)
        size += grown
    if group:
        yield group


class Identities:
    """Which objects hold the same events: equal (node, boot, range), or equal bytes."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._winner: dict[tuple[Any, ...], Row] = {}
        for row in rows:
            if row["state"] == "ingested":
                self.add(row)

    def find(self, row: Row) -> Row | None:
        """The ingested object that holds the same events as `row`, or None."""
        found = (self._winner.get(key) for key in self._keys(row))
        return next((winner for winner in found if winner), None)

    def add(self, row: Row) -> None:
        """Let `row` count for its events from now on."""
        for key in self._keys(row):
            self._winner[key] = row

    @staticmethod
    def _keys(row: Row) -> list[tuple[Any, ...]]:
        if not row["sha256"]:  # damaged: it holds no events that it could count for
            return []
        keys: list[tuple[Any, ...]] = [("bytes", row["sha256"])]
        if row["boot"]:
            keys.append(("range", row["node"], row["boot"], row["first_seq"], row["last_seq"]))
        return keys


def _commit_batch(
    lake: Lake, batch: int, group: list[tuple[Candidate, bytes]], seen: Identities, window: Window
) -> list[Row]:
    parsed: list[Parsed] = []
    rows: list[Row] = []
    beaten: list[Row] = []
    for candidate, body in group:
        row, found = _read(candidate, body, batch, window)
        winner = seen.find(row)
        if winner is not None and (winner["hour"], winner["object"]) < candidate.order:
            rows.append(_duplicate(row, winner["object"]))
            continue
        if winner is not None:
            beaten.append(_duplicate(winner, row["object"]) | {"batch": batch})
        seen.add(row)
        rows.append(row)
        parsed.append(found)
    # A loser's rows go first: if this stops here, the next ingest brings the winner's.
    for row in beaten:
        _remove_rows(lake, row)
    _commit(lake, batch, parsed, rows + beaten)
    return rows


def _commit(lake: Lake, batch: int, parsed: list[Parsed], rows: list[Row]) -> None:
    for table, frames in (
        (QUARANTINE, [p.quarantine for p in parsed if p.quarantine.height]),
        (EVENTS, [p.events for p in parsed if p.events.height]),
    ):
        if frames:
            lake.append(table, pl.concat(frames), (APP, batch))
    lake.append(LEDGER, pl.DataFrame(rows, schema=LEDGER.schema), (APP, batch))


def _read(candidate: Candidate, body: bytes, batch: int, window: Window) -> tuple[Row, Parsed]:
    landed, info = candidate.landed, candidate.info
    where: dict[str, Any] = {"hour": candidate.hour, "name": landed.name, "batch": batch}
    try:
        data = decompress(landed.name, body, MAX_OBJECT_BYTES)
        found = parse(data, landed_at=info.modified_at, **where)
        sha256 = landed.prefix_sha256 or hashlib.sha256(data).hexdigest()
    except ValueError as error:
        found, sha256 = damaged(str(error), where), ""
    row = {
        "object": landed.name, "hour": candidate.hour, "batch": batch,
        "state": "ingested", "duplicate_of": "", "node": landed.node, "boot": landed.boot,
        "first_seq": landed.first, "last_seq": landed.last, "size_bytes": len(body),
        "sha256": sha256, "landed_at": info.modified_at, "ingested_at": window.now,
    }  # fmt: skip
    return row | counts(found), found


def counts(found: Parsed) -> Row:
    """The sums of a parsed object, as the ledger keeps them."""
    return {
        "lines": found.lines,
        "events": found.events.height,
        "quarantined": found.quarantine.height,
        "bytes_read": found.events["bytes_read"].sum(),
        "last_event_at": found.events["ts"].max(),
    }


def damaged(reason: str, where: dict[str, Any]) -> Parsed:
    """An object that cannot be read is one quarantined row with line 0."""
    empty = parse(b"", landed_at=clock.now(), **where)
    row = {
        "hour": where["hour"], "object": where["name"], "line": 0, "batch": where["batch"],
        "reason": reason, "text": "",
    }  # fmt: skip
    return Parsed(empty.events, pl.DataFrame([row], schema=QUARANTINE.schema), 0)


def _duplicate(row: Row, winner: str) -> Row:
    nothing = {"lines": 0, "events": 0, "quarantined": 0, "bytes_read": 0, "last_event_at": None}
    return row | nothing | {"state": "duplicate", "duplicate_of": winner}


def _remove_rows(lake: Lake, row: Row) -> None:
    for table in (QUARANTINE, EVENTS):
        lake.delete(table, {"hour": row["hour"], "object": row["object"]})


def imported_prefixes(lake: Lake) -> dict[int, set[str]]:
    """End offset → sha256 of every prefix of a file that was imported."""
    rows = lake.scan(LEDGER).filter(pl.col("node") == IMPORT_NODE).select("last_seq", "sha256")
    found: dict[int, set[str]] = {}
    for end, sha256 in rows.collect().iter_rows():
        found.setdefault(end, set()).add(sha256)
    return found
