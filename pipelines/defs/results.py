"""State and reports: from `files` and `events` to what readers show, all in one refresh."""

import dagster as dg

from lake.publish import publish_explored
from lake.schemas import (
    ACCESS_DAILY,
    ACTIVITY,
    AGENTS,
    BACKENDS,
    EVENTS,
    FILE_CHANGES,
    FILE_READER,
    FILE_STATE,
    FILE_USER,
    FILES,
    GROWTH,
    LEDGER,
    LISTINGS,
    OWNERSHIP_RULES,
    QUOTA_EVENTS,
    QUOTA_STATUS,
    QUOTAS,
    STALE_INDEX,
    STALE_ROLLUP,
    TEAMS,
    USAGE,
    USER_DAILY,
    USER_FILES,
    USER_JOBS,
)  # fmt: skip
from lake.store import Lake
from pipelines import refresh, settings
from pipelines.defs.specs import Origins, lineage, spec
from storage import clock
from storage.units import format_instant, parse_instant

GROUP, STATE = "reports", "state"


class RefreshConfig(dg.Config):
    """How to refresh."""

    as_of: str = ""
    """The instant the results describe; empty = now."""
    rebuild: bool = False
    """Fold every day again from the events that are kept."""


_STATE = (
    (ACCESS_DAILY, ("How often and how much each user read and wrote each file, per UTC day. Kept "
     "when the raw events are let go."), (EVENTS, LEDGER)),
    (AGENTS, ("What each node's agent told of itself per hour: alive, what it mounts, what it lost."
     " Telemetry coverage comes from it."), (EVENTS, LEDGER)),
    (FILE_STATE, ("When each file was last touched and who wrote it first, in buckets of file ids, "
     "so that no refresh reads old events again."), (ACCESS_DAILY,)),
    (FILE_USER, ("Who touched which file, and how much they read in the last 90 days: what decides "
     "the dominant reader."), (ACCESS_DAILY,)),
    (ACTIVITY, "What each user read and wrote per backend and top folder, of all time.",
     (ACCESS_DAILY,)),
    (USER_DAILY, ("What each user read and wrote per day and backend: a year of a person's days on "
     "one page."), (ACCESS_DAILY,)),
    (USER_FILES, ("The files that each user touched last, 500 of each landing day: what a person's "
     "page shows."), (ACCESS_DAILY,)),
    (USER_JOBS, ("What each Slurm job and Kubernetes pod read and wrote per user and day, and on "
     "how many nodes."), (EVENTS, LEDGER)),
    (FILE_READER, ("Files that belong to who reads them most, since when. It changes only where "
     "another has read twice as much."), (FILE_USER, FILES)),
)  # fmt: skip
# Only what a refresh needs is a dependency: the UI warns of others that were never made.
_REPORTS = (
    (STALE_INDEX, ("Every living file with its owner, how the owner is known, and when it was last "
     "touched by anybody, largest first."),
     (FILES, FILE_STATE, FILE_READER, TEAMS, OWNERSHIP_RULES)),
    (STALE_ROLLUP, ("Files and bytes by how long they were not touched and how large they are: "
     "totals of any usual window without a look at the files."), (STALE_INDEX,)),
    (USAGE, ("What each user, team, backend and prefix stores and does. The teams and unassigned "
     "add up to all files exactly."), (STALE_INDEX, FILE_USER, ACTIVITY)),
    (GROWTH, "Files and bytes at the end of each day with a listing, and what came and went.",
     (LISTINGS, FILE_CHANGES, FILE_STATE, TEAMS)),
    (QUOTA_STATUS, "Each quota with what its team owns, and whether a limit is crossed.",
     (USAGE, QUOTAS)),
    (QUOTA_EVENTS, "Each time a team went over a limit or came back below it, and when.",
     (QUOTA_STATUS,)),
    (BACKENDS, "Each backend: its size, the state of its crawl, how complete its telemetry is.",
     (FILES, LISTINGS, AGENTS)),
)  # fmt: skip
_SPECS = tuple(
    (table, spec(table, layer, doc, deps))
    for layer, tables in ((STATE, _STATE), (GROUP, _REPORTS))
    for table, doc, deps in tables
)
TABLES = tuple(table for table, _ in _SPECS)
_ORIGINS: dict[str, Origins] = {
    STALE_INDEX.name: {
        **{n: [(FILES, n)] for n in ("backend", "path", "file_id", "size_bytes")},
        "last_modified_at": [(FILES, "modified_at")],
        "last_access_at": [(ACCESS_DAILY, "last_access_at"), (FILES, "native_access_at"),
                           (FILES, "modified_at"), (FILES, "first_seen_at")],
        "owner": [(FILES, "owner"), (ACCESS_DAILY, "first_write_at"), (ACCESS_DAILY, "bytes_read")],
    },
    USAGE.name: {
        "backend": [(STALE_INDEX, "backend")], "bytes": [(STALE_INDEX, "size_bytes")],
        "files": [(STALE_INDEX, "file_id")], "last_access_at": [(STALE_INDEX, "last_access_at")],
        **{n: [(ACCESS_DAILY, n)] for n in ("read_count", "write_count", "bytes_read",
                                            "bytes_written")},
    },
    GROWTH.name: {
        "files": [(LISTINGS, "files"), (FILE_CHANGES, "change")],
        "bytes": [(LISTINGS, "bytes"), (FILE_CHANGES, "size_bytes")],
        "added_bytes": [(LISTINGS, "added_bytes"), (FILE_CHANGES, "size_bytes")],
        "removed_bytes": [(LISTINGS, "removed_bytes"), (FILE_CHANGES, "previous_bytes")],
    },
    QUOTA_STATUS.name: {"usage_bytes": [(USAGE, "bytes")]},
    BACKENDS.name: {
        "files": [(FILES, "file_id")], "bytes": [(FILES, "size_bytes")],
        "state": [(LISTINGS, "state")], "crawled_at": [(LISTINGS, "snapshot_at")],
    },
}  # fmt: skip
AGREE, COVERED = "sums_agree", "telemetry_covers"
MIN_COVERAGE = 0.9


