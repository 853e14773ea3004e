# ruff: noqa: INP001, T201 - a script, not a package: it prints
"""Race the crawl of object stores, of local folders and of inventory reports.

`python bench/crawl.py [s3|posix|report|ceph] [--files N] [--rows N] [--rounds N]`: without a name
the first three: a quarter of an hour on a quiet machine, five rounds of what takes less than a
minute and three of what takes longer. `ceph` is s3 once more on a real gateway, which takes ten
minutes to fill.
"""

from __future__ import annotations

import argparse
import datetime as dt
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import child
import crawl_s3
import report

FOLDERS = 1024
START = dt.datetime(2026, 10, 1, tzinfo=dt.UTC)

OURS_POSIX = """
import sys, datetime as dt
from storage.listing.posix import list_posix
found = list_posix(sys.argv[1], dt.datetime.now(dt.UTC))
print(sum(batch.num_rows for batch in found.batches))
"""
FSSPEC = """
import sys, fsspec
print(len(fsspec.filesystem("file").find(sys.argv[1], detail=True)))
"""
SCANDIR = """
import os, stat, sys
rows = []
todo = [sys.argv[1]]
while todo:
    with os.scandir(todo.pop()) as entries:
        for e in entries:
            i = e.stat(follow_symlinks=False)
            if stat.S_ISDIR(i.st_mode):
                todo.append(e.path)
            elif stat.S_ISREG(i.st_mode):
                rows.append((e.path, i.st_size, i.st_mtime_ns, i.st_atime_ns, i.st_uid, i.st_gid,
                             i.st_mode, i.st_ino, i.st_nlink, i.st_blocks))
print(len(rows))
"""
FIND = "%p\\t%s\\t%T@\\t%A@\\t%U\\t%G\\t%m\\t%i\\t%n\\t%b\\n"
OURS_REPORT = """
import sys, datetime as dt
from lake.store import Lake
from pipelines.crawl import CrawlOptions, crawl
from storage.config import load_config
config = load_config(sys.argv[1])
found = crawl(Lake(sys.argv[2]), config.backends[0],
              CrawlOptions(dt.datetime(2026, 11, 1, tzinfo=dt.UTC)))
print(found.files, found.added, found.removed)
assert found.state == "complete", found
"""
# No live store is there to check a sample against, which DuckDB does not do either.
CONFIG = """
backends:
  - name: data
    type: s3
    config: {{bucket: data}}
    inventory: {{format: s3, location: {folder}, sample: 0}}
"""
DUCKDB = """
import sys, glob, hashlib, json, duckdb
manifest, old, out = sys.argv[1:]
folder = manifest.rpartition("/")[0].rpartition("/")[0]
told = json.load(open(manifest))
files = []
for entry in told["files"]:
    file = f"{folder}/{entry['key']}"
    assert hashlib.md5(open(file, "rb").read()).hexdigest() == entry["MD5checksum"]
    files.append(file)
con = duckdb.connect()
con.execute("set threads = 2")
con.execute("set enable_progress_bar = false")
con.execute("set memory_limit = '6GB'")
con.execute(f"set temp_directory = '{out}/spill'")
con.execute("set preserve_insertion_order = false")
con.execute("create table now as select decode(key) as path, size, e_tag, last_modified_date, "
            "storage_class, hash('data' || chr(0) || decode(key)) as file_id from read_parquet(?)",
            [files])
# Its hash alone gives hundreds of ten million paths the id of another one.
same = "n.file_id = o.file_id and n.path = o.path"
how = "(format parquet, compression zstd, compression_level 3, row_group_size 131072)"
at = "timestamptz '2026-10-02 00:00:00Z'"
columns = ("'data' as backend, n.path, n.file_id, n.size as size_bytes, n.e_tag as etag, "
           "n.last_modified_date as modified_at, n.storage_class as tier")
if old:
    con.execute(f"create view old as select * from read_parquet('{old}')")
else:
    con.execute("create table old (path varchar, file_id ubigint, size_bytes bigint, etag varchar, "
                "modified_at timestamp, tier varchar, first_seen_at timestamptz)")
con.execute(f"copy (select {columns}, coalesce(o.first_seen_at, {at}) as first_seen_at, "
            f"{at} as last_seen_at from now n left join old o on {same} "
            f"order by n.path) to '{out}/files.parquet' {how}")
con.execute(f"copy (select {columns}, case when o.file_id is null then 'added' else 'changed' end "
            f"as change, coalesce(o.size_bytes, 0) as previous_bytes from now n left join old o "
            f"on {same} where o.file_id is null or n.size <> o.size_bytes "
            f"or n.e_tag is distinct from o.etag union all select 'data', o.path, o.file_id, 0, "
            f"o.etag, o.modified_at, o.tier, 'removed', o.size_bytes from old o anti join now n "
            f"on {same} order by path) to '{out}/changes.parquet' {how}")
print(*con.execute(f"select (select count(*) from '{out}/files.parquet'), "
                   "count(*) filter (change = 'added'), count(*) filter (change = 'removed') "
                   f"from '{out}/changes.parquet'").fetchone())
"""


