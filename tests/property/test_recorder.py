"""Invariants 1 and 8 of the design, for the recorder and the spool."""

import threading
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage import landing
from storage.errors import UsageError
from warpdrive_agent.counters import CounterPage
from warpdrive_agent.identity import Identity
from warpdrive_agent.outlet import SpoolOutlet
from warpdrive_agent.recorder import Recorder, new_boot
from warpdrive_agent.segments import ACTIVE
from warpdrive_agent.shipper import Pace, Shipper
from warpdrive_agent.spool import Spool

RAW = ("read", "b", "p", None, 1_700_000_000_000_000_000, 1, 1, 1, 1000, "", 0, False, 1)
PACE = Pace(batch_events=100, flush_seconds=5, upload_seconds=60, upload_bytes=8 * 1024**2)


def make_recorder(capacity=50_000, rate=1.0):
    boot = new_boot()
    return Recorder("n", boot, CounterPage(None, boot), rate=rate, queue_events=capacity)


@given(st.lists(st.one_of(st.just("record"), st.integers(0, 5))), st.integers(0, 5))
def test_every_recorded_event_is_queued_taken_or_counted_as_dropped(steps, capacity):
    recorder, recorded, seen = make_recorder(capacity), 0, []
    for step in steps:
        if step == "record":
            recorder.record(RAW)
            recorded += 1
        else:
            seen += [seq for seq, _ in recorder.take(step)]
        assert recorder.recorded == recorded
        assert recorder.queued <= capacity
        assert recorded == len(seen) + recorder.queued + recorder.dropped
    assert seen == sorted(set(seen)), "numbers rise, none twice"


@given(st.floats(allow_nan=True))
def test_a_sampling_rate_outside_0_to_1_is_refused(rate):
    if 0 <= rate <= 1:
        make_recorder(rate=rate)
    else:
        with pytest.raises(UsageError):
            make_recorder(rate=rate)


@pytest.mark.parametrize(("rate", "kept"), [(0.0, 0), (1.0, 500)])
def test_rate_0_keeps_nothing_and_rate_1_everything(rate, kept):
    recorder = make_recorder(rate=rate)
    for _ in range(500):
        recorder.sample(RAW)
    assert recorder.recorded == recorder.queued == kept


def test_threads_lose_nothing_and_share_no_number():
    recorder = make_recorder(capacity=2_000)
    threads = [
        threading.Thread(target=lambda: [recorder.record(RAW) for _ in range(5_000)])
        for _ in range(4)
    ]
    taken = []
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        taken += recorder.take(500)
    for thread in threads:
        thread.join()
    taken += recorder.take(10**6)
    assert recorder.recorded == 20_000
    assert len({seq for seq, _ in taken}) == len(taken) == 20_000 - recorder.dropped


def test_after_close_an_event_is_counted_as_dropped_not_accepted_and_lost():
    recorder = make_recorder()
    recorder.close()
    recorder.record(RAW)
    assert (recorder.recorded, recorder.queued, recorder.dropped) == (1, 0, 1)


class Kept:
    """A sink that keeps segments, or refuses to answer."""

    prompt = False

    def __init__(self):
        self.segments = {}

    def send(self, name, data):
        self.segments[name] = data

    def close(self):
        pass


def shipper_over(folder: Path, sink, capacity=50_000):
    boot = new_boot()
    spool = Spool(folder, node="n", boot=boot, max_bytes=10**9)
    recorder = Recorder("n", boot, spool.page, rate=1.0, queue_events=capacity)
    return Shipper(recorder, Identity(), SpoolOutlet(spool, sink), PACE, ["b"]), spool


def events_in(segments):
    lines = [
        line
        for name, data in segments.items()
        for line in landing.decompress(name, data, 10**9).splitlines()
    ]
    return [msgspec.json.decode(line, type=landing.Event) for line in lines]


STEPS = st.lists(
    st.sampled_from(["record", "flush", "seal", "kill in a write", "kill"]), max_size=30
)


@settings(max_examples=60, deadline=None)
@given(st.lists(STEPS, max_size=30))
def test_a_killed_agent_accounts_for_every_event(tmp_path_factory, steps):
    """Recorded = in a segment + reported as lost, per boot, whatever the order of events."""
    folder = tmp_path_factory.mktemp("spool")
    sink, recorded = Kept(), {}
    shipper, spool = shipper_over(folder, sink)
    for step in [*steps, "kill"]:
        if step == "record":
            shipper.recorder.record(RAW)
            recorded[spool.boot] = recorded.get(spool.boot, 0) + 1
        elif step == "flush":
            shipper.flush()
        elif step == "seal":
            shipper.flush()
            shipper.outlet.seal()
        else:
            if step == "kill in a write":
                with (folder / ACTIVE).open("ab") as file:
                    file.write(b'{"ts":"2026-')
            spool.close(clean=False)  # what a kill leaves: books not closed, queue gone
            shipper, spool = shipper_over(folder, sink)
    for name in spool.pending():
        sink.send(*(spool.load(name) or ()))
    spool.close(clean=True)
    found = events_in(sink.segments)
    assert len({(e.boot, e.seq) for e in found}) == len(found)
    for boot, count in recorded.items():
        reads = sum(e.boot == boot and e.op == "read" for e in found)
        lost = sum(e.drops or 0 for e in found if e.boot == boot and e.op == "agent")
        assert count == reads + lost
