# ruff: noqa: INP001, T201 - a script, not a package: it prints
"""Rows of a benchmark: computed verdicts, a table for people, `.artifacts/bench/NAME.json`.

`python bench/report.py` writes docs/performance.md from every NAME.json that is there.
"""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / ".artifacts" / "bench"
PAGE = ROOT / "docs" / "performance.md"
LIBRARIES = ("polars", "deltalake", "pyarrow", "duckdb", "obstore", "pyfuse3", "fastapi", "uvicorn")

LONG_SECONDS = 60.0
Row = dict[str, Any]


def row(name: str, job: str, unit: str, ours: Sequence[float], **more: Any) -> Row:
    """One row; `ours` and `peer` are all counted rounds, medians are shown, `met` is computed.

    more: peer (rounds), peer_name, goal, op ("<=" or ">="), metric; value where it is not
    ours / peer; limit: what limits it, printed when the goal is missed.
    """
    peer = more.get("peer")
    mine = statistics.median(ours)
    other = statistics.median(peer) if peer else None
    value = more.get("value", mine / other if other else mine)
    goal, op = more.get("goal"), more.get("op", ">=")
    met = None if goal is None else (value >= goal if op == ">=" else value <= goal)
    return {
        "id": name, "job": job, "metric": more.get("metric", job), "unit": unit, "ours": mine,
        "peer": other, "peer_name": more.get("peer_name"), "value": value, "op": op, "goal": goal,
        "met": met, "n": len(ours), "spread": [min(ours), max(ours)],
        "limit": None if met is not False else more.get("limit"),
    }  # fmt: skip


def rounds(count: int = 0) -> Iterator[int]:
    """The numbers of the rounds: 0 is the warm-up, then `count` that are counted.

    Without a count five, or three where the warm-up took a minute or more.
    """
    began = time.monotonic()
    yield 0
    yield from range(1, (count or (5 if time.monotonic() - began < LONG_SECONDS else 3)) + 1)


def line(r: Row) -> str:
    """One row for people."""
    peer = "-" if r["peer"] is None else f"{r['peer']:.6g}"
    verdict = {None: "", True: "met", False: "MISSED"}[r["met"]]
    goal = "-" if r["goal"] is None else f"{r['op']} {r['goal']} {verdict}"
    limit = f" ({r['limit']})" if r.get("limit") else ""
    return (
        f"{r['id']:<32} {r['ours']:>12.6g} {peer:>12} {r['value']:>9.3g}  "
        f"{goal} [{r['unit']}]{limit}"
    )


def show(rows: Sequence[Row]) -> None:
    """Print the table."""
    print(f"{'id':<32} {'ours':>12} {'peer':>12} {'value':>9}  goal")
    for r in rows:
        print(line(r))


def publish(name: str, rows: Sequence[Row]) -> int:
    """Print the table and write `.artifacts/bench/<name>.json`; the exit code of the benchmark."""
    show(rows)
    RESULTS.mkdir(parents=True, exist_ok=True)
    document = {"machine": machine(), "rows": list(rows)}
    (RESULTS / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n")
    return 0


def machine() -> dict[str, Any]:
    """Where and with what it was measured."""
    versions = {}
    for library in LIBRARIES:
        try:
            versions[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "date": dt.datetime.now(dt.UTC).date().isoformat(), "cpus": os.cpu_count(),
        "kernel": platform.release(), "python": platform.python_version(),
        "load": os.getloadavg(), "versions": versions,
    }  # fmt: skip


def page(before: str = "") -> str:
    """docs/performance.md: one table a benchmark; those not run here stay as they were."""
    head = (
        "# Performance\n\nWritten by `make bench-report` from the last run of each benchmark. "
        "Medians; the value is ours divided by the peer's in the same run unless the row says "
        "otherwise. Machines are noisy: trust ratios.\n"
    )
    parts = {}
    for part in before.split("\n## ")[1:]:
        name, _, text = part.partition("\n")
        parts[name] = text.rstrip("\n") + "\n"
    for path in RESULTS.glob("*.json"):
        parts[path.stem] = _part(json.loads(path.read_text()))
    return head + "".join(f"\n## {name}\n{parts[name]}" for name in sorted(parts))


def _part(document: dict[str, Any]) -> str:
    where = document["machine"]
    versions = ", ".join(f"{k} {v}" for k, v in where.get("versions", {}).items())
    return (
        f"\n{where.get('date', '')}, {where['cpus']} CPUs, kernel {where['kernel']}, Python "
        f"{where['python']}; {versions}.\n\n"
        "| id | job | ours | peer | value | goal | |\n|---|---|---|---|---|---|---|\n"
    ) + "".join(_cells(r) for r in document["rows"])


def _cells(r: Row) -> str:
    peer = "" if r["peer"] is None else f"{r['peer']:.4g} ({r['peer_name']})"
    goal = "" if r["goal"] is None else f"{r['op']} {r['goal']}"
    verdict = {None: "", True: "met", False: "**missed**"}[r["met"]]
    if r.get("limit"):
        verdict += f": {r['limit']}"
    return (
        f"| `{r['id']}` | {r['job']} | {r['ours']:.4g} {r['unit']} | {peer} | {r['value']:.3g} "
        f"| {goal} | {verdict} |\n"
    )


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(PAGE.read_text() if PAGE.exists() else ""))
    print(f"{PAGE.relative_to(ROOT)} written", file=sys.stderr)
