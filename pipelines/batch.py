"""One batch: objects to Parquet files, then to one commit per table.

Everything is written before anything is committed, in the order quarantine, events, ledger. An
object counts by its ledger row only; what a batch without one left behind is removed later.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

import polars as pl

from lake.datafiles import discard, write_frames
from lake.parts import Part as File
from lake.schemas import EVENTS, LEDGER, QUARANTINE
from lake.store import Lake
from pipelines import reading
from pipelines.candidates import Candidate, Identities, Row, Window
from pipelines.reading import Block, DamagedError, UnreadableError
from pipelines.transforms.parse import Bad, Part, Source, parse, refused, text_of, too_long
from storage.errors import LakeError

log = logging.getLogger(__name__)
APP = "ingest"
HELD_BYTES = 8 * 1024**2
SPILL_BYTES = 16 * 1024**2
BUFFER_BYTES = 4 * 1024**2
NOTHING: Row = {"lines": 0, "events": 0, "quarantined": 0, "bytes_read": 0, "last_event_at": None}


class Refusals:
    """Rows of `quarantine` for one hour: in memory while they are few, then in files."""

    def __init__(self, lake: Lake, hour: str) -> None:
        self.files: list[File] = []
        self._lake = lake
        self._hour = hour
        self._held: list[pl.DataFrame] = []
        self._bytes = 0

    def add(self, rows: pl.DataFrame) -> None:
        """Keep rows."""
        if rows.height:
            self._held.append(rows)
            self._bytes += int(rows.estimated_size())
        if self._bytes > SPILL_BYTES:
            self.flush()

    def flush(self) -> list[File]:
        """Write what is held; all files."""
        file = write_frames(self._lake.root, QUARANTINE, {"hour": self._hour}, self._held)
        self.files += [file] if file else []
        self._held, self._bytes = [], 0
        return self.files


class Batch:
    """The objects of one batch, on their way into the lake."""

    def __init__(self, lake: Lake, store: Any, number: int, window: Window) -> None:
        self.rows: dict[str, Row] = {}
        self.unread: dict[str, str] = {}
        self._lake = lake
        self._store = store
        self._number = number
        self._window = window
        self._beaten: list[Row] = []
        self.files: list[File] = []
        self.refusals: list[File] = []

    def read(self, group: Sequence[Candidate], seen: Identities) -> None:
        """Read and write the objects of the batch, hour by hour; nothing is committed."""
        for hour, found in groupby(group, key=lambda c: c.hour):
            objects = list(found)
            bodies = reading.bodies(self._store, (c.info for c in objects))
            todo = zip(objects, bodies, strict=True)
            refusals = Refusals(self._lake, hour)
            large: list[tuple[Candidate, Iterator[bytes]]] = []
            while True:
                parts = self._small(todo, seen, refusals, large)
                self._keep(self._write(hour, _frames(parts, self.rows, refusals)))
                if not large:
                    break
                self._large(*large.pop(), seen, refusals)
            self.refusals += refusals.flush()

    def commit(self, check: Callable[[], None]) -> list[Row]:
        """Commit what was read; the ledger's rows. `check` raises when this must not go on."""
        for row in self._beaten:
            # A loser's rows go first: if this stops here, the next ingest brings the winner's.
            check()
            remove_rows(self._lake, row)
        rows = pl.DataFrame([*self.rows.values(), *self._beaten], schema=LEDGER.schema)
        ledger = write_frames(self._lake.root, LEDGER, {}, [rows])
        done = [ledger] if ledger else []
        for table, files in ((QUARANTINE, self.refusals), (EVENTS, self.files), (LEDGER, done)):
            if files:
                check()
                self._sure(self._lake.commit(table, files, apps=[(APP, self._number)]))
        return list(self.rows.values())

    def discard(self) -> None:
        """Remove what was written; it is not going to be committed."""
        discard(self._lake.root, EVENTS, self.files)
        discard(self._lake.root, QUARANTINE, self.refusals)

    def _sure(self, written: bool) -> None:
        if not written:
            raise LakeError(
                f"batch {self._number} was written by another ingest meanwhile: nothing is lost, "
                "run it again."
            )

    def _write(self, hour: str, frames: Iterator[pl.DataFrame]) -> File | None:
        return write_frames(self._lake.root, EVENTS, {"hour": hour}, frames, ordered=False)

    def _keep(self, file: File | None) -> None:
        self.files += [file] if file else []

    def _small(
        self, todo: Iterable[tuple[Candidate, Iterator[bytes]]], seen: Identities,
        refusals: Refusals, large: list[tuple[Candidate, Iterator[bytes]]],
    ) -> Iterator[Part]:  # fmt: skip
        """Lines of the objects up to one that is too large to be held, which goes to `large`."""
        for candidate, body in todo:
            pieces = reading.opened(candidate.landed.name, body)
            try:
                held, complete = reading.whole(pieces, HELD_BYTES)
            except (DamagedError, UnreadableError) as error:
                self._failed(candidate, error, refusals)
                continue
            if not complete:
                large.append((candidate, reading.chained(held, pieces)))
                break
            row = self._row(candidate, _sha256(held))
            if not self._counts(candidate, row, seen):
                continue
            self.rows[row["object"]] = row
            yield from self._parts(candidate, reading.chained(held, iter(())), row, refusals)

    def _large(
        self, candidate: Candidate, pieces: Iterator[bytes], seen: Identities, refusals: Refusals
    ) -> None:
        """An object that is read while it is written; only at its end is known what it is."""
        row = self._row(candidate, "")
        mine = Refusals(self._lake, candidate.hour)
        digest = hashlib.sha256()
        parts = self._parts(candidate, _hashed(pieces, digest), row, mine)
        file = None
        try:
            file = self._write(candidate.hour, _frames(parts, {row["object"]: row}, mine))
        except (DamagedError, UnreadableError) as error:
            self._failed(candidate, error, refusals)
            wanted = False
        else:
            row["sha256"] = candidate.landed.prefix_sha256 or digest.hexdigest()
            wanted = self._counts(candidate, row, seen)
        if wanted:
            self.rows[row["object"]] = row
            self._keep(file)
            self.refusals += mine.flush()
        else:
            discard(self._lake.root, EVENTS, [file] if file else [])
            discard(self._lake.root, QUARANTINE, mine.files)

    def _parts(
        self, candidate: Candidate, pieces: Iterator[bytes], row: Row, refusals: Refusals
    ) -> Iterator[Part]:
        source = self._source(candidate)
        for block in reading.blocks(pieces):
            if isinstance(block, Block):
                yield Part(source, block.first, block.data)
            else:
                bad = Bad(0, block.number, too_long(block.size_bytes), text_of(block.begin))
                refusals.add(refused([Part(source, 0, b"")], [bad]))
                row["lines"] += 1
                row["quarantined"] += 1

    def _counts(self, candidate: Candidate, row: Row, seen: Identities) -> bool:
        """Whether an object counts; else it is kept as the duplicate that it is."""
        winner = seen.find(row)
        if winner is not None and (winner["hour"], winner["object"]) < candidate.order:
            self.rows[row["object"]] = duplicate(row, winner["object"])
            return False
        if winner is not None:
            self._beaten.append(duplicate(winner, row["object"]) | {"batch": self._number})
        seen.add(row)
        return True

    def _failed(self, candidate: Candidate, error: Exception, refusals: Refusals) -> None:
        """A damaged object is one refused row with line 0; one that cannot be read has to wait."""
        name = candidate.landed.name
        if isinstance(error, UnreadableError):
            log.warning("%s is left for the next ingest: %s", name, error)
            self.unread[name] = str(error)
            return
        refusals.add(refused([Part(self._source(candidate), 0, b"")], [Bad(0, 0, str(error), "")]))
        self.rows[name] = self._row(candidate, "") | {"quarantined": 1}

    def _source(self, candidate: Candidate) -> Source:
        batch = self._number if candidate.batch is None else candidate.batch
        return Source(candidate.hour, candidate.landed.name, batch, candidate.info.modified_at)

    def _row(self, candidate: Candidate, sha256: str) -> Row:
        landed, info = candidate.landed, candidate.info
        return {
            "object": landed.name, "hour": candidate.hour, "batch": self._number,
            "state": "ingested", "duplicate_of": "", "node": landed.node, "boot": landed.boot,
            "first_seq": landed.first, "last_seq": landed.last, "size_bytes": info.size_bytes,
            "sha256": landed.prefix_sha256 or sha256, "landed_at": info.modified_at,
            "etag": info.etag, "ingested_at": self._window.now, **NOTHING,
        }  # fmt: skip


