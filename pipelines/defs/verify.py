"""The self-audit: indexes against their stores."""

import dagster as dg

from lake.publish import publish_audit
from lake.schemas import FILES, VERIFICATIONS
from lake.store import Lake
from pipelines import settings, verify
from pipelines.crawl import list_backend
from pipelines.defs.columns import column_schema
from pipelines.defs.partitions import BACKENDS
from storage import clock

GROUP = "inventory"
EXPECTED = 0.99


class VerifyConfig(dg.Config):
    """How to audit."""

    sample: int = verify.SAMPLE
    """Rows of the index, and as many live objects."""
    seed: int = 0
    """What draws the sample; 0 = the time."""


@dg.multi_asset(
    name="verify",
    group_name=GROUP,
    partitions_def=BACKENDS,
    specs=[
        dg.AssetSpec(
            VERIFICATIONS.name,
            group_name=GROUP,
            kinds={"deltalake", "polars"},
            description="Each audit of an index against its store, with its 95 % interval.",
            deps=[dg.AssetDep(FILES.name)],
            metadata=column_schema(VERIFICATIONS),
        )
    ],
    check_specs=[
        dg.AssetCheckSpec(
            "index_agrees", asset=VERIFICATIONS.name,
            description="The sample does not rule out that 99 % of index and store agree.",
        )
    ],
)  # fmt: skip
def verify_backend(context: dg.AssetExecutionContext, config: VerifyConfig):  # noqa: ANN201
    """Audit the run's backend, and show the result with its numbers."""
    found = settings.config()
    lake, now = Lake(found.lake.root), clock.now()
    asked = verify.Asked(config.sample, config.seed or int(now.timestamp()), now)
    backend = found.backend(context.partition_key)
    row = verify.verify(lake, backend, asked, lambda b, at: list_backend(b, at).batches)
    publish_audit(lake, now)
    shown = {k: v for k, v in row.items() if k != "verified_at" and v is not None}
    metadata = {f"verify/{name}": value for name, value in shown.items()}
    yield dg.MaterializeResult(asset_key=VERIFICATIONS.name, metadata=metadata)
    yield dg.AssetCheckResult(
        asset_key=VERIFICATIONS.name, check_name="index_agrees",
        passed=row["agreement_high"] >= EXPECTED, severity=dg.AssetCheckSeverity.WARN,
        metadata=metadata,
    )  # fmt: skip
