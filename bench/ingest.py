# ruff: noqa: INP001 - a script, not a package
"""JSON lines to the `events` table, against DuckDB doing the same from the same files.

The peer reads the zstd files with typed columns, adds day, object and the same `file_id`, and
streams the rows into an equally compressed Delta table: no ledger, no line numbers, no digest of
the bytes, no check of a line beyond its own types. It fails on the first bad line.
"""

from __future__ import annotations

import argparse
import datetime as dt
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import child
import report

from storage.landing import Event, compress, encode, segment_name

START = dt.datetime(2026, 11, 24, 10, tzinfo=dt.UTC)
HOUR = "2026-11-24T10"
EVENTS = 1_000_000
LARGE = 100_000
SMALL = 100
FLAT = 4
Rounds = list[child.Cost]

OURS = """
import datetime as dt, sys
from lake.store import Lake
from pipelines.ingest import Window, ingest
now = dt.datetime(2026, 11, 24, 12, tzinfo=dt.UTC)
report = ingest(Lake(sys.argv[2]), sys.argv[1], Window(now, dt.timedelta(days=90)))
print(report.events, report.quarantined)
"""

DUCKDB = """
import sys
from pathlib import Path
import duckdb, polars as pl, polars_hash as plh, pyarrow as pa
from deltalake import WriterProperties, write_deltalake
text = ("user", "backend", "path", "op", "node", "error", "job", "pod", "boot")
whole = ("bytes_read", "bytes_written", "count", "uid", "seq", "bytes_hit", "bytes_miss", "size",
         "drops")
kinds = {"ts": "TIMESTAMPTZ", "ts_open": "TIMESTAMPTZ", "weight": "DOUBLE", "latency_ms": "DOUBLE",
         "cache_hit": "BOOLEAN", "kernel_cached": "BOOLEAN", "backends": "VARCHAR[]",
         **dict.fromkeys(text, "VARCHAR"), **dict.fromkeys(whole, "BIGINT")}
files = [str(p) for p in sorted(Path(sys.argv[1]).rglob("*.zst"))]
con = duckdb.connect()
con.execute("set TimeZone = 'UTC'")
rows = con.sql(
    f"select *, ts::DATE as day from read_json({files}, format = 'newline_delimited', "
    f"columns = {kinds}, filename = 'object', compression = 'zstd')"
).to_arrow_reader(131072)
key = plh.concat_str("backend", pl.lit("\\0"), "path").nchash.xxhash64().reinterpret(signed=True)
schema = rows.schema.append(pa.field("file_id", pa.int64()))
def hashed():
    for batch in rows:
        found = pl.from_arrow(batch).select(key.alias("file_id")).to_series().to_arrow()
        yield pa.RecordBatch.from_arrays([*batch.columns, found], schema=schema)
write_deltalake(
    sys.argv[2], pa.RecordBatchReader.from_batches(schema, hashed()),
    writer_properties=WriterProperties(compression="ZSTD", compression_level=3,
                                       max_row_group_size=131072),
)
print(len(files))
"""


def lines(count: int, seed: int) -> Iterator[Event]:
    """Reads and stats of popular and of rare files, as the mount records them."""
    pick = random.Random(seed)
    folders = [
        f"datasets/{pick.choice(['images', 'speech', 'web', 'logs'])}/v{pick.randrange(9)}/"
        f"{pick.getrandbits(32):08x}"
        for _ in range(2_000)
    ]
    for number in range(count):
        at = START + dt.timedelta(microseconds=pick.randrange(3_600_000_000))
        rank = min(int(pick.paretovariate(0.7)), 500_000)
        size = (rank * 7919 % 1_000_000 + 1) * 1024
        hit = size if pick.random() < 0.5 else 0
        yield Event(
            ts=at, user=f"user{rank % 500:03d}", backend=f"store-{rank % 5}",
            path=f"{folders[rank % 2_000]}/shard-{rank:06d}.tar",
            op="read" if pick.random() < 0.8 else "stat", bytes_read=size,
            cache_hit=hit == size, node=f"gpu-{number % 200:04d}",
            latency_ms=round(pick.random() * 20, 3), weight=1.0 if pick.random() < 0.8 else 10.0,
            ts_open=at - dt.timedelta(seconds=1), uid=1000 + rank % 500, seq=number + 1,
            boot="0000000000000001", bytes_hit=hit, bytes_miss=size - hit, size=size,
        )  # fmt: skip


