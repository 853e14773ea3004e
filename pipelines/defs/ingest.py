"""Telemetry: from the landing zone to `events`, exactly once."""

import dagster as dg
from pydantic import Field

from lake.schemas import EVENTS, LEDGER, QUARANTINE
from lake.store import Lake
from pipelines import ingest, settings
from pipelines.defs.columns import column_schema
from pipelines.defs.partitions import LANDING_HOURS, hour_of
from storage import clock

GROUP = "telemetry"


class IngestConfig(dg.Config):
    """How to ingest."""

    replace: bool = True
    """Read the hours again and replace them, also where nothing is new (backfill)."""
    hours: list[str] = Field(default_factory=list)
    """Exactly these landing hours, of those between the run's partitions."""


@dg.multi_asset(
    name="ingest",
    group_name=GROUP,
    partitions_def=LANDING_HOURS,
    backfill_policy=dg.BackfillPolicy.single_run(),
    specs=[
        dg.AssetSpec(
            table.name,
            group_name=GROUP,
            kinds={"deltalake", "polars"},
            description=doc,
            metadata=column_schema(table),
        )
        for table, doc in (
            (EVENTS, "Every access the agents recorded, one row per event, by landing hour."),
            (QUARANTINE, "Lines that could not be accepted, with the reason and where they stood."),
            (LEDGER, "One row per landed object: the only memory of what was ingested."),
        )
    ],
)
def ingest_hours(context: dg.AssetExecutionContext, config: IngestConfig):  # noqa: ANN201
    """Ingest the landing hours of the run's partitions."""
    found = settings.config()
    lake = Lake(found.lake.root)
    window = ingest.Window(clock.now(), found.lake.retention)
    named = config.hours or [hour_of(key) for key in context.partition_keys]
    hours = [*named, ingest.SKEWED]
    work = ingest.reingest if config.replace else ingest.ingest
    report = work(lake, found.telemetry.landing, window, hours)
    metadata = {
        "objects": report.objects,
        "duplicates": report.duplicates,
        "bytes_read": report.bytes_read,
        "new_rows": report.events,
        "quarantined": report.quarantined,
        "hours": len(report.hours),
    }
    rows = {EVENTS.name: report.events, QUARANTINE.name: report.quarantined,
            LEDGER.name: report.objects}  # fmt: skip
    for table in (EVENTS, QUARANTINE, LEDGER):
        yield dg.MaterializeResult(
            asset_key=table.name,
            metadata={**metadata, "dagster/partition_row_count": rows[table.name]},
        )
