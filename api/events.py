"""What senders post, checked: a body in, lines for the landing zone out. Pure.

The usual body is decoded once, typed, in one call, and its events go on as the bytes they came in.
Only a block with something odd in it is looked at event by event. What must be refused though it
is an event (a wrong time, negative bytes, another node's name) stays in its batch: the ingest
puts it into the quarantine, and here it is counted.
"""

from __future__ import annotations

import datetime as dt
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any
from urllib.parse import quote

import msgspec

from storage.units import MAX_BYTES

MAX_LINE_BYTES = 1024**2
BLOCK_EVENTS = 2_000
FUTURE = dt.timedelta(hours=24)
_Bytes = Annotated[int, msgspec.Meta(ge=0, le=MAX_BYTES)]
_Int = Annotated[int, msgspec.Meta(ge=-MAX_BYTES - 1, le=MAX_BYTES)]
_Weight = Annotated[float, msgspec.Meta(gt=0, le=1e12)]
_Time = Annotated[dt.datetime, msgspec.Meta(tz=True)]
_BOOT = re.compile(r"[0-9a-f]{16}")
MAX_NODE_BYTES = 240
"""Percent-encoded: it names a folder of the landing zone."""
TEAM = "team:"
"""So an owner begins who is a team: nobody may write under such a name."""
_POSING = f'"{TEAM}'.encode()
_TRAILING = re.compile(r"trailing characters \(byte (\d+)\)")
_RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.\d+)?(?:[Zz]|[+-](\d\d):(\d\d))",
    re.ASCII,
)


