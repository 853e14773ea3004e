"""`refresh --watch`, with a real clock: from an event to the report that shows it."""

import json
import re
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from lake import published
from storage import clock
from storage.landing import compress, hour_of, segment_name

ROOT = Path(__file__).parents[2]
GOAL_SECONDS = 120.0
WATCH = """
import sys
from pipelines import commands
from storage.config import load_config
commands.watch(load_config(sys.argv[1]), lambda text: print(text, flush=True), float(sys.argv[2]))
"""


def land(home, seq, seconds_held):
    """A segment of one event that an agent kept so long before it shipped it; when it happened."""
    at = clock.now()
    line = {"ts": at.isoformat(), "user": f"user{seq}", "backend": "data", "path": "p",
            "op": "read", "bytes_read": 1, "seq": seq, "boot": "ab" * 8, "node": "n"}  # fmt: skip

    def ship():
        name = segment_name(hour_of(clock.now()), "n", "ab" * 8, seq, seq)
        home.land(f"{name}.half", raw=compress([json.dumps(line).encode() + b"\n"]))
        (home.landing / f"{name}.half").rename(home.landing / name)

    threading.Timer(seconds_held, ship).start()
    return at


def lags(home, events, every_seconds, held_seconds, between_seconds, within_seconds):
    """Seconds from each event to the generation that shows its user; what the watch said."""
    command = [sys.executable, "-c", WATCH, str(home.file), str(every_seconds)]
    said = home.folder / "said"
    with said.open("w") as told:
        watch = subprocess.Popen(command, cwd=ROOT, stdout=told, stderr=subprocess.STDOUT)
    try:
        happened, shown = {}, {}
        end, landed_at = time.monotonic() + within_seconds, 0.0
        while len(shown) < events or "p95" not in said.read_text():
            assert time.monotonic() < end, f"{len(shown)} of {events} shown: {said.read_text()}"
            if len(happened) < events and time.monotonic() - landed_at > between_seconds:
                landed_at = time.monotonic()
                number = len(happened) + 1
                happened[f"user{number}"] = land(home, number, held_seconds)
            for row in published.current(home.config.lake.root).rows("usage-user-owner"):
                shown.setdefault(row["group"], clock.now())
            time.sleep(0.05)
    finally:
        watch.kill()
        watch.wait()
    return [(shown[user] - at).total_seconds() for user, at in happened.items()], said.read_text()


def p95(values):
    return statistics.quantiles(values, n=20, method="inclusive")[-1]


def test_watch_shows_events_and_says_the_lag(home):
    """At a short interval: a few seconds, most of them the runs' own."""
    found, said = lags(home, 4, 0.2, 0.1, 2.0, 100)
    assert p95(found) < GOAL_SECONDS / 2
    assert re.search(r"Ingested \d+ events .*, up to \d+ s after the event", said)
    told = [int(s) for s in re.findall(r"ingest lag (\d+) s \(p95\)", said)]
    assert 0 <= told[-1] <= max(found) + 1
    assert published.current(home.config.lake.root).ingest_lag_seconds is not None


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_event_to_usage_is_within_two_minutes(home):
    """At default settings: an agent ships after 60 s and a jitter of 20 % at most, watch looks
    every 15 s."""
    from pipelines.commands import WATCH_SECONDS

    found, _ = lags(home, 30, WATCH_SECONDS, 72.0, 5.0, 600)
    print(f"p95 {p95(found):.0f} s, most {max(found):.0f} s")  # noqa: T201
    assert p95(found) <= GOAL_SECONDS
