"""A refresh killed with SIGKILL at every commit: the next one answers as if nothing had been."""

import datetime as dt
import json
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from lake import published
from lake.read import Reader
from lake.schemas import FILE_READER, QUOTA_EVENTS
from lake.store import Lake
from pipelines import ingest
from pipelines.crawl import CrawlOptions, crawl
from pipelines.refresh import refresh
from storage import clock
from storage.landing import compress, hour_of, segment_name
from tests.home import Home

ROOT = Path(__file__).parents[2]
NOW = clock.now()
DAY = dt.timedelta(days=1)
OLD, BEFORE = NOW - 10 * DAY, NOW - 5 * DAY
# The process kills itself before or after the n-th call that names a table (or none).
KILLED = """
import datetime as dt, importlib, os, signal, sys
file, at, place, table, point, when = sys.argv[1:]
module, _, path = place.partition(":")
owner = importlib.import_module(module)
*names, last = path.split(".")
for name in names:
    owner = getattr(owner, name)
real, seen = getattr(owner, last), [0]
def killed(*args, **how):
    seen[0] += not table or any(getattr(arg, "name", "") == table for arg in args)
    if seen[0] == int(point) and when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    found = real(*args, **how)
    if seen[0] == int(point):
        os.kill(os.getpid(), signal.SIGKILL)
    return found
setattr(owner, last, killed)
from pipelines.refresh import refresh
from storage.config import load_config
refresh(load_config(file), now=dt.datetime.fromisoformat(at))
"""
WRITES = ("commit", "append", "replace", "replace_parts")
# Every write of the lake that the refresh below makes, in order: the n-th one of that table.
POINTS = [
    ("commit", "file_state", 1),  # the base is wrong: an access was taken back
    ("commit", "agents", 1), ("commit", "access_daily", 1), ("commit", "file_state", 2),
    ("commit", "file_user", 1), ("commit", "activity", 1),
    # every state anew from access_daily, then the base of sealed days
    ("commit", "activity", 2), ("commit", "file_user", 2), ("commit", "file_state", 3),
    ("commit", "user_daily", 1), ("commit", "user_files", 1), ("commit", "user_jobs", 1),
    ("commit", "file_state", 4), ("commit", "file_user", 3),
    ("replace_parts", "stale_index", 1), ("replace", "usage", 1), ("replace", "growth", 1),
    ("replace", "backends", 1), ("replace", "stale_rollup", 1), ("commit", "file_reader", 1),
    ("append", "quota_events", 1), ("replace", "quota_status", 1),
]  # fmt: skip
PUBLISHING = [
    ("create", 1), ("write_new", 1), ("write_new", 7), ("_control", 1), ("write_if_unchanged", 1),
    ("_tidy", 1),
]  # fmt: skip
QUICK = {("commit", "file_state", 1), ("replace_parts", "stale_index", 1),
         ("append", "quota_events", 1), ("write_if_unchanged", "", 1)}  # fmt: skip
PLACES = [
    pytest.param(
        place, table, point, when, id=f"{name}-{table}{point}-{when}",
        marks=() if when == "after" and (name, table, point) in QUICK else pytest.mark.slow,
    )
    for name, place, table, point in (
        *((n, f"lake.store:Lake.{n}", t, p) for n, t, p in POINTS),
        *((n, f"lake.publish:{n}", "", p) for n, p in PUBLISHING),
    )
    for when in ("before", "after")
]  # fmt: skip


def land(home, at, first, *events):
    """An agent's segment in the landing hour of an instant: user, path, op, bytes."""
    lines = [
        json.dumps({
            "ts": at.isoformat(), "user": user, "backend": "data", "path": path, "op": op,
            f"bytes_{'written' if op == 'write' else 'read'}": size, "node": "n1",
        }).encode() + b"\n"
        for user, path, op, size in events
    ]  # fmt: skip
    beat = {"ts": at.isoformat(), "op": "agent", "node": "n1", "user": "", "backend": "",
            "path": "", "backends": ["data"], "boot": "ab" * 8, "seq": first}  # fmt: skip
    lines.append(json.dumps(beat).encode() + b"\n")
    name = segment_name(hour_of(at), "n1", "ab" * 8, first, first + len(lines) - 1)
    home.land(name, raw=compress(lines))


