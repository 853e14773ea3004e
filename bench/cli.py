# ruff: noqa: INP001 - a script, not a package
"""How much CPU a cold command costs: against a bare interpreter and DuckDB scripts.

Byte code is compiled before the first counted round, as installers leave it.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from child import ROOT, Cost, run
from report import Row, publish, row

ROUNDS = 9
FILES, EVENTS, USERS, DAYS = 20_000, 200_000, 40, 120
WARPDRIVE = Path(sys.executable).with_name("warpdrive")
PUBLISHED = {
    "cli-usage": ("usage",),
    "cli-stale": ("stale",),
    "cli-growth": ("growth",),
    "cli-quota": ("quota", "list"),
    "cli-backends": ("backends",),
}
ASKED = {
    "cli-ask-stale": ("stale", "--days", "30", "--min-size", "1"),
    "cli-ask-stale-45": ("stale", "--days", "45", "--min-size", "1"),
    "cli-ask-stale-all": ("stale", "--days", "45", "--limit", "5000"),  # the engine's
    "cli-ask-user": ("user", "user7", "--limit", "1000"),
    "cli-ask-prefix": ("usage", "--group-by", "prefix", "--depth", "2"),
}
PAST = {
    "cli-past-usage": ("usage", "--group-by", "team"),
    "cli-past-stale": ("stale", "--days", "30"),
    "cli-past-growth": ("growth", "--by", "team"),
    "cli-past-quota": ("quota", "list"),
}
"""Asked of an as-of between two listings."""

# What a user would write instead: the same rows in the same order, as CSV.
_PEER = """
import csv, datetime, sys
import duckdb
from deltalake import DeltaTable
lake = sys.argv[1]
def table(name, partitioned=False):
    uris = DeltaTable(f'{lake}/{name}').file_uris()
    return f"read_parquet({uris!r}, hive_partitioning={partitioned})"
def instant(name):
    return f"strftime({name} at time zone 'UTC', '%Y-%m-%d %H:%M:%S')"
found = duckdb.sql(SQL)
out = csv.writer(sys.stdout, lineterminator="\\n")
out.writerow(found.columns)
out.writerows(found.fetchall())
"""
_USAGE = """f'''select "group", backend, files, bytes, {instant('last_access_at')} last_access,
read_count, write_count, bytes_read, bytes_written, touched_bytes from {table('usage')}
where group_by = 'user' and attribution = 'owner' order by bytes desc, "group", backend'''"""
_STALE = """f'''select s.backend, path, size_bytes, {instant('last_modified_at')} last_modified,
{instant('last_access_at')} last_access, owner, evidence, null coverage
from {table('stale_index')} s
where last_access_at < timestamptz 'AS_OF' - interval AGO day and size_bytes >= 1
order by size_bytes desc, backend, path limit 1000'''"""
_USER = """f'''select backend, path, strftime(day, '%Y-%m-%d') as day,
sum(read_count)::bigint read_count, sum(write_count)::bigint write_count,
sum(bytes_read)::bigint bytes_read, sum(bytes_written)::bigint bytes_written,
{instant('max(last_access_at)')} last_access from {table('access_daily')}
where "user" = 'user7' and last_access_at is not null group by backend, path, day
order by max(last_access_at) desc, backend, path limit 1000'''"""
_PAST = "f'''" + Path(__file__).with_name("past.sql").read_text() + "'''"
PEERS = {
    "cli-usage": _USAGE, "cli-ask-stale": _STALE.replace("AGO", "30"),
    "cli-ask-stale-45": _STALE.replace("AGO", "45"),
    "cli-ask-stale-all": _STALE.replace("AGO", "45").replace("limit 1000", "limit 5000"),
    "cli-ask-user": _USER, "cli-past-usage": _PAST,
}  # fmt: skip


def main() -> int:
    """Build a lake, race the commands, publish the rows."""
    with tempfile.TemporaryDirectory(prefix="bench-cli-") as folder:
        os.environ["PYTHONPYCACHEPREFIX"] = str(Path(folder) / "pyc")
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        config, before, now = lake(Path(folder))
        os.environ["WARPDRIVE_CONFIG"] = str(config)
        cases = {name: [WARPDRIVE, *args, "--format", "csv"]
                 for name, args in (PUBLISHED | ASKED).items()}  # fmt: skip
        cases |= {name: [WARPDRIVE, *args, "--as-of", before, "--format", "csv"]
                  for name, args in PAST.items()}  # fmt: skip
        cases |= {f"{name}-table": [WARPDRIVE, *args] for name, args in PUBLISHED.items()}
        for name, sql in PEERS.items():
            at = sql.replace("AS_OF", now).replace("BEFORE", before).replace("DAY", before[:10])
            code = _PEER.replace("SQL", at)
            cases[f"{name}-peer"] = [sys.executable, "-c", code, str(config.parent / "lake")]
        cases["pass"] = [sys.executable, "-c", "pass"]
        found = rounds(cases)
    for name in PEERS:
        ours, theirs = found[name][0].stdout, found[f"{name}-peer"][0].stdout
        if without_coverage(ours) != without_coverage(theirs):
            raise SystemExit(f"{name}: the peer's answer is another one")
    return publish("cli", rows({n: [c.cpu_seconds for c in costs] for n, costs in found.items()}))


def rounds(cases: dict[str, Sequence[str | Path]]) -> dict[str, list[Cost]]:
    """Interleaved: one warm-up of every case, then ROUNDS of all."""
    for command in cases.values():
        run(command)
    found: dict[str, list[Cost]] = {name: [] for name in cases}
    for _ in range(ROUNDS):
        for name, command in cases.items():
            found[name].append(run(command))
    return found


def rows(cpu: dict[str, list[float]]) -> list[Row]:
    """CPU seconds of every case against its goals."""
    made = [
        row(name, f"warpdrive {' '.join(args)} --format csv, cold", "s CPU", cpu[name],
            peer=cpu["pass"], peer_name="python -c pass", goal=10, op="<=")
        for name, args in PUBLISHED.items()
    ]  # fmt: skip
    made += [
        row(f"{name}-table", f"warpdrive {' '.join(args)}, cold", "s CPU", cpu[f"{name}-table"],
            goal=0.3, op="<=")
        for name, args in PUBLISHED.items()
    ]  # fmt: skip
    made += [
        row(name, f"warpdrive {' '.join(args)} --format csv, cold", "s CPU", cpu[name],
            goal=0.3, op="<=")
        for name, args in ASKED.items()
    ]  # fmt: skip
    made += [
        row(name, f"warpdrive {' '.join(args)} --as-of T --format csv, cold", "s CPU", cpu[name],
            goal=0.3, op="<=")
        for name, args in PAST.items()
    ]  # fmt: skip
    made += [
        row(f"{name}-duckdb", "the same answer by a DuckDB script", "s CPU", cpu[name],
            peer=cpu[f"{name}-peer"], peer_name="DuckDB script", goal=0.4, op="<=",
            limit=f"importing deltalake and asking it are {share(cpu, name):.0%} of it")
        for name in PEERS
    ]  # fmt: skip
    return made


def share(cpu: dict[str, list[float]], name: str) -> float:
    """How much of a command's CPU is more than that of the published answers: the engine."""
    mine, floor = statistics.median(cpu[name]), statistics.median(cpu["cli-usage"])
    return (mine - floor) / mine


