"""Landing zone to `events`, exactly once.

The ledger is the only memory of what is ingested. Every batch commits quarantine, events, ledger,
in this order; rows of a batch that never reached the ledger are removed before anything else.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from lake.lease import Lease, held
from lake.schemas import EVENTS, LEDGER, QUARANTINE
from lake.store import Lake
from pipelines.batch import APP, Batch, remove_rows
from pipelines.candidates import SKEWED, Candidate, Identities, Row, Window, batches, candidates
from pipelines.importing import Imports
from pipelines.touched import touched_objects
from storage.errors import BackendError, LakeError
from storage.landing import IMPORT_NODE
from storage.objectstore import ObjectInfo, listed, open_store

log = logging.getLogger(__name__)
LEASE_WAIT_SECONDS = 120.0


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
    skewed: int = 0
    """Objects whose names claim an hour that cannot be."""
    lag_seconds: float | None = None
    """From the last event of an object to now, for the slowest agent's object of this run."""
    unread: dict[str, str] = field(default_factory=dict)
    """Objects that could not be read, and why; they are taken up by the next ingest."""

    def add(self, row: Row) -> None:
        """Count one ledger row."""
        self.objects += 1
        self.duplicates += row["state"] == "duplicate"
        self.hours.add(row["hour"])
        self.skewed += row["hour"] == SKEWED
        for name in ("events", "quarantined", "bytes_read"):
            setattr(self, name, getattr(self, name) + row[name])
        if row["last_event_at"] is not None:
            if row["boot"]:
                lag = (row["ingested_at"] - row["last_event_at"]).total_seconds()
                self.lag_seconds = max(self.lag_seconds or lag, lag)
            self.last_event_at = max(self.last_event_at or row["last_event_at"],
                                     row["last_event_at"])  # fmt: skip


def ingest(
    lake: Lake, landing: str, window: Window, hours: Sequence[str] | None = None
) -> IngestReport:
    """Ingest what has landed and is not in the ledger; only `hours`, if given.

    An object that cannot be read does not hold up the others. Raises LeaseBusyError when another
    ingest runs and does not end, BackendError when the landing zone cannot be listed, or no new
    object of it can be read.
    """
    with held(lake.root, "ingest", LEASE_WAIT_SECONDS) as lease:
        return _ingest(lake, landing, window, hours, lease)


def reingest(lake: Lake, landing: str, window: Window, hours: Sequence[str]) -> IngestReport:
    """Ingest what is new in `hours`, then replace each hour from its objects, sorted.

    An hour whose ledger lists objects that have gone is refused by name and stays as it is.
    """
    from pipelines.reingest import replace_hour

    with held(lake.root, "ingest", LEASE_WAIT_SECONDS) as lease:
        report = _ingest(lake, landing, window, hours, lease)
        for hour in sorted(set(hours)):
            replace_hour(lake, landing, hour, window)
        return report


def _ingest(
    lake: Lake, landing: str, window: Window, hours: Sequence[str] | None, lease: Lease
) -> IngestReport:
    def check() -> None:
        if lease.lost:
            raise LakeError(
                "this ingest lost its lease and another one has begun: nothing is lost, run it "
                "again."
            )

    next_batch = recover(lake)
    store = open_store(landing)
    known = {row["object"]: row for row in ledger(lake).to_dicts()}
    changed, new = candidates(listed(store), known, window, hours)
    touched = touched_objects(lake, store, new, known, window)
    new = [one for one in new if one.landed.name not in touched]
    for name in [name for name in changed if name not in touched]:
        before = known.pop(name)
        if before["state"] == "ingested":
            remove_rows(lake, before)
    seen = Identities(known.values())
    report = IngestReport()
    for number, group in enumerate(batches(new), next_batch):
        batch = Batch(lake, store, number, window)
        batch.read(group, seen)
        for row in batch.commit(check):
            report.add(row)
        report.unread |= batch.unread
    _warn(report)
    return report


def _warn(report: IngestReport) -> None:
    if report.skewed:
        log.warning(
            "%d objects are named for an hour that is past retention or ahead: they are kept in "
            "the hour '%s'; look at the clocks of their nodes.", report.skewed, SKEWED,
        )  # fmt: skip
    if report.unread and not report.objects:
        name, why = next(iter(report.unread.items()))
        raise BackendError(f"none of {len(report.unread)} new objects can be read: {name}: {why}")


def pending(
    lake: Lake, landing: str, window: Window, since: dt.datetime | None = None
) -> list[Candidate]:
    """Objects that are not ingested; from the day of `since` on."""
    store = open_store(landing)
    known = {row["object"]: row for row in ledger(lake).to_dicts()}
    objects = listed(store) if since is None else _landed_since(store, since, window.now)
    return candidates(objects, known, window, None)[1]


def pending_hours(
    lake: Lake, landing: str, window: Window, since: dt.datetime | None = None
) -> set[str]:
    """Landing hours that hold objects which are not ingested; from the day of `since` on."""
    return {candidate.hour for candidate in pending(lake, landing, window, since)}


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


def imported(lake: Lake) -> Imports:
    """What was imported before, from the ledger."""
    rows = lake.scan(LEDGER).filter(pl.col("node") == IMPORT_NODE)
    prefixes: dict[int, set[str]] = {}
    parts: dict[int, set[str]] = {}
    names = ("object", "first_seq", "last_seq", "sha256")
    for name, start, end, sha256 in rows.select(names).collect().iter_rows():
        prefixes.setdefault(end, set()).add(sha256)
        parts.setdefault(start, set()).add(name)
    return Imports(prefixes, parts)
