"""Which rows of `events` count: those of batches that are in the ledger.

An ingest commits events before their ledger row. What lies between the two, for a moment or since
a process was killed, is told again by the next ingest: nobody may have counted it before.
"""

from __future__ import annotations

import polars as pl

from lake.parts import Part
from lake.schemas import EVENTS, LEDGER
from lake.store import Lake

BATCH = "batch"


def last_batch(lake: Lake) -> int:
    """The latest batch of the ledger, 0 where there is none.

    Ask for it before the events: what is committed meanwhile does not count then.
    """
    return lake.scan(LEDGER).select(pl.col(BATCH).max()).collect().item() or 0


def up_to(batch: int) -> pl.Expr:
    """Whether a row of `events` is of that batch or one before."""
    return pl.col(BATCH) <= batch


def event_files(lake: Lake, batch: int) -> list[Part]:
    """The files of `events` that have rows of that batch or one before."""
    return [p for p in lake.parts(EVENTS) if p.least.get(BATCH) is None or p.least[BATCH] <= batch]


def events(lake: Lake) -> pl.LazyFrame:
    """The rows of `events` that count."""
    batch = last_batch(lake)
    return lake.scan(EVENTS).filter(up_to(batch))