def without_coverage(text: str) -> list[str]:
    """Lines without the last column of stale: scripts do not compute it."""
    header, *lines = text.splitlines()
    cut = header.endswith(",coverage")
    return [line.rpartition(",")[0] if cut else line for line in (header, *lines)]


def lake(folder: Path) -> tuple[Path, str, str]:
    """A lake of FILES files and EVENTS events, crawled twice: the config file, both as-ofs."""
    chance = random.Random(7)
    now = dt.datetime.now(dt.UTC).replace(microsecond=0)
    root = folder / "data"
    paths = [f"team{n % 8}/set{n % 100:02}/part{n}.bin" for n in range(FILES)]
    for path in paths:
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("wb") as stream:
            stream.truncate(chance.randrange(1, 1 << 30))
        at = (now - dt.timedelta(days=chance.randrange(1, 400))).timestamp()
        os.utime(place, (at, at))
    log = folder / "events.jsonl"
    with log.open("w") as stream:
        for _ in range(EVENTS):
            at = now - dt.timedelta(days=1, seconds=chance.randrange(DAYS * 86_400))
            stream.write(json.dumps({
                "ts": at.isoformat(), "user": f"user{chance.randrange(USERS)}", "backend": "data",
                "path": chance.choice(paths), "op": "read", "bytes_read": chance.randrange(1 << 20),
            }) + "\n")  # fmt: skip
    config = folder / "warpdrive.yaml"
    config.write_text(
        "lake: {root: ./lake}\ntelemetry: {landing: ./landing}\nbackends:\n"
        f"  - {{name: data, type: local, config: {{root: {root}}}}}\n"
    )
    command = [str(WARPDRIVE), "--config", str(config)]
    for args in (["team", "add", "user7", "vision"], ["quota", "set", "--team", "vision",
                 "--hard", "1TB"], ["ingest", str(log)], ["crawl"], ["refresh"]):  # fmt: skip
        subprocess.run([*command, *args], check=True, stdout=subprocess.DEVNULL)
    before = as_of(folder)
    for path in paths[::100]:
        (root / path).unlink()
    for args in (["crawl"], ["refresh"]):
        subprocess.run([*command, *args], check=True, stdout=subprocess.DEVNULL)
    return config, before, as_of(folder)


def as_of(folder: Path) -> str:
    """That of the last refresh."""
    told: str = json.loads((folder / "lake" / "published" / "CURRENT").read_text())["as_of"]
    return told


if __name__ == "__main__":
    os.chdir(ROOT)
    raise SystemExit(main())
