"""Keep the lake small: retention of raw events, compaction, vacuum."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field

import obstore
import polars as pl

from lake import published
from lake.lease import held
from lake.schemas import EVENTS, QUARANTINE, TABLES
from lake.store import Lake
from pipelines.fold import fold, landing_day
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
    files_compacted: dict[str, int] = field(default_factory=dict)
    files_vacuumed: dict[str, int] = field(default_factory=dict)


def maintain(config: Config, now: dt.datetime) -> MaintenanceReport:
    """Let go of raw events past retention, then compact and vacuum every table.

    Aggregates and the ledger stay, so nothing that was let go is ever ingested again. Files that
    the published results or readers of the last seven days may need stay too.
    """
    lake = Lake(config.lake.root)
    report = MaintenanceReport()
    with held(lake.root, "ingest", LEASE_WAIT_SECONDS):
        first_kept = f"{now - config.lake.retention:%Y-%m-%d}"
        report.expired_days = _expire(lake, first_kept)
        report.expired_objects = _expire_objects(config.telemetry.landing, first_kept)
        pinned = published.current(lake.root).versions
        for table in TABLES.values():
            report.files_compacted[table.name] = lake.compact(table)
            keep = [pinned[table.name]] if table.name in pinned else []
            report.files_vacuumed[table.name] = lake.vacuum(table, KEEP_HOURS, keep)
    return report


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
