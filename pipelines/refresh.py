"""Tables to results: fold, compute, write, publish. One refresh at a time per lake."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

import polars as pl

from lake import control, publish, published, results, state, world
from lake.index import write_index
from lake.largest import IndexFile, largest_of
from lake.lease import held
from lake.parts import Part
from lake.runner import runner_of
from lake.schemas import FILE_READER, LEDGER, QUOTA_STATUS, STALE_INDEX, TABLES
from lake.store import REFRESH, Lake, SupersededError
from lake.windows import STALE_LIMIT
from lake.work import Work, workplace
from pipelines.fold import fold
from storage.config import Config

LEASE_WAIT_SECONDS = 120.0
LAG_WINDOW = dt.timedelta(hours=24)
RESULTS = ("usage", "growth", "backends", "stale_rollup")
log = logging.getLogger(__name__)


@dataclass
class RefreshReport:
    """What a refresh published."""

    as_of: dt.datetime
    generation: int = 0
    ingest_lag_seconds: float | None = None
    folded: dict[str, int] = field(default_factory=dict)
    base_days: dict[str, int] = field(default_factory=dict)
    """Landing days folded into the base of the bucketed tables, by table."""
    rows: dict[str, int] = field(default_factory=dict)
    bytes: dict[str, int] = field(default_factory=dict)
    superseded: bool = False
    """A refresh that started later was faster: nothing of this one is published."""
    held: bool = False
    """A backend waits with removals, so that growth has no point for its files as they are."""

    @property
    def sums_agree(self) -> bool:
        """Whether index, owners, backends and growth's last point are one sum."""
        compared = {n: v for n, v in self.bytes.items() if n != "growth" or not self.held}
        return len(set(compared.values())) == 1


def refresh(
    config: Config, *, now: dt.datetime, as_of: dt.datetime | None = None, rebuild: bool = False
) -> RefreshReport:
    """Recompute every result as of `as_of` (default `now`) and publish it.

    Raises LeaseBusyError when another refresh runs and does not end.
    """
    lake = Lake(config.lake.root)
    report = RefreshReport(as_of or now)
    with held(lake.root, "refresh", LEASE_WAIT_SECONDS) as lease:
        ticket = publish.next_ticket(lake, lease.number)
        try:
            _refresh(lake, config, report, ticket=ticket, now=now, rebuild=rebuild)
        except SupersededError as error:
            log.warning("%s", error)
            report.superseded = True
            report.generation = published.current(lake.root).number
    return report


def _refresh(
    lake: Lake, config: Config, report: RefreshReport, *, ticket: int, now: dt.datetime,
    rebuild: bool,
) -> None:  # fmt: skip
    runner = runner_of(config.runner)
    report.folded = fold(lake, rebuild=rebuild, runner=runner, buckets=config.lake.buckets)
    report.base_days = state.fold_base(lake, now, runner)
    # Everything is read at these versions, whatever is ingested or crawled meanwhile.
    versions = lake.versions()
    policy = world.policy(config)
    then = world.at(lake.at(versions), policy, report.as_of)
    before = lake.scan(QUOTA_STATUS).collect()
    with workplace(lake.root) as place:
        built = results.build(
            then, policy, control.quotas(lake), before, work=Work(place, runner, keep=True)
        )
        found = built.tables
        made = write_index(lake.root, built.index, runner)
    found[STALE_INDEX.name] = shown([part for part, _ in made], report.as_of)
    versions |= _write(lake, found, [part for part, _ in made], ticket)
    if built.readers:
        lake.commit(FILE_READER, built.readers, apps=[(REFRESH, ticket)])
    report.rows[FILE_READER.name] = sum(part.rows for part in built.readers)
    report.rows |= {name: found[name].height for name in RESULTS}
    report.rows[STALE_INDEX.name] = sum(part.rows for part, _ in made)
    report.rows[QUOTA_STATUS.name] = found[QUOTA_STATUS.name].height
    report.bytes = sums(found) | {STALE_INDEX.name: sum(size for _, size in made)}
    report.held = "held" in found["backends"]["state"].to_list()
    report.ingest_lag_seconds = ingest_lag_seconds(lake, now)
    done = publish.Refreshed(
        ticket, report.as_of,
        publish.documents(found, then.members, then.aliases, report.as_of),
        results.owned_bytes(found["usage"]), versions, report.ingest_lag_seconds,
    )  # fmt: skip
    report.generation = publish.publish_results(lake, done, now).number


def shown(index: Sequence[Part], as_of: dt.datetime) -> pl.DataFrame:
    """The rows of the index that are published; its files are in order of size."""
    idle = pl.col("last_access_at") < as_of - dt.timedelta(days=publish.STALE_DAYS)
    return largest_of([IndexFile.of(part) for part in index], idle, STALE_LIMIT)


def _write(
    lake: Lake, found: results.Results, index: list[Part], ticket: int
) -> dict[str, int]:  # fmt: skip
    """Commit the result tables; their versions."""
    versions = {STALE_INDEX.name: lake.replace_parts(STALE_INDEX, index, ticket)}
    for name in RESULTS:
        versions[name] = lake.replace_result(TABLES[name], found[name], ticket)
    return versions


def sums(found: results.Results) -> dict[str, int]:
    """Total bytes by each result that must agree: owners, growth, backends."""
    last = found["growth"].filter(pl.col("by") == "backend").sort("day").group_by("backend").last()
    return {
        "usage": int(results.owned_bytes(found["usage"])["bytes"].sum()),
        "growth": int(last["bytes"].sum()),
        "backends": int(found["backends"]["bytes"].sum()),
    }


def ingest_lag_seconds(lake: Lake, now: dt.datetime) -> float | None:
    """95th percentile of last event to ingest, over agents' segments of a day; None without any."""
    lag = (pl.col("ingested_at") - pl.col("last_event_at")).dt.total_microseconds() / 1e6
    found = (
        lake.scan(LEDGER)
        .filter(pl.col("boot") != "", pl.col("ingested_at") > now - LAG_WINDOW)
        .select(lag.quantile(0.95))
        .collect()
        .item()
    )
    return None if found is None else round(found, 3)
