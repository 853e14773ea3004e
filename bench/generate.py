# ruff: noqa: INP001 - a script, not a package
"""A made-up cluster of any size, the same for the same seed, made a chunk at a time.

Files lie in blocks of a thousand: shards of a data set, checkpoints of a run, blobs named by a
hash, logs by day. The path is a function of the file's number, and numbers are in the order of
paths, so that every table is written sorted without ever being whole in memory. Popularity is a
zipf law (s = 1) over files that are spread all over the tree; users and nodes follow one too.
"""

from __future__ import annotations

import argparse
import binascii
import datetime as dt
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from lake import state
from lake.buckets import DEFAULT_BUCKETS
from lake.ids import file_id
from lake.metrics.access import daily
from lake.schemas import ACCESS_DAILY, EVENTS, FILE_CHANGES, FILES, LISTINGS, QUOTAS, TEAMS, Table
from lake.store import Lake
from storage.landing import compress

BACKENDS = {"training": 0.5, "datasets": 0.25, "checkpoints": 0.15, "scratch": 0.07, "home": 0.03}
TYPES = {"home": "local"}
BLOCK = 1_000
CHUNK = 2_000_000
USERS, TEAM_COUNT, NODES = 500, 40, 200
END = dt.datetime(2026, 11, 20, tzinfo=dt.UTC)
WRITE_SHARE = 0.1
_MIXED = np.uint64(0x9E3779B97F4A7C15)
US = 1_000_000


@dataclass(frozen=True)
class Size:
    """How big the cluster is."""

    files: int
    days: int
    events_per_day: int
    seed: int = 1
    changes: bool = True
    """Whether file_changes has every file as added, for growth by team."""


def mixed(numbers: np.ndarray, seed: int) -> np.ndarray:
    """64 bits for each number that look random (splitmix64); the same ones every time."""
    with np.errstate(over="ignore"):
        z = (numbers.astype(np.uint64) + np.uint64(seed)) * _MIXED
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def uniform(numbers: np.ndarray, seed: int) -> np.ndarray:
    """A number in [0, 1) for each number."""
    return (mixed(numbers, seed) >> np.uint64(11)).astype(np.float64) / float(1 << 53)


def zipf(count: int, of: int, rng: np.random.Generator) -> np.ndarray:
    """`count` ranks below `of` by a zipf law with exponent 1, by the inverse of its integral."""
    return np.minimum(np.exp(rng.random(count) * math.log(of + 1)).astype(np.int64) - 1, of - 1)


def spans(size: Size) -> Iterator[tuple[str, int, int]]:
    """Each backend with its first and last + 1 file number."""
    first = 0
    for number, (name, share) in enumerate(BACKENDS.items()):
        rest = size.files - first
        count = rest if number == len(BACKENDS) - 1 else min(rest, round(size.files * share))
        yield name, first, first + count
        first += count