class Usual(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """An event as senders write it: known keys, every value in its range."""

    ts: _Time | None = None
    user: str = ""
    backend: str = ""
    path: str = ""
    op: str = ""
    bytes_read: _Bytes = 0
    bytes_written: _Bytes = 0
    count: _Bytes = 1
    weight: _Weight = 1.0
    cache_hit: bool = False
    node: str = ""
    latency_ms: float = 0.0
    error: str = ""
    ts_open: _Time | None = None
    uid: _Int | None = None
    job: str = ""
    pod: str = ""
    seq: _Bytes | None = None
    boot: str = ""
    bytes_hit: _Bytes = 0
    bytes_miss: _Bytes = 0
    kernel_cached: bool = False
    size: _Bytes | None = None
    backends: list[str] | None = None
    drops: _Bytes | None = None


class Odd(msgspec.Struct, gc=False):
    """The same keys with the types that the contract demands, ranges left to the quarantine."""

    ts: str = ""
    user: str = ""
    backend: str = ""
    path: str = ""
    op: str = ""
    bytes_read: _Int = 0
    bytes_written: _Int = 0
    count: _Int = 1
    weight: float = 1.0
    cache_hit: bool = False
    node: str = ""
    latency_ms: float = 0.0
    error: str = ""
    ts_open: str | msgspec.UnsetType = msgspec.UNSET
    uid: _Int | msgspec.UnsetType = msgspec.UNSET
    job: str = ""
    pod: str = ""
    seq: _Int | msgspec.UnsetType = msgspec.UNSET
    boot: str = ""
    bytes_hit: _Int = 0
    bytes_miss: _Int = 0
    kernel_cached: bool = False
    size: _Int | msgspec.UnsetType = msgspec.UNSET
    backends: list[str] | msgspec.UnsetType = msgspec.UNSET
    drops: _Int | msgspec.UnsetType = msgspec.UNSET


_COUNTS = (
    "bytes_read", "bytes_written", "count", "seq", "bytes_hit", "bytes_miss", "size", "drops",
)  # fmt: skip
_KEYS = frozenset(Usual.__struct_fields__)
_ARRAY = msgspec.json.Decoder(list[msgspec.Raw])
_BLOCK = msgspec.json.Decoder(list[Usual])
_LINES = msgspec.json.Decoder(Usual)
_ANY = msgspec.json.Decoder()


class BadBatchError(ValueError):
    """The whole batch is refused; nothing of it lands."""


class TooLargeError(BadBatchError):
    """One event is larger than any event is."""


@dataclass(frozen=True)
class Rules:
    """What is checked beside the types: the server's instant, and what the sender may write."""

    now: dt.datetime
    node: str | None = None
    """The only node the sender may write; None: any."""
    oldest: dt.datetime | None = None
    """Events before it are refused; None: as old as they like."""


@dataclass
class Batch:
    """Lines for the landing zone, and what they are."""

    lines: list[bytes] = field(default_factory=list)
    count: int = 0
    quarantined: int = 0
    bare: list[bool] = field(default_factory=list)
    """Of each line, whether it is an event without a sequence number."""
    spans: list[tuple[str, str, int, int] | None] = field(default_factory=list)

    def data(self, boot: str, first: int) -> bytes:
        """The JSON lines, each ended; what has no sequence number gets one from `first` on.

        Two equal bodies are two sets of events: their bytes must differ.
        """
        tail = b',"boot":"%b","seq":%%d}\n' % boot.encode()  # a boot is hex digits
        found = io.BytesIO()  # block by block: a copy of every line of a large batch is much memory
        for at in range(0, len(self.lines), BLOCK_EVENTS):
            block = slice(at, at + BLOCK_EVENTS)
            both = zip(self.lines[block], self.bare[block], strict=True)
            lines = [
                bytes(line)[:-1] + tail % number if bare else bytes(line) + b"\n"
                for number, (line, bare) in enumerate(both, first + at)
            ]
            found.write(b"".join(lines))
        return found.getvalue()

    def add(self, other: Batch) -> None:
        """Take the events of the next block."""
        self.lines += other.lines
        self.count += other.count
        self.quarantined += other.quarantined
        self.bare += other.bare
        self.spans += other.spans

    @property
    def identity(self) -> tuple[str, str, int, int] | None:
        """Node, boot, first and last sequence number, where the events say so without a gap."""
        first, last = self.spans[0] if self.spans else None, self.spans[-1] if self.spans else None
        if first is None or last is None or first[:2] != last[:2]:
            return None
        whole = last[3] - first[2] + 1 == self.count and None not in self.spans
        return (first[0], first[1], first[2], last[3]) if whole else None


def of_array(body: bytes, rules: Rules) -> Iterator[Batch]:
    """The events of a JSON array, in blocks; `null` is none, bytes after the array are ignored.

    Raises BadBatchError for anything else and for a value of a wrong type.
    """
    raws = _elements(body)
    for start in range(0, len(raws), BLOCK_EVENTS):
        yield _block(raws[start : start + BLOCK_EVENTS], rules)


def of_lines(body: bytes, rules: Rules) -> Iterator[Batch]:
    """The events of JSON lines, in blocks; a line that is no event goes to the quarantine."""
    lines = [line for line in body.split(b"\n") if line.strip()]
    for start in range(0, len(lines), BLOCK_EVENTS):
        yield _line_block(lines[start : start + BLOCK_EVENTS], rules)


def _elements(body: bytes) -> list[Any]:
    try:
        return _ARRAY.decode(body)
    except msgspec.ValidationError as error:
        if body.strip()[:4] == b"null":
            return []
        raise BadBatchError(f"invalid JSON: {error}") from None
    except msgspec.DecodeError as error:
        if end := _TRAILING.search(str(error)):
            return _elements(body[: int(end[1]) - 1])
        raise BadBatchError(f"invalid JSON: {error}") from None
    except RecursionError:
        raise BadBatchError("invalid JSON: it is nested too deeply") from None


def _block(raws: Sequence[Any], rules: Rules) -> Batch:
    whole = b"[" + b",".join(raws) + b"]"
    if b"\n" in whole or b"\r" in whole:  # white space only: a string holds no raw line end
        whole = whole.replace(b"\n", b" ").replace(b"\r", b" ")
        raws = _ARRAY.decode(whole)
    _check_sizes(whole, raws)
    if _POSING in whole:
        return _one_by_one(raws, rules, strict=True)
    try:
        events = _BLOCK.decode(whole)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _one_by_one(raws, rules, strict=True)
    return _usual(raws, events, rules)


def _line_block(lines: Sequence[bytes], rules: Rules) -> Batch:
    whole = b"\n".join(lines)
    _check_sizes(whole, lines)
    objects = all(line.startswith(b"{") and line.endswith((b"}", b"}\r")) for line in lines)
    if objects and _POSING not in whole:
        try:
            events = _LINES.decode_lines(whole)
        except (msgspec.DecodeError, UnicodeDecodeError):
            pass
        else:
            if len(events) == len(lines):
                return _usual(lines, events, rules)
    return _one_by_one(lines, rules, strict=False)


def _check_sizes(whole: bytes, parts: Sequence[Any]) -> None:
    if len(whole) <= MAX_LINE_BYTES:
        return
    largest = max(len(memoryview(part)) for part in parts)
    if largest > MAX_LINE_BYTES:
        raise TooLargeError(f"an event of {largest} bytes is over {MAX_LINE_BYTES}.")


def _usual(raws: Sequence[Any], events: list[Usual], rules: Rules) -> Batch:
    times = [event.ts for event in events]
    if None in times:
        return _one_by_one(raws, rules, strict=True)
    lowest = rules.oldest or dt.datetime(2, 1, 1, tzinfo=dt.UTC)
    fits = lowest <= min(times) and max(times) <= rules.now + FUTURE  # type: ignore[type-var]
    if not fits or (rules.node is not None and not _all_of(events, rules.node)):
        return _one_by_one(raws, rules, strict=True)
    missing = [event.seq is None for event in events]
    return Batch(list(raws), len(events), 0, missing, [_span(events)])


def _all_of(events: list[Usual], node: str) -> bool:
    return all(_is_node(name, node) for name in {event.node for event in events})


def _is_node(name: str, node: str) -> bool:
    """A host writes as itself, or as itself and one of its mounts."""
    return name == node or name.startswith(node + "/")


def _span(events: list[Usual]) -> tuple[str, str, int, int] | None:
    first, last = events[0], events[-1]
    if first.seq is None or last.seq is None or last.seq - first.seq + 1 != len(events):
        return None
    one = {(event.node, event.boot) for event in events}
    numbers = [event.seq for event in events]
    if len(one) > 1 or numbers != list(range(first.seq, last.seq + 1)):
        return None
    if not _BOOT.fullmatch(first.boot) or len(quote(first.node, safe="")) > MAX_NODE_BYTES:
        return None
    return (first.node, first.boot, first.seq, last.seq)


def _one_by_one(raws: Sequence[Any], rules: Rules, *, strict: bool) -> Batch:
    batch = Batch()
    good: list[Usual] = []
    for raw in raws:
        line = bytes(raw)
        try:
            event = _LINES.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            line, refused, bare = _odd(line, rules, strict=strict)
        else:
            good.append(event)
            line, refused = _checked(line, event, rules)
            bare = event.seq is None
        batch.lines.append(line)
        batch.bare.append(bare)
        batch.count += 1
        batch.quarantined += refused
    # What is refused must not stand under a name that would keep the true events out.
    whole = len(good) == batch.count and good and not batch.quarantined
    batch.spans = [_span(good) if whole else None]
    return batch


def _checked(line: bytes, event: Usual, rules: Rules) -> tuple[bytes, bool]:
    """An event of the usual kind whose time or node may be wrong."""
    if event.ts is None:
        line = _with(line, "ts", _stamp(rules.now))
    if reason := _reason(event.node, event.ts, rules):
        return _refused(line, reason), True
    wrong = event.ts is not None and _bad_time(event.ts, rules)
    return line, wrong or event.user.startswith(TEAM)


def _wrong_node(node: str, rules: Rules) -> bool:
    return rules.node is not None and not _is_node(node, rules.node)


def _reason(node: str, at: dt.datetime | None, rules: Rules) -> str:
    if _wrong_node(node, rules):
        return f"node '{node}' is not the token's '{rules.node}'"
    if at is not None and at.year > 1 and rules.oldest is not None and at < rules.oldest:
        return "older than 30 days: over HTTP that needs the role operator"
    return ""


def _odd(line: bytes, rules: Rules, *, strict: bool) -> tuple[bytes, bool, bool]:
    """An event with keys in another case, unknown keys, nulls or values out of range.

    The line, whether it goes to the quarantine, whether it has no sequence number.
    """
    try:
        event = _converted(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        if strict:
            raise BadBatchError(f"invalid JSON: {error}") from None
        return line, True, False
    at = parsed_time(event.ts) if event.ts else rules.now
    event.ts = event.ts or _stamp(rules.now)
    made, bare = msgspec.json.encode(event), event.seq is msgspec.UNSET
    if reason := _reason(event.node, at, rules):
        return _refused(made, reason), True, bare
    return made, _bad_time(at, rules) or _bad_values(event), bare


def _converted(line: bytes) -> Odd:
    found = _ANY.decode(line)
    if found is None:
        found = {}
    if not isinstance(found, dict):
        raise msgspec.ValidationError(f"Expected `object`, got `{type(found).__name__}`")
    folded = {}
    for key, value in found.items():
        if (name := key.lower()) in _KEYS and value is not None:
            folded[name] = value
    return msgspec.convert(folded, Odd, strict=True)


def _bad_time(at: dt.datetime | None, rules: Rules) -> bool:
    return at is None or at.year <= 1 or at > rules.now + FUTURE


def _bad_values(event: Odd) -> bool:
    negative = any((getattr(event, name) or 0) < 0 for name in _COUNTS)
    return negative or not 0 < event.weight <= 1e12 or event.user.startswith(TEAM)


def parsed_time(text: str) -> dt.datetime | None:
    """The instant of an RFC 3339 text, in UTC; None where it is none."""
    match = _RFC3339.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    ahead = dt.timedelta(hours=int(match[7] or 0), minutes=int(match[8] or 0))
    sign = -1 if text[-6:-5] == "-" else 1
    if ahead >= dt.timedelta(hours=24):
        return None
    try:
        at = dt.datetime(year, month, day, hour, minute, min(second, 59), tzinfo=dt.UTC)
        return at - sign * ahead if second <= 60 else None
    except (ValueError, OverflowError):
        return None


def _stamp(at: dt.datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


def _refused(line: bytes, reason: str) -> bytes:
    """The line with its time taken away: an event without one goes to the quarantine, as it is."""
    return _with(line, "ts", {"refused": reason})


def _with(line: bytes, key: str, value: Any) -> bytes:
    """The object with one more key at its end, where it wins over one of the same name."""
    inner = line.strip()[:-1].rstrip()
    comma = b"" if inner == b"{" else b","
    return inner + comma + msgspec.json.encode(key) + b":" + msgspec.json.encode(value) + b"}"
