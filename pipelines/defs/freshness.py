"""Is every backend listed as often as the config says? One check per backend, every hour."""

import datetime as dt
import re
from collections.abc import Iterator

import dagster as dg
import polars as pl

from lake.schemas import FILES, LISTINGS
from lake.store import Lake
from lake.world import COUNTED
from pipelines import settings
from storage import clock
from storage.config import Backend, Config
from storage.errors import WarpdriveError

LATE_FACTOR = 1.5
"""A listing may be so many crawl intervals old: one run may be late, none may be missing."""


def check_name(backend: str) -> str:
    """`training-data` → `fresh_training_data`: names of checks have letters, digits and _ only."""
    return "fresh_" + re.sub(r"\W", "_", backend, flags=re.ASCII)


def _backends() -> tuple[Backend, ...]:
    """The backends of the config, read when the definitions are loaded; none without a config."""
    try:
        return settings.config().backends
    except WarpdriveError:
        return ()


_NAMES = {check_name(backend.name): backend.name for backend in _backends()}


def evaluate(config: Config, backend: str, now: dt.datetime) -> dg.AssetCheckResult:
    """Whether the last listing of a backend that counts is young enough."""
    rows = Lake(config.lake.root).scan(LISTINGS).filter(
        pl.col("backend") == backend, pl.col("state").is_in(COUNTED)
    )  # fmt: skip
    last = rows.select(pl.col("snapshot_at").max()).collect().item()
    allowed = config.server.crawl_interval * LATE_FACTOR
    told = {"allowed_hours": allowed / dt.timedelta(hours=1)}
    if last is not None:
        told["age_hours"] = round((now - last) / dt.timedelta(hours=1), 2)
    return dg.AssetCheckResult(
        asset_key=FILES.name,
        check_name=check_name(backend),
        passed=last is not None and now - last <= allowed,
        severity=dg.AssetCheckSeverity.WARN,
        description="never listed" if last is None else f"last listed at {last:%Y-%m-%d %H:%M} UTC",
        metadata=told,
    )


def _checks() -> dg.AssetChecksDefinition | None:
    if not _NAMES:
        return None
    specs = [
        dg.AssetCheckSpec(
            name, asset=FILES.name,
            description=f"The last complete listing of backend {backend} is younger than "
            f"{LATE_FACTOR} times server.crawl_interval: no daily crawl is missing.",
        )
        for name, backend in _NAMES.items()
    ]  # fmt: skip

    @dg.multi_asset_check(name="backend_freshness", specs=specs, can_subset=True)
    def check(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        config, now = settings.config(), clock.now()
        for key in sorted(context.selected_asset_check_keys):
            yield evaluate(config, _NAMES[key.name], now)

    return check


backend_freshness = _checks()
if backend_freshness is not None:
    FRESHNESS_JOB = dg.define_asset_job(
        "check_freshness",
        selection=dg.AssetSelection.checks(backend_freshness),
        description="Is every backend listed as often as the config says?",
    )
    check_freshness_hourly = dg.ScheduleDefinition(
        name="check_freshness_hourly",
        job=FRESHNESS_JOB,
        cron_schedule="45 * * * *",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Every hour: one check per backend.",
    )
