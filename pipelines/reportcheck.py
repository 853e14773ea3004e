"""Whether an inventory report tells the truth: a sample of it against the live store.

A report is used whatever comes out. What the store says was modified after the report's instant
is no error of the report and is not counted.
"""

from __future__ import annotations

import datetime as dt
import logging
from typing import Any

import polars as pl

from lake.schemas import VERIFICATIONS
from lake.store import Lake
from pipelines.verify import Asked, checked_live, counted, drawn_from_index, result
from storage.config import Backend
from storage.errors import WarpdriveError, first_line

log = logging.getLogger(__name__)
EXPECTED = 0.95
"""The share that should agree: a sample that rules it out (95 %) is told."""
Row = dict[str, Any]


def check_report(lake: Lake, backend: Backend, snapshot_at: dt.datetime, now: dt.datetime) -> Row:
    """Check the index that a report has just made: columns of VERIFICATIONS; stored. Never raises.

    With a store that cannot be asked nothing is `checked`, and the log says why.
    """
    assert backend.inventory
    asked = Asked(backend.inventory.sample, int(now.timestamp()), now)
    rows = drawn_from_index(lake, backend.name, asked)
    try:
        checks = checked_live(backend, rows, snapshot_at)
    except (WarpdriveError, OSError) as error:
        log.warning(
            "backend %s: its report was not checked against the store: %s (inventory.sample: 0 "
            "does without)", backend.name, first_line(error),
        )  # fmt: skip
        checks = [None] * rows.height
    row = result(lake, backend.name, asked, "report") | counted(checks, [])
    lake.append(VERIFICATIONS, pl.DataFrame([row], schema=VERIFICATIONS.schema))
    return row


def disagreement(row: Row) -> str:
    """A line about a report that does not agree with its store; empty where it may well."""
    if not row["checked"] or row["agreement_high"] >= EXPECTED:
        return ""
    wrong = row["checked"] - row["agree"]
    return (
        f"{wrong} of {row['checked']} sampled files are not in the store as the report says "
        f"(95 %: {1 - row['agreement_high']:.1%} to {1 - row['agreement_low']:.1%} of all): see "
        "whether inventory.location is of this bucket, and `warpdrive verify`."
    )
