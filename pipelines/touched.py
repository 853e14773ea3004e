"""Landed objects that were written again with the bytes they had: restored, copied, touched."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from lake.schemas import LEDGER
from lake.store import Lake
from pipelines import reading
from pipelines.candidates import Candidate, Row, Window
from storage.objectstore import ObjectInfo

AFTER = dt.timedelta(microseconds=1)
"""The latest row of an object counts: a new one is later, whatever the clock says."""


def touched_objects(
    lake: Lake, store: Any, new: Sequence[Candidate], known: Mapping[str, Row], window: Window
) -> set[str]:
    """Those of `new` whose bytes the ledger knows; it learns their etags, and no event moves."""
    rows = []
    for one in new:
        before = known.get(one.landed.name)
        if before is None or before["size_bytes"] != one.info.size_bytes or not before["sha256"]:
            continue
        if before["etag"] != one.info.etag and _digest(store, one.info) == before["sha256"]:
            at = max(window.now, before["ingested_at"] + AFTER)
            rows.append(before | {"etag": one.info.etag, "ingested_at": at})
    if rows:
        lake.append(LEDGER, pl.DataFrame(rows, schema=LEDGER.schema))
    return {row["object"] for row in rows}


def _digest(store: Any, info: ObjectInfo) -> str:
    """sha256 of the uncompressed bytes; empty where they cannot be read."""
    digest = hashlib.sha256()
    try:
        for body in reading.bodies(store, [info]):
            for piece in reading.opened(info.name, body):
                digest.update(piece)
    except (reading.DamagedError, reading.UnreadableError):
        return ""
    return digest.hexdigest()
