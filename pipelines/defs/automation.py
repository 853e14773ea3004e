"""What runs by itself: landed objects are ingested and shown, backends are crawled."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Sequence

import dagster as dg
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
)

from lake.store import Lake
from pipelines import ingest, settings
from pipelines.defs.maintenance import STEPS
from pipelines.defs.partitions import BACKENDS, partition_of
from pipelines.defs.results import TABLES
from storage import clock

LOOK_BACK = dt.timedelta(hours=48)
ASKED_AGAIN = dt.timedelta(minutes=10)
INGEST_JOB = dg.define_asset_job(
    "ingest_landed", selection=["events", "quarantine", "ledger"],
    description="Ingest landing hours.",
)  # fmt: skip
CRAWL_JOB = dg.define_asset_job(
    "crawl_backends", selection=["files", "file_changes", "listings"],
    description="List one backend.",
)  # fmt: skip
REFRESH_JOB = dg.define_asset_job(
    "refresh_reports",
    selection=[table.name for table in TABLES],
    description="Compute and publish all reports.",
)

VERIFY_JOB = dg.define_asset_job(
    "verify_backends", selection=["verifications"],
    description="Check random rows of an index against its store, and the other way round.",
)  # fmt: skip
MAINTENANCE_JOB = dg.define_asset_job(
    "maintain_lake", selection=list(STEPS),
    description="Retention, folding, compaction, checkpoints and vacuum, one after the other.",
)  # fmt: skip

RETRIED = {"dagster/max_retries": "2", "dagster/retry_strategy": "ALL_STEPS"}
"""For runs that start by themselves: one that fails is tried twice more by the daemon."""


def tags(work: str, backend: str = "") -> dict[str, str]:
    """Tags of such a run; `dagster.yaml` bounds how many of a kind, and per backend, run."""
    return {**RETRIED, "warpdrive/work": work} | ({"warpdrive/backend": backend} if backend else {})


def run_key(objects: Sequence[ingest.Candidate], now: dt.datetime) -> str:
    """One run for the same objects in ASKED_AGAIN, so that a slow one is not asked for twice.

    What is still pending after that, because its run failed or could not read it, is asked again.
    """
    names = sorted(f"{one.info.name}\0{one.info.etag}" for one in objects)
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]
    return f"ingest-{digest}-{now.timestamp() // ASKED_AGAIN.total_seconds():.0f}"


@dg.sensor(
    job=INGEST_JOB,
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Objects landed in the last 48 h that are not ingested: one run for all of them.",
)
def landed_objects(_context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """One run over the hours that hold something new; the ledger decides what is new."""
    found = settings.config()
    window = ingest.Window(clock.now(), found.lake.retention)
    lake, landing = Lake(found.lake.root), found.telemetry.landing
    objects = ingest.pending(lake, landing, window, window.now - LOOK_BACK)
    if not objects:
        return dg.SkipReason("nothing new has landed")
    hours = sorted({one.hour for one in objects})
    request = dg.RunRequest(
        run_key=run_key(objects, window.now),
        run_config={"ops": {"ingest": {"config": {"replace": False, "hours": hours}}}},
        tags={
            **tags("ingest"),
            ASSET_PARTITION_RANGE_START_TAG: partition_of(hours[0]),
            ASSET_PARTITION_RANGE_END_TAG: partition_of(hours[-1]),
        },
    )
    return dg.SensorResult(run_requests=[request])


@dg.run_status_sensor(
    run_status=dg.DagsterRunStatus.SUCCESS,
    monitored_jobs=[INGEST_JOB, CRAWL_JOB],
    request_job=REFRESH_JOB,
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=30,
    description="Reports follow every ingest and crawl.",
)
def reports_follow(context: dg.RunStatusSensorContext) -> dg.RunRequest:
    """Refresh after every ingest and crawl."""
    return dg.RunRequest(run_key=f"refresh-{context.dagster_run.run_id}", tags=tags("refresh"))


@dg.schedule(
    job=MAINTENANCE_JOB,
    cron_schedule="0 4 * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Once a day: retention, folding, compaction, checkpoints, vacuum.",
)
def maintain_daily() -> dg.RunRequest:
    """One run for all tables."""
    return dg.RunRequest(tags=tags("maintenance"))


@dg.schedule(
    job=CRAWL_JOB,
    cron_schedule="0 2 * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Crawl every backend of the config once a day.",
)
def crawl_daily(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest]:
    """One run per backend, so that one that fails does not stop the others."""
    names = [backend.name for backend in settings.config().backends]
    context.instance.add_dynamic_partitions(str(BACKENDS.name), names)
    day = context.scheduled_execution_time.strftime("%Y-%m-%d")
    return [
        dg.RunRequest(run_key=f"{day}-{name}", partition_key=name, tags=tags("crawl", name))
        for name in names
    ]


@dg.schedule(
    job=VERIFY_JOB,
    cron_schedule="0 6 * * 0",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Audit every backend of the config once a week.",
)
def verify_weekly(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest]:
    """One run per backend."""
    names = [backend.name for backend in settings.config().backends]
    context.instance.add_dynamic_partitions(str(BACKENDS.name), names)
    day = context.scheduled_execution_time.strftime("%Y-%m-%d")
    return [
        dg.RunRequest(run_key=f"verify-{day}-{name}", partition_key=name, tags=tags("verify", name))
        for name in names
    ]
