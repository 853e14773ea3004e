"""Where a listing keeps its rows until it is complete: files, and what is still to list.

Each save writes a file of rows, then the checkpoint that names it; the checkpoint is one object,
replaced as a whole. What no checkpoint names does not count.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import time
from collections.abc import Iterator
from typing import Any

import obstore
import pyarrow as pa
from obstore.exceptions import BaseError

from storage.errors import BackendError, first_line
from storage.listing.columns import LISTED
from storage.objectstore import get, listed, open_store

SAVE_ROWS = 250_000
SAVE_SECONDS = 30.0
MAX_AGE = dt.timedelta(hours=24)
CHECKPOINT = "checkpoint.json"


class Staging:
    """The rows of one listing that is under way.

    Without a location everything stays in memory and nothing can be resumed.
    """

    def __init__(self, location: str, identity: str, now: dt.datetime) -> None:
        self.started_at = now
        self.open_tasks: list[dict[str, Any]] | None = None
        self._now = now
        self._files: list[str] = []
        self._rows: list[pa.RecordBatch] = []
        self._count = 0
        self.staged_rows = 0
        self._saved = time.monotonic()
        folder = hashlib.sha256(identity.encode()).hexdigest()[:16]
        self._location = f"{location.rstrip('/')}/{folder}" if location else ""

    def resume(self) -> dt.datetime:
        """Go on where a listing of the same identity was stopped; the instant it was begun."""
        found = self._checkpoint()
        if found is not None:
            self.started_at = dt.datetime.fromisoformat(found["started_at"])
            self.open_tasks = found["open"]
            self._files = found["files"]
            self.staged_rows = found["rows"]
        return self.started_at

    def add(self, rows: pa.RecordBatch) -> None:
        """Rows of a page."""
        if rows.num_rows:
            self._rows.append(rows)
            self._count += rows.num_rows

    def is_due(self) -> bool:
        """Whether it is time to save."""
        if not self._location:
            return False
        late = time.monotonic() - self._saved > SAVE_SECONDS
        return self._count >= SAVE_ROWS or (late and self._count > 0)

    def save(self, open_tasks: list[dict[str, Any]]) -> None:
        """Write the rows since the last save, then the checkpoint. Raises BackendError."""
        if not self._location:
            return
        self._saved = time.monotonic()
        name = f"{len(self._files):06d}.arrow"
        try:
            store = open_store(self._location)
            if self._count:
                obstore.put(store, name, _packed(self._rows))
                self._files.append(name)
                self.staged_rows += self._count
                self._rows, self._count = [], 0
            state = {
                "started_at": self.started_at.isoformat(), "files": self._files,
                "rows": self.staged_rows, "open": open_tasks,
            }  # fmt: skip
            obstore.put(store, CHECKPOINT, json.dumps(state).encode())
        except (BaseError, OSError) as error:
            raise BackendError(
                f"{self._location}: what was listed cannot be kept: {first_line(error)}."
            ) from None

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Every row, file by file, then what is in memory."""
        store = open_store(self._location) if self._files else None
        for name in self._files:
            assert store is not None
            with pa.ipc.open_stream(get(store, name)) as reader:
                yield from reader
        yield from self._rows

    def clear(self) -> None:
        """Forget everything, what no checkpoint names included. Raises BackendError."""
        if not self._files:
            return
        store = open_store(self._location)
        try:
            obstore.delete(store, CHECKPOINT)
            obstore.delete(store, [found.name for found in listed(store)])
        except (BaseError, OSError) as error:
            raise BackendError(
                f"{self._location}: cannot be tidied: {first_line(error)}."
            ) from None

    def _checkpoint(self) -> dict[str, Any] | None:
        """The last checkpoint, unless it is too old or not ours to read."""
        if not self._location:
            return None
        try:
            found = json.loads(get(open_store(self._location), CHECKPOINT))
            age = self._now - dt.datetime.fromisoformat(found["started_at"])
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None  # there is none, or it is damaged: the listing begins anew
        return found if dt.timedelta(0) <= age <= MAX_AGE else None


def _packed(rows: list[pa.RecordBatch]) -> bytes:
    """One Arrow stream, compressed, of one batch."""
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with pa.ipc.new_stream(sink, LISTED, options=options) as writer:
        writer.write_table(pa.Table.from_batches(rows, schema=LISTED).combine_chunks())
    return sink.getvalue().to_pybytes()
