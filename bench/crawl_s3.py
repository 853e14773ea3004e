# ruff: noqa: INP001, T201 - a script, not a package: it prints
"""List 200,000 objects of an S3 server into `files`, against s3fs and boto3 only listing.

`rows()` races on bench/s3_server.py, a process of its own that answers in microseconds: what is
left is what the clients cost. `ceph()` fills Ceph's gateway (`make test-real` tells where it comes
from; that takes ten minutes) and races there; its rows have no goals.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench import child  # noqa: E402
from bench.report import Row, rounds, row, show  # noqa: E402
from tests.servers.ceph import radosgw  # noqa: E402
from tests.servers.s3 import S3Server  # noqa: E402

OBJECTS = 200_000
FEW = 10
JOBS = {"crawl": "crawl", "list": "our listing", "command": "`warpdrive crawl`"}
BUCKET = "race"
LIMIT = "the server shares the two cores"

CRAWL = """
import datetime as dt, json, sys
from pipelines.crawl import CrawlOptions, crawl
from lake.store import Lake
from storage.config import load_config
config = load_config(sys.argv[1])
result = crawl(Lake(sys.argv[2]), config.backends[0], CrawlOptions(now=dt.datetime.now(dt.UTC)))
print(json.dumps([result.state, result.files, result.error]))
from cli import leave  # without tearing everything down, as the console script
leave(0)
"""
COMMAND = """
import contextlib, io, json, sys
from pathlib import Path
import cli
place = Path(sys.argv[2])
place.mkdir()
given = Path(sys.argv[1]).read_text()
(place / "warpdrive.yaml").write_text(f"lake: {{root: {place}/lake}}\\n{given}")
sys.argv = ["warpdrive", "crawl", "--config", str(place / "warpdrive.yaml"), "--format", "json"]
said = io.StringIO()
with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
    cli.main()
(row,) = json.loads(said.getvalue())
print(json.dumps([row["state"], row["files"], row["error"]]))
cli.leave(0)
"""
LIST = """
import datetime as dt, json, sys
from storage.config import load_config
from storage.listing.objects import list_objects
backend = load_config(sys.argv[1]).backends[0]
found = list_objects(backend, dt.datetime.now(dt.UTC), sys.argv[2])
print(json.dumps(["complete", sum(batch.num_rows for batch in found.batches), ""]))
"""
S3FS = """
import json, sys, s3fs
url, key, secret, bucket = sys.argv[1:]
system = s3fs.S3FileSystem(key=key, secret=secret, endpoint_url=url, use_listings_cache=False)
print(json.dumps(["complete", len(system.find(bucket, detail=True)), ""]))
"""
BOTO3 = """
import json, sys, boto3
url, key, secret, bucket = sys.argv[1:]
client = boto3.client("s3", endpoint_url=url, region_name="us-east-1",
                      aws_access_key_id=key, aws_secret_access_key=secret)
found = []
for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
    found += page.get("Contents", [])
print(json.dumps(["complete", len(found), ""]))
"""


def rows() -> list[Row]:
    """The rows s3-*: crawl and plain listing of ours, s3fs `find`, boto3's paginator."""
    with tempfile.TemporaryDirectory(prefix="warpdrive-bench-") as name:
        folder = Path(name)
        with listing(OBJECTS) as server:
            found = verdicts(race(server, folder))
        with listing(FEW) as server:
            return [*found, floor(server, folder / "few")]


def ceph() -> list[Row]:
    """The same on Ceph's gateway, which keeps its objects in memory on the same two cores."""
    with tempfile.TemporaryDirectory(prefix="warpdrive-bench-") as name:
        folder = Path(name)
        (folder / "ceph").mkdir()
        with radosgw(folder / "ceph") as server:
            fill(server)
            found = verdicts(race(server, folder))
    return [r | {"id": f"ceph-{r['id']}", "goal": None, "met": None} for r in found]


