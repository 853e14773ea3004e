"""Reports: from `files` and `events` to what readers show."""

import dagster as dg

from lake.schemas import (
    ACCESS_DAILY,
    BACKENDS,
    EVENTS,
    FILE_CHANGES,
    FILES,
    GROWTH,
    LISTINGS,
    QUOTA_STATUS,
    STALE_INDEX,
    USAGE,
)
from pipelines import refresh, settings
from pipelines.defs.columns import column_schema
from storage import clock
from storage.units import format_instant, parse_instant

GROUP = "reports"


class RefreshConfig(dg.Config):
    """How to refresh."""

    as_of: str = ""
    """The instant the results describe; empty = now."""
    rebuild: bool = False
    """Fold every day again from the events that are kept."""


_SPECS = (
    (ACCESS_DAILY, "Accesses per file, user and UTC day.", (EVENTS,)),
    (STALE_INDEX, "Every living file with its owner and last access, largest first.",
     (FILES, ACCESS_DAILY)),
    (USAGE, "What each user, team, backend and prefix stores and does.", (STALE_INDEX,)),
    (GROWTH, "Files and bytes at the end of each day with a listing.",
     (LISTINGS, FILE_CHANGES, ACCESS_DAILY)),
    (QUOTA_STATUS, "Each quota with what its team owns.", (USAGE,)),
    (BACKENDS, "Each backend: size, state of its crawl, telemetry coverage.",
     (FILES, LISTINGS, ACCESS_DAILY)),
)  # fmt: skip
AGREE = "sums_agree"


@dg.multi_asset(
    name="refresh",
    group_name=GROUP,
    specs=[
        dg.AssetSpec(
            table.name,
            group_name=GROUP,
            kinds={"deltalake", "polars"},
            description=doc,
            deps=[dg.AssetDep(dep.name) for dep in deps],
            metadata=column_schema(table),
        )
        for table, doc, deps in _SPECS
    ],
    check_specs=[
        dg.AssetCheckSpec(
            AGREE, asset=USAGE.name,
            description="Bytes of all teams and unassigned = all files = last point of growth.",
        )
    ],
)  # fmt: skip
def refresh_results(config: RefreshConfig):  # noqa: ANN201
    """Fold, compute, write and publish all results of one as-of."""
    report = refresh.refresh(
        settings.config(),
        now=clock.now(),
        as_of=parse_instant(config.as_of) if config.as_of else None,
        rebuild=config.rebuild,
    )
    common = {"as_of": format_instant(report.as_of), "generation": report.generation}
    if report.ingest_lag_seconds is not None:
        common["ingest_lag_seconds"] = report.ingest_lag_seconds
    rows = report.rows | {ACCESS_DAILY.name: sum(report.folded.values())}
    for table, _, _ in _SPECS:
        size = {"bytes": report.bytes[table.name]} if table.name in report.bytes else {}
        yield dg.MaterializeResult(
            asset_key=table.name,
            metadata={**common, **size, "dagster/row_count": rows[table.name]},
        )
    yield dg.AssetCheckResult(
        asset_key=USAGE.name, check_name=AGREE,
        passed=report.sums_agree,
        metadata={f"bytes/{name}": value for name, value in report.bytes.items()},
    )  # fmt: skip
