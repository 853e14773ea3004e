"""Ingest killed at every commit, and with the answers to its commits lost: exactly once."""

import datetime as dt
import json
import subprocess
import sys

import pytest

from lake.schemas import EVENTS, LEDGER, QUARANTINE
from lake.store import Lake
from pipelines import fold, ingest
from pipelines.refresh import refresh
from storage import clock
from storage.landing import compress, hour_of, segment_name
from storage.objectstore import open_store, put_if_absent

NOW = clock.now()
HOUR = hour_of(NOW)
EARLIER = hour_of(NOW - dt.timedelta(hours=3))
WINDOW = ingest.Window(NOW, dt.timedelta(days=400))
BOOT = "0123456789abcdef"
ROOT = str(__import__("pathlib").Path(__file__).parents[2])

# The n-th write of the lake is the last thing this process does: SIGKILL before or after it.
KILLED = """
import datetime as dt, os, signal, sys
from lake.store import Lake
from pipelines import ingest
from storage import clock
root, landing, point, when = sys.argv[1:]
seen = [0]
def wrap(real):
    def write(self, *args, **how):
        seen[0] += 1
        if seen[0] == int(point) and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        found = real(self, *args, **how)
        if seen[0] == int(point):
            os.kill(os.getpid(), signal.SIGKILL)
        return found
    return write
for name in ("commit", "append", "delete"):
    setattr(Lake, name, wrap(getattr(Lake, name)))
ingest.ingest(Lake(root), landing, ingest.Window(clock.now(), dt.timedelta(days=400)))
"""


def line(path):
    at = (NOW - dt.timedelta(hours=1)).isoformat()
    return json.dumps({"ts": at, "user": "ann", "backend": "data", "path": path, "op": "read",
                       "bytes_read": 1}).encode() + b"\n"  # fmt: skip


def land(landing, paths, hour, first=1):
    """An agent's segment with one read of each path; its name."""
    name = segment_name(hour, "n1", BOOT, first, first + len(paths) - 1)
    put_if_absent(open_store(landing), name, compress([b"".join(map(line, paths))]))
    return name


def told(lake):
    """Paths, refused lines and the state of every object."""
    rows = ingest.ledger(lake).to_dicts()
    return (
        sorted(lake.scan(EVENTS).collect()["path"].to_list()),
        lake.scan(QUARANTINE).select("object", "line").collect().rows(),
        {row["object"]: (row["state"], row["events"], row["quarantined"]) for row in rows},
    )


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("point", [1, 2, 3, 4, 5])
def test_a_kill_at_any_commit_loses_and_doubles_nothing(home, point, when):
    """Removal of a loser's rows (1, 2), quarantine, events, ledger: the next ingest is whole.

    The lease of the killed one does not hold up the next.
    """
    landing = str(home.landing)
    loser = land(landing, ["a", "b"], HOUR)
    ingest.ingest(home.lake, landing, WINDOW)
    winner = land(landing, ["a", "b"], EARLIER)
    home.land("other.jsonl", raw=line("c") + b"bad\n")
    args = [home.config.lake.root, landing, str(point), when]
    child = subprocess.run(
        [sys.executable, "-c", KILLED, *args], capture_output=True, cwd=ROOT, check=False
    )
    assert child.returncode == -9, child.stderr.decode()
    begin = clock.now()
    ingest.ingest(home.lake, landing, WINDOW)
    assert clock.now() - begin < dt.timedelta(seconds=30)
    assert told(home.lake) == (
        ["a", "b", "c"],
        [("other.jsonl", 2)],
        {loser: ("duplicate", 0, 0), winner: ("ingested", 2, 0), "other.jsonl": ("ingested", 1, 1)},
    )
    assert ingest.ingest(home.lake, landing, WINDOW).objects == 0


@pytest.fixture
def remote(moto_server, fault_proxy, monkeypatch):
    """Lake and landing zone in a bucket that is reached through a proxy."""
    for name, value in moto_server.at(fault_proxy.url).environ().items():
        monkeypatch.setenv(name, value)
    bucket = moto_server.bucket()
    return Lake(f"s3://{bucket}/lake"), f"s3://{bucket}/landing"


