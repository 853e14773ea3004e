"""The table `runs`: what was asked for, and how it ended."""

from __future__ import annotations

import datetime as dt
import json
import secrets
from typing import Any

import polars as pl

from lake.schemas import RUNS
from lake.store import Lake
from storage.units import format_instant

Row = dict[str, Any]
ENDED = ("ok", "partial", "error", "interrupted")


def new_id() -> str:
    """A run's id: 128 random bits, so that nobody guesses another's."""
    return secrets.token_hex(16)


def write(lake: Lake, row: Row) -> None:
    """Append the state of a run; the latest row of an id wins."""
    told = {**row, "detail": json.dumps(row["detail"], separators=(",", ":"))}
    lake.append(RUNS, pl.DataFrame([told], schema=RUNS.schema))


def find(lake: Lake, run_id: str) -> Row | None:
    """The latest state of a run, or None."""
    rows = lake.scan(RUNS).filter(pl.col("run_id") == run_id).sort("written_at").tail(1).collect()
    if not rows.height:
        return None
    row = rows.row(0, named=True)
    return {**row, "detail": json.loads(row["detail"])}


def body(row: Row) -> Row:
    """A run as REST tells it."""
    at = {name: _text(row[name]) for name in ("requested_at", "ended_at")}
    return {
        "status": row["state"], "run_id": row["run_id"], "kind": row["kind"], "who": row["who"],
        "requested_at": at["requested_at"], "ended_at": at["ended_at"], **row["detail"],
    }  # fmt: skip


def _text(at: dt.datetime | None) -> str | None:
    return format_instant(at) if at else None
