"""Read published results: JSON documents, no engine. Standard library only on local disk.

`CURRENT` names the generation and every document in it, so one answer never mixes two refreshes.
A process keeps the generations it read last with their parsed documents: a server that answers
again from the same one only reads `CURRENT`.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from storage.errors import LakeError

CURRENT = "CURRENT"
KEPT_GENERATIONS = 4
KEPT_ANSWERS = 256
KEPT_ROWS = 200_000
COLUMNS = {
    "usage": (
        "group", "backend", "files", "bytes", "last_access_at", "read_count", "write_count",
        "bytes_read", "bytes_written", "touched_bytes",
    ),
    "stale": (
        "backend", "path", "file_id", "size_bytes", "last_modified_at", "last_access_at",
        "evidence", "owner", "owner_source", "team",
    ),
    "growth": ("by", "backend", "team", "day", "files", "bytes", "added_bytes", "removed_bytes"),
    "quota": (
        "quota_id", "team", "backend", "soft_bytes", "hard_bytes", "usage_bytes", "status",
        "soft_since_at", "grace_until_at",
    ),
    "crossing": (
        "team", "backend", "soft_bytes", "hard_bytes", "usage_bytes", "next_limit_bytes",
        "crossed_on", "crossed_early", "crossed_late",
    ),
    "backends": (
        "name", "type", "files", "bytes", "state", "crawled_at", "coverage", "verified_at",
        "checked", "agree", "agreement_low", "agreement_high",
    ),
    "team": ("user", "team", "since_at", "rank"),
    "alias": ("name", "canonical", "since_at"),
}  # fmt: skip
"""What the rows of a document have, by its name's first word: `lake.schemas` without polars."""
Row = dict[str, Any]
Stamp = tuple[int, int] | None


class Answers:
    """The answers given from one generation, the latest used kept, bounded in number and rows."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, list[Row]] = OrderedDict()
        self._rows = 0

    def of(self, key: Hashable, make: Callable[[], list[Row]]) -> list[Row]:
        """The answer to a question; made by `make` the first time. Callers leave rows as they are.

        Two threads that ask the same for the first time may both make it.
        """
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return list(self._kept[key])
        rows = make()
        with self._lock:
            if key not in self._kept and len(rows) <= KEPT_ROWS:
                self._kept[key] = rows
                self._rows += len(rows)
            while len(self._kept) > KEPT_ANSWERS or self._rows > KEPT_ROWS:
                self._rows -= len(self._kept.popitem(last=False)[1])
        return list(rows)


@dataclass
class Generation:
    """One published set of results. `documents` maps a name to its place under published/."""

    root: str
    number: int = 0
    as_of: str = ""
    published_at: str = ""
    documents: dict[str, str] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    """Delta version of every table: the sources that were read, and the results."""
    ingest_lag_seconds: float | None = None
    ticket: int = 0
    """Order of start of the refresh whose results these are."""
    answers: Answers = field(default_factory=Answers, repr=False, compare=False)
    _documents: dict[str, tuple[Stamp, list[Row]]] = field(
        default_factory=dict, repr=False, compare=False
    )

    def body(self) -> dict[str, Any]:
        """What `CURRENT` holds."""
        return {name: getattr(self, name) for name in _FIELDS}

    def rows(self, name: str) -> list[Row]:
        """The rows of a document; none where it was never published. Callers leave them be.

        Raises LakeError where it was tidied away: ten generations have been published since.
        """
        if name not in self.documents:
            return []
        stamp = _stamp(self.root, self.documents[name])
        kept = self._documents.get(name)
        if kept is None or kept[0] != stamp:
            kept = self._documents[name] = (stamp, self._read(name))
        return list(kept[1])

    def _read(self, name: str) -> list[Row]:
        try:
            found: list[Row] = json.loads(read_bytes(self.root, self.documents[name]))
        except FileNotFoundError as error:
            raise LakeError(f"{error}: newer results are published: ask again.") from None
        except ValueError as error:
            raise LakeError(
                f"{self.root}/{self.documents[name]} is damaged ({error}): "
                "run `warpdrive refresh` to publish again."
            ) from None
        return _whole(name, found)


def _whole(name: str, rows: list[Row]) -> list[Row]:
    """Rows with all columns: what a refresh by older code did not know is null."""
    names = COLUMNS.get(name.partition("-")[0], ())
    if not rows or all(column in rows[0] for column in names):
        return rows
    return [dict.fromkeys(names) | row for row in rows]


_FIELDS = (
    "number", "as_of", "published_at", "documents", "versions", "ingest_lag_seconds", "ticket",
)  # fmt: skip
_recent: OrderedDict[tuple[str, bytes], Generation] = OrderedDict()
_lock = threading.Lock()


def place(lake_root: str) -> str:
    """Where results of a lake are published."""
    return f"{lake_root.rstrip('/')}/published"


def current(lake_root: str) -> Generation:
    """The current generation; number 0 and no documents where nothing was published yet.

    The same object as before while `CURRENT` holds the same bytes. Raises LakeError.
    """
    root = place(lake_root)
    try:
        told = read_bytes(root, CURRENT)
    except FileNotFoundError:
        return Generation(root=root)
    return parsed(root, told)


def parsed(root: str, told: bytes) -> Generation:
    """The generation that the bytes of `CURRENT` describe. Raises LakeError."""
    key = (root, told)
    with _lock:
        if key in _recent:
            _recent.move_to_end(key)
            return _recent[key]
    try:
        body: dict[str, Any] = {**json.loads(told)}
        found = Generation(root, **{name: body[name] for name in _FIELDS if name in body})
    except (ValueError, TypeError) as error:
        raise LakeError(
            f"{root}/{CURRENT} is damaged ({error}): run `warpdrive refresh` to publish again."
        ) from None
    with _lock:
        _recent[key] = found
        while len(_recent) > KEPT_GENERATIONS:
            _recent.popitem(last=False)
    return found


def _stamp(root: str, name: str) -> Stamp:
    """What tells that a local file is not the one that was parsed: somebody mends or restores."""
    if "://" in root:
        return None
    try:
        found = (Path(root) / name).stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def read_bytes(root: str, name: str) -> bytes:
    """An object below a published root. Raises FileNotFoundError, LakeError."""
    if "://" not in root:
        try:
            return (Path(root) / name).read_bytes()
        except FileNotFoundError:
            raise
        except OSError as error:
            raise LakeError(f"{root}/{name}: cannot be read: {error.strerror}.") from None
    from storage.objectstore import get, open_store

    return get(open_store(root), name)
