"""What ingest accepts and what it refuses, line by line."""

import datetime as dt
import json

import pytest

from lake.schemas import EVENTS, QUARANTINE
from pipelines.transforms.parse import MAX_LINE_BYTES, Part, Source, parse

LANDED = dt.datetime(2026, 11, 1, 12, tzinfo=dt.UTC)
TS = '"ts":"2026-11-01T11:00:00Z"'
GOOD = (
    b'{"ts":"2026-11-01T11:00:00Z","user":"a","backend":"b","path":"p","op":"read","bytes_read":5}'
)


def parsed(data, landed_at=LANDED):
    found = parse([Part(Source("2026-11-01T11", "o.jsonl", 1, landed_at), 1, data)])
    assert dict(found.events.schema) == dict(EVENTS.schema)
    assert dict(found.quarantine.schema) == dict(QUARANTINE.schema)
    assert found.events.height + found.quarantine.height == sum(found.lines)
    return found


REFUSED = {
    "bytes that are not UTF-8": (b'{"path":"caf\xe9",' + TS.encode() + b"}", "utf-8"),
    "not JSON": (b"hello", "malformed"),
    "torn": (b'{"path":"a', "truncated"),
    "NaN": (f'{{{TS},"latency_ms":NaN}}', "malformed"),
    "infinite": (f'{{{TS},"latency_ms":1e400}}', "out of range"),
    "number as text": (f'{{{TS},"bytes_read":"5"}}', "bytes_read"),
    "float for int": (f'{{{TS},"bytes_read":5.0}}', "bytes_read"),
    "exponent for int": (f'{{{TS},"bytes_read":1e3}}', "bytes_read"),
    "negative bytes": (f'{{{TS},"bytes_read":-1}}', "bytes_read"),
    "negative written bytes": (f'{{{TS},"bytes_written":-1}}', "bytes_written"),
    "int64 overflow": (f'{{{TS},"bytes_read":9223372036854775808}}', "bytes_read"),
    "uint64 overflow": (f'{{{TS},"bytes_read":99999999999999999999}}', "bytes_read"),
    "uid overflow": (f'{{{TS},"uid":9223372036854775808}}', "uid"),
    "a team as user": (f'{{{TS},"user":"team:vision"}}', "user is a team, not a person: 'team:v"),
    "weight of zero": (f'{{{TS},"weight":0}}', "weight"),
    "bool as number": (f'{{{TS},"bytes_read":true}}', "bytes_read"),
    "number as bool": (f'{{{TS},"cache_hit":1}}', "cache_hit"),
    "number as path": (f'{{{TS},"path":7}}', "path"),
    "lone surrogate": (f'{{{TS},"path":"\\ud800"}}', ""),
    "raw control character": (f'{{{TS},"path":"a\tb"}}', "invalid character"),
    "two objects in a line": (GOOD + GOOD, "malformed"),
    "JSON array": (b"[" + GOOD + b"]", "array"),
    "null": (b"null", "null"),
    "text": (b'"x"', "str"),
    "byte order mark": (b"\xef\xbb\xbf" + GOOD, "malformed"),
    "number as ts": (b'{"ts":1793530800}', "ts"),
    "missing ts": (b'{"user":"a"}', "ts is missing"),
    "null ts": (b'{"ts":null}', "ts is missing"),
    "empty ts": (b'{"ts":""}', "ts is missing"),
    "zero ts": (b'{"ts":"0001-01-01T00:00:00Z"}', "ts is zero"),
    "zero ts with an offset": (b'{"ts":"0001-01-01T00:00:00+05:00"}', "ts is zero"),
    "ts without offset": (b'{"ts":"2026-11-01T11:00:00"}', "RFC 3339"),
    "ts without time": (b'{"ts":"2026-11-01"}', "RFC 3339"),
    "ts with month 13": (b'{"ts":"2026-13-01T00:00:00Z"}', "RFC 3339"),
    "ts with words": (b'{"ts":"yesterday"}', "RFC 3339"),
    "ts a second too far ahead": (b'{"ts":"2026-11-02T12:00:01Z"}', "24 h"),
    "ts far ahead by its offset": (b'{"ts":"2026-11-02T02:00:00-23:00"}', "24 h"),
    "ts in year 9999": (b'{"ts":"9999-12-31T23:59:59Z"}', "24 h"),
}


@pytest.mark.parametrize(("line", "reason"), REFUSED.values(), ids=REFUSED)
def test_a_refused_line_is_quarantined_and_stops_nothing(line, reason):
    """Reason, line number and text are kept; the good lines around it are accepted."""
    raw = line if isinstance(line, bytes) else line.encode()
    found = parsed(b"\n".join([GOOD, raw, GOOD]) + b"\n")
    assert found.events["line"].to_list() == [1, 3]
    (bad,) = found.quarantine.to_dicts()
    assert bad["line"] == 2
    assert reason in bad["reason"]
    assert bad["text"] == raw.decode("utf-8", "backslashreplace")


