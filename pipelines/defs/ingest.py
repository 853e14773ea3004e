"""Telemetry: from the landing zone to `events`, exactly once."""

from typing import Any

import dagster as dg
from pydantic import Field

from lake.schemas import EVENTS, LEDGER, QUARANTINE
from lake.store import Lake
from pipelines import ingest, settings
from pipelines.defs.partitions import LANDING_HOURS, hour_of
from pipelines.defs.specs import spec
from storage import clock

GROUP = "telemetry"
CLOCKS = "clocks_agree"
ALL_READ = "all_read"
FEW_REFUSED = "few_lines_refused"
MAX_REFUSED = 0.01


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
        spec(
            EVENTS, GROUP,
            "Every access that an agent recorded on a node: who read, wrote or listed which file, "
            "when, and how many bytes. Partitions are the UTC hours in which the events landed; an "
            "hour that is missing was quiet, or nobody has ingested it yet.",
            ["landing"],
        ),
        spec(
            QUARANTINE, GROUP,
            "Lines that could not be accepted, with the reason and the place where they stood. "
            "They never stop or slow the others.",
        ),
        spec(
            LEDGER, GROUP,
            "What was ingested: the only memory of it, which makes a second ingest of the same "
            "object change nothing.",
        ),
    ],
    check_specs=[
        dg.AssetCheckSpec(
            FEW_REFUSED, asset=QUARANTINE.name,
            description=f"At most {MAX_REFUSED:.0%} of the lines of a run are refused.",
        ),
        dg.AssetCheckSpec(
            CLOCKS, asset=LEDGER.name,
            description="No object is named for an hour past retention or ahead of the clock.",
        ),
        dg.AssetCheckSpec(
            ALL_READ, asset=LEDGER.name,
            description="Every object that was to be ingested could be read.",
        ),
    ],
)  # fmt: skip
def ingest_hours(context: dg.AssetExecutionContext, config: IngestConfig):  # noqa: ANN201
    """Ingest the landing hours of the run's partitions."""
    found = settings.config()
    lake = Lake(found.lake.root)
    window = ingest.Window(clock.now(), found.lake.retention)
    named = config.hours or [hour_of(key) for key in context.partition_keys]
    hours = [*named, ingest.SKEWED]
    work = ingest.reingest if config.replace else ingest.ingest
    report = work(lake, found.telemetry.landing, window, hours)
    metadata: dict[str, Any] = {
        "objects": report.objects,
        "duplicates": report.duplicates,
        "bytes_read": report.bytes_read,
        "new_rows": report.events,
        "quarantined": report.quarantined,
        "hours": len(report.hours),
        "skewed": report.skewed,
        "unread": len(report.unread),
    }
    if report.lag_seconds is not None:
        metadata["ingest_lag_seconds"] = report.lag_seconds
    rows = {EVENTS.name: report.events, QUARANTINE.name: report.quarantined,
            LEDGER.name: report.objects}  # fmt: skip
    for table in (EVENTS, QUARANTINE, LEDGER):
        yield dg.MaterializeResult(
            asset_key=table.name,
            metadata={**metadata, "dagster/partition_row_count": rows[table.name]},
        )
    lines = report.events + report.quarantined
    share = report.quarantined / lines if lines else 0.0
    yield dg.AssetCheckResult(
        asset_key=QUARANTINE.name, check_name=FEW_REFUSED, passed=share <= MAX_REFUSED,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"refused_share": share, "refused": report.quarantined, "lines": lines},
    )  # fmt: skip
    yield dg.AssetCheckResult(
        asset_key=LEDGER.name, check_name=CLOCKS, passed=not report.skewed,
        severity=dg.AssetCheckSeverity.WARN, metadata={"objects": report.skewed},
    )  # fmt: skip
    yield dg.AssetCheckResult(
        asset_key=LEDGER.name, check_name=ALL_READ, passed=not report.unread,
        severity=dg.AssetCheckSeverity.WARN, metadata={"why": report.unread},
    )  # fmt: skip
