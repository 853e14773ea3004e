"""Crawls killed with SIGKILL: at every write, while it lists, and a listing that goes on after."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import polars as pl
import pytest

from lake.lease import TERM
from lake.metrics.index import replay
from lake.schemas import FILE_CHANGES, FILES
from lake.store import Lake
from pipelines.crawl import CrawlOptions, crawl, latest_listings
from storage import clock
from storage.config import load_config

ROOT = Path(__file__).parents[2]
# The process kills itself at the n-th call of a function, before or after it.
KILLED = """
import datetime as dt, importlib, os, signal, sys
file, place, point, when, *small = sys.argv[1:]
module, _, path = place.partition(":")
owner = importlib.import_module(module)
*names, last = path.split(".")
for name in names:
    owner = getattr(owner, name)
real, seen = getattr(owner, last), [0]
def killed(*args, **how):
    seen[0] += 1
    if seen[0] == int(point) and when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    found = real(*args, **how)
    if seen[0] == int(point):
        os.kill(os.getpid(), signal.SIGKILL)
    return found
setattr(owner, last, killed)
import pipelines.staging, storage.listing.s3, storage.listing.staging
if small:
    pipelines.staging.RUN_ROWS = pipelines.staging.RANGE_ROWS = 100
    pipelines.staging.BLOCK_ROWS = 20
    storage.listing.s3.PAGE_KEYS = storage.listing.staging.SAVE_ROWS = 40
from lake.store import Lake
from pipelines.crawl import CrawlOptions, crawl
from storage import clock
from storage.config import load_config
config = load_config(file)
print(crawl(Lake(config.lake.root), config.backends[0], CrawlOptions(clock.now())))
"""
# Where: the commits of file_changes, listings, files; parts of large ranges; the sort.
PLACES = [
    ("lake.store:Lake.commit", 1), ("lake.store:Lake.commit", 2), ("lake.store:Lake.commit", 3),
    *(
        pytest.param(*place, marks=pytest.mark.slow)
        for place in (
            ("pipelines.crawl:compared", 1), ("pipelines.crawl:write_part", 1),
            ("pipelines.index:write_part", 1),
            ("pipelines.index:write_part", 3), ("pipelines.staging:Staged._spill", 1),
            ("pipelines.crawl:shutil.rmtree", 2),
        )
    ),
]  # fmt: skip


def dies(*args):
    command = [sys.executable, "-c", KILLED, *map(str, args)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, (done.stdout, done.stderr)


def files_of(lake):
    return dict(lake.scan(FILES).select("path", "size_bytes").collect().iter_rows())


def is_whole(lake, truth):
    """Index, changes and listings say the same, and that is what is there."""
    assert files_of(lake) == truth
    nothing = pl.LazyFrame(schema=FILES.schema)
    again = replay(nothing, lake.scan(FILE_CHANGES)).collect()
    assert dict(again.select("path", "size_bytes").iter_rows()) == truth
    last = latest_listings(lake).tail(1).to_dicts()[0]
    assert (last["state"], last["files"], last["bytes"]) == (
        "complete", len(truth), sum(truth.values()),
    )  # fmt: skip
    told = lake.scan(FILE_CHANGES).select("listing", "path").collect()
    assert told.n_unique() == told.height


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("place", "point"), PLACES, ids=lambda v: str(v).rpartition(":")[2])
def test_a_kill_anywhere_loses_and_doubles_nothing(home, place, point, when):
    """The index is of before or of after at once, and whole after the next crawl."""
    names = [f"f{n:03}" for n in range(250)]
    for name in names:
        (home.root() / name).write_text("1")
    backend = home.config.backends[0]
    crawl(home.lake, backend, CrawlOptions(clock.now()))
    before = dict.fromkeys(names, 1)
    for name in names[::5]:
        (home.root() / name).unlink()
        (home.root() / f"new-{name}").write_text("22")
    (home.root() / names[1]).write_text("333")
    gone = dict.fromkeys(names[::5])
    after = {n: 1 for n in names if n not in gone} | {f"new-{n}": 2 for n in gone} | {names[1]: 3}
    dies(home.file, place, point, when, "small")
    assert files_of(home.lake) in (before, after)
    begun = clock.now()
    crawl(home.lake, backend, CrawlOptions(clock.now()))
    # The dead one's lease holds up nobody: renewed every third of it, it had two thirds at least.
    assert clock.now() - begun < TERM * 2 / 3
    is_whole(home.lake, after)
    assert not [p for p in Path(home.config.lake.root).glob("staging/*") if list(p.iterdir())]


def test_a_listing_that_was_killed_goes_on(moto_server, fault_proxy, tmp_path, monkeypatch):
    """kill -9 while a page is on its way: what was saved is not asked for again."""
    monkeypatch.setattr("storage.listing.s3.PAGE_KEYS", 40)
    monkeypatch.setattr("storage.listing.staging.SAVE_ROWS", 40)
    keys = [f"k/{i:04d}" for i in range(400)]
    bucket = moto_server.bucket(dict.fromkeys(keys, b"1"))
    line = moto_server.at(fault_proxy.url).backend(bucket, more="crawl: {parallel: 1}")
    file = tmp_path / "warpdrive.yaml"
    file.write_text(f"lake: {{root: {tmp_path}/lake}}\nbackends:\n  - {line}\n")
    config = load_config(str(file))
    fault_proxy.fault("hang", match=r"start-after=k%2F0279", n=1)
    nowhere = ("pipelines.crawl:latest_listings", 99, "before", "small")
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(file), *map(str, nowhere)], cwd=ROOT,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    watch = threading.Timer(60, child.kill)
    watch.start()
    fault_proxy.wait(r"start-after=k%2F0279")
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait(30) == -signal.SIGKILL
    watch.cancel()
    fault_proxy.heal()
    asked = len(fault_proxy.log)
    lake = Lake(config.lake.root)
    assert files_of(lake) == {}
    found = crawl(lake, config.backends[0], CrawlOptions(clock.now()))
    assert (found.state, found.files) == ("complete", 400)
    assert len(fault_proxy.log) - asked <= 4  # 120 keys are left, 40 a page
    is_whole(lake, dict.fromkeys(keys, 1))
    assert not list(Path(config.lake.root).glob("_staging/**/*.*"))
