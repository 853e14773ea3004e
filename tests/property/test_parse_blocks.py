"""What becomes of a line does not depend on the company it is in, nor on where blocks are cut."""

import datetime as dt
import itertools
import json

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines import reading
from pipelines.transforms import parse as parsing
from pipelines.transforms.parse import Part, Source, parse
from tests.unit.test_parse import ACCEPTED, REFUSED

LANDED = dt.datetime(2026, 11, 1, 12, tzinfo=dt.UTC)
TS = "2026-11-01T11:00:00Z"

VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
OBJECTS = st.dictionaries(
    st.sampled_from(["ts", "op", "path", "bytes_read", "latency_ms", "cache_hit", "x"]),
    VALUES, max_size=5,
).map(lambda d: json.dumps(d).encode())  # fmt: skip
GOOD = st.builds(
    lambda path, size: json.dumps({"ts": TS, "path": path, "bytes_read": size}).encode(),
    st.text(max_size=8), st.integers(0, 2**63 - 1),
)  # fmt: skip
KNOWN = st.sampled_from(
    [raw if isinstance(raw, bytes) else raw.encode()
     for raw, _ in (*ACCEPTED.values(), *REFUSED.values())]
)  # fmt: skip
JUNK = st.binary(max_size=12) | st.sampled_from([b"", b" ", b"\r", b"{}", b"{}{}", b"}", b"{"])
LINES = st.lists(
    (GOOD | KNOWN | OBJECTS | JUNK).filter(lambda line: b"\n" not in line), max_size=12
)


def source(name):
    return Source("2026-11-01T11", name, 1, LANDED)


def one_by_one(name, lines):
    """Every line in an object of its own; its number put right."""
    found = [parse([Part(source(name), at, line)]) for at, line in enumerate(lines, 1)]
    return [pl.concat([getattr(f, kind) for f in found]) for kind in ("events", "quarantine")]


@settings(deadline=None)
@given(
    objects=st.lists(st.tuples(LINES, st.booleans()), min_size=1, max_size=4),
    block=st.integers(1, 400),
)
def test_a_block_is_what_its_lines_are_one_by_one(objects, block):
    """Same events, same refusals with the same reasons and numbers, in the same order."""
    parts, expected = [], []
    for number, (lines, ended) in enumerate(objects):
        data = b"\n".join(lines) + (b"\n" if ended else b"")
        parts.append(Part(source(f"o{number}"), 1, data))
        expected.append(one_by_one(f"o{number}", lines or [b""]))
    before = parsing.BLOCK_BYTES
    parsing.BLOCK_BYTES = block
    try:
        found = parse(parts)
    finally:
        parsing.BLOCK_BYTES = before
    assert found.events.equals(pl.concat([events for events, _ in expected]))
    assert found.quarantine.equals(pl.concat([refused for _, refused in expected]))
    assert sum(found.lines) == found.events.height + found.quarantine.height
    counted = [sum(1 for line in lines if line.strip(b" \t\r\x0b\x0c")) for lines, _ in objects]
    assert found.lines == counted


@settings(deadline=None)
@given(LINES)
def test_what_is_accepted_is_what_the_standard_library_reads(lines):
    """An independent parser agrees on every accepted line: the values are the line's own."""
    found = parse([Part(source("o"), 1, b"\n".join(lines))])
    for row in found.events.iter_rows(named=True):
        said = json.loads(lines[row["line"] - 1])
        assert isinstance(said, dict)
        for name, default in (("path", ""), ("op", ""), ("bytes_read", 0), ("latency_ms", 0.0)):
            value = said.get(name)
            assert row[name] == (default if value is None else value)
            assert type(value) is not bool
    for row in found.quarantine.iter_rows(named=True):
        assert row["reason"]
        assert row["text"] == lines[row["line"] - 1].decode("utf-8", "backslashreplace")


@settings(deadline=None)
@given(
    lines=st.lists(st.binary(max_size=9).filter(lambda x: b"\n" not in x), max_size=30),
    long=st.lists(st.integers(0, 30), max_size=3, unique=True),
    cuts=st.lists(st.integers(1, 30), min_size=1),
    size=st.integers(1, 60),
)
def test_blocks_are_the_lines_with_their_numbers(lines, long, cuts, size):
    """However a stream comes in pieces, each block knows the number of its first line."""
    before, reading.MAX_LINE_BYTES = reading.MAX_LINE_BYTES, 40
    try:
        for at in long:
            lines.insert(at, bytes([65 + at % 26]) * 200)
        data = b"".join(line + b"\n" for line in lines)
        found = {}
        for block in reading.blocks(pieces(data, cuts), size):
            if isinstance(block, reading.LongLine):
                found[block.number] = (block.size_bytes, block.begin[:1])
            else:
                assert block.data.endswith(b"\n")
                found |= enumerate(block.data[:-1].split(b"\n"), block.first)
    finally:
        reading.MAX_LINE_BYTES = before
    assert list(found) == list(range(1, len(lines) + 1))
    for number, line in enumerate(lines, 1):
        assert found[number] in (line, (len(line), line[:1]))


def pieces(data, cuts):
    """The data in pieces of these sizes, over and over."""
    at = 0
    for cut in itertools.cycle(cuts):
        if at >= len(data):
            return
        yield data[at : at + cut]
        at += cut
