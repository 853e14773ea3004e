"""Which landed objects are to be ingested, in which batches, and which hold the same events."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from storage.landing import IMPORT_NODE, Landed, hour_of, hour_start, parse_name
from storage.objectstore import ObjectInfo

SKEWED = "skewed"
BATCH_BYTES = 1024**3
BATCH_OBJECTS = 20_000
PACKING = 9  # compressed JSON lines unpack about ninefold
Row = dict[str, Any]


@dataclass(frozen=True)
class Candidate:
    """An object that is to be ingested, under the hour it counts for."""

    landed: Landed
    info: ObjectInfo
    hour: str
    batch: int | None = None
    """The batch that its rows carry, where the ledger knows it."""

    @property
    def order(self) -> tuple[str, str]:
        """Of two objects with the same events the smaller one counts."""
        return (self.hour, self.landed.name)


@dataclass(frozen=True)
class Window:
    """Which landing hours count: the instant of the run and how far back hours are kept."""

    now: dt.datetime
    retention: dt.timedelta

    def hour(self, landed: Landed, info: ObjectInfo) -> str:
        """The hour an object counts for; `skewed` if its name claims one that cannot be."""
        if not landed.hour:
            return hour_of(info.modified_at)
        at = hour_start(landed.hour)
        fits = self.now - self.retention <= at <= self.now + dt.timedelta(hours=1)
        return landed.hour if fits else SKEWED


def candidates(
    objects: Iterable[ObjectInfo], known: Mapping[str, Row], window: Window,
    hours: Sequence[str] | None,
) -> tuple[list[str], list[Candidate]]:  # fmt: skip
    """Objects of the ledger that have changed, and all that are to be ingested, in order.

    `known`: the ledger's row of each object. An object that was found to hold the events of one
    that has changed is to be looked at again too.
    """
    changed: list[str] = []
    new: dict[str, Candidate] = {}
    for info in objects:
        landed = parse_name(info.name)
        if landed is None:
            continue
        before = known.get(info.name)
        if before is not None and _is_unchanged(before, info):
            continue
        hour = window.hour(landed, info)
        if hours is not None and hour not in hours:
            continue
        if before is not None:
            changed.append(info.name)
        new[info.name] = Candidate(landed, info, hour)
    for name in _losers_of(changed, known) - new.keys():
        row, landed = known[name], parse_name(name)
        if landed is not None:
            info = ObjectInfo(name, row["size_bytes"], row["landed_at"], row["etag"])
            new[name] = Candidate(landed, info, row["hour"])
            changed.append(name)
    return changed, sorted(new.values(), key=lambda c: c.order)


def _is_unchanged(before: Row, info: ObjectInfo) -> bool:
    """Whether an object is the one in the ledger, as far as the store's listing tells.

    The name of an import's part has the digest of what is in it: its etag says nothing more.
    """
    if before["size_bytes"] != info.size_bytes:
        return False
    known = before["etag"] is not None and info.etag is not None
    return not known or before["etag"] == info.etag or before["node"] == IMPORT_NODE


def _losers_of(changed: Iterable[str], known: Mapping[str, Row]) -> set[str]:
    """Duplicates of objects that have changed, also of those whose change is in the ledger."""
    names = set(changed)
    return {
        name
        for name, row in known.items()
        if (winner := row["duplicate_of"])
        and (winner in names or not _share(row, known.get(winner)))
    }


def _share(row: Row, winner: Row | None) -> bool:
    return winner is not None and not set(identities(row)).isdisjoint(identities(winner))


def batches(new: Iterable[Candidate]) -> Iterator[list[Candidate]]:
    """Groups of at most BATCH_OBJECTS objects and about BATCH_BYTES of lines, or one larger one."""
    group: list[Candidate] = []
    size = 0
    for candidate in new:
        packed = not candidate.landed.name.endswith((".jsonl", ".json"))
        grown = candidate.info.size_bytes * (PACKING if packed else 1)
        if group and (size + grown > BATCH_BYTES or len(group) == BATCH_OBJECTS):
            yield group
            group, size = [], 0
        group.append(candidate)
        size += grown
    if group:
        yield group


class Identities:
    """Which objects hold the same events: equal (node, boot, range), or equal bytes."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._winner: dict[tuple[Any, ...], Row] = {}
        for row in rows:
            if row["state"] == "ingested":
                self.add(row)

    def find(self, row: Row) -> Row | None:
        """The ingested object that holds the same events as `row`, or None."""
        found = (self._winner.get(key) for key in identities(row))
        return next((winner for winner in found if winner), None)

    def add(self, row: Row) -> None:
        """Let `row` count for its events from now on."""
        for key in identities(row):
            self._winner[key] = row


def identities(row: Row) -> list[tuple[Any, ...]]:
    """What tells the events of an object: two objects that share one of them hold the same."""
    if not row["sha256"]:  # damaged: it holds no events that it could count for
        return []
    found: list[tuple[Any, ...]] = [("bytes", row["sha256"])]
    if row["boot"]:
        found.append(("range", row["node"], row["boot"], row["first_seq"], row["last_seq"]))
    return found