def taken_in(home, at, files):
    """What landed is ingested, and the backend with these files crawled."""
    ingest.ingest(home.lake, str(home.landing), ingest.Window(NOW, dt.timedelta(days=400)))
    for path, size in files.items():
        place = home.root() / path
        place.parent.mkdir(exist_ok=True)
        place.unlink() if size is None else place.write_bytes(b"x" * size)
    options = CrawlOptions(at, allow_removal=True)
    assert crawl(home.lake, home.config.backend("data"), options).error == ""


@pytest.fixture(scope="module")
def lakes(tmp_path_factory):
    """A refreshed lake to which much has come since, and what an undisturbed refresh makes of it.

    An access of a folded day was taken back, owners and readers change, a quota is crossed.
    """
    home = Home(tmp_path_factory.mktemp("lake"))
    land(home, OLD, 1, ("ann", "p/a", "write", 10), ("bob", "p/c", "read", 50))
    land(home, OLD, 9, ("cid", "p/b", "write", 7))
    taken_in(home, BEFORE, {"p/a": 10, "p/b": 7, "p/c": 50, "p/d": 1})
    for args in (("team", "add", "ann", "vision"), ("rule", "add", "data:q", "audio"),
                 ("quota", "set", "--team", "vision", "--hard", "60")):  # fmt: skip
        assert home.run(*args).code == 0
    refresh(home.config, now=BEFORE)
    land(home, OLD, 9, ("dan", "p/b", "write", 7_000))
    land(home, NOW - DAY, 20, ("ann", "p/c", "read", 200), ("eve", "q/e", "write", 9),
         ("bob", "p/d", "read", 1))  # fmt: skip
    taken_in(home, NOW - DAY / 24, {"p/a": 20, "p/d": None, "q/e": 9, "q/f": 3})
    old = answers(home)
    whole = copied(home, tmp_path_factory.mktemp("whole"))
    writes = []
    with pytest.MonkeyPatch.context() as patch:
        for name in WRITES:
            patch.setattr(Lake, name, recorded(getattr(Lake, name), name, writes))
        refresh(whole.config, now=NOW)
    return home, old, (answers(whole), kept(whole)), writes


def recorded(real, name, writes):
    """The method, which says what it writes."""

    def write(self, table, *args, **how):
        writes.append((name, table.name))
        return real(self, table, *args, **how)

    return write


def copied(home, folder):
    """The same lake in another place."""
    shutil.copytree(home.folder, folder, dirs_exist_ok=True)
    return Home(folder)


def answers(home):
    """Every published document, and questions that go to the tables."""
    reader = Reader(home.config)
    now = published.current(home.config.lake.root)
    return {
        **{name: now.rows(name) for name in now.documents},
        "files": reader.stale(0), "files of 8 bytes": reader.stale_total(1, 8),
        "deep": reader.usage("prefix", depth=2),
        **{name: reader.user(name) for name in ("ann", "bob", "cid", "dan", "eve")},
    }  # fmt: skip


def kept(home):
    """What only tables tell: crossings of limits, and readers by which files are owned."""
    found = [home.lake.scan(table).collect() for table in (QUOTA_EVENTS, FILE_READER)]
    return [frame.sort(frame.columns).rows() for frame in found]


def test_the_points_are_all_that_a_refresh_writes(lakes):
    """A new write of the refresh has to be killed below too."""
    _, old, (new, _), writes = lakes
    counted, points = Counter(), []
    for write in writes:
        counted[write] += 1
        points.append((*write, counted[write]))
    assert points == POINTS
    assert {name for name in new if old[name] == new[name]} == {"team", "alias", "stale"}


@pytest.mark.parametrize(("place", "table", "point", "when"), PLACES)
def test_a_kill_anywhere_changes_no_answer(lakes, tmp_path, place, table, point, when):
    """Readers see the one or the other meanwhile, never a mixture; the next refresh is whole.

    The lease of the killed one does not hold up the next.
    """
    home, old, (new, crossed), _ = lakes
    one = copied(home, tmp_path)
    args = [one.file, NOW.isoformat(), place, table, str(point), when]
    child = subprocess.run(
        [sys.executable, "-c", KILLED, *map(str, args)], cwd=ROOT, capture_output=True, check=False
    )
    assert child.returncode == -signal.SIGKILL, child.stderr.decode()
    assert answers(one) in (old, new)
    begin = clock.now()
    refresh(one.config, now=NOW)
    assert clock.now() - begin < dt.timedelta(seconds=30)
    assert (answers(one), kept(one)) == (new, crossed)
