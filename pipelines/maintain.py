"""Keep the lake small and quick to open: retention, folding, compaction, checkpoints, vacuum."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import obstore
import polars as pl

from lake import published, state
from lake.lease import held
from lake.runner import runner_of
from lake.schemas import EVENTS, QUARANTINE, TABLES
from lake.store import Lake
from pipelines.candidates import Window
from pipelines.fold import fold, landing_day
from pipelines.reingest import seal
from storage.config import Config
from storage.landing import parse_name
from storage.objectstore import listed, open_store

KEEP_HOURS = 7 * 24
LEASE_WAIT_SECONDS = 600.0


@dataclass
class MaintenanceReport:
    """What maintenance did."""

    expired_days: list[str] = field(default_factory=list)
    expired_objects: int = 0
    sealed_hours: list[str] = field(default_factory=list)
    days_folded: dict[str, int] = field(default_factory=dict)
    files_compacted: dict[str, int] = field(default_factory=dict)
    checkpoints: list[str] = field(default_factory=list)
    files_vacuumed: dict[str, int] = field(default_factory=dict)


def maintain(config: Config, now: dt.datetime) -> MaintenanceReport:
    """Everything that keeps the lake small, in the order in which one helps the next."""
    report = MaintenanceReport()
    report.expired_days, report.expired_objects = expire(config, now)
    report.sealed_hours = seal_hours(config, now)
    report.days_folded = fold_states(config, now)
    report.files_compacted = compact(config)
    report.checkpoints = checkpoint(config)
    report.files_vacuumed = vacuum(config)
    return report


def expire(config: Config, now: dt.datetime) -> tuple[list[str], int]:
    """Let go of raw events past retention; the landing days, and how many landed objects.

    Aggregates and the ledger stay, so nothing that was let go is ever ingested again.
    """
    lake = Lake(config.lake.root)
    first_kept = f"{now - config.lake.retention:%Y-%m-%d}"
    with _quiet(lake):
        days = _expire(lake, first_kept)
        return days, _expire_objects(config.telemetry.landing, first_kept)


def seal_hours(config: Config, now: dt.datetime) -> list[str]:
    """Sort and bring together the landing hours that are over and have moved since; which."""
    lake = Lake(config.lake.root)
    with held(lake.root, "ingest", LEASE_WAIT_SECONDS):
        return seal(lake, Window(now, config.lake.retention))


def fold_states(config: Config, now: dt.datetime) -> dict[str, int]:
    """Fold the sealed days of the bucketed tables into their base; how many days, by table."""
    lake = Lake(config.lake.root)
    with held(lake.root, "refresh", LEASE_WAIT_SECONDS):
        return state.fold_base(lake, now, runner_of(config.runner), at_once=True)


def compact(config: Config) -> dict[str, int]:
    """Bring small files together; how many files fewer, by table.

    Tables whose files are laid out for their readers stay as they are.
    """
    lake = Lake(config.lake.root)
    with _quiet(lake):
        return {table.name: lake.compact(table) for table in TABLES.values()}


def checkpoint(config: Config) -> list[str]:
    """Write the state of every table's log, so that opening it reads one file; which tables."""
    lake = Lake(config.lake.root)
    return [table.name for table in TABLES.values() if lake.checkpoint(table)]


def vacuum(config: Config) -> dict[str, int]:
    """Delete files that nobody needs any more; how many, by table.

    Those that the published results or readers of the last seven days may need stay, and so do
    younger ones that belong to no version: a worker may have written them for the next.
    """
    lake = Lake(config.lake.root)
    pinned = published.current(lake.root).versions
    return {
        table.name: lake.vacuum(
            table, KEEP_HOURS, [pinned[table.name]] if table.name in pinned else []
        )
        for table in TABLES.values()
    }


@contextmanager
def _quiet(lake: Lake) -> Iterator[None]:
    """While nobody ingests or refreshes: what is replaced here is not replaced there."""
    with (
        held(lake.root, "refresh", LEASE_WAIT_SECONDS),
        held(lake.root, "ingest", LEASE_WAIT_SECONDS),
    ):
        yield


def _expire(lake: Lake, first_kept: str) -> list[str]:
    """Remove whole landing days before `first_kept`, once they are folded; which ones."""
    days = (
        lake.scan(EVENTS).select(day=landing_day()).unique()
        .filter(pl.col("day") < first_kept).sort("day").collect()["day"]
    ).to_list()  # fmt: skip
    if days:
        fold(lake)
    for day in days:
        hours = [f"{day}T{hour:02d}" for hour in range(24)]
        for table in (EVENTS, QUARANTINE):
            lake.delete(table, {"hour": hours})
    return days


def _expire_objects(landing: str, first_kept: str) -> int:
    """Remove the landed objects of days before `first_kept`; how many."""
    store = open_store(landing)
    old = [
        info.name
        for info in listed(store)
        if (landed := parse_name(info.name)) and landed.hour and landed.hour[:10] < first_kept
    ]
    if old:
        obstore.delete(store, old)
    return len(old)