@pytest.mark.parametrize("table", ["quarantine", "events", "ledger"])
@pytest.mark.parametrize("fault", ["after", "reset", "500"])
def test_a_commit_whose_answer_is_lost_counts_once(remote, fault_proxy, table, fault):
    """The store did it and the connection broke, or it never came: told apart by reading back."""
    lake, landing = remote
    first = land(landing, ["a"], HOUR)
    ingest.ingest(lake, landing, WINDOW)
    name = land(landing, ["b", "c"], HOUR, first=2)
    put_if_absent(open_store(landing), "other.jsonl", line("d") + b"bad\n")
    fault_proxy.fault(fault, match=rf"PUT .*/{table}/_delta_log/\d+\.json")
    ingest.ingest(lake, landing, WINDOW)
    assert fault_proxy.asked(rf"PUT .*/{table}/_delta_log/\d+\.json")
    fault_proxy.heal()
    expected = (
        ["a", "b", "c", "d"],
        [("other.jsonl", 2)],
        {first: ("ingested", 1, 0), name: ("ingested", 2, 0), "other.jsonl": ("ingested", 1, 1)},
    )
    assert told(lake) == expected
    ingest.ingest(lake, landing, WINDOW)
    assert told(lake) == expected
    assert lake.scan(LEDGER).collect().height == 3


def test_an_ingest_that_lost_its_lease_commits_nothing(home, monkeypatch):
    """A process that slept through its term finds another at work, and stops."""
    from lake import lease
    from storage.errors import LakeError

    land(str(home.landing), ["a"], HOUR)
    real = lease.Lease.try_acquire

    def lost_at_once(self):
        found = real(self)
        self.lost = True
        return found

    monkeypatch.setattr(lease.Lease, "try_acquire", lost_at_once)
    with pytest.raises(LakeError, match="lost its lease"):
        ingest.ingest(home.lake, str(home.landing), WINDOW)
    assert told(home.lake)[0] == []


def test_a_batch_number_that_is_taken_is_not_taken_for_done(home, monkeypatch):
    """Two that chose the same number: the later one says so, and the next ingest puts it right."""
    from storage.errors import LakeError

    land(str(home.landing), ["a"], HOUR)
    ingest.ingest(home.lake, str(home.landing), WINDOW)
    land(str(home.landing), ["b"], HOUR, first=2)
    monkeypatch.setattr(ingest, "recover", lambda _: 1)
    with pytest.raises(LakeError, match="another ingest"):
        ingest.ingest(home.lake, str(home.landing), WINDOW)
    monkeypatch.undo()
    ingest.ingest(home.lake, str(home.landing), WINDOW)
    assert told(home.lake)[0] == ["a", "b"]


def reads(home):
    """Reads by ann as published, as asked of the events, and for an as-of."""
    usage = home.run("usage", "--format", "csv").rows
    asked = home.run("user", "ann", "--format", "csv").rows
    at = (clock.now() - dt.timedelta(minutes=1)).isoformat()
    then = home.run("usage", "--as-of", at, "--format", "csv").rows
    return [
        sum(int(row["read_count"]) for row in rows if row.get("group", "ann") == "ann")
        for rows in (usage, asked, then)
    ]


def test_events_without_a_ledger_row_count_for_nobody(home):
    """An ingest is killed between the two: whoever reads meanwhile sees what is in the ledger."""
    landing = str(home.landing)
    land(landing, ["a"], HOUR)
    ingest.ingest(home.lake, landing, WINDOW)
    land(landing, ["b", "c"], HOUR, first=2)
    args = [home.config.lake.root, landing, "2", "before"]
    subprocess.run([sys.executable, "-c", KILLED, *args], cwd=ROOT, check=False)
    assert home.lake.scan(EVENTS).collect().height == 3
    refresh(home.config, now=clock.now(), rebuild=True)
    assert reads(home) == [1, 1, 1]
    ingest.ingest(home.lake, landing, WINDOW)
    refresh(home.config, now=clock.now())
    assert reads(home) == [3, 3, 3]


def test_what_is_ingested_while_days_are_looked_up_is_folded_the_next_time(home, monkeypatch):
    """Not taken for folded: the ledger is read before the events."""
    landing = str(home.landing)
    land(landing, ["a"], HOUR)
    ingest.ingest(home.lake, landing, WINDOW)
    real = fold.event_files

    def files(*args):
        monkeypatch.setattr(fold, "event_files", real)
        land(landing, ["b"], HOUR, first=2)
        ingest.ingest(home.lake, landing, WINDOW)
        return real(*args)

    monkeypatch.setattr(fold, "event_files", files)
    refresh(home.config, now=clock.now())
    refresh(home.config, now=clock.now())
    assert reads(home)[0] == 2
