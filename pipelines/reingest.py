"""Replace a landing hour from its objects: backfills, and hours that are sealed."""

from __future__ import annotations

import polars as pl

from lake.schemas import EVENTS, LEDGER, QUARANTINE
from lake.store import Lake
from pipelines.ingest import MAX_OBJECT_BYTES, counts, damaged, ledger
from pipelines.transforms.parse import Parsed, parse
from storage.errors import LakeError
from storage.landing import decompress
from storage.objectstore import get, open_store


def replace_hour(lake: Lake, landing: str, hour: str) -> int:
    """Re-read every ingested object of `hour` and replace its rows, sorted; how many objects.

    Raises LakeError, naming them, when objects that the ledger lists are gone; nothing changes.
    """
    rows = ledger(lake).filter(pl.col("hour") == hour, pl.col("state") == "ingested").to_dicts()
    if not rows:
        return 0
    store = open_store(landing)
    found: dict[str, Parsed] = {}
    missing: list[str] = []
    for row in sorted(rows, key=lambda r: r["object"]):
        where = {"hour": hour, "name": row["object"], "batch": row["batch"]}
        try:
            data = decompress(row["object"], get(store, row["object"]), MAX_OBJECT_BYTES)
            found[row["object"]] = parse(data, landed_at=row["landed_at"], **where)
        except FileNotFoundError:
            missing.append(row["object"])
        except ValueError as error:
            found[row["object"]] = damaged(str(error), where)
    if missing:
        raise LakeError(
            f"hour {hour} is not replaced: {len(missing)} of its {len(rows)} ingested objects "
            f"are gone from {landing}: {', '.join(missing[:5])}. Bring them back, or leave the "
            "hour as it is."
        )
    events = pl.concat([p.events for p in found.values()]).sort("backend", "path", "ts", "object")
    lake.replace(QUARANTINE, pl.concat([p.quarantine for p in found.values()]), {"hour": hour})
    lake.replace(EVENTS, events, {"hour": hour})
    updated = [row | counts(found[row["object"]]) for row in rows]
    lake.append(LEDGER, pl.DataFrame(updated, schema=LEDGER.schema))
    return len(rows)
