"""Publish results: documents first, then `CURRENT`. The number of a generation only grows."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import json
import logging
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import obstore
import polars as pl
from obstore.store import LocalStore

from lake import control, explore
from lake.crossing import crossings
from lake.metrics import quota
from lake.published import COLUMNS, CURRENT, Generation, current, parsed, place
from lake.results import AUDITED, Results, audited, owned_bytes
from lake.schemas import BACKENDS, FILES, QUOTA_EVENTS, QUOTA_STATUS, STALE_INDEX, USAGE
from lake.store import Lake, SupersededError
from lake.tops import tops
from lake.windows import STALE_LIMIT
from storage import clock
from storage.conditional import create, read_tagged, write_if_unchanged, write_new
from storage.errors import LakeError
from storage.objectstore import get, listed, open_store
from storage.units import format_instant, parse_instant

if TYPE_CHECKING:
    from obstore.store import ObjectStore

log = logging.getLogger(__name__)
KEEP_GENERATIONS = 10
INSTANT = "%Y-%m-%dT%H:%M:%S%.fZ"
KEEP_AGE = dt.timedelta(hours=1)
TRIES = 20
CLAIM, MANIFEST = "claim", "generation.json"
STALE_DAYS = 90
CROSSING = {
    name: pl.Int64 if name.endswith("_bytes") else pl.String for name in COLUMNS["crossing"]
}
Documents = dict[str, pl.DataFrame]
Row = dict[str, Any]


def documents(
    results: Results, members: pl.DataFrame, aliases: pl.DataFrame, as_of: dt.datetime
) -> Documents:
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
        "alias": aliases,
    }


@dataclass(frozen=True)
class Refreshed:
    """What a refresh computed, all of one as-of."""

    ticket: int
    as_of: dt.datetime
    documents: Documents
    owned: pl.DataFrame
    """team, backend, bytes."""
    versions: dict[str, int]
    """Delta versions of what was read and written."""
    ingest_lag_seconds: float | None = None


def next_ticket(lake: Lake, lease_number: int) -> int:
    """The order of start of a refresh that holds the lease of that number: only grows."""
    return max(lease_number, _standing(lake.root).ticket + 1)


def publish_results(lake: Lake, made: Refreshed, at: dt.datetime) -> Generation:
    """Publish what a refresh computed as the next generation.

    Quotas and teams are taken as they are now, so that one set meanwhile is not hidden. Raises
    SupersededError where a refresh that started later has published: nothing changes then.
    """

    def change(before: Generation, number: int) -> Generation:
        if before.ticket > made.ticket:
            raise SupersededError(
                f"a refresh that started later has published generation {before.number}: "
                "these results are not published."
            )
        growth = as_rows(made.documents["growth-team"])
        documents, versions = _control(lake, made.as_of, made.owned, growth)
        return dataclasses.replace(
            before,
            ticket=made.ticket,
            as_of=format_instant(made.as_of),
            documents=before.documents | put(number, documents),
            versions=made.versions | versions,
            ingest_lag_seconds=made.ingest_lag_seconds,
        )

    store = open_store(place(lake.root))
    placed: dict[str, str] = {}

    def put(number: int, documents: Documents) -> dict[str, str]:
        # The big ones are written once, however often CURRENT was lost to another publisher.
        if not placed:
            placed.update(_put(store, number, made.documents))
        return placed | _put(store, number, documents)

    return _swap(lake.root, change, at)


def publish_control(lake: Lake, at: dt.datetime) -> Generation:
    """Publish quotas, teams and aliases as they are now, against the usage of the last refresh."""
    store = open_store(place(lake.root))

    def change(before: Generation, number: int) -> Generation:
        as_of = parse_instant(before.as_of) if before.as_of else at
        owned = owned_bytes(lake.scan(USAGE, before.versions.get(USAGE.name)).collect())
        growth, known = before.rows("growth-team"), before.rows("crossing")
        documents, versions = _control(lake, as_of, owned, growth, known)
        return dataclasses.replace(
            before,
            as_of=format_instant(as_of),
            documents=before.documents | _put(store, number, documents),
            versions=before.versions | versions,
        )

    return _swap(lake.root, change, at)


def publish_audit(lake: Lake, at: dt.datetime) -> Generation:
    """Publish the latest audits with the backends of the last refresh; nothing without one."""
    store = open_store(place(lake.root))

    def change(before: Generation, number: int) -> Generation:
        rows = lake.scan(BACKENDS, before.versions.get(BACKENDS.name)).collect()
        told = rows.drop(AUDITED).join(audited(lake, at), left_on="name", right_on="backend",
                                       how="left").select(BACKENDS.schema.names())  # fmt: skip
        placed = _put(store, number, {"backends": told})
        return dataclasses.replace(before, documents=before.documents | placed)

    now = current(lake.root)
    return _swap(lake.root, change, at) if BACKENDS.name in now.documents else now


def publish_explored(lake: Lake, at: dt.datetime) -> Generation:
    """Publish the sums of `lake.explore` of the current index and the tops of usual windows.

    Nothing where they are there.
    """
    now = current(lake.root)
    version = now.versions.get(STALE_INDEX.name)
    if version is None or _is_explored(now):
        return now
    made = explore.explored(lake, version, now.versions.get(FILES.name)) | tops(lake, now)
    store = open_store(place(lake.root))

    def change(before: Generation, number: int) -> Generation:
        return dataclasses.replace(before, documents=before.documents | _put(store, number, made))

    return _swap(lake.root, change, at)


def _is_explored(now: Generation) -> bool:
    try:
        return explore.deepest(now) > 0
    except LakeError as error:  # damaged: made anew
        log.warning("%s", error)
        return False


def _control(
    lake: Lake, as_of: dt.datetime, owned: pl.DataFrame, growth: Sequence[Row],
    known: Sequence[Row] = (),
) -> tuple[Documents, dict[str, int]]:  # fmt: skip
    """The documents of quotas, teams and aliases as they are now, and the table's version.

    `growth`: its rows by team; `known`: crossings that were made of them before.
    """
    before = lake.scan(QUOTA_STATUS).collect()
    limits = quota.status(control.quotas(lake), owned, before, as_of)
    # Against the crossings themselves: who was killed before the next line has told them already.
    told = quota.told(lake.scan(QUOTA_EVENTS).collect())
    lake.append(QUOTA_EVENTS, quota.crossings(told, limits, as_of))
    lake.replace(QUOTA_STATUS, limits)
    versions = {QUOTA_STATUS.name: lake.version(QUOTA_STATUS)}
    reached = crossings(as_rows(limits), growth, as_of.date(), known)
    made = {
        "quota": limits,
        "crossing": pl.DataFrame(reached, schema=CROSSING),
        "team": control.memberships(lake, as_of),
        "alias": control.aliases(lake, as_of),
    }
    return made, versions


def _put(store: ObjectStore, number: int, documents: Documents) -> dict[str, str]:
    """Write documents into the folder of a claimed number; name → place."""
    placed = {name: f"{number}/{name}.json" for name in documents}
    for name, frame in documents.items():
        write_new(store, placed[name], as_json(frame))
    return placed


def _standing(lake_root: str) -> Generation:
    root = place(lake_root)
    store = open_store(root)
    told = read_tagged(store, CURRENT)
    return Generation(root) if told is None else _read(root, store, told.data)


def _read(root: str, store: ObjectStore, told: bytes) -> Generation:
    """What `CURRENT` describes; where it is damaged, the newest generation that is whole.

    The next publication mends it so, and nobody's number is used again.
    """
    try:
        return parsed(root, told)
    except LakeError as error:
        log.warning("%s", error)
    names = [info.name for info in listed(store) if info.name.endswith(f"/{MANIFEST}")]
    for name in sorted(names, key=_number, reverse=True):
        with contextlib.suppress(LakeError):
            return parsed(root, get(store, name))
    return Generation(root)


def _claim(store: ObjectStore, above: int) -> int:
    """A number larger than `above` that no other publisher has, so that nobody writes there."""
    number = above + 1
    while not create(store, f"{number}/{CLAIM}"):
        number += 1
    return number


def _swap(
    lake_root: str, change: Callable[[Generation, int], Generation], at: dt.datetime
) -> Generation:
    """Make the generation that `change` makes of the current one the next, or try again.

    `CURRENT` is replaced only if it still is what was read, so that the number grows each time
    and no publisher undoes what another has just published.
    """
    root = place(lake_root)
    store = open_store(root)
    for attempt in range(TRIES):
        told = read_tagged(store, CURRENT)
        before = Generation(root) if told is None else _read(root, store, told.data)
        number = _claim(store, before.number)
        after = dataclasses.replace(
            change(before, number), number=number, published_at=format_instant(at)
        )
        body = json.dumps(after.body(), indent=1).encode()
        write_new(store, f"{number}/{MANIFEST}", body)
        if write_if_unchanged(store, CURRENT, body, told):
            _tidy(store, after, clock.now())
            return parsed(root, body)
        time.sleep(random.uniform(0, 0.05 * 2 ** min(attempt, 5)))
    raise LakeError(f"{root}/{CURRENT}: {TRIES} publications lost to others: try again.")


def as_json(frame: pl.DataFrame) -> bytes:
    """Rows as a JSON array: instants RFC 3339 with Z, days YYYY-MM-DD."""
    return json.dumps(as_rows(frame), separators=(",", ":"), ensure_ascii=False).encode()


def as_rows(frame: pl.DataFrame) -> list[Row]:
    """Rows as a document has them."""
    instants = [name for name, dtype in frame.schema.items() if isinstance(dtype, pl.Datetime)]
    days = [name for name, dtype in frame.schema.items() if dtype == pl.Date]
    return frame.with_columns(
        pl.col(instants).dt.to_string(INSTANT),
        pl.col(days).dt.to_string("%Y-%m-%d"),
    ).to_dicts()


def _tidy(store: ObjectStore, now: Generation, at: dt.datetime) -> None:
    """Remove documents that no reader can still be reading.

    A reader may hold any of the last ten generations, and any that was the current one within
    the hour; what such a generation names stays, in whichever folder it is.
    """
    found = {info.name: info for info in listed(store) if _number(info.name)}
    recent = at - KEEP_AGE
    manifests = sorted(
        (info for name, info in found.items() if name.endswith(f"/{MANIFEST}")),
        key=lambda info: _number(info.name),
    )
    used = set(now.documents.values())
    for info, after in pairwise(manifests):
        if _number(info.name) > now.number - KEEP_GENERATIONS or after.modified_at >= recent:
            with contextlib.suppress(ValueError, LookupError):  # damaged: nobody can read it
                used |= {info.name, *json.loads(get(store, info.name))["documents"].values()}
    old = [
        name
        for name, info in found.items()
        if _number(name) <= now.number - KEEP_GENERATIONS
        and info.modified_at < recent
        and name not in used
    ]
    if old:
        obstore.delete(store, old)
        _remove_empty_folders(store)


def _number(name: str) -> int:
    """The generation in whose folder an object is; 0 for none."""
    number = name.partition("/")[0]
    return int(number) if number.isdigit() else 0


def _remove_empty_folders(store: ObjectStore) -> None:
    if isinstance(store, LocalStore):
        for folder in Path(str(store.prefix)).iterdir():
            if folder.name.isdigit():
                with contextlib.suppress(OSError):  # it is not empty
                    folder.rmdir()
