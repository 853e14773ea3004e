"""Three Ray nodes on this machine give the rows that one process gives, whoever is killed.

`make test-scale` runs it in a network namespace: Ray listens on every address there is.
"""

import datetime as dt
import functools
import json
import os
import random
import shutil
import subprocess
import threading
from pathlib import Path

import deadly
import pytest

from lake import buckets, classes, spread, state
from lake.runner import INLINE, Ray
from lake.schemas import (
    ACCESS_DAILY,
    BACKENDS,
    FILE_READER,
    FILE_STATE,
    FILE_USER,
    GROWTH,
    STALE_INDEX,
    STALE_ROLLUP,
    USAGE,
)
from lake.store import Lake
from pipelines import refresh as refreshing
from storage import clock

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
FILES, EVENTS = 3000, 6000
NOW = clock.now()
COMPARED = (ACCESS_DAILY, FILE_STATE, FILE_USER, STALE_INDEX, STALE_ROLLUP, USAGE, GROWTH, BACKENDS,
            FILE_READER)  # fmt: skip


def alone():
    """Whether this process has a network of its own with nothing but loopback."""
    shown = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True)
    return [line.split(": ")[1] for line in shown.stdout.splitlines()] == ["lo"]


@pytest.fixture(scope="module")
def cluster():
    """A head that runs no tasks, as a driver dies with its node, and two nodes of one CPU each."""
    assert alone(), "run `make test-scale`: Ray must not listen where others could reach it"
    from ray.cluster_utils import Cluster  # pyright: ignore[reportMissingImports]

    # What the nodes start finds the tasks of this folder too.
    here = Path(__file__).resolve()
    os.environ["PYTHONPATH"] = os.pathsep.join(map(str, (here.parents[2], here.parent)))
    node = {"num_cpus": 1, "object_store_memory": 100 * 1024**2, "include_dashboard": False}
    found = Cluster(initialize_head=True, head_node_args={**node, "num_cpus": 0})
    for _ in range(2):
        found.add_node(num_cpus=1, object_store_memory=node["object_store_memory"])
    found.wait_for_nodes()
    yield found
    import ray  # pyright: ignore[reportMissingImports]

    ray.shutdown()
    found.shutdown()


@pytest.fixture(scope="module")
def landed(tmp_path_factory):
    """A lake with files and events that no refresh has seen."""
    from pipelines import crawl, ingest
    from tests.home import Home

    home = Home(tmp_path_factory.mktemp("scale"), backends=("hot", "cold"))
    dice = random.Random(4)
    paths = [(dice.choice(["hot", "cold"]), f"d{n % 7}/e{n % 31}/f{n}") for n in range(FILES)]
    for name, path in paths:
        file = home.root(name) / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x" * dice.randrange(50))
    for day in range(6):
        events = []
        for _ in range(EVENTS // 6):
            name, path = dice.choice(paths)
            at = NOW - dt.timedelta(days=9 - day, seconds=dice.randrange(80_000))
            op = dice.choice(["read", "read", "read", "write", "stat"])
            events.append({
                "ts": at.isoformat(), "user": dice.choice(["ann", "bob", "cid", "unknown"]),
                "backend": name, "path": path, "op": op,
                "bytes_read": dice.randrange(99) if op == "read" else 0,
            })  # fmt: skip
        hour = (NOW - dt.timedelta(days=8 - day)).strftime("dt=%Y-%m-%d/hour=%H")
        home.land(f"{hour}/node=n/{day}.jsonl", *events)
    window = ingest.Window(NOW, dt.timedelta(days=400))
    ingest.ingest(home.lake, str(home.landing), window)
    for name in ("hot", "cold"):
        options = crawl.CrawlOptions(NOW)
        assert crawl.crawl(home.lake, home.config.backend(name), options).state == "complete"
    return home


def refreshed(landed, folder, runner, monkeypatch):
    """A copy of the lake, refreshed by a runner in many small steps: its tables, row by row."""
    for module, name, value in (
        (buckets, "ROWS_AT_ONCE", 400), (spread, "CHUNK_ROWS", 700), (classes, "TOP_ROWS", 500),
        (classes, "CLASS_ROWS", 800), (refreshing, "runner_of", lambda _: runner),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, value)
    shutil.copytree(landed.folder, folder)
    config = landed.file.read_text() + "ownership: {ignore_owners: [root]}\n"
    (folder / "warpdrive.yaml").write_text(config)
    from storage.config import load_config

    found = refreshing.refresh(load_config(str(folder / "warpdrive.yaml")), now=NOW)
    assert found.sums_agree
    lake = Lake(str(folder / "lake"))
    assert not list((folder / "lake" / "_work").iterdir())
    assert len(lake.parts(STALE_INDEX)) == 5
    assert len([p for p in lake.parts(FILE_STATE) if p.partition["bucket"] != "-1"]) == 64
    rows = {t.name: lake.scan(t).collect() for t in COMPARED}
    return {name: frame.sort(frame.columns).rows() for name, frame in rows.items()}, {
        table.name: lake.version(table) for table in (*state.PARTIALS, STALE_INDEX)
    }


class Deadly:
    """A runner that loses a worker, or a node, in the midst of one step."""

    def __init__(self, inner, step, how, cluster, place) -> None:
        self.inner, self.step, self.how = inner, step, how
        self.cluster, self.place = cluster, place

    def map(self, task, values):
        """As the inner runner, with a victim."""
        if task.__name__ != self.step:
            return self.inner.map(task, values)
        assert len(values) > 3
        if self.how == "node":
            threading.Thread(target=self.kill_node, daemon=True).start()
        return self.inner.map(
            functools.partial(deadly.once, task, str(self.place), self.how), values
        )

    def kill_node(self):
        """SIGKILL the raylet on which the victim waits."""
        while not (self.place / "ready").exists():
            threading.Event().wait(0.05)
        node_id = json.loads((self.place / "victim").read_text())["node"]
        node = next(n for n in self.cluster.list_all_nodes() if n.node_id == node_id)
        self.cluster.remove_node(node, allow_graceful=False)


@pytest.fixture(scope="module")
def expected(landed, tmp_path_factory):
    """What one process finds."""
    with pytest.MonkeyPatch.context() as patch:
        return refreshed(landed, tmp_path_factory.mktemp("inline") / "home", INLINE, patch)


def test_ray_finds_the_same_rows(cluster, landed, expected, tmp_path, monkeypatch):
    """Every table, and as many commits."""
    ray = Ray(cluster.address)
    assert refreshed(landed, tmp_path / "home", ray, monkeypatch) == expected


@pytest.mark.parametrize("step", ["fold_day", "fold_span", "spread", "compute_span", "write_class"])
def test_a_worker_is_killed_in_the_midst(cluster, landed, expected, tmp_path, monkeypatch, step):
    """Its task is run again; what it wrote before is seen by nobody."""
    runner = Deadly(Ray(cluster.address), step, "worker", cluster, tmp_path)
    assert refreshed(landed, tmp_path / "home", runner, monkeypatch) == expected
    assert (tmp_path / "ready").exists()


def test_a_node_is_killed_in_the_midst(cluster, landed, expected, tmp_path, monkeypatch):
    """The tasks of the node go to the others."""
    runner = Deadly(Ray(cluster.address), "compute_span", "node", cluster, tmp_path)
    before = len(cluster.list_all_nodes())
    assert refreshed(landed, tmp_path / "home", runner, monkeypatch) == expected
    assert len(cluster.list_all_nodes()) == before - 1
    assert Path(tmp_path / "victim").stat().st_size