@dg.multi_asset(
    name="refresh",
    specs=[made for _, made in _SPECS],
    check_specs=[
        dg.AssetCheckSpec(
            AGREE, asset=USAGE.name,
            description="Bytes of all teams and unassigned = all files = last point of growth.",
        ),
        dg.AssetCheckSpec(
            COVERED, asset=BACKENDS.name,
            description=f"At least {MIN_COVERAGE:.0%} of the node-hours of 90 days have unbroken "
            "telemetry, for each backend that agents mount.",
        ),
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
    if report.superseded:
        raise dg.Failure(
            f"A refresh that started later has published generation {report.generation}: "
            "nothing of this one is published.",
            allow_retries=False,
        )
    publish_explored(Lake(settings.config().lake.root), clock.now())
    common = {"as_of": format_instant(report.as_of), "generation": report.generation}
    if report.ingest_lag_seconds is not None:
        common["ingest_lag_seconds"] = report.ingest_lag_seconds
    lake = Lake(settings.config().lake.root)
    for table in TABLES:
        # The log's own numbers: no row is read for them.
        parts = lake.parts(table)
        size = {"bytes": report.bytes[table.name]} if table.name in report.bytes else {}
        yield dg.MaterializeResult(
            asset_key=table.name,
            metadata={
                **common,
                **size,
                "dagster/row_count": sum(part.rows for part in parts),
                "table_files": len(parts),
                "table_bytes": sum(part.size_bytes for part in parts),
                **lineage(_ORIGINS.get(table.name, {})),
            },
        )
    yield dg.AssetCheckResult(
        asset_key=USAGE.name, check_name=AGREE,
        passed=report.sums_agree,
        metadata={f"bytes/{name}": value for name, value in report.bytes.items()},
    )  # fmt: skip
    yield _covered()


def _covered() -> dg.AssetCheckResult:
    """Whether telemetry is complete enough; backends without agents do not count."""
    rows = Lake(settings.config().lake.root).scan(BACKENDS).select("name", "coverage").collect()
    known = {name: share for name, share in rows.iter_rows() if share is not None}
    return dg.AssetCheckResult(
        asset_key=BACKENDS.name, check_name=COVERED,
        passed=all(share >= MIN_COVERAGE for share in known.values()),
        severity=dg.AssetCheckSeverity.WARN,
        metadata={f"coverage/{name}": share for name, share in known.items()},
    )  # fmt: skip