def land(folder: Path, events: Sequence[bytes], per_object: int, bad_every: int = 0) -> Path:
    """Objects of so many lines each; every `bad_every`-th line is torn."""
    for first in range(0, len(events), per_object):
        part = list(events[first : first + per_object])
        if bad_every:
            for at in range(-(first + 1) % bad_every, len(part), bad_every):
                part[at] = part[at][: len(part[at]) // 2]
        last = first + len(part)
        name = segment_name(HOUR, f"gpu-{first // per_object % 200:04d}", "0" * 15 + "1",
                            first + 1, last)  # fmt: skip
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(compress([b"\n".join(part) + b"\n"]))
    return folder


def land_all(scratch: Path, events: int) -> None:
    """The landing zones of every case."""
    encoded = [encode([event]).rstrip(b"\n") for event in lines(events, 1)]
    land(scratch / "large", encoded, LARGE)
    land(scratch / "bad1", encoded, LARGE, 100_000)
    land(scratch / "bad2", encoded, LARGE, 1_000)
    land(scratch / "small", encoded, SMALL)
    land(scratch / "quarter", encoded[: events // FLAT], LARGE)


def race(cases: dict[str, tuple[str, Path]], rounds: int, scratch: Path) -> dict[str, Rounds]:
    """Each case in turn, a fresh process and a fresh lake each time; one warm-up."""
    found: dict[str, Rounds] = {name: [] for name in cases}
    for number in range(rounds + 1):
        for name, (code, landing) in cases.items():
            lake = scratch / "lake"
            cost = child.run(child.python(code, landing, lake))
            shutil.rmtree(lake)
            if number:
                found[name].append(cost)
                print(  # noqa: T201
                    f"{name:<12} {cost.cpu_seconds:7.2f} s {cost.peak_mb:7.0f} MB  "
                      f"{cost.stdout.strip()}", file=sys.stderr)  # fmt: skip
    return found


def rows(rounds: int = 5, events: int = EVENTS) -> list[report.Row]:
    """The rows `ingest`, `ingest-bad` and `ingest-small`."""
    with tempfile.TemporaryDirectory(prefix="warpdrive-bench-") as name:
        scratch = Path(name)
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:  # its memory is not ours
            pool.submit(land_all, scratch, events).result()
        cases = {
            "ingest": (OURS, scratch / "large"),
            "duckdb": (DUCKDB, scratch / "large"),
            "bad-100000": (OURS, scratch / "bad1"),
            "bad-1000": (OURS, scratch / "bad2"),
            "small": (OURS, scratch / "small"),
            "quarter": (OURS, scratch / "quarter"),
        }
        costs = race(cases, rounds, scratch)
    cpu = {name: [cost.cpu_seconds for cost in found] for name, found in costs.items()}
    peak = {name: [cost.peak_mb for cost in found] for name, found in costs.items()}
    size = f"{events:,} events"
    return [
        report.row("ingest", f"zstd JSON lines to events, {size}", "CPU s", cpu["ingest"],
                   peer=cpu["duckdb"], peer_name="DuckDB", goal=1.0, op="<=",
                   limit="each line becomes a Python object, which is how a bad one is told; "
                         "the digest of the bytes"),
        report.row("ingest-2", "its peak memory", "MB", peak["ingest"], peer=peak["duckdb"],
                   peer_name="DuckDB", goal=1 / 3, op="<=",
                   limit="the libraries of an ingest of 100 events are two thirds of it; one row "
                         "group, 8 MiB of an object, what the allocators keep"),
        report.row("ingest-3", f"its peak memory against that of 1/{FLAT} of the events", "MB",
                   peak["ingest"], peer=peak["quarter"], peer_name=f"1/{FLAT}", goal=1.2, op="<="),
        report.row("ingest-bad", "one bad line in 100,000", "CPU s", cpu["bad-100000"],
                   peer=cpu["ingest"], peer_name="ingest", goal=1.15, op="<="),
        report.row("ingest-bad-2", "one bad line in 1,000", "CPU s", cpu["bad-1000"],
                   peer=cpu["ingest"], peer_name="ingest", goal=2.0, op="<="),
        report.row("ingest-small", f"objects of {SMALL} events", "CPU s", cpu["small"],
                   peer=cpu["ingest"], peer_name=f"objects of {LARGE:,}", goal=1.5, op="<="),
        report.row("ingest-small-2", "their peak memory", "MB", peak["small"],
                   peer=peak["ingest"], peer_name=f"objects of {LARGE:,}"),
    ]  # fmt: skip


if __name__ == "__main__":
    asked = argparse.ArgumentParser()
    asked.add_argument("--rounds", type=int, default=5)
    asked.add_argument("--events", type=int, default=EVENTS)
    given = asked.parse_args()
    sys.exit(report.publish("ingest", rows(given.rounds, given.events)))