def make_tree(root: Path, files: int) -> None:
    """`files` sparse files in FOLDERS folders, three deep."""
    made = 0
    for number in range(FOLDERS):
        folder = root / f"team-{number % 16:02}" / f"run-{number // 16:03}" / "shards"
        folder.mkdir(parents=True)
        handle = os.open(folder, os.O_RDONLY)
        share = files // FOLDERS + (number < files % FOLDERS)
        for i in range(share):
            name = f"part-{i:05}-of-{share:05}.parquet"
            file = os.open(name, os.O_CREAT | os.O_WRONLY, 0o644, dir_fd=handle)
            os.ftruncate(file, made * 7919 % 10_000_000)
            os.close(file)
            made += 1
        os.close(handle)


def interleaved(cases: dict[str, Sequence[str | Path]], rounds: int) -> dict[str, list[child.Cost]]:
    """One warm-up and `rounds` counted runs of each case, A B A B; 0 as report.rounds."""
    costs: dict[str, list[child.Cost]] = {name: [] for name in cases}
    for number in report.rounds(rounds):
        for name, command in cases.items():
            cost = child.run(command)
            if number:
                costs[name].append(cost)
            print(f"  {name}: {cost.cpu_seconds:.2f} s CPU, {cost.wall_seconds:.2f} s", flush=True)
    return costs


def posix(files: int, rounds: int, place: Path) -> list[report.Row]:
    """Rows of the local walker against fsspec, os.scandir and GNU find."""
    tree = place / "tree"
    make_tree(tree, files)
    costs = interleaved(
        {
            "ours": child.python(OURS_POSIX, tree),
            "fsspec": child.python(FSSPEC, tree),
            "scandir": child.python(SCANDIR, tree),
            "find": ["find", tree, "-type", "f", "-printf", FIND],
        },
        rounds,
    )
    rows = []
    job = f"{files:,} local files with all nine columns"
    for peer, goal, name in (
        ("fsspec", 3.0, "fsspec find(detail=True)"),
        ("scandir", 1.0, "os.scandir + stat, one thread"),
        ("find", 0.8, "GNU find -printf"),
    ):
        for kind, attribute in (("", "wall_seconds"), ("-cpu", "cpu_seconds")):
            mine = [getattr(cost, attribute) for cost in costs["ours"]]
            theirs = [getattr(cost, attribute) for cost in costs[peer]]
            rows.append(report.row(
                f"posix{kind}-vs-{peer}", job, "s CPU" if kind else "s", mine, peer=theirs,
                peer_name=name, goal=None if kind else goal,
                value=median(theirs) / median(mine), metric="times as fast",
                limit="find itself, one stat a file, is all but the parsing of its output",
            ))  # fmt: skip
    peaks = [cost.peak_mb for cost in costs["ours"]]
    rows.append(report.row("posix-memory", job, "MB", peaks))
    return rows


