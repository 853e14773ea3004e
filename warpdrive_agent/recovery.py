"""What a start finds in the spool of the one before it.

After `kill -9` the append file holds what was flushed, its last line perhaps torn. It is repaired
and sealed under the old boot, closed by a farewell heartbeat that says how many events are lost.
Every step may itself be killed: the farewell's number tells the next start that it was done.
"""

from __future__ import annotations

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
    SEALED,
    discard_unfinished,
    lines_in,
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
    sealed, lines, events = books.sealed, found.lines, len(found.lines)
    if events and found.last <= books.sealed_last:
        lines, events = [], 0  # sealed and counted, killed before the file was emptied
    elif events and (known := _sealed_events(folder, books.boot, found)):
        lines, events, sealed = [], 0, sealed + known  # sealed, killed before it was counted
    lost = max(0, books.assigned - sealed - books.dropped - books.refused - events)
    if events or lost:
        node = found.heads[-1].node if found.heads else _node_of(folder, books.boot, node)
        _seal(folder, books.boot, node, [*lines, _farewell(books, node, lost)])
    return Recovered(books.boot, events, lost, found.torn)


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


def _sealed_events(folder: Path, boot: str, found: _Found) -> int:
    """Events in the segment that was sealed from exactly these lines; 0 if there is none."""
    wanted = f"{boot}-{found.first}-{found.last}.jsonl.zst"
    return sum(lines_in(p.read_bytes()) for p in _sealed(folder) if p.name.endswith(wanted))


def _sealed(folder: Path) -> list[Path]:
    return list((folder / SEALED).iterdir())


def _node_of(folder: Path, boot: str, otherwise: str) -> str:
    for path in _sealed(folder):
        landed = landing.parse_name(path.name.replace(",", "/"))
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
