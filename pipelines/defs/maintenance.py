"""Housekeeping: retention, compaction and vacuum of all tables."""

import dagster as dg

from pipelines import maintain, settings
from storage import clock

GROUP = "housekeeping"


@dg.asset(
    group_name=GROUP,
    kinds={"deltalake"},
    description="Raw events past retention are let go; tables are compacted and vacuumed.",
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