def duplicate(row: Row, winner: str) -> Row:
    """The ledger's row of an object whose events count by another."""
    return row | NOTHING | {"state": "duplicate", "duplicate_of": winner}


def remove_rows(lake: Lake, row: Row) -> None:
    """Remove the rows that came from an object."""
    for table in (QUARANTINE, EVENTS):
        lake.delete(table, {"hour": row["hour"], "object": row["object"]})


def _frames(
    parts: Iterable[Part], rows: dict[str, Row], refusals: Refusals
) -> Iterator[pl.DataFrame]:
    """The events of some blocks at a time: what polars does for each call costs as many lines."""
    held: list[Part] = []
    size = 0
    for part in parts:
        held.append(part)
        size += len(part.data)
        if size >= BUFFER_BYTES:
            yield _parsed(held, rows, refusals)
            held, size = [], 0
    if held:
        yield _parsed(held, rows, refusals)


def _parsed(parts: list[Part], rows: dict[str, Row], refusals: Refusals) -> pl.DataFrame:
    """The events of a block; what there is of what is added to the ledger's rows."""
    found = parse(parts)
    for part, lines in zip(parts, found.lines, strict=True):
        rows[part.source.object]["lines"] += lines
    for name, events, bytes_read, last in _sums(found.events):
        row = rows[name]
        row["events"] += events
        row["bytes_read"] += bytes_read
        row["last_event_at"] = max(row["last_event_at"] or last, last)
    if found.quarantine.height:
        refusals.add(found.quarantine)
        for name, count in found.quarantine.group_by("object").len().iter_rows():
            rows[name]["quarantined"] += count
    return found.events


def _sums(events: pl.DataFrame) -> Iterator[tuple[str, int, Any, Any]]:
    """Object, number of events, bytes read and last time, of each object."""
    names = events["object"]
    if events.height and names[0] == names[-1]:  # objects come one after the other
        yield names[0], events.height, events["bytes_read"].sum(), events["ts"].max()
        return
    sums = events.group_by("object").agg(pl.len(), pl.col("bytes_read").sum(), pl.col("ts").max())
    yield from sums.iter_rows()


def _sha256(pieces: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()


def _hashed(pieces: Iterable[bytes], digest: Any) -> Iterator[bytes]:
    for piece in pieces:
        digest.update(piece)
        yield piece
