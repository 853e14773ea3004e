"""What goes in comes out: names, sizes, durations, CSV, identities."""

import csv
import datetime as dt
import io
import os

import polars as pl
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from lake.forecast import extended
from lake.ids import file_id
from lake.sql import quoted
from lake.store import sql
from lake.text import as_csv, render
from storage.errors import UsageError
from storage.landing import compress, decompress, parse_name, segment_name
from storage.paths import path_bytes, path_text
from storage.units import (
    MAX_BYTES,
    UNITS,
    format_instant,
    format_size,
    parse_duration,
    parse_instant,
    parse_size,
)

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=30)


@given(st.binary(max_size=40))
def test_every_name_of_bytes_is_one_text_and_back(raw):
    """path_text and path_bytes are inverse; the text is valid UTF-8."""
    text = path_text(raw)
    text.encode()
    assert path_bytes(text) == raw
    assert path_text(os.fsdecode(raw)) == text


@given(TEXT)
def test_a_text_is_a_path_only_if_some_name_is_written_so(text):
    """Anything else is refused, never guessed."""
    try:
        raw = path_bytes(text)
    except ValueError:
        assert "\\" in text
    else:
        assert path_text(raw) == text


@given(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=5))
def test_file_id_is_xxhash64_of_backend_nul_path(pairs):
    """Signed, as another implementation computes it."""
    frame = pl.DataFrame(pairs, schema=["backend", "path"], orient="row").select(file_id())
    expected = [xxhash.xxh64_intdigest(f"{b}\0{p}".encode()) for b, p in pairs]
    assert frame["file_id"].to_list() == [n - 2**64 if n >= 2**63 else n for n in expected]


@given(st.integers(0, 8191), st.sampled_from(UNITS), st.booleans(), st.sampled_from(["", " "]))
def test_sizes_are_read_as_written(number, unit, lower, space):
    """Any unit in any case."""
    text = f"{number}{space}{unit.lower() if lower else unit}"
    assert parse_size(text) == number * 1024 ** UNITS.index(unit)


@given(st.integers(0, MAX_BYTES))
def test_a_size_shown_is_within_half_a_hundredth_of_it(size):
    """Two decimals above bytes, and what is shown can be typed again."""
    assert parse_size(str(size)) == size
    number, unit = format_size(size).split(" ")
    power = 1024 ** UNITS.index(unit)
    assert abs(float(number) * power - size) <= 0.00501 * power


@given(st.text(max_size=20))
def test_any_text_is_a_size_or_a_usage_error(text):
    """No other exception, nothing out of bounds."""
    for parse in (parse_size, parse_duration, parse_instant):
        try:
            found = parse(text)
        except UsageError:
            continue
        else:
            assert not isinstance(found, int) or 0 <= found <= MAX_BYTES


@given(st.lists(st.tuples(st.integers(0, 1000), st.sampled_from("smhdw")), min_size=1, max_size=4))
def test_durations_add_up(parts):
    """1h30m is an hour and half of one."""
    seconds = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
    text = "".join(f"{number}{unit}" for number, unit in parts)
    assert parse_duration(text).total_seconds() == sum(n * seconds[u] for n, u in parts)


@given(st.timedeltas(dt.timedelta(0), dt.timedelta(days=80_000)), st.integers(-14, 14))
def test_instants_keep_their_instant(since, hours):
    """Any offset in, UTC out, to the microsecond."""
    zone = dt.timezone(dt.timedelta(hours=hours))
    at = dt.datetime(1971, 1, 1, tzinfo=zone) + since
    assert parse_instant(at.isoformat()) == at
    assert parse_instant(format_instant(at)) == at


@given(st.lists(st.tuples(TEXT, TEXT, st.integers()), max_size=6))
def test_csv_is_exact(rows):
    """Whatever stands in a path, a reader of RFC 4180 finds it; lines end in LF."""
    columns = ("path", "owner", "size_bytes")
    text = as_csv((dict(zip(columns, row, strict=True)) for row in rows), columns)
    found = list(csv.reader(io.StringIO(text, newline="")))
    assert found == [list(columns), *([p, o, str(n)] for p, o, n in rows)]
    assert text.endswith("\n")
    assert not text.endswith("\r\n")


@given(TEXT, TEXT)
def test_a_table_never_holds_a_control_character(path, owner):
    """One line per row, every character printable."""
    row = {"backend": "b", "path": path, "size_bytes": 1, "last_access_at": None, "owner": owner,
           "evidence": "", "coverage": None, "last_modified_at": None}  # fmt: skip
    lines = render("stale", [row], "table").split("\n")
    assert len(lines) == 5
    assert all(line.isprintable() for line in lines)


@given(st.lists(st.binary(max_size=200), max_size=5))
def test_segments_unpack_to_what_was_packed(chunks):
    """The same chunks give the same bytes, and those unpack."""
    packed = compress(chunks)
    assert packed == compress(chunks)
    assert decompress("x.jsonl.zst", packed, 10_000) == b"".join(chunks)


@given(st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=20),
       st.integers(0, 2**40), st.integers(0, 2**40))  # fmt: skip
def test_object_names_tell_any_node(node, first, more):
    """Whatever a host calls itself."""
    last = first + more
    found = parse_name(segment_name("2026-11-01T09", node, "f" * 16, first, last))
    assert found is not None
    assert (found.node, found.first, found.last) == (node, first, last)


@given(TEXT)
def test_a_value_in_a_predicate_stays_a_value(text):
    """Quotes are doubled, nothing else is touched."""
    literal = quoted(text)
    assert (literal[0], literal[-1]) == ("'", "'")
    assert literal[1:-1].replace("''", "'") == text
    assert sql({"backend": text, "listing": 3}) == f"backend = {literal} and listing = 3"


@given(st.lists(st.integers(0, 10**15), min_size=1, max_size=40), st.integers(1, 20))
def test_a_forecast_goes_on_from_the_last_day_and_is_never_negative(values, days):
    """One row a day and series; low <= middle <= high."""
    first = dt.date(2026, 1, 1)
    history = [
        {"day": (first + dt.timedelta(days=n)).isoformat(), "backend": "b", "team": "",
         "files": 1, "bytes": value, "added_bytes": 0, "removed_bytes": 0}
        for n, value in enumerate(values)
    ]  # fmt: skip
    rows = extended(history, days)
    last = first + dt.timedelta(days=len(values) - 1)
    assert [row["day"] for row in rows] == [
        (last + dt.timedelta(days=n)).isoformat() for n in range(1, days + 1)
    ]
    assert all(0 <= row["low_bytes"] <= row["bytes"] <= row["high_bytes"] for row in rows)


def test_what_is_no_text_of_a_path_is_refused():
    """A lone backslash and a needless escape."""
    for text in ("a\\b", "\\x41", "\\xzz", "\\"):
        with pytest.raises(ValueError, match="not the text of a path"):
            path_bytes(text)