def median(values: Sequence[float]) -> float:
    """The middle one."""
    return sorted(values)[len(values) // 2]


def make_reports(root: Path, rows: int) -> list[Path]:
    """Two S3 Inventory reports (Parquet, rows in no order); the manifests.

    From the first to the second 1 % went, 2 % came and 0.5 % changed.
    """
    import numpy as np
    import polars as pl

    random = np.random.default_rng(7)
    number = pl.int_range(int(rows * 1.02), eager=True).alias("i")
    i, count = pl.col("i"), len(number)
    digits = random.integers(0, 256, (count, 16), dtype=np.uint8)
    etags = pl.Series([bytes(row).hex() for row in digits])
    frame = pl.DataFrame({"i": number}).with_columns(
        bucket=pl.lit("data"),
        key=pl.format(
            "datasets/team-{}/run-{}/checkpoint-{}/shard-{}-of-00977.parquet",
            (i // 400_570).cast(pl.String).str.zfill(2),
            (i // 9770 % 41).cast(pl.String).str.zfill(4),
            i // 977 % 10,
            (i % 977).cast(pl.String).str.zfill(5),
        ).cast(pl.Binary),
        size=pl.Series(random.lognormal(14, 3, count).astype(np.int64)),
        last_modified_date=pl.Series(
            random.integers(1_500_000_000_000, 1_790_000_000_000, count)
        ).cast(pl.Datetime("ms", "UTC")),
        e_tag=etags,
        storage_class=pl.lit("STANDARD"),
        draw=pl.Series(random.random(count)),
    )
    draw = pl.col("draw")
    second = frame.filter(~draw.is_between(0.02, 0.03)).with_columns(
        size=pl.col("size") + (draw > 0.995).cast(pl.Int64),
        e_tag=pl.when(draw > 0.995).then(pl.lit("0" * 32)).otherwise(pl.col("e_tag")),
    )
    return [
        write_report(root, 0, frame.filter(draw >= 0.02).drop("i", "draw")),
        write_report(root, 1, second.drop("i", "draw")),
    ]


def write_report(root: Path, day: int, frame: Any, files: int = 20) -> Path:
    """One report, shuffled, as S3 writes it."""
    at = START + dt.timedelta(days=day)
    folder = root / f"{at:%Y-%m-%dT%H-%MZ}"
    folder.mkdir(parents=True)
    mixed = frame.sample(fraction=1, shuffle=True, seed=day)
    step = -(-mixed.height // files)
    entries = []
    for number in range(files):
        file = folder / f"{number:04}.parquet"
        mixed.slice(number * step, step).write_parquet(file, compression="snappy")
        digest = hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()
        key = f"{folder.name}/{file.name}"
        entries.append({"key": key, "size": file.stat().st_size, "MD5checksum": digest})
    told = {
        "sourceBucket": "data", "creationTimestamp": str(int(at.timestamp() * 1000)),
        "fileFormat": "Parquet", "fileSchema": "", "files": entries,
    }  # fmt: skip
    manifest = folder / "manifest.json"
    manifest.write_text(json.dumps(told))
    digest = hashlib.md5(manifest.read_bytes(), usedforsecurity=False).hexdigest()
    (folder / "manifest.checksum").write_text(digest)
    return manifest


def reports(rows: int, rounds: int, place: Path) -> list[report.Row]:
    """Rows of an inventory report taken into an index that has the report before it."""
    first, second = make_reports(place / "inv", rows)
    later, lake, old = place / "later", place / "lake", place / "old"
    second.parent.rename(later)
    old.mkdir()
    config = place / "warpdrive.yaml"
    config.write_text(CONFIG.format(folder=place / "inv"))
    mine, out = place / "mine", place / "out"
    ours, theirs = [], []
    for number in report.rounds(rounds):
        if number == 0:  # the report before it, which both take into an empty index
            child.run(child.python(OURS_REPORT, config, lake))
            child.run(child.python(DUCKDB, first, "", old))
            later.rename(second.parent)
            continue
        shutil.copytree(lake, mine, copy_function=os.link)
        out.mkdir()
        ours.append(child.run(child.python(OURS_REPORT, config, mine)))
        theirs.append(child.run(child.python(DUCKDB, second, old / "files.parquet", out)))
        if ours[-1].stdout != theirs[-1].stdout:
            raise RuntimeError(f"ours found {ours[-1].stdout}, DuckDB {theirs[-1].stdout}")
        for name, cost in (("ours", ours[-1]), ("duckdb", theirs[-1])):
            print(f"  {name}: {cost.cpu_seconds:.2f} s CPU, {cost.wall_seconds:.2f} s, "
                  f"{cost.peak_mb:.0f} MB", flush=True)  # fmt: skip
        shutil.rmtree(mine)
        shutil.rmtree(out)
    return report_rows(f"S3 Inventory of {rows:,} rows into files with changes", ours, theirs)


def report_rows(
    job: str, ours: Sequence[child.Cost], theirs: Sequence[child.Cost]
) -> list[report.Row]:
    """CPU, wall and memory against DuckDB."""
    return [
        report.row(
            name, job, unit, [getattr(c, attribute) for c in ours],
            peer=[getattr(c, attribute) for c in theirs], peer_name="DuckDB, the same work",
            op="<=", goal=goal, limit="sorting by path and writing Parquet",
        )
        for name, unit, attribute, goal in (
            ("report-vs-duckdb", "s CPU", "cpu_seconds", 1.0),
            ("report-wall-vs-duckdb", "s", "wall_seconds", None),
            ("report-memory-vs-duckdb", "MB", "peak_mb", None),
        )
    ]  # fmt: skip


def main() -> int:
    """Run what is asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*")
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=0)
    given = parser.parse_args()
    names = given.names or ["s3", "posix", "report"]
    rows: list[report.Row] = []
    if "s3" in names:
        rows += crawl_s3.rows()
    with tempfile.TemporaryDirectory(prefix="bench-crawl-") as folder:
        if "posix" in names:
            rows += posix(given.files, given.rounds, Path(folder))
        if "report" in names:
            rows += reports(given.rows, given.rounds, Path(folder))
    if "ceph" in names:
        rows += crawl_s3.ceph()
    return report.publish("crawl", rows)


if __name__ == "__main__":
    sys.exit(main())
