"""Inventory: from the backends to `files`."""

import dataclasses

import dagster as dg

from lake.schemas import FILE_CHANGES, FILES, LISTINGS
from lake.store import Lake
from pipelines import crawl, settings
from pipelines.defs.partitions import BACKENDS
from pipelines.defs.specs import spec
from storage import clock
from storage.units import parse_instant

GROUP = "inventory"


class CrawlConfig(dg.Config):
    """How to crawl."""

    as_of: str = ""
    """Take no report later than this instant."""
    allow_removal: bool = False
    """Let a mass removal through that would be held."""


@dg.multi_asset(
    name="crawl",
    group_name=GROUP,
    partitions_def=BACKENDS,
    specs=[
        spec(
            FILES, GROUP,
            "What is stored now: every file or object of each backend, as its latest listing or "
            "inventory report told. Partitions are the backends.",
        ),
        spec(
            FILE_CHANGES, GROUP,
            "What each listing added, removed or changed: the history from which any past day of "
            "the index can be told.",
        ),
        spec(
            LISTINGS, GROUP,
            "Every crawl with its result, those that failed included. A crawl that failed or was "
            "cut short removes nothing.",
        ),
    ],
    check_specs=[
        dg.AssetCheckSpec("listed", asset=FILES.name, description="The backend could be listed."),
        dg.AssetCheckSpec(
            "removals_not_held", asset=FILES.name,
            description="No mass removal waits for a second listing or --allow-removal.",
        ),
        dg.AssetCheckSpec(
            "report_agrees", asset=FILES.name,
            description="A sample of the newest inventory report does not rule out that 95 % of "
            "it is in the live store.",
        ),
    ],
)  # fmt: skip
def crawl_backend(context: dg.AssetExecutionContext, config: CrawlConfig):  # noqa: ANN201
    """List the run's backend, or take its new inventory reports, oldest first."""
    found = settings.config()
    options = crawl.CrawlOptions(
        clock.now(), parse_instant(config.as_of) if config.as_of else None, config.allow_removal
    )
    backend = found.backend(context.partition_key)
    result = crawl.crawl(Lake(found.lake.root), backend, options)
    metadata = {
        "dagster/partition_row_count": result.files,
        "bytes": result.bytes,
        **{f"crawl/{k}": v for k, v in dataclasses.asdict(result).items()},
    }
    yield dg.MaterializeResult(asset_key=FILES.name, metadata=metadata)
    moved = {"added": result.added, "removed": result.removed}
    yield dg.MaterializeResult(asset_key=FILE_CHANGES.name, metadata=moved)
    taken = {"listings": result.listings, "state": result.state}
    yield dg.MaterializeResult(asset_key=LISTINGS.name, metadata=taken)
    yield dg.AssetCheckResult(
        asset_key=FILES.name, check_name="listed", passed=result.state != "failed",
        metadata={"error": result.error},
    )  # fmt: skip
    yield dg.AssetCheckResult(
        asset_key=FILES.name, check_name="removals_not_held", passed=result.state != "held",
        severity=dg.AssetCheckSeverity.WARN, metadata={"why": result.error},
    )  # fmt: skip
    yield dg.AssetCheckResult(
        asset_key=FILES.name, check_name="report_agrees", passed=not result.disagrees,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"why": result.disagrees, "checked": result.checked, "agree": result.agree},
    )  # fmt: skip
