"""Housekeeping: each step is an asset, in the order in which one helps the next."""

import dagster as dg

from lake.schemas import EVENTS, FILES, USAGE
from pipelines import maintain, settings
from pipelines.defs.specs import OWNERS
from storage import clock

GROUP = "housekeeping"
STEPS = ("retention", "fold", "compaction", "checkpoints", "vacuum")


@dg.asset(
    group_name=GROUP,
    owners=list(OWNERS),
    tags={"layer": GROUP},
    kinds={"deltalake"},
    deps=[EVENTS.name, FILES.name, USAGE.name],
    description="Raw events and landed objects past their retention are let go, by whole landing "
    "days; what was made of them stays. Landing hours that are over are sealed: sorted, in few "
    "files.",
)
def retention() -> dg.MaterializeResult:
    """Let go of whole landing days, counted in landing hours."""
    days, objects = maintain.expire(settings.config(), clock.now())
    sealed = maintain.seal_hours(settings.config(), clock.now())
    return dg.MaterializeResult(
        metadata={
            "expired_days": len(days),
            "expired_objects": objects,
            "days": days,
            "sealed_hours": len(sealed),
        }
    )


@dg.asset(
    group_name=GROUP,
    owners=list(OWNERS),
    tags={"layer": GROUP},
    kinds={"deltalake", "polars"},
    deps=[retention],
    description="Landing days that ended 48 hours ago become part of the buckets of file_state and "
    "file_user, so that a refresh reads few files.",
)
def fold() -> dg.MaterializeResult:
    """Fold bucket by bucket, by the runner of the config."""
    found = maintain.fold_states(settings.config(), clock.now())
    return dg.MaterializeResult(metadata={f"days/{name}": days for name, days in found.items()})


@dg.asset(
    group_name=GROUP,
    owners=list(OWNERS),
    tags={"layer": GROUP},
    kinds={"deltalake"},
    deps=[fold],
    description="Small files of the tables are brought together, so that readers open few of them.",
)
def compaction() -> dg.MaterializeResult:
    """Compact every table that is not laid out for its readers."""
    found = maintain.compact(settings.config())
    return dg.MaterializeResult(metadata=_counted("files_compacted", found))


@dg.asset(
    group_name=GROUP,
    owners=list(OWNERS),
    tags={"layer": GROUP},
    kinds={"deltalake"},
    deps=[compaction],
    description="The log of every table is written as one file, so that a table opens at once.",
)
def checkpoints() -> dg.MaterializeResult:
    """Checkpoint every table."""
    found = maintain.checkpoint(settings.config())
    return dg.MaterializeResult(metadata={"tables": len(found)})


@dg.asset(
    group_name=GROUP,
    owners=list(OWNERS),
    tags={"layer": GROUP},
    kinds={"deltalake"},
    deps=[checkpoints],
    description="Files that no reader of the last seven days or of the published results needs are "
    "deleted, those of killed workers too.",
)
def vacuum() -> dg.MaterializeResult:
    """Vacuum every table; published versions stay."""
    found = maintain.vacuum(settings.config())
    return dg.MaterializeResult(metadata=_counted("files_vacuumed", found))


def _counted(name: str, found: dict[str, int]) -> dict[str, int]:
    return {name: sum(found.values())} | {f"{name}/{t}": n for t, n in found.items() if n}
