"""Cut a key space into ranges: stores list their keys in the order of their UTF-8 bytes.

A task is the keys after `after` up to and including `until` (none: to the end). Where it may be
cut says a listing of folders; where there are none, a probe for keys with a greater character.
Cuts are hints: however bad, together the parts are the whole, and no key is in two of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import NamedTuple, Protocol

import pyarrow as pa

from storage.listing.tasks import Step, Task

PROBES = 16


class Page(NamedTuple):
    """Some keys in order, and what was said of them."""

    keys: list[bytes]
    rows: Callable[[int, int], pa.RecordBatch]
    """The rows of `keys[first:end]`."""
    more: bool
    marker: str = ""
    """How the store itself names the next page, where it has such a name."""


class Store(Protocol):
    """What a store can be asked for."""

    prefix: str
    """Only keys with this prefix count."""

    @property
    def has_ranges(self) -> bool:
        """Whether it can begin after any key."""
        ...

    def page(self, after: str, marker: str) -> Page:
        """The keys after `after`, or at the marker."""
        ...

    def folders(self, level: str, after: str) -> list[bytes]:
        """Folders directly below a level, each with its `/`; those before `after` may lack."""
        ...

    def first(self, after: str) -> bytes | None:
        """The first key after `after`."""
        ...

    def look(self, key: str) -> pa.RecordBatch:
        """The object of a key below the prefix, in the columns LISTED: one row or none."""
        ...


class Ranges:
    """The tasks of a store: see storage/listing/tasks.py."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def whole(self) -> Task:
        """Every key."""
        return {"after": "", "until": None}

    def step(self, task: Task) -> Step:
        """The next page of a task."""
        page = self._store.page(task["after"], task.get("marker", ""))
        keys, first, end = page.keys, 0, len(page.keys)
        after = raw(task["after"])
        while first < end and keys[first] <= after:
            first += 1  # a store that cannot begin there began earlier
        if task["until"] is not None:
            until = raw(task["until"])
            while end > first and keys[end - 1] > until:
                end -= 1
        rows = page.rows(first, end)
        if end < len(keys) or not page.more:
            return Step(rows, None)
        left = {**task, "marker": page.marker}
        if first < end:
            left["after"] = text(keys[-1])
            left["alike"] = _alike(text(keys[first]), left["after"])
        return Step(rows, left)

    def split(self, task: Task, ways: int) -> list[Task]:
        """Cut at the folders of the first level that has any, else where a probe finds keys."""
        if not self._store.has_ranges:
            return [task]
        cuts = self._folders_between(task) or self._probe(task)
        if len(cuts) >= ways:
            cuts = [cuts[len(cuts) * i // ways] for i in range(1, ways)]
        ends = [task["after"], *cuts, task["until"]]
        parts = [{"after": a, "until": u} for a, u in itertools.pairwise(ends)]
        return [{**task, **parts[0]}, *parts[1:]]

    def _folders_between(self, task: Task) -> list[str]:
        after, until = raw(task["after"]), task["until"]
        limit = None if until is None else raw(until)
        level = raw(self._store.prefix)
        while True:
            found = [
                folder for folder in self._store.folders(text(level), task["after"])
                if folder > after and (limit is None or folder < limit)
                and not after.startswith(folder)
            ]  # fmt: skip
            deeper = after.find(b"/", len(level)) + 1
            if found or not deeper:
                return [text(folder) for folder in found]
            level = after[:deeper]

    def _probe(self, task: Task) -> list[str]:
        """A cut in a flat stretch: where a character is greater than in the key we are at.

        Starts a few characters before the first in which the keys of the last page differed.
        """
        after, until, probes = task["after"], task["until"], 0
        for place in range(max(task.get("alike", 0) - 4, len(self._store.prefix)), len(after)):
            low, high = ord(after[place]), _last_of_its_kind(after[place]) + 1
            while high - low > 1 and probes < PROBES:
                middle, probes = (low + high) // 2, probes + 1
                cut = after[:place] + chr(middle)
                found = self._store.first(cut)
                if found is not None and (until is None or found <= raw(until)):
                    return [cut]
                high = middle
        return []


def _alike(one: str, other: str) -> int:
    """How many characters two keys begin with together."""
    pairs = zip(one, other, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def raw(key: str) -> bytes:
    """The bytes of a key."""
    return key.encode("utf-8", "surrogateescape")


def text(key: bytes) -> str:
    """A key as JSON can hold it."""
    return key.decode("utf-8", "surrogateescape")


def _last_of_its_kind(character: str) -> int:
    """The last digit, letter or printable character, whichever kind this one is."""
    for first, last in (("0", "9"), ("A", "Z"), ("a", "z")):
        if first <= character <= last:
            return ord(last)
    return 0x7E
