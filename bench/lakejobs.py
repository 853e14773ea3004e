# ruff: noqa: INP001, T201, S608 - a script, not a package: it prints; SQL of our own names
"""The jobs of `make bench-lake`, each run in a fresh process: `lakejobs.py JOB LAKE ARGS…`.

A job prints one line of JSON: what it found (so that ours and the peer's can be compared) and its
own seconds without the imports.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import shutil
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "bench")]

AS_OF = dt.datetime(2026, 11, 21, tzinfo=dt.UTC)
PARQUET = "(format parquet, compression zstd, compression_level 3, row_group_size 131072)"
WINDOWS = ((30, 0), (90, 0), (365, 0), (30, 1 << 30), (90, 1 << 30), (365, 1 << 30))
QUERIES = 25
Found = dict[str, Any]


def daily_ours(lake: str, out: str) -> Found:
    """A day of events → its part of access_daily."""
    from lake.metrics.access import daily
    from lake.parts import load, write_part
    from lake.schemas import ACCESS_DAILY, EVENTS
    from lake.store import Lake

    events = load([part.uri for part in Lake(lake).parts(EVENTS)], EVENTS.schema)
    rows = daily(events, "2026-11-20").collect(engine="streaming")
    write_part(out, ACCESS_DAILY, rows, {"landing_day": "2026-11-20"})
    return {"rows": rows.height, "bytes": int(rows["bytes_read"].sum())}


def daily_duckdb(lake: str, out: str) -> Found:
    """The same in DuckDB."""
    import duckdb

    con = duckdb.connect()
    ok = "error = '' and op ="
    con.execute(f"""
        copy (select backend, path, file_id, "user", day,
          coalesce(sum("count") filter ({ok} 'read'), 0)::bigint as read_count,
          coalesce(sum("count") filter ({ok} 'write'), 0)::bigint as write_count,
          coalesce(sum("count" * weight) filter (op = 'stat'), 0)::double as stat_count,
          coalesce(sum("count" * weight) filter (op = 'list'), 0)::double as list_count,
          coalesce(sum(bytes_read) filter ({ok} 'read'), 0)::bigint as bytes_read,
          coalesce(sum(bytes_written) filter ({ok} 'write'), 0)::bigint as bytes_written,
          coalesce(sum(bytes_hit) filter ({ok} 'read'), 0)::bigint as bytes_hit,
          min(ts) filter ({ok} 'write') as first_write_at,
          max(ts) filter (error = '' and op in ('read', 'write')) as last_access_at
        from read_parquet([{_files(lake, "events")}]) where op <> 'agent'
        group by backend, path, file_id, "user", day
        order by backend, path, file_id, "user", day) to '{out}/daily.parquet' {PARQUET}""")
    told = con.execute(
        f"select count(*), sum(bytes_read)::bigint from read_parquet('{out}/daily.parquet')"
    ).fetchone()
    return {"rows": told[0], "bytes": told[1]}  # type: ignore[index]


def refresh_ours(lake: str, _out: str) -> Found:
    """From files and state to stale_index, usage and all other results, published."""
    from pipelines.refresh import refresh
    from storage.config import load_config

    report = refresh(load_config(f"{Path(lake).parent}/warpdrive.yaml"), now=AS_OF, as_of=AS_OF)
    return {"files": report.rows["stale_index"], "bytes": report.bytes["stale_index"],
            "usage": report.rows["usage"]}  # fmt: skip


def rebuild_ours(lake: str, out: str) -> Found:
    """The same, with every state made anew from access_daily before."""
    from lake import state
    from lake.store import Lake

    state.rebuild(Lake(lake))
    state.fold_base(Lake(lake), AS_OF, at_once=True)
    return refresh_ours(lake, out)


def refresh_strings(lake: str, out: str) -> Found:
    """stale_index, usage and rollup in DuckDB, joined on backend and path."""
    return _refresh_duckdb(lake, out, "backend, path")


def refresh_ids(lake: str, out: str) -> Found:
    """The same, joined on file_id, strings carried."""
    return _refresh_duckdb(lake, out, "file_id")


def _refresh_duckdb(lake: str, out: str, key: str) -> Found:
    import polars as pl

    from lake.schemas import ACCESS_DAILY, FILE_CHANGES, FILES, LISTINGS, TEAMS
    from lake.store import Lake
    from tests import oracle

    told, tables = oracle.Oracle(AS_OF), Lake(lake)
    told.con.execute(f"set temp_directory = '{out}/spill'")
    for table, name in ((FILES, "files"), (ACCESS_DAILY, "access_daily"), (TEAMS, "members"),
                        (FILE_CHANGES, "changes"), (LISTINGS, "listings")):  # fmt: skip
        told.table(name, [part.uri for part in tables.parts(table)], table.schema)
    told.con.execute(f"create view access as {oracle.ACCESS_FROM_DAYS}")
    for name in ("rules", "ignored", "kept_reader"):
        told.frame(name, pl.DataFrame(schema=oracle.EMPTY[name]))
    told.view("first_team", oracle.FIRST_TEAM)
    told.view("owned", oracle.owners(key))
    told.view("stale_index", oracle.stale_index(key))
    order = "order by size_bytes desc, backend, path"
    told.con.execute(f"copy (from stale_index {order}) to '{out}/stale_index.parquet' {PARQUET}")
    told.con.execute("create view acted as " + oracle.ACTED)
    used = " union all ".join(
        f"({oracle.usage(group, how, key)})" for group in oracle.GROUPS for how in oracle.HOW
    )
    told.con.execute(f"copy (select * from ({used})) to '{out}/usage.parquet' {PARQUET}")
    told.con.execute(f"copy ({oracle.ROLLUP}) to '{out}/rollup.parquet' {PARQUET}")
    told.con.execute(f"create view ever_files as {oracle.EVER_FILES}")
    told.con.execute(
        f"create view ever_owned as select e.file_id, case when starts_with(e.owner, 'team:') then "
        "substr(e.owner, 6) else coalesce(t.team, 'unassigned') end as team "
        f'from ({oracle.owners(key, "ever_files")}) e left join first_team t on t."user" = e.owner'
    )
    grown = f"({oracle.GROWTH_BY_BACKEND}) union all ({oracle.GROWTH_BY_TEAM})"
    told.con.execute(f"copy ({grown}) to '{out}/growth.parquet' {PARQUET}")
    sums = told.con.execute(
        "select (select count(*) from stale_index), (select sum(size_bytes)::bigint from "
        f"stale_index), (select count(*) from '{out}/usage.parquet')"
    ).fetchone()
    assert sums
    return {"files": sums[0], "bytes": sums[1], "usage": sums[2]}


def update_append(lake: str, source: str) -> Found:
    """A partial of a million files: written and committed."""
    from lake.parts import write_part
    from lake.schemas import FILE_STATE
    from lake.store import Lake

    rows = _updates(source)
    where = {"bucket": "-1", "landing_day": "2026-11-19"}

    def append() -> None:
        part = write_part(lake, FILE_STATE, rows, where)
        Lake(lake).commit(FILE_STATE, [part])

    return _timed(append)


def update_fold(lake: str, _source: str) -> Found:
    """What is appended, folded into the base."""
    from lake import state
    from lake.store import Lake

    later = AS_OF + dt.timedelta(days=9)
    return _timed(lambda: state.fold_base(Lake(lake), later, at_once=True))


def update_merge_wide(table: str, source: str) -> Found:
    """The same million by Delta MERGE into a bucketed table with path, owner and size."""
    from deltalake import DeltaTable

    rows = _updates(source, buckets=True).select("bucket", "file_id", "last_access_at").to_arrow()

    def merge() -> None:
        found = (
            DeltaTable(table)
            .merge(rows, "t.bucket = s.bucket and t.file_id = s.file_id", source_alias="s",
                   target_alias="t")
            .when_matched_update({"last_access_at": "s.last_access_at"})
            .execute()
        )  # fmt: skip
        assert found["num_target_rows_updated"] == rows.num_rows, found

    return _timed(merge)


def update_merge_narrow(table: str, source: str) -> Found:
    """The same into one of file_id and last access only."""
    return update_merge_wide(table, source)


def make_state(lake: str, told: str) -> Found:
    """Files, and a file_state that knows every one of them."""
    import generate  # pyright: ignore[reportMissingImports]

    from lake import state
    from lake.buckets import DEFAULT_BUCKETS
    from lake.parts import write_part
    from lake.schemas import FILE_STATE, FILES
    from lake.store import Lake

    size, made = generate.Size(**json.loads(told)), Lake(lake)
    state.create(made, DEFAULT_BUCKETS)
    for number, (backend, first, last) in enumerate(generate.chunks(size)):
        rows = generate.files(size, first, last, backend)
        made.append(FILES, rows)
        known = generate.filled(FILE_STATE, rows.rename({"modified_at": "last_access_at"}))
        day = {"bucket": "-1", "landing_day": f"2026-10-{number + 1:02d}"}
        made.commit(FILE_STATE, [write_part(lake, FILE_STATE, known.sort("file_id"), day)])
    state.fold_base(made, AS_OF, at_once=True)
    return {"files": size.files}


def make_merge_table(lake: str, out: str) -> Found:
    """The state as one table that is merged into; wide with path, owner and size."""
    import polars as pl
    from deltalake import WriterProperties, write_deltalake

    from lake.buckets import bucket
    from lake.parts import load
    from lake.schemas import FILES
    from lake.store import Lake

    names = ["file_id", "last_access_at"] + (
        ["backend", "path", "size_bytes", "owner"] if out.endswith("wide") else []
    )
    for part in Lake(lake).parts(FILES):
        at = pl.col("modified_at").alias("last_access_at")
        schema = {k: v for k, v in FILES.schema.items() if k != "backend"}
        rows = load([part.uri], schema).with_columns(
            at, bucket(64), backend=pl.lit(part.partition["backend"])
        )
        write_deltalake(
            out, rows.select("bucket", *names).sort("bucket", "file_id").collect(),
            mode="append", partition_by=["bucket"],
            writer_properties=WriterProperties(compression="ZSTD", compression_level=3),
        )  # fmt: skip
    return {}


def _updates(lake: str, *, buckets: bool = False, count: int = 1_000_000) -> Any:
    import polars as pl

    from lake.buckets import bucket
    from lake.parts import load
    from lake.schemas import FILES
    from lake.store import Lake

    parts = Lake(lake).parts(FILES)
    rows = load([part.uri for part in parts], {"file_id": pl.Int64()})
    total = sum(part.rows for part in parts)
    chosen = rows.gather_every(max(1, total // count)).head(count)
    return chosen.with_columns(
        *([bucket(64)] if buckets else []),
        last_access_at=pl.lit(AS_OF).cast(pl.Datetime("us", "UTC")),
        first_write_at=pl.lit(None, pl.Datetime("us", "UTC")), first_writer=pl.lit(None, pl.String),
    ).sort("file_id").collect()  # fmt: skip


def top_ours(lake: str, _out: str) -> Found:
    """Each window, warm, past the memory of answers."""
    from lake import published
    from lake.ask import Ask
    from storage.config import load_config

    config = load_config(f"{Path(lake).parent}/warpdrive.yaml")
    versions = published.current(lake).versions
    return _windows(lambda days, size: Ask(config, AS_OF, versions).stale(days, size, "", 1000))


def top_duckdb(lake: str, _out: str) -> Found:
    """The same query on the same files in a warm DuckDB."""
    import duckdb

    con = duckdb.connect()
    files = _files(lake, "stale_index")

    def ask(days: int, size: int) -> Any:
        before = f"{AS_OF - dt.timedelta(days=days):%Y-%m-%d %H:%M:%S}"
        return con.execute(
            f"select * from read_parquet([{files}]) where epoch_us(last_access_at) < "
            f"epoch_us(timestamp '{before}') and size_bytes >= {size} "
            "order by size_bytes desc, backend, path limit 1000"
        ).to_arrow_table().to_pylist()  # fmt: skip

    import warnings

    warnings.simplefilter("ignore")
    return _windows(ask)


def _windows(ask: Callable[[int, int], Any]) -> Found:
    found: Found = {}
    for days, size in WINDOWS:
        begin = time.perf_counter()
        rows = ask(days, size)
        first, waits, cpus = time.perf_counter() - begin, [], []
        # A query of seconds is not asked 25 times.
        for _ in range(QUERIES if first < 0.5 else 3):
            begin, used = time.perf_counter(), time.process_time()
            ask(days, size)
            waits.append(time.perf_counter() - begin)
            cpus.append(time.process_time() - used)
        found[f"{days}d {'1GiB' if size else 'any'}"] = {
            "ms": statistics.median(waits) * 1e3, "cpu_ms": statistics.median(cpus) * 1e3,
            "first_ms": first * 1e3, "rows": len(rows),
            "bytes": sum(row["size_bytes"] for row in rows),
        }  # fmt: skip
    return found


def read_models(lake: str, _out: str) -> Found:
    """Every other read model as a server asks it: a reader per question, p99 of 300 each, in ms."""
    from lake.read import Reader
    from storage.config import load_config

    config = load_config(f"{Path(lake).parent}/warpdrive.yaml")
    questions: dict[str, Callable[[Reader], Any]] = {
        "usage by user": lambda r: r.usage("user"),
        "usage by team": lambda r: r.usage("team"),
        "usage by team, access": lambda r: r.usage("team", attribution="access"),
        "usage of a backend": lambda r: r.usage("prefix", "training"),
        "growth": lambda r: r.growth(),
        "growth by team": lambda r: r.growth("", 0, "team"),
        "forecast": lambda r: r.growth("", 90, "backend", 30),
        "quota": lambda r: r.quota(),
        "backends": lambda r: r.backends(),
        "teams": lambda r: r.team(),
        "stale, as usual": lambda r: r.stale(),
        "stale, 60 days, asked before": lambda r: r.stale(60),
        "user, asked before": lambda r: r.user("user003", limit=100),
    }
    found: Found = {}
    for name, ask in questions.items():
        ask(Reader(config))
        waits = []
        for _ in range(300):
            begin = time.perf_counter()
            ask(Reader(config))
            waits.append((time.perf_counter() - begin) * 1e3)
        found[name] = statistics.quantiles(waits, n=100)[98]
    return found


def _files(lake: str, name: str) -> str:
    from lake import published
    from lake.schemas import TABLES
    from lake.store import Lake

    version = published.current(lake).versions.get(name)
    return ", ".join(f"'{part.uri}'" for part in Lake(lake).parts(TABLES[name], version))


def _timed(run: Callable[[], Any]) -> Found:
    begin, used = time.perf_counter(), time.process_time()
    run()
    return {"wall": time.perf_counter() - begin, "cpu": time.process_time() - used}


def make(lake: str, told: str) -> Found:
    """Fill a lake of that size (JSON of generate.Size), and a day of events beside it."""
    import generate  # pyright: ignore[reportMissingImports]

    from lake.store import Lake

    size = generate.Size(**json.loads(told))
    Path(lake).parent.mkdir(parents=True, exist_ok=True)
    generate.config(Path(lake).parent)
    generate.fill(Lake(lake), size)
    return dataclasses.asdict(size)


def make_events(lake: str, told: str) -> Found:
    """One day of events as a table."""
    import generate  # pyright: ignore[reportMissingImports]

    from lake.schemas import EVENTS
    from lake.store import Lake

    size = generate.Size(**json.loads(told))
    for day in range(size.days):  # pieces of one day: what a day of hours leaves
        one = generate.events(size, day).with_columns(ts=_same_day(day))
        Lake(lake).append(EVENTS, generate.accepted(one, f"2026-11-20T{day:02d}"))
    return {}


def _same_day(day: int) -> Any:
    import polars as pl

    return pl.col("ts") + pl.duration(days=day)


JOBS: dict[str, Callable[[str, str], Found]] = {
    job.__name__: job
    for job in (
        daily_ours, daily_duckdb, refresh_ours, rebuild_ours, refresh_strings, refresh_ids,
        update_append, update_fold, update_merge_wide, update_merge_narrow, make_state,
        make_merge_table, top_ours, top_duckdb, read_models, make, make_events,
    )
}  # fmt: skip


def main() -> None:
    """Run one job; what it writes below its own folder is removed."""
    name, lake, *more = sys.argv[1:]
    out = more[0] if more else f"{lake}-out-{name}"
    if not more:
        Path(out).mkdir(parents=True, exist_ok=True)
    try:
        begin, used = time.perf_counter(), time.process_time()
        found = JOBS[name](lake, out)
        told = {"wall": time.perf_counter() - begin, "cpu": time.process_time() - used, **found}
        print(json.dumps(told))
    finally:
        if not more:
            shutil.rmtree(out, ignore_errors=True)


if __name__ == "__main__":
    main()
