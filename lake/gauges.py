# ruff: noqa: S608 - numbers and our own names only
"""Numbers of the lake for monitoring: one published generation as families of samples.

Instants are seconds since 1970, ages are for the reader to compute. The number of series is
bounded: of groups beyond MAX_GROUPS only the sum is told, under `other`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from lake import published
from lake.published import Generation
from lake.query import NoTableError, Query
from storage.units import parse_instant

MAX_GROUPS = 200
OTHER = "other"
STALE_DAYS = (30, 90, 180, 365)
STATES = ("complete", "partial", "held", "failed", "writing", "late", "never crawled")
STATUSES = ("OK", "WARNING", "EXCEEDED")
Labels = tuple[str, ...]
Row = dict[str, Any]


@dataclass
class Family:
    """One metric: name with its unit, help, gauge or counter, and its samples."""

    name: str
    help: str
    labels: Labels = ()
    kind: str = "gauge"
    samples: list[tuple[Labels, float]] = field(default_factory=list)

    def add(self, *labels: str, value: float | None) -> None:
        """Add a sample; None is unknown and no sample."""
        if value is not None:
            self.samples.append((labels, float(value)))


def families(lake_root: str, teams: Collection[str] | None = None) -> list[Family]:
    """Every family of the lake's current generation; of `teams` only, where they are given.

    Empty where nothing is published yet. Raises LakeError.
    """
    now = published.current(lake_root)
    if not now.as_of:
        return []
    found = [
        *_results(now), *_backends(now.rows("backends")), *_usage(now.rows("usage-team-owner")),
        *_quotas(now.rows("quota")), *_growth(now.rows("growth-backend")),
        *_asked(lake_root, now),
    ]  # fmt: skip
    return found if teams is None else _cut(found, teams)


def _cut(found: Iterable[Family], teams: Collection[str]) -> list[Family]:
    """Only samples that name one of the teams."""
    kept = []
    for family in found:
        if "team" in family.labels:
            at = family.labels.index("team")
            family.samples = [s for s in family.samples if s[0][at] in teams]
            kept.append(family)
    return kept


def _results(now: Generation) -> list[Family]:
    as_of = Family("warpdrive_lake_as_of_timestamp_seconds",
                   "Instant that the published results describe.")  # fmt: skip
    as_of.add(value=_seconds(now.as_of))
    at = Family("warpdrive_lake_published_timestamp_seconds",
                "When results were last published.")  # fmt: skip
    at.add(value=_seconds(now.published_at))
    number = Family("warpdrive_lake_generation", "Number of the published generation.")
    number.add(value=now.number)
    lag = Family("warpdrive_ingest_lag_seconds",
                 "From an event to its row, 95th percentile of the latest ingest.")  # fmt: skip
    lag.add(value=now.ingest_lag_seconds)
    return [as_of, at, number, lag]


def _backends(rows: Sequence[Row]) -> list[Family]:
    one = ("backend",)
    stored = Family("warpdrive_lake_stored_bytes", "Bytes stored in the backend.", one)
    files = Family("warpdrive_lake_stored_files", "Files stored in the backend.", one)
    cover = Family("warpdrive_lake_coverage_ratio",
                   "Share of node-hours with unbroken telemetry, 90 days; absent without agents.",
                   one)  # fmt: skip
    agree = Family("warpdrive_lake_agreement_high_ratio",
                   "Upper bound (95 %) of the share of index and store that agree, latest audit.",
                   one)  # fmt: skip
    crawled = Family("warpdrive_lake_crawled_timestamp_seconds",
                     "Snapshot of the latest listing that counts.", one)  # fmt: skip
    state = Family("warpdrive_lake_listing_state",
                   "1 for the state of the backend's latest listing, else 0.",
                   ("backend", "state"))  # fmt: skip
    for row in rows:
        name = row["name"]
        stored.add(name, value=row["bytes"])
        files.add(name, value=row["files"])
        cover.add(name, value=row["coverage"])
        agree.add(name, value=row.get("agreement_high"))
        crawled.add(name, value=_seconds(row["crawled_at"]))
        for known in STATES:
            state.add(name, known, value=row["state"] == known)
    return [stored, files, cover, agree, crawled, state]


def _usage(rows: Sequence[Row]) -> list[Family]:
    labels = ("team", "backend")
    stored = Family("warpdrive_lake_usage_bytes", "Bytes stored by owner's team.", labels)
    files = Family("warpdrive_lake_usage_files", "Files stored by owner's team.", labels)
    read = Family("warpdrive_lake_usage_read_bytes",
                  "Bytes the team has ever read.", labels)  # fmt: skip
    for family, column in ((stored, "bytes"), (files, "files"), (read, "bytes_read")):
        for (team, backend), value in _bounded(rows, "group", column):
            family.add(team, backend, value=value)
    return [stored, files, read]


def _bounded(rows: Sequence[Row], group: str, column: str) -> list[tuple[Labels, float]]:
    """The largest groups (rows come largest first), the rest summed under `other`."""
    kept = list(dict.fromkeys(row[group] for row in rows))[:MAX_GROUPS]
    names, found = set(kept), dict[Labels, float]()
    for row in rows:
        key = (row[group] if row[group] in names else OTHER, row["backend"])
        found[key] = found.get(key, 0) + row[column]
    return list(found.items())


def _quotas(rows: Sequence[Row]) -> list[Family]:
    labels = ("team", "backend")
    used = Family("warpdrive_quota_usage_bytes", "Bytes that count for the quota.", labels)
    limit = Family("warpdrive_quota_limit_bytes", "Limit of the quota; absent if none.",
                   (*labels, "limit"))  # fmt: skip
    ratio = Family("warpdrive_quota_usage_ratio", "Usage over the limit; absent if none.",
                   (*labels, "limit"))  # fmt: skip
    status = Family("warpdrive_quota_status", "1 for the status of the quota, else 0.",
                    (*labels, "status"))  # fmt: skip
    for row in rows[: MAX_GROUPS * 5]:
        key = (row["team"], row["backend"] or "all")
        used.add(*key, value=row["usage_bytes"])
        for kind in ("soft", "hard"):
            if row[f"{kind}_bytes"]:
                limit.add(*key, kind, value=row[f"{kind}_bytes"])
                ratio.add(*key, kind, value=row["usage_bytes"] / row[f"{kind}_bytes"])
        for known in STATUSES:
            status.add(*key, known, value=row["status"] == known)
    return [used, limit, ratio, status]


def _growth(rows: Sequence[Row]) -> list[Family]:
    came = Family("warpdrive_lake_added_bytes",
                  "Bytes added on the latest day that has a listing.", ("backend",))  # fmt: skip
    went = Family("warpdrive_lake_removed_bytes",
                  "Bytes removed on the latest day that has a listing.", ("backend",))  # fmt: skip
    latest = {row["backend"]: row for row in sorted(rows, key=lambda row: row["day"])}
    for backend, row in sorted(latest.items()):
        came.add(backend, value=row["added_bytes"])
        went.add(backend, value=row["removed_bytes"])
    return [came, went]


def _asked(lake_root: str, now: Generation) -> list[Family]:
    """What no document has: asked of the tables once per generation."""
    query = Query(lake_root, now, parse_instant(now.as_of))
    hour = (parse_instant(now.as_of) - dt.timedelta(hours=2)).strftime("%Y-%m-%dT%H")

    def kept(sql: str, *tables: str) -> list[Row]:
        def make() -> list[Row]:
            try:
                return query.rows(sql, tables)
            except NoTableError:
                return []

        return now.answers.of(("gauges", sql), make)

    return [
        *_stale(kept(STALE_SQL, "stale_rollup")), *_ingest(kept(LEDGER_SQL, "ledger")),
        *_agents(kept(DROPS_SQL, "agents"), kept(NODES_SQL.format(hour=hour), "agents")),
    ]  # fmt: skip


STALE_SQL = "select backend, {} from stale_rollup group by backend order by backend".format(
    ", ".join(
        f"sum(case when age_days >= {n} then {what} else 0 end) as {what}_{n}"
        for n in STALE_DAYS
        for what in ("bytes", "files")
    )
)
LEDGER_SQL = (
    "with l as (select *, row_number() over (partition by object order by batch desc, "
    "ingested_at desc) as nth from ledger) select state, count(*) as objects, "
    "sum(events) as events, sum(quarantined) as quarantined, "
    "sum(case when hour = 'skewed' then 1 else 0 end) as skewed, "
    "cast(max(landed_at) as bigint) as landed_us from l where nth = 1 group by state"
)
DROPS_SQL = (
    "select coalesce(sum(drops), 0) as drops from "
    "(select max(drops) as drops from agents group by node, boot)"
)
NODES_SQL = "select count(distinct node) as nodes from agents where hour >= '{hour}'"


def _stale(rows: Sequence[Row]) -> list[Family]:
    labels = ("backend", "idle_days")
    size = Family("warpdrive_lake_stale_bytes",
                  "Bytes of files that nobody touched for so many days.", labels)  # fmt: skip
    files = Family("warpdrive_lake_stale_files",
                   "Files that nobody touched for so many days.", labels)  # fmt: skip
    for row in rows:
        for days in STALE_DAYS:
            size.add(row["backend"], str(days), value=row[f"bytes_{days}"])
            files.add(row["backend"], str(days), value=row[f"files_{days}"])
    return [size, files]


def _ingest(rows: Sequence[Row]) -> list[Family]:
    good = [row for row in rows if row["state"] == "ingested"]
    found = []
    for name, text, value in (
        ("warpdrive_ingest_events_total", "Events ingested.", sum(r["events"] for r in good)),
        ("warpdrive_ingest_quarantined_lines_total", "Lines refused into the quarantine.",
         sum(r["quarantined"] for r in good)),
        ("warpdrive_ingest_objects_total", "Landed objects ingested.",
         sum(r["objects"] for r in good)),
        ("warpdrive_ingest_duplicate_objects_total", "Landed objects that others count for.",
         sum(r["objects"] for r in rows if r["state"] != "ingested")),
        ("warpdrive_ingest_skewed_objects_total",
         "Landed objects named for an hour past retention or ahead: a wrong clock.",
         sum(r["skewed"] for r in rows)),
    ):  # fmt: skip
        family = Family(name, text, kind="counter")
        family.add(value=value)
        found.append(family)
    landed = Family("warpdrive_ingest_landed_timestamp_seconds",
                    "When the latest ingested object landed.")  # fmt: skip
    times = [row["landed"] for row in rows if row["landed"]]
    landed.add(value=_seconds(max(times)) if times else None)
    return [*found, landed]


def _agents(drops: Sequence[Row], nodes: Sequence[Row]) -> list[Family]:
    lost = Family("warpdrive_agents_dropped_events_total",
                  "Events that agents say they lost: full spools, full memory.",
                  kind="counter")  # fmt: skip
    seen = Family("warpdrive_agents_reporting_nodes",
                  "Nodes with a heartbeat in the two hours before as-of.")  # fmt: skip
    for row in drops:
        lost.add(value=row["drops"])
    for row in nodes:
        seen.add(value=row["nodes"])
    return [lost, seen]


def _seconds(text: str | None) -> float | None:
    return parse_instant(text).timestamp() if text else None
