"""The bytes between agent and control plane. A change here breaks nodes that are not upgraded."""

import datetime as dt
from pathlib import Path

import msgspec
import pytest

from storage import landing
from storage.landing import Event
from warpdrive_agent.counters import CounterPage
from warpdrive_agent.events import to_event
from warpdrive_agent.identity import Identity, Who
from warpdrive_agent.recorder import Recorder

HERE = Path(__file__).parent
GOLDEN = (HERE / "events.jsonl").read_bytes()
ALWAYS = ["ts", "user", "backend", "path", "op", "bytes_read", "cache_hit", "node", "latency_ms"]
AT = 1_793_527_200_123_456_789


def decoded(raw):
    return [msgspec.json.decode(line, type=Event) for line in raw.splitlines()]


def test_the_golden_file_is_written_byte_for_byte():
    assert landing.encode(decoded(GOLDEN)) == GOLDEN.replace(b"\\u0085", "\u0085".encode())


@pytest.mark.parametrize("line", GOLDEN.splitlines())
def test_the_keys_of_the_contract_come_first_and_always(line):
    assert list(msgspec.json.decode(line))[:9] == ALWAYS


def test_events_of_the_go_version_pass():
    events = decoded((HERE / "go_events.jsonl").read_bytes())
    noon = dt.datetime(2025, 6, 1, 12, tzinfo=dt.UTC)
    assert [e.ts.astimezone(dt.UTC) - noon for e in events] == [
        dt.timedelta(microseconds=123457), dt.timedelta(0), dt.timedelta(seconds=2.5),
    ]  # fmt: skip
    assert [e.error for e in events] == ["", "", "s3: timeout"]
    assert [(e.seq, e.weight, e.count) for e in events] == [(None, 1.0, 1)] * 3


def test_an_event_of_the_recorder_says_what_happened():
    recorder = Recorder("gpu-1", "ff" * 8, CounterPage(None, "ff" * 8), rate=0.1)
    who = Who(0)
    who.user, who.job = "root", "4711"
    raw = ("read", "b", "p", who, AT, 300, 100, 3, 4_500_000, "", AT - 10**9, False, 900)
    event = to_event(7, raw, recorder, Identity())
    assert msgspec.to_builtins(event, builtin_types=(dt.datetime,)) == {
        "ts": dt.datetime(2026, 11, 1, 10, 0, 0, 123456, tzinfo=dt.UTC),
        "ts_open": dt.datetime(2026, 11, 1, 9, 59, 59, 123456, tzinfo=dt.UTC),
        "user": "root", "uid": 0, "job": "4711", "backend": "b", "path": "p", "op": "read",
        "bytes_read": 300, "bytes_hit": 100, "bytes_miss": 200, "cache_hit": False, "count": 3,
        "latency_ms": 1.5, "node": "gpu-1", "seq": 7, "boot": "ff" * 8, "size": 900,
    }  # fmt: skip


@pytest.mark.parametrize(("op", "weight"), [("stat", 10.0), ("list", 10.0), ("read", 1.0)])
def test_what_is_sampled_carries_its_weight(op, weight):
    recorder = Recorder("n", "0" * 16, CounterPage(None, "0"), rate=0.1)
    raw = (op, "b", "p", None, AT, 0, 0, 1, 1, "", 0, False, None)
    event = to_event(1, raw, recorder, Identity())
    assert (event.weight, event.user) == (weight, "unknown")


def test_a_segments_name_says_what_is_in_it():
    name = landing.segment_name("2026-11-01T10", "gpu/1,a", "00000000000000ff", 1, 12)
    assert name == "dt=2026-11-01/hour=10/node=gpu%2F1%2Ca/00000000000000ff-1-12.jsonl.zst"
    landed = landing.parse_name(name)
    assert landed == landing.Landed(name, "2026-11-01T10", "gpu/1,a", "00000000000000ff", 1, 12)


def test_the_same_events_give_the_same_bytes():
    assert landing.compress([GOLDEN]) == landing.compress([GOLDEN])
    assert landing.decompress("x.zst", landing.compress([GOLDEN]), 10**6) == GOLDEN