def names(numbers: np.ndarray) -> pl.Expr:
    """The path of each file number, 60 to 110 characters."""
    block, leaf = numbers // BLOCK, numbers % BLOCK
    kind = (mixed(block, 7) % np.uint64(10)).astype(np.int64)
    data = pl.DataFrame({"block": block, "leaf": leaf, "kind": kind, "blob": _hex(numbers)})

    def pad(expr: pl.Expr, width: int) -> pl.Expr:
        return expr.cast(pl.String).str.zfill(width)

    b, n = pl.col("block"), pl.col("leaf")
    here = pl.format("team-{}/project-{}/{}", pad(b // 2500, 2), pad(b // 50, 4), pad(b, 7))
    shard = pl.format("{}-imagenet/v3/train/shard-{}-of-01000.tar", here, pad(n, 5))
    step = pl.format(
        "{}-llama-ft/checkpoints/step_{}/model-{}-of-00050.safetensors",
        here, pad(n // 50 * 1000, 8), pad(n % 50, 5),
    )  # fmt: skip
    # The leading digits keep the order of numbers; what follows is as hard as a hash.
    blob = pl.format("{}-hub/models/blobs/{}{}", here, pad(n, 3), pl.col("blob"))
    log = pl.format(
        "{}-sweep/logs/2026/day-{}/worker-{}/stderr.log", here, pad(n // 25, 2), pad(n % 25, 3)
    )
    k = pl.col("kind")
    path = pl.when(k < 4).then(shard).when(k < 7).then(step).when(k < 9).then(blob).otherwise(log)
    return pl.lit(data.select(path=path)["path"])


def _hex(numbers: np.ndarray) -> pl.Series:
    """32 hexadecimal digits for each number, as a hash would have them."""
    digits = binascii.hexlify(
        np.stack([mixed(numbers, 301), mixed(numbers, 907)], axis=1).tobytes()
    )
    texts = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(32), len(numbers), [None, pa.py_buffer(digits)]
    )
    return pl.Series(pl.from_arrow(texts)).cast(pl.String)


def sizes(numbers: np.ndarray, seed: int) -> np.ndarray:
    """Bytes: log-normal around 1 MB, one in fifty a thousand times as much."""
    u, v = uniform(numbers, seed + 11), uniform(numbers, seed + 12)
    normal = np.sqrt(-2 * np.log(u + 1e-12)) * np.cos(2 * np.pi * v)
    heavy = uniform(numbers, seed + 13) < 0.02
    return np.minimum(np.exp(13.8 + 2.0 * normal + heavy * 6.9), 4e12).astype(np.int64)


def _instants(unix_seconds: np.ndarray) -> pl.Series:
    return pl.Series((unix_seconds * US).astype(np.int64)).cast(pl.Datetime("us", "UTC"))


def files(size: Size, first: int, last: int, backend: str) -> pl.DataFrame:
    """Rows of `files` for file numbers `first` to `last` - 1, in the order of paths."""
    numbers = np.arange(first, last)
    end = END.timestamp()
    age = -np.log(uniform(numbers, size.seed + 21) + 1e-12) * 200 * 86_400
    modified = np.maximum(end - age, end - 1500 * 86_400)
    owner = (mixed(numbers // (BLOCK * 7), 5) % np.uint64(USERS)).astype(np.int64)
    posix = pl.format("user{}", pl.lit(pl.Series(owner)).cast(pl.String).str.zfill(3))
    rows = pl.select(
        backend=pl.lit(backend),
        path=names(numbers),
        size_bytes=pl.lit(pl.Series(sizes(numbers, size.seed))),
        etag=pl.lit(_hex(numbers)),
        modified_at=pl.lit(_instants(modified)),
        owner=posix if TYPES.get(backend) == "local" else pl.lit(None, pl.String),
        first_seen_at=pl.lit(_instants(modified)),
        last_seen_at=pl.lit(END).cast(pl.Datetime("us", "UTC")),
    )
    return filled(FILES, rows.with_columns(file_id()))


def filled(table: Table, rows: pl.DataFrame) -> pl.DataFrame:
    """Rows in the table's columns and types; what nobody told is null."""
    untold = [name for name in table.schema if name not in rows.columns]
    return rows.with_columns(pl.lit(None).alias(name) for name in untold).select(
        pl.col(column.name).cast(column.dtype) for column in table.columns
    )


def chunks(size: Size, chunk: int = CHUNK) -> Iterator[tuple[str, int, int]]:
    """Backend and file numbers of each chunk, cut at the ends of blocks."""
    for backend, first, last in spans(size):
        for start in range(first, last, chunk):
            yield backend, start, min(start + chunk, last)


def events(size: Size, day: int, count: int = 0) -> pl.DataFrame:
    """Events of the day that is `day` days before the end, columns of the wire."""
    count = count or size.events_per_day
    rng = np.random.default_rng((size.seed, day))
    # A file's rank is its place in a walk over all files by a step that meets each once.
    step = _coprime(int(size.files * 0.6180339887) or 1, size.files)
    number = (zipf(count, size.files, rng) * step + size.seed) % size.files
    edges = [last for _, _, last in spans(size)]
    backend = pl.Series(list(BACKENDS))[np.searchsorted(edges, number, side="right").tolist()]
    second = (END - dt.timedelta(days=day)).timestamp() + np.sort(rng.random(count)) * 86_399
    wrote = rng.random(count) < WRITE_SHARE
    sizes_here = sizes(number, size.seed)
    part = np.minimum(sizes_here, rng.integers(1, 1 << 26, count))
    user, node = zipf(count, USERS, rng), rng.integers(0, NODES, count)
    return pl.select(
        ts=pl.lit(_instants(np.round(second, 6))),
        user=pl.format("user{}", pl.lit(pl.Series(user)).cast(pl.String).str.zfill(3)),
        backend=pl.lit(backend),
        path=names(number),
        op=pl.when(pl.lit(pl.Series(wrote))).then(pl.lit("write")).otherwise(pl.lit("read")),
        bytes_read=pl.lit(pl.Series(np.where(wrote, 0, part))),
        bytes_written=pl.lit(pl.Series(np.where(wrote, part, 0))),
        node=pl.format("node{}", pl.lit(pl.Series(node)).cast(pl.String).str.zfill(4)),
        latency_ms=pl.lit(pl.Series(np.round(rng.gamma(2.0, 1.5, count), 3))),
        cache_hit=pl.lit(pl.Series(rng.random(count) < 0.7)),
    )


def _coprime(number: int, of: int) -> int:
    while math.gcd(number, of) != 1:
        number += 1
    return number


def accepted(wire: pl.DataFrame, hour: str = "2026-11-20T00") -> pl.DataFrame:
    """Rows of `events` from events of the wire, as ingest would have written them."""
    hit = pl.col("cache_hit")
    given = wire.with_columns(
        file_id(),
        hour=pl.lit(hour), object=pl.lit("made-up"), line=pl.int_range(1, pl.len() + 1),
        batch=pl.lit(1), day=pl.col("ts").dt.date(), count=pl.lit(1), weight=pl.lit(1.0),
        error=pl.lit(""), job=pl.lit(""), pod=pl.lit(""), boot=pl.lit(""),
        kernel_cached=pl.lit(value=False),
        bytes_hit=pl.when(hit).then("bytes_read").otherwise(0),
        bytes_miss=pl.when(hit).then(0).otherwise("bytes_read"),
    )  # fmt: skip
    return filled(EVENTS, given)


def lines(wire: pl.DataFrame) -> bytes:
    """Events as JSON lines."""
    text = wire.with_columns(pl.col("ts").dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ"))
    return text.write_ndjson().encode()


def land(size: Size, folder: Path, *, per_object: int, bad_every: int = 0) -> int:
    """Landing objects (zstd) of every day below `folder`; bytes before compression.

    Every `bad_every`-th line is torn in the middle; 0 = none.
    """
    total = 0
    for day in range(size.days):
        wire = events(size, day)
        when = END - dt.timedelta(days=day)
        for first in range(0, wire.height, per_object):
            body = lines(wire[first : first + per_object])
            if bad_every:
                rows = body.splitlines(keepends=True)
                rows[bad_every - 1 :: bad_every] = [
                    row[: len(row) // 2] + b"\n" for row in rows[bad_every - 1 :: bad_every]
                ]
                body = b"".join(rows)
            total += len(body)
            hour = f"dt={when:%Y-%m-%d}/hour={first * 24 // wire.height:02d}"
            last = min(first + per_object, wire.height)
            name = f"{hour}/node=bench/{day + 1:016x}-{first + 1:012d}-{last:012d}.jsonl.zst"
            place = folder / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(compress([body]))
    return total


def fill(lake: Lake, size: Size, *, lived: bool = False) -> None:
    """The tables that crawl and ingest would have left: files, listings, access_daily, teams.

    A `lived` lake has a listing a week, two quotas a team, and the events themselves, every tenth
    of a job, landed on their day: what a dashboard shows beside the files.
    """
    listed: list[pl.DataFrame] = []
    for backend, first, last in chunks(size):
        rows = files(size, first, last, backend)
        lake.append(FILES, rows)
        age = (pl.lit(END) - pl.col("modified_at")).dt.total_days() // 7 if lived else pl.lit(0)
        weeks = pl.duration(days=age * 7)
        at = (pl.lit(END).cast(pl.Datetime("us", "UTC")) - weeks).dt.cast_time_unit("us")
        told = rows.with_columns(listing=1000 - age, snapshot_at=at)
        if size.changes:
            lake.append(FILE_CHANGES, filled(FILE_CHANGES, told.with_columns(
                change=pl.lit("added"), previous_bytes=pl.lit(0),
            )))  # fmt: skip
        listed.append(told.group_by("backend", "listing", "snapshot_at").agg(
            added=pl.len().cast(pl.Int64), added_bytes=pl.col("size_bytes").sum(),
        ))  # fmt: skip
    lake.append(LISTINGS, _listings(pl.concat(listed)))
    lake.append(TEAMS, members())
    if lived:
        lake.append(QUOTAS, limits())
    _fill_days(lake, size, lived=lived)
    state.create(lake, DEFAULT_BUCKETS)
    state.rebuild(lake)
    state.fold_base(lake, END, at_once=True)


def _fill_days(lake: Lake, size: Size, *, lived: bool) -> None:
    for day in range(size.days):
        landed = f"{END - dt.timedelta(days=day):%Y-%m-%d}"
        raw = accepted(events(size, day), f"{landed}T00")
        if lived:
            job = pl.when(pl.col("line") % 10 == 0).then(pl.col("line") // 1000)
            named = raw.with_columns(job=job.cast(pl.String).fill_null(""))
            lake.append(EVENTS, named)
        rows = daily(raw.lazy(), landed).collect()
        lake.replace(ACCESS_DAILY, rows, {"landing_day": landed})


def _listings(added: pl.DataFrame) -> pl.DataFrame:
    """Rows of `listings`, all complete, from what came with each: backend, listing, sums."""
    key = ["backend", "listing", "snapshot_at"]
    sums = added.group_by(key).agg(pl.col("added", "added_bytes").sum()).sort(key)
    return filled(LISTINGS, sums.with_columns(
        source=pl.lit("list"), report=pl.lit(""), state=pl.lit("complete"),
        files=pl.col("added").cum_sum().over("backend"),
        bytes=pl.col("added_bytes").cum_sum().over("backend"),
        removed=pl.lit(0), removed_bytes=pl.lit(0), seconds=pl.lit(1.0), error=pl.lit(""),
        written_at=pl.col("snapshot_at"),
    ))  # fmt: skip


def limits() -> pl.DataFrame:
    """Rows of `quotas`: two a team, on all backends and on one."""
    rows = [(f"team{n:02d}", place) for n in range(TEAM_COUNT) for place in ("", "training")]
    return pl.DataFrame({
        "at": [END] * len(rows), "who": "bench", "number": range(1, len(rows) + 1),
        "action": "set", "quota_id": range(1, len(rows) + 1),
        "team": [team for team, _ in rows], "backend": [place for _, place in rows],
        "soft_bytes": 1 << 45, "hard_bytes": 1 << 47, "grace_seconds": 0,
    }, schema_overrides=QUOTAS.schema).pipe(lambda made: filled(QUOTAS, made))  # fmt: skip


def members() -> pl.DataFrame:
    """Rows of `teams`: every user in one."""
    return pl.DataFrame({
        "at": [END] * USERS, "who": "bench", "number": range(1, USERS + 1), "action": "add",
        "user": [f"user{n:03d}" for n in range(USERS)],
        "team": [f"team{n % TEAM_COUNT:02d}" for n in range(USERS)],
        "since_at": [None] * USERS,
    }, schema=TEAMS.schema)  # fmt: skip


def config(folder: Path) -> Path:
    """A config file for a lake and landing zone in `folder`."""
    backends = [
        {"name": name, "type": "local", "config": {"root": str(folder / "roots" / name)}}
        for name in BACKENDS
    ]
    found = folder / "warpdrive.yaml"
    found.write_text(json.dumps({
        "lake": {"root": "./lake"}, "telemetry": {"landing": "./landing"}, "backends": backends,
    }))  # fmt: skip
    return found


def main() -> None:
    """Fill a lake: `python bench/generate.py FOLDER --files N --days D --events E`."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--files", type=int, default=5_000_000)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--events", type=int, default=250_000, help="per day")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--lived", action="store_true", help="weekly listings, quotas, events")
    parser.add_argument("--land", action="store_true", help="landing objects, not tables")
    o = parser.parse_args()
    o.folder.mkdir(parents=True, exist_ok=True)
    size = Size(o.files, o.days, o.events, o.seed)
    config(o.folder)
    if o.land:
        land(size, o.folder / "landing", per_object=100_000)
    else:
        fill(Lake(str(o.folder / "lake")), size, lived=o.lived)


if __name__ == "__main__":
    main()