ACCEPTED = {
    "only ts": (f"{{{TS}}}", {"user": "", "bytes_read": 0, "count": 1, "weight": 1.0}),
    "nulls": (f'{{{TS},"user":null,"bytes_read":null,"count":null}}',
              {"user": "", "bytes_read": 0, "count": 1}),
    "unknown keys": (f'{{{TS},"colour":{{"a":[1]}}}}', {"op": ""}),
    "the last of two keys": (f'{{{TS},"op":"read","op":"write"}}', {"op": "write"}),
    "largest int64": (f'{{{TS},"bytes_read":9223372036854775807}}', {"bytes_read": 2**63 - 1}),
    "offset": ('{"ts":"2026-11-01T01:30:00+02:00"}',
               {"ts": dt.datetime(2026, 10, 31, 23, 30, tzinfo=dt.UTC),
                "day": dt.date(2026, 10, 31)}),
    "nanoseconds": ('{"ts":"2026-11-01T11:00:00.123456789Z"}',
                    {"ts": dt.datetime(2026, 11, 1, 11, 0, 0, 123456, dt.UTC)}),
    "24 h ahead": ('{"ts":"2026-11-02T12:00:00Z"}',
                   {"ts": dt.datetime(2026, 11, 2, 12, tzinfo=dt.UTC)}),
    **{f"opened {text}": (f'{{{TS},"ts_open":"{text}"}}', {"ts_open": None}) for text in (
        "0000-01-01T00:00:00Z", "-0001-01-01T00:00:00Z", "+10000-01-01T00:00:00Z", "garbage",
    )},
    "colons and NUL": (f'{{{TS},"path":"a:b\\u0000c","user":"u:1"}}',
                       {"path": "a:b\0c", "user": "u:1"}),
    "spaces around": (f"  {{{TS}}}\t", {"op": ""}),
}  # fmt: skip


@pytest.mark.parametrize(("line", "expected"), ACCEPTED.values(), ids=ACCEPTED)
def test_an_accepted_line_means_what_it_says(line, expected):
    """Missing keys and nulls have their zero value, instants are UTC microseconds."""
    (row,) = parsed(line.encode()).events.to_dicts()
    assert {name: row[name] for name in expected} == expected


def test_an_object_over_two_lines_is_two_refused_lines():
    """One line is one event, whatever stands in its neighbours."""
    data = b"\n".join([GOOD, GOOD + GOOD, b'{"op":', b'"read"}', GOOD])
    found = parsed(data)
    assert found.events["line"].to_list() == [1, 5]
    assert found.quarantine["line"].to_list() == [2, 3, 4]


def test_two_in_one_line_and_one_in_two_lines_do_not_make_up_for_each_other():
    """As many objects as lines is not one object per line."""
    found = parsed(GOOD + GOOD + b'\n{"op":\n' + GOOD + b"}\n")
    assert found.quarantine["line"].to_list() == [1, 2, 3]


def test_blank_lines_and_carriage_returns_are_no_lines():
    """Numbers stay those of the file; CRLF files are read as they are meant."""
    found = parsed(b"\r\n" + GOOD + b"\r\n\r\n  \n" + GOOD + b"\r\n")
    assert found.lines == [2]
    assert found.events["line"].to_list() == [2, 5]
    assert found.events["path"].to_list() == ["p", "p"]


def test_a_line_over_the_limit_is_refused_and_cut():
    """A huge line costs its neighbours nothing and the quarantine 64 KiB."""
    huge = b'{"path":"' + b"a" * MAX_LINE_BYTES + b'"}'
    found = parsed(GOOD + b"\n" + huge)
    assert found.events.height == 1
    (bad,) = found.quarantine.to_dicts()
    assert str(len(huge)) in bad["reason"]
    assert len(bad["text"]) == 64 * 1024


def test_what_is_refused_does_not_depend_on_the_company_it_is_in():
    """The fast way over whole blocks and the slow one line by line accept the same."""
    good = [line.encode() for line, _ in ACCEPTED.values()]
    together = parsed(b"\n".join(good)).events.drop("line")
    bad = [raw if isinstance(raw, bytes) else raw.encode() for raw, _ in REFUSED.values()]
    with_bad = parsed(b"\n".join([*bad, *good])).events.drop("line")
    assert together.equals(with_bad)


@pytest.mark.parametrize("data", [b"", b"\n\n", b" "])
def test_nothing_is_no_event(data):
    """An empty object has no lines."""
    assert parsed(data).lines == [0]


def test_rows_say_where_they_came_from():
    """Hour, object and batch are on every row, accepted or refused."""
    found = parsed(GOOD + b"\nx")
    for frame in (found.events, found.quarantine):
        row = frame.row(0, named=True)
        assert (row["hour"], row["object"], row["batch"]) == ("2026-11-01T11", "o.jsonl", 1)


def test_a_batch_of_many_lines_keeps_its_order():
    """Blocks of lines follow each other with the right numbers."""
    lines = [json.dumps({"ts": "2026-11-01T11:00:00Z", "path": str(n)}) for n in range(45_000)]
    lines[30_000] = "bad"
    found = parsed("\n".join(lines).encode())
    assert found.quarantine["line"].to_list() == [30_001]
    assert found.events["path"].to_list() == [str(n) for n in range(45_000) if n != 30_000]
    assert (found.events["line"] - 1).cast(str).to_list() == found.events["path"].to_list()
