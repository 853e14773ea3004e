"""Publish results: documents first, then `CURRENT`. The number of a generation only grows."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from typing import Any

import obstore
import polars as pl

from lake import control
from lake.lease import held
from lake.metrics import quota
from lake.published import CURRENT, Generation, current, place
from lake.results import Results, owned_bytes
from lake.schemas import QUOTA_EVENTS, QUOTA_STATUS, USAGE
from lake.store import Lake
from storage.objectstore import listed, open_store
from storage.units import format_instant, parse_instant

KEEP_GENERATIONS = 10
LEASE_WAIT_SECONDS = 30.0
STALE_DAYS = 90
STALE_LIMIT = 1000
Documents = dict[str, pl.DataFrame]


def documents(results: Results, members: pl.DataFrame, as_of: dt.datetime) -> Documents:
    """The documents that readers ask for, by name."""
    used = results["usage"]
    found = {
        f"usage-{group}-{how}": used.filter(
            pl.col("group_by") == group, pl.col("attribution") == how
        ).drop("group_by", "attribution")
        for group, how in used.select("group_by", "attribution").unique().sort(pl.all()).iter_rows()
    }
    limit = as_of - dt.timedelta(days=STALE_DAYS)
    index = results["stale_index"]
    return found | {
        "stale": index.filter(pl.col("last_access_at") < limit).head(STALE_LIMIT),
        "growth-backend": results["growth"].filter(pl.col("by") == "backend"),
        "growth-team": results["growth"].filter(pl.col("by") == "team"),
        "quota": results["quota_status"],
        "backends": results["backends"],
        "team": members,
    }


def publish_control(lake: Lake, at: dt.datetime) -> Generation:
    """Publish quotas and teams as they are now, against the usage of the last refresh."""
    told = current(lake.root).as_of
    as_of = parse_instant(told) if told else at
    owned = owned_bytes(lake.scan(USAGE).collect())
    before = lake.scan(QUOTA_STATUS).collect()
    limits = quota.status(control.quotas(lake), owned, before, as_of)
    lake.append(QUOTA_EVENTS, quota.crossings(before, limits, as_of))
    lake.replace(QUOTA_STATUS, limits)
    members = control.memberships(lake, as_of)
    return publish(lake, {"quota": limits, "team": members}, as_of, at)


def publish(
    lake: Lake, changed: Documents, as_of: dt.datetime, at: dt.datetime,
    ingest_lag_seconds: float | None = None,
) -> Generation:  # fmt: skip
    """Publish documents as the next generation; those not in `changed` are carried over.

    A refresh with an older as-of than the published one does not take its place when it was
    slower: publishers are serialised by a lease, and the caller holds the one of its refresh.
    """
    store = open_store(place(lake.root))
    with held(lake.root, "publish", LEASE_WAIT_SECONDS):
        before = current(lake.root)
        number = before.number + 1
        placed = {name: f"{number}/{name}.json" for name in changed}
        for name, frame in changed.items():
            obstore.put(store, placed[name], as_json(frame))
        after = Generation(
            root=before.root,
            number=number,
            as_of=format_instant(as_of),
            published_at=format_instant(at),
            documents=before.documents | placed,
            versions=lake.versions(),
            ingest_lag_seconds=(
                before.ingest_lag_seconds if ingest_lag_seconds is None else ingest_lag_seconds
            ),
        )
        body = {k: v for k, v in dataclasses.asdict(after).items() if k != "root"}
        obstore.put(store, CURRENT, json.dumps(body, indent=1).encode())
        _tidy(store, after)
    return after


def as_json(frame: pl.DataFrame) -> bytes:
    """Rows as a JSON array: instants RFC 3339 with Z, days YYYY-MM-DD."""
    instants = [name for name, dtype in frame.schema.items() if isinstance(dtype, pl.Datetime)]
    days = [name for name, dtype in frame.schema.items() if dtype == pl.Date]
    texts = frame.with_columns(
        pl.col(instants).dt.to_string("%Y-%m-%dT%H:%M:%S%.fZ"),
        pl.col(days).dt.to_string("%Y-%m-%d"),
    )
    return json.dumps(texts.to_dicts(), separators=(",", ":"), ensure_ascii=False).encode()


def _tidy(store: Any, now: Generation) -> None:
    """Remove documents of generations that no reader can still be reading."""
    used = set(now.documents.values())
    old = [
        info.name
        for info in listed(store)
        if (number := info.name.partition("/")[0]).isdigit()
        and int(number) <= now.number - KEEP_GENERATIONS
        and info.name not in used
    ]
    if old:
        obstore.delete(store, old)