@contextlib.contextmanager
def listing(objects: int) -> Iterator[S3Server]:
    """The server that only lists."""
    command = [sys.executable, str(ROOT / "bench" / "s3_server.py"), str(objects)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        port = int(process.stdout.readline().split()[1])
        yield S3Server(f"http://127.0.0.1:{port}")
        process.stdin.close()


def fill(server: S3Server) -> None:
    """Empty objects: 16 folders of 50 folders of 250."""
    import obstore
    from obstore.store import S3Store

    server.client().create_bucket(Bucket=BUCKET)
    store = S3Store(
        BUCKET, endpoint=server.url, region=server.region, client_options={"allow_http": True},
        access_key_id=server.access_key_id, secret_access_key=server.secret_access_key,
    )  # fmt: skip

    async def put() -> None:
        for start in range(0, OBJECTS, 16):
            names = [
                f"top{i % 16:02d}/dir{i // 16 % 50:03d}/object-{i:07d}.bin"
                for i in range(start, min(start + 16, OBJECTS))
            ]
            await asyncio.gather(*(obstore.put_async(store, name, b"") for name in names))

    asyncio.run(put())


def race(server: S3Server, folder: Path) -> dict[str, list[child.Cost]]:
    """One warm-up, then rounds in turn; each case a fresh process."""
    config = folder / "warpdrive.yaml"
    config.write_text(f"backends:\n  - {server.backend(BUCKET)}\n")
    reach = [server.url, server.access_key_id, server.secret_access_key, BUCKET]
    cases: dict[str, tuple[str, list[str]]] = {
        "crawl": (CRAWL, [str(config)]), "list": (LIST, [str(config)]),
        "command": (COMMAND, [str(config)]),
        "s3fs": (S3FS, reach), "boto3": (BOTO3, reach),
    }  # fmt: skip
    costs: dict[str, list[child.Cost]] = {name: [] for name in cases}
    for turn in rounds():
        for name, (code, given) in cases.items():
            place = [str(folder / f"{name}-{turn}")] if given[0] == str(config) else []
            cost = child.run(child.python(code, *given, *place))
            state, count, error = json.loads(cost.stdout.splitlines()[-1])
            if (state, count) != ("complete", OBJECTS):
                raise RuntimeError(f"{name}: {state}, {count} objects: {error}")
            print(f"  {name}: {cost.cpu_seconds:.2f} s CPU, {cost.wall_seconds:.2f} s, "
                  f"{cost.peak_mb:.0f} MB", flush=True)  # fmt: skip
            if turn:
                costs[name].append(cost)
    return costs


def floor(server: S3Server, folder: Path) -> Row:
    """What a crawl holds before it has anything to hold: the libraries, each as far as used."""
    folder.mkdir()
    config = folder / "warpdrive.yaml"
    config.write_text(f"backends:\n  - {server.backend(BUCKET)}\n")
    costs = [child.run(child.python(CRAWL, config, folder / f"crawl-{turn}")) for turn in rounds(3)]
    return row("s3-memory-floor", f"{FEW} objects into `files`, peak memory", "MB",
               [cost.peak_mb for cost in costs[1:]])  # fmt: skip


def verdicts(costs: dict[str, list[child.Cost]]) -> list[Row]:
    """The rows of the goals, ours the whole crawl; then the listing alone, without a goal."""

    def of(name: str, what: str) -> list[float]:
        return [getattr(cost, what) for cost in costs[name]]

    def times(name: str, ours: str, peer: str, what: str, **more: Any) -> Row:
        mine, theirs = of(ours, what), of(peer, what)
        ratio = sorted(theirs)[len(theirs) // 2] / sorted(mine)[len(mine) // 2]
        job = f"{peer} lists {OBJECTS:,} objects, {JOBS[ours]}"
        return row(
            name, job, "s", mine, peer=theirs, peer_name=peer, value=ratio,
            metric=what, op=">=", **more,
        )  # fmt: skip

    into = f"{OBJECTS:,} objects into `files`, peak memory"
    only = f"{OBJECTS:,} objects listed, peak memory"
    return [
        times("s3-wall-vs-s3fs", "crawl", "s3fs", "wall_seconds", goal=5, limit=LIMIT),
        times("s3-wall-vs-boto3", "crawl", "boto3", "wall_seconds", goal=5, limit=LIMIT),
        times("s3-cpu-vs-boto3", "crawl", "boto3", "cpu_seconds", goal=15,
              limit="starting polars and deltalake costs as much CPU as listing"),
        row("s3-memory", into, "MB", of("crawl", "peak_mb"), goal=150, op="<=",
            limit="polars, deltalake and pyarrow in use take the floor below"),
        times("s3-list-wall-vs-s3fs", "list", "s3fs", "wall_seconds", goal=None),
        times("s3-list-wall-vs-boto3", "list", "boto3", "wall_seconds", goal=None),
        times("s3-list-cpu-vs-boto3", "list", "boto3", "cpu_seconds", goal=None),
        # The command is the crawl in a Dagster run: that is loaded and writes its own records.
        times("s3-command-wall-vs-boto3", "command", "boto3", "wall_seconds", goal=None),
        times("s3-command-cpu-vs-boto3", "command", "boto3", "cpu_seconds", goal=None),
        row("s3-list-memory", only, "MB", of("list", "peak_mb"), goal=None, op="<="),
    ]  # fmt: skip


if __name__ == "__main__":
    show(ceph() if sys.argv[1:] == ["ceph"] else rows())
