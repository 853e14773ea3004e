# pyright: reportArgumentType=false
"""The agent without FUSE: what it records, where it goes, how it stops."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec
import pytest

from storage import landing
from storage.config import load_config
from storage.errors import UnknownNameError
from storage.landing import Event
from warpdrive_agent import agent as agent_module
from warpdrive_agent import shipper as shipper_module
from warpdrive_agent.agent import Agent


@pytest.fixture
def make(tmp_path):
    opened = []
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "f").write_bytes(b"x" * 1000)

    def open_agent(telemetry="sink: memory, sample_metadata_ops: 1", node="n"):
        config = tmp_path / "warpdrive.yaml"
        config.write_text(
            f"cache: {{path: ./cache}}\ntelemetry: {{enabled: true, landing: ./landing, {telemetry}}}\n"  # noqa: E501
            "backends: [{name: b, type: local, config: {root: ./data}}]\n"
        )
        opened.append(Agent(load_config(str(config)), node))
        return opened[-1]

    yield open_agent
    for agent in opened:
        agent.close()


def kept(agent):
    return [msgspec.json.decode(line, type=Event) for line in agent._shipper.outlet._sink.lines]


def landed(folder: Path):
    found = []
    for path in (folder / "landing").rglob("*.zst"):
        lines = landing.decompress(path.name, path.read_bytes(), 10**9).splitlines()
        found += [msgspec.json.decode(line, type=Event) for line in lines]
    return sorted(found, key=lambda event: event.seq)


def test_one_event_per_handle_sums_its_reads(make):
    agent = make()
    handle = agent.open("b", "f", 0)
    assert [len(handle.read(at, 400)) for at in (0, 400, 800, 1200)] == [400, 400, 200, 0]
    handle.close()
    handle.close()
    agent.flush()
    (event,) = [e for e in kept(agent) if e.op == "read"]
    assert (event.bytes_read, event.bytes_hit, event.count, event.size) == (1000, 1000, 3, 1000)
    assert agent.stats()["delivered_bytes"] == 1000


def test_stat_list_and_failures_are_events_too(make):
    agent = make()
    agent.stat("b", "f", 0)
    agent.list("b", "", 0)
    with pytest.raises(FileNotFoundError):
        agent.open("b", "nope", 0)
    with pytest.raises(UnknownNameError):
        agent.stat("c", "f")
    agent.flush()
    seen = [(e.op, e.path, e.error, e.bytes_read) for e in kept(agent) if e.op != "agent"]
    assert seen == [("stat", "f", "", 0), ("list", "", "", 0), ("read", "nope", "ENOENT", 0)]


def test_long_handles_hand_in_deltas_that_add_up(make, monkeypatch):
    monkeypatch.setattr(agent_module, "DELTA_SECONDS", 0.0)
    agent = make()
    handle = agent.open("b", "f", 0)
    for _ in range(3):
        handle.read(0, 100)
        agent.flush()
    agent.flush()
    handle.close()
    agent.flush()
    reads = [e for e in kept(agent) if e.op == "read"]
    assert [e.bytes_read for e in reads] == [100, 100, 100]
    assert len({e.ts_open for e in reads}) == 1


@pytest.mark.parametrize("telemetry", ["sink: nop", "sink: memory, enabled: false"])
def test_switched_off_keeps_nothing(make, tmp_path, telemetry):
    agent = make(telemetry.replace(", enabled: false", ""))
    if "false" in telemetry:
        agent.close()
        config = load_config(str(tmp_path / "warpdrive.yaml"))
        off = with_telemetry(config, enabled=False)
        agent = Agent(off, "n")
    agent.open("b", "f", 0).close()
    assert agent.close()
    assert not (tmp_path / "landing").exists()


def with_telemetry(config, **telemetry):
    return config._replace(telemetry=config.telemetry._replace(**telemetry))


def test_defaults_are_100_events_and_5_seconds(make):
    pace = make()._shipper.pace
    assert (pace.batch_events, pace.flush_seconds) == (100, 5.0)
    assert (pace.upload_seconds, pace.upload_bytes) == (60.0, 8 * 1024**2)


def test_a_full_batch_is_flushed_without_the_timer(make):
    agent = make("sink: memory, batch_size: 10, flush_interval: 1h")
    for _ in range(10):
        agent.open("b", "f", 0).close()
    deadline = time.monotonic() + 5
    while len(kept(agent)) < 10:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_timer_flushes_a_batch_that_is_not_full(make):
    agent = make("sink: memory, batch_size: 1000, flush_interval: 200ms")
    agent.open("b", "f", 0).close()
    deadline = time.monotonic() + 5
    while not any(e.op == "read" for e in kept(agent)):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_close_delivers_the_rest_and_twice_is_harmless(make, tmp_path):
    agent = make("sink: objectstore")
    open_handle = agent.open("b", "f", 0)
    open_handle.read(0, 10)
    assert agent.close()
    assert agent.close()
    events = landed(tmp_path)
    assert [e.bytes_read for e in events if e.op == "read"] == [10]
    assert [e.seq for e in events] == list(range(1, len(events) + 1))
    assert events[-1].op == "agent"
    assert events[-1].backends == ["b"]
    stats = agent.stats()
    assert (stats["recorded"], stats["spooled"], stats["dropped"], stats["queued"]) == (
        len(events), len(events), 0, 0,
    )  # fmt: skip
    assert stats["uploaded_segments"] == 1
    open_handle.close()


def test_heartbeats_tell_backends_and_drops(make, monkeypatch):
    monkeypatch.setattr(shipper_module, "HEARTBEAT_SECONDS", 0.1)
    agent = make("sink: memory, flush_interval: 100ms, sample_metadata_ops: 0")
    agent.recorder._limit = 0
    agent.open("b", "f", 0).close()
    time.sleep(0.3)
    agent.recorder._limit = 1000
    deadline = time.monotonic() + 5
    while not any(e.op == "agent" and e.drops for e in kept(agent)):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    drops = [e.drops for e in kept(agent) if e.op == "agent"]
    assert drops == sorted(drops)
    gaps = agent.recorder.recorded - len(kept(agent)) - agent.recorder.queued
    assert agent.stats()["dropped"] >= 1
    assert gaps >= 0


def test_a_sink_that_is_down_loses_nothing(make, tmp_path):
    (tmp_path / "landing").mkdir()
    agent = make("sink: http, control_plane_addr: 'http://127.0.0.1:9'")
    agent.open("b", "f", 0).close()
    begin = time.monotonic()
    assert not agent.close()
    assert time.monotonic() - begin < 6
    again = make("sink: objectstore")
    again.close()
    events = landed(tmp_path)
    assert sum(e.op == "read" for e in events) == 1
    assert {e.drops for e in events if e.op == "agent"} == {0}


def test_reads_from_many_threads_add_up(make):
    agent = make()
    handle = agent.open("b", "f", 0)
    threads = [
        threading.Thread(target=lambda: [handle.read(0, 10) for _ in range(200)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    handle.close()
    agent.flush()
    (event,) = [e for e in kept(agent) if e.op == "read"]
    assert (event.bytes_read, event.count) == (8000, 800)


def test_the_agent_imports_neither_engine_nor_fuse():
    """A GPU node starts it in well under a second."""
    heavy = {"polars", "dagster", "deltalake", "pyarrow", "pyfuse3", "trio", "fsspec"}
    code = "import sys, warpdrive_agent.agent, warpdrive_agent.mount; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert not heavy & set(done.stdout.split())
