"""What a start finds in the spool of the one before it.

After `kill -9` the append file holds what was flushed, its last line perhaps torn. It is repaired
and sealed under the old boot, closed by a farewell heartbeat that says how many events are lost.
Every step may itself be killed: the farewell's number tells the next start that it was done.
"""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path

import msgspec

from storage import landing
from storage.clock import now
from storage.landing import Event
from warpdrive_agent.counters import Books, mark_clean, read_books
from warpdrive_agent.segments import (
    ACTIVE,
    COUNTERS,
    MAX_SEGMENT_BYTES,
    SEALED,
    discard_unfinished,
    object_name,
    write_segment,
)


@dataclass(frozen=True)
class Recovered:
    """What the start before this one left."""

    boot: str = ""
    events: int = 0
    """Events found in the append file."""
    lost: int = 0
    """Events recorded that never reached the spool: what the kill took."""
    torn: int = 0
    """Lines that were not whole; they are among the lost."""


class _Line(msgspec.Struct):
    seq: int
    boot: str
    node: str


@dataclass(frozen=True)
class _Found:
    lines: list[bytes]
    heads: list[_Line]
    torn: int

    @property
    def first(self) -> int:
        return min(head.seq for head in self.heads)

    @property
    def last(self) -> int:
        return max(head.seq for head in self.heads)


_DECODER = msgspec.json.Decoder(_Line)


def recover(folder: Path, node: str) -> Recovered:
    """Repair and seal what an earlier start left in the append file."""
    discard_unfinished(folder)
    books = read_books(folder / COUNTERS)
    found = _whole_lines(folder / ACTIVE)
    if books is None:
        result = _without_books(folder, found)
    else:
        result = _with_books(folder, books, found, node)
        mark_clean(folder / COUNTERS)
    if (folder / ACTIVE).exists():
        os.truncate(folder / ACTIVE, 0)
    return result


def _without_books(folder: Path, found: _Found) -> Recovered:
    """Somebody removed the counters: what is there is kept, what is lost nobody can tell."""
    if not found.heads:
        return Recovered(torn=found.torn)
    end = found.heads[-1]
    _seal(folder, end.boot, end.node, found.lines)
    return Recovered(end.boot, len(found.lines), torn=found.torn)


def _with_books(folder: Path, books: Books, found: _Found, node: str) -> Recovered:
    if books.clean or _farewell_sealed(folder, books):
        return Recovered(books.boot, torn=found.torn)
    uncounted = _uncounted(folder, books)
    sealed = books.sealed + sum(map(len, uncounted))
    lines = _unsealed(found, books, uncounted)
    events = len(lines)
    assigned = max(
        books.assigned, *(head.seq for head in found.heads), *map(max, filter(None, uncounted)), 0
    )
    lost = max(0, assigned - sealed - books.dropped - books.refused - events)
    if events or lost:
        node = found.heads[-1].node if found.heads else _node_of(folder, books.boot, node)
        books = dataclasses.replace(books, assigned=assigned)
        _seal(folder, books.boot, node, [*lines, _farewell(books, node, lost)])
    return Recovered(books.boot, events, lost, found.torn)


def _uncounted(folder: Path, books: Books) -> list[set[int]]:
    """The numbers in each segment of the boot that is not in its books (killed in between)."""
    found = []
    for path in _sealed(folder):
        landed = landing.parse_name(object_name(path.name))
        if landed is None or landed.boot != books.boot or (landed.last or 0) <= books.sealed_last:
            continue
        found.append(_numbers_in(path))
    return found


def _numbers_in(segment: Path) -> set[int]:
    """The sequence numbers in a segment; none where it is damaged."""
    try:
        lines = landing.decompress(segment.name, segment.read_bytes(), MAX_SEGMENT_BYTES)
        return {_DECODER.decode(line).seq for line in lines.splitlines()}
    except (ValueError, msgspec.DecodeError):
        return set()


def _unsealed(found: _Found, books: Books, uncounted: list[set[int]]) -> list[bytes]:
    """The lines of the append file that no segment holds: it may have been killed unemptied."""
    if found.heads and found.last <= books.sealed_last:
        return []
    held = set[int]().union(*uncounted)
    return [
        line for line, head in zip(found.lines, found.heads, strict=True) if head.seq not in held
    ]


def _whole_lines(active: Path) -> _Found:
    try:
        raw = active.read_bytes()
    except FileNotFoundError:
        raw = b""
    lines, heads, torn = [], [], 0
    for line in raw.splitlines(keepends=True):
        try:
            head = _DECODER.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            torn += 1
            continue
        if not line.endswith(b"\n"):
            torn += 1
            continue
        lines.append(line)
        heads.append(head)
    return _Found(lines, heads, torn)


def _farewell_sealed(folder: Path, books: Books) -> bool:
    """Whether an earlier recovery got as far as sealing the farewell."""
    end = f"-{books.assigned + 1}.jsonl.zst"
    return any(f"{books.boot}-" in p.name and p.name.endswith(end) for p in _sealed(folder))


def _sealed(folder: Path) -> list[Path]:
    return list((folder / SEALED).iterdir())


def _node_of(folder: Path, boot: str, otherwise: str) -> str:
    for path in _sealed(folder):
        landed = landing.parse_name(object_name(path.name))
        if landed is not None and landed.boot == boot:
            return landed.node
    return otherwise


def _farewell(books: Books, node: str, lost: int) -> bytes:
    """The last heartbeat of a killed boot: its drops are final, the lost ones among them."""
    drops = books.dropped + books.spool_dropped + books.refused + lost
    event = Event(
        ts=now(), user="unknown", backend="", path="", op="agent", bytes_read=0, cache_hit=False,
        node=node, latency_ms=0.0, seq=books.assigned + 1, boot=books.boot, backends=[],
        drops=drops,
    )  # fmt: skip
    return landing.encode([event])


def _seal(folder: Path, boot: str, node: str, lines: list[bytes]) -> None:
    seqs = [_DECODER.decode(line).seq for line in lines]
    name = landing.segment_name(landing.hour_of(now()), node, boot, min(seqs), max(seqs))
    write_segment(folder, name, b"".join(lines))
