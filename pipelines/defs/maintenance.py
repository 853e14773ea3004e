"""Housekeeping: retention, compaction and vacuum of all tables."""

import dagster as dg

from lake.schemas import EVENTS, FILES, USAGE
from pipelines import maintain, settings
from pipelines.defs.specs import OWNERS
from storage import clock

GROUP = "housekeeping"


@dg.asset(
    group_name=GROUP,
    kinds={"deltalake"},
    owners=list(OWNERS),
    tags={"layer": GROUP},
    deps=[EVENTS.name, FILES.name, USAGE.name],
    description="Housekeeping, once a day: raw events past their retention are let go, small files "
    "of the tables are brought together, files that no reader needs any more are deleted.",
)
def maintenance() -> dg.MaterializeResult:
    """Look after every table of the lake."""
    report = maintain.maintain(settings.config(), clock.now())
    return dg.MaterializeResult(
        metadata={
            "expired_days": len(report.expired_days),
            "expired_objects": report.expired_objects,
            "files_compacted": sum(report.files_compacted.values()),
            "files_vacuumed": sum(report.files_vacuumed.values()),
        }
    )
