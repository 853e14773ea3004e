"""Tables to results: fold, compute, write, publish. One refresh at a time per lake."""

from __future__ import annotations

import datetime as dt
import logging
from dataclasses import dataclass, field

import polars as pl

from lake import control, publish, published, results, state, world
from lake.lease import held
from lake.schemas import LEDGER, QUOTA_STATUS, TABLES
from lake.store import Lake, SupersededError
from pipelines.fold import fold
from storage.config import Config

LEASE_WAIT_SECONDS = 120.0
LAG_WINDOW = dt.timedelta(hours=24)
RESULTS = ("stale_index", "usage", "growth", "backends")
log = logging.getLogger(__name__)


@dataclass
class RefreshReport:
    """What a refresh published."""

    as_of: dt.datetime
    generation: int = 0
    ingest_lag_seconds: float | None = None
    folded: dict[str, int] = field(default_factory=dict)
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
    report.folded = fold(lake, rebuild=rebuild, buckets=config.lake.buckets)
    state.fold_base(lake, now)
    # Everything is read at these versions, whatever is ingested or crawled meanwhile.
    versions = lake.versions()
    policy = world.policy(config)
    then = world.at(lake.at(versions), policy, report.as_of)
    before = lake.scan(QUOTA_STATUS).collect()
    found = results.compute(then, policy, control.quotas(lake), before)
    for name in RESULTS:
        versions[name] = lake.replace_result(TABLES[name], found[name], ticket)
        report.rows[name] = found[name].height
    report.rows[QUOTA_STATUS.name] = found[QUOTA_STATUS.name].height
    report.bytes = sums(found)
    report.held = "held" in found["backends"]["state"].to_list()
    report.ingest_lag_seconds = ingest_lag_seconds(lake, now)
    made = publish.Refreshed(
        ticket, report.as_of, publish.documents(found, then.members, report.as_of),
        results.owned_bytes(found["usage"]), versions, report.ingest_lag_seconds,
    )  # fmt: skip
    report.generation = publish.publish_results(lake, made, now).number


def sums(found: results.Results) -> dict[str, int]:
    """Total bytes by each result that must agree: index, owners, growth, backends."""
    last = found["growth"].filter(pl.col("by") == "backend").sort("day").group_by("backend").last()
    return {
        "stale_index": int(found["stale_index"]["size_bytes"].sum()),
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
