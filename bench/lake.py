# ruff: noqa: INP001, T201 - a script, not a package: it prints
"""`make bench-lake`: the lake's jobs against DuckDB on the same files, same run, interleaved.

Every case runs in a fresh process (`bench/lakejobs.py`); CPU seconds count, peak memory beside
them. `--full` (`FULL=1`) takes 100 M files. What the jobs read is made once and kept below
`.artifacts/bench-data` (or `--folder`), two sets at a time; `--only` runs some of the jobs. Writes
`.artifacts/bench/lake.json`.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import os
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "bench")]

from child import Cost, run  # noqa: E402 # pyright: ignore[reportMissingImports]
from report import RESULTS, Row, publish, row  # noqa: E402 # pyright: ignore[reportMissingImports]

from lake import published  # noqa: E402
from lake.schemas import FILE_STATE, FILE_USER, STALE_INDEX, TABLES  # noqa: E402
from lake.store import Lake  # noqa: E402

FILES, DAYS, EVENTS = 5_000_000, 30, 250_000
FULL_FILES, FULL_EVENTS = 100_000_000, 1_000_000
DAY_EVENTS, UPDATE_FILES = 5_000_000, 20_000_000
GIB_PER_MILLION_FILES = 0.3
MADE = "made-by"
MAKERS = ("bench/generate.py", "bench/lakejobs.py", "lake/schemas.py")
SLOW_SECONDS, SLOW_ROUNDS = 60.0, 2
TIMEOUT_SECONDS = 4 * 3600.0
TEN = 10


@dataclass
class Case:
    """All counted rounds of one job."""

    costs: list[Cost] = field(default_factory=list)
    found: list[dict[str, Any]] = field(default_factory=list)

    def cpu(self) -> list[float]:
        """CPU seconds of the process, imports included."""
        return [cost.cpu_seconds for cost in self.costs]

    def step(self) -> list[float]:
        """CPU seconds of the job alone."""
        return [float(found["cpu"]) for found in self.found]

    def peak(self) -> list[float]:
        """Peak memory in MB."""
        return [cost.peak_mb for cost in self.costs]


@dataclass
class Bench:
    """Where things lie, and how many rounds count."""

    folder: Path
    rounds: int
    full: bool

    @property
    def lake(self) -> Path:
        """The lake of the size that was asked for."""
        return self.folder / "big" / "lake"

    def job(self, name: str, *args: str | Path) -> tuple[Cost, dict[str, Any]]:
        """Run one job once."""
        command = [sys.executable, ROOT / "bench" / "lakejobs.py", name, *args]
        cost = run(command, timeout_seconds=TIMEOUT_SECONDS)
        return cost, json.loads(cost.stdout.splitlines()[-1])

    def ready(self, name: str) -> None:
        """Make a folder of DATA, once; one left half made is made anew."""
        place, half = self.folder / name, self.folder / f"{name}.half"
        if not place.exists():
            shutil.rmtree(half, ignore_errors=True)
            print(f"  making {name} …", file=sys.stderr)
            half.mkdir(parents=True)
            DATA[name](self, half)
            half.rename(place)

    def race(
        self, jobs: dict[str, tuple[str | Path, ...]], before: Callable[[], None] | None = None
    ) -> dict[str, Case]:
        """Every job in turn, a warm-up round first; where one takes over a minute, two rounds."""
        cases = {name: Case() for name in jobs}
        rounds, turn = self.rounds, 0
        while turn <= rounds:
            if before is not None:
                before()
            for name, args in jobs.items():
                begin = time.perf_counter()
                cost, found = self.job(name, *args)
                print(f"  {name}: {cost.cpu_seconds:.1f} CPU-s, {cost.wall_seconds:.1f} s, "
                      f"{cost.peak_mb:.0f} MB", file=sys.stderr)  # fmt: skip
                if turn:
                    cases[name].costs.append(cost)
                    cases[name].found.append(found)
                if time.perf_counter() - begin > SLOW_SECONDS:
                    rounds = min(rounds, SLOW_ROUNDS)
            turn += 1
        return cases


def agree(cases: Sequence[Case], *names: str) -> None:
    """Raise where ours and the peers did not find the same."""
    told = {tuple(found[name] for name in names) for case in cases for found in case.found}
    if len(told) != 1:
        raise SystemExit(f"not the same work: {names} are {sorted(told)}")


def daily(bench: Bench) -> list[Row]:
    """A day of events to access_daily."""
    events = bench.folder / "day" / "lake"
    cases = bench.race({"daily_ours": (events,), "daily_duckdb": (events,)})
    ours, peer = cases["daily_ours"], cases["daily_duckdb"]
    agree([ours, peer], "rows", "bytes")
    job = f"{DAY_EVENTS / 1e6:.0f} M events of a day to access_daily"
    return [
        row("daily", job, "CPU s", ours.cpu(), peer=peer.cpu(), peer_name="DuckDB", goal=1.1,
            op="<=", limit="group-by of strings and the sort by path"),
        row("daily-2", job, "peak MB", ours.peak(), peer=peer.peak(), peer_name="DuckDB",
            goal=1500, op="<=", value=statistics.median(ours.peak())),
    ]  # fmt: skip


def stale_usage(bench: Bench) -> list[Row]:
    """From files and state to all results, published."""
    jobs = ("refresh_ours", "refresh_ids", "refresh_strings")
    cases = bench.race(dict.fromkeys(jobs, (bench.lake,)), lambda: _tidy(bench.lake))
    ours, ids, strings = (cases[name] for name in jobs)
    agree([ours, ids, strings], "files", "bytes", "usage")
    files = ours.found[0]["files"]
    job = f"{files / 1e6:.0f} M files: stale_index, usage, rollup, growth"
    job += " (of backends only)" if bench.full else ""
    limit = "every file is written once with its strings; state, join and sort share the rest"
    memory = statistics.median(ours.peak()) / statistics.median(strings.peak())
    return [
        row("stale-usage", job, "CPU s", ours.cpu(), peer=strings.cpu(),
            peer_name="DuckDB on strings", goal=0.3, op="<=", limit=limit),
        row("stale-usage-2", job, "CPU s", ours.cpu(), peer=ids.cpu(),
            peer_name="DuckDB on file_id", goal=0.7, op="<=", limit=limit),
        row("stale-usage-3", job, "peak MB", ours.peak(), peer=strings.peak(), value=memory,
            peer_name="DuckDB on strings", goal=0.1, op="<=",
            limit="a floor of the engine and one bucket of rows"),
        row("stale-usage-file", "per million files", "CPU s",
            [cpu / files * 1e6 for cpu in ours.step()], op="<="),
    ]  # fmt: skip


def _tidy(lake: Path) -> None:
    """Let go of the files of earlier refreshes, so that many rounds take the room of one."""
    versions = published.current(str(lake)).versions
    for table in (STALE_INDEX, FILE_STATE, FILE_USER):
        pinned = [versions[table.name]] if table.name in versions else []
        Lake(str(lake)).vacuum(table, 0, pinned)


def update(bench: Bench) -> list[Row]:
    """A million updates into the state of 20 M files."""
    home = bench.folder / "update"
    lake, wide, narrow, copy = (home / name for name in ("lake", "wide", "narrow", "copy"))

    def fresh() -> None:
        shutil.rmtree(copy, ignore_errors=True)
        for source in (lake / "file_state", wide, narrow):
            shutil.copytree(source, copy / source.name, copy_function=_copy)

    cases = bench.race(
        {
            "update_append": (copy, lake), "update_fold": (copy, lake),
            "update_merge_wide": (copy / "wide", lake),
            "update_merge_narrow": (copy / "narrow", lake),
        }, fresh,
    )  # fmt: skip
    append, fold, wide_cpu, narrow_cpu = (case.step() for case in cases.values())
    week = [a + f / 7 for a, f in zip(append, fold, strict=True)]
    job = "1 M updates into 20 M files"
    return [
        row("update", job, "CPU s", append, peer=wide_cpu, peer_name="MERGE, wide table",
            goal=100, value=statistics.median(wide_cpu) / statistics.median(append)),
        row("update-2", f"{job}, with 1/7 of a fold", "CPU s", week, peer=narrow_cpu, goal=3,
            peer_name="MERGE, narrow table",
            value=statistics.median(narrow_cpu) / statistics.median(week)),
    ]  # fmt: skip


def _copy(source: str, target: str) -> None:
    """Data files are never written again: a link to one is as good as a copy."""
    log = "_delta_log" in source
    (shutil.copy2 if log else os.link)(source, target)


def top(bench: Bench) -> list[Row]:
    """The thousand largest stale files, warm."""
    cases = bench.race({"top_ours": (bench.lake,), "top_duckdb": (bench.lake,)})
    ours, peer = cases["top_ours"].found, cases["top_duckdb"].found
    windows = [name for name in ours[0] if name not in ("wall", "cpu")]
    for name in windows:
        told = {(f[name]["rows"], f[name]["bytes"]) for f in (*ours, *peer)}
        if len(told) != 1:
            raise SystemExit(f"not the same rows for {name}: {told}")
    with_size, without = ([w for w in windows if w.endswith(end)] for end in ("1GiB", "any"))
    rows = [
        _slowest(bench, "top-1000", with_size, (ours, peer), 25),
        _slowest(bench, "top-1000-2", without, (ours, peer), 60),
    ]
    for name in windows:
        ident = f"top-1000-{name.replace(' ', '-').lower()}"
        for unit, column in (("ms", "ms"), ("CPU ms", "cpu_ms")):
            mine, theirs = ([f[name][column] for f in found] for found in (ours, peer))
            suffix = "-cpu" if column == "cpu_ms" else ""
            rows.append(row(f"{ident}{suffix}", f"warm, {name}", unit, mine, peer=theirs,
                            peer_name="DuckDB", op="<="))  # fmt: skip
    return rows


def _slowest(
    bench: Bench, ident: str, windows: Sequence[str], found: tuple[Any, Any], most_ms: float
) -> Row:
    """The slowest window of each round: below so many ms at 100 M files, else against DuckDB."""
    mine, theirs = ([max(each[w]["ms"] for w in windows) for each in side] for side in found)
    how = {"value": statistics.median(mine), "goal": most_ms} if bench.full else {"goal": 1.0}
    job = f"slowest of {len(windows)} windows, warm, {windows[0].split()[1]} size"
    return row(ident, job, "ms", mine, peer=theirs, peer_name="DuckDB", op="<=",
               limit="rows passed over until a thousand match", **how)  # fmt: skip


def read_models(bench: Bench) -> list[Row]:
    """p99 of every other read model, warm."""
    found = bench.race({"read_models": (bench.lake,)})["read_models"].found
    names = [name for name in found[0] if name not in ("wall", "cpu")]
    worst = [max(each[name] for name in names) for each in found]
    rows = [row("read-models", f"p99 of the slowest of {len(names)}", "ms", worst, goal=5, op="<=",
                limit="waits for a CPU that others use")]  # fmt: skip
    rows += [
        row(f"read-models-{name.replace(',', '').replace(' ', '-')}", "p99, warm", "ms",
            [each[name] for each in found], op="<=")
        for name in names
    ]  # fmt: skip
    return rows


def growth_of_cost(bench: Bench) -> list[Row]:
    """Ten times the files and events: cost per file."""
    small = bench.folder / "tenth" / "lake"
    less, more = (
        bench.race({"rebuild_ours": (lake,)}, lambda lake=lake: _tidy(lake))["rebuild_ours"]
        for lake in (small, bench.lake)
    )
    few, many = less.found[0]["files"], more.found[0]["files"]
    written, rewritten = _bytes_of_results(small), _bytes_of_results(bench.lake)
    base = statistics.median(less.step()) / few
    cpu = [cost / many / base for cost in more.step()]
    per_file = (rewritten / many) / (written / few)
    job = f"{few / 1e6:g} M to {many / 1e6:g} M files"
    return [
        row("growth-of-cost", f"CPU per file, {job}", "ratio", cpu, goal=1.2, op="<=",
            limit="what does not depend on files is spread over fewer in the small one"),
        row("growth-of-cost-2", f"bytes per file, {job}", "ratio", [per_file], goal=1.2, op="<="),
        row("growth-of-cost-3", "peak memory at the larger", "MB", more.peak(), goal=1000, op="<=",
            limit="the documents of usage and the sort of the index"),
    ]  # fmt: skip


def _bytes_of_results(lake: Path) -> int:
    names = ("stale_index", "stale_rollup", "usage", "growth", "file_state", "file_user")
    files = (part for name in names for part in Lake(str(lake)).parts(TABLES[name]))
    return sum(file.size_bytes for file in files)


def ingest(bench: Bench) -> list[Row]:
    """The rows of `bench/ingest.py`."""
    return list(importlib.import_module("ingest").rows(bench.rounds))


JOBS: dict[str, Callable[[Bench], list[Row]]] = {
    "ingest": ingest, "daily": daily, "stale-usage": stale_usage, "top-1000": top,
    "read-models": read_models, "growth-of-cost": growth_of_cost, "update": update,
}  # fmt: skip


def _size(bench: Bench) -> dict[str, Any]:
    files, events = (FULL_FILES, FULL_EVENTS) if bench.full else (FILES, EVENTS)
    # At 100 M files growth by team is left out on both sides: its changes take as long to make.
    return {"files": files, "days": DAYS, "events_per_day": events, "changes": not bench.full}


def _make_big(bench: Bench, at: Path) -> None:
    bench.job("make", at / "lake", json.dumps(_size(bench)))


def _make_tenth(bench: Bench, at: Path) -> None:
    size = _size(bench)
    tenth = size | {name: size[name] // TEN for name in ("files", "events_per_day")}
    bench.job("make", at / "lake", json.dumps(tenth))


def _make_day(bench: Bench, at: Path) -> None:
    day = {"files": FILES, "days": 5, "events_per_day": DAY_EVENTS // 5, "seed": 2}
    bench.job("make_events", at / "lake", json.dumps(day))


def _make_update(bench: Bench, at: Path) -> None:
    size = {"files": UPDATE_FILES, "days": 1, "events_per_day": 1, "seed": 3}
    bench.job("make_state", at / "lake", json.dumps(size))
    for name in ("wide", "narrow"):
        bench.job("make_merge_table", at / "lake", at / name)


DATA: dict[str, Callable[[Bench, Path], None]] = {
    "update": _make_update, "big": _make_big, "day": _make_day, "tenth": _make_tenth,
}  # fmt: skip
"""What the jobs read, the longest to make first."""
READ = {"daily": "day", "update": "update", "growth-of-cost": "tenth"}
"""What a job reads beside the lake of the size that was asked for."""


def measure(bench: Bench, only: Sequence[str]) -> list[Row]:
    """Make what is not there yet, then run the jobs."""
    wanted = {"big"} | {READ[name] for name in only if name in READ}
    with ThreadPoolExecutor(2) as pool:  # each makes its rows on one core
        list(pool.map(bench.ready, [name for name in DATA if name in wanted]))
    if not (bench.lake / "published" / "CURRENT").exists():
        bench.job("refresh_ours", bench.lake)
    rows: list[Row] = []
    for name in only:
        print(f"{name} …", file=sys.stderr)
        rows += JOBS[name](bench)
    return rows


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--full", action="store_true", help="100 M files")
    parser.add_argument("--only", default=",".join(JOBS), help="jobs, comma separated")
    parser.add_argument("--folder", type=Path, help="where the data is kept")
    parser.add_argument("--fresh", action="store_true", help="make the data anew")
    options = parser.parse_args()
    files = FULL_FILES if options.full else FILES
    need = files / 1e6 * GIB_PER_MILLION_FILES + UPDATE_FILES / 1e6 * 0.25
    print(f"{files / 1e6:.0f} M files: takes about {need:.0f} GiB of disk", file=sys.stderr)
    kind = "lake-full" if options.full else "lake"
    folder = options.folder or ROOT / ".artifacts" / "bench-data" / kind
    if (folder / MADE).exists() and (options.fresh or (folder / MADE).read_text() != _makers()):
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / MADE).exists() and any(folder.iterdir()):
        raise SystemExit(f"{folder}: there is something else in it: name an empty --folder.")
    if not (folder / "big").exists() and shutil.disk_usage(folder).free < need * 1024**3:
        raise SystemExit(f"{folder}: less than {need:.0f} GiB are free: name a --folder elsewhere.")
    (folder / MADE).write_text(_makers())
    only = [name for name in JOBS if name in options.only.split(",")]
    rows = measure(Bench(folder, options.rounds, options.full), only)
    return publish(kind, [*_others(kind, only), *rows])


def _makers() -> str:
    """What the data depends on: data that other code made is not compared with."""
    texts = b"".join((ROOT / name).read_bytes() for name in MAKERS)
    return hashlib.sha256(texts).hexdigest()


def _others(name: str, only: Sequence[str]) -> list[Row]:
    """Rows of the last run whose jobs are not run now: a part may be measured again."""
    path = RESULTS / f"{name}.json"
    rows: list[Row] = json.loads(path.read_text())["rows"] if path.exists() else []
    return [each for each in rows if not each["id"].startswith(tuple(only))]


if __name__ == "__main__":
    raise SystemExit(main())
