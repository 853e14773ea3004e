"""Any window of a stale question, out of the documents of `lake.tops`. Standard library only."""

from __future__ import annotations

from typing import Any

from lake.published import Generation

STALE_LIMIT = 1000
TOPS = "tops"
Row = dict[str, Any]


def top(generation: Generation, days: int) -> list[Row] | None:
    """The STALE_LIMIT largest files idle for so many days, with `coverage`; None: not published."""
    span = _span(generation, days)
    if span is None:
        return None
    cover = _coverage(generation, days, span)
    idle = [row for row in generation.rows(f"stale-{span}") if row["idle_days"] >= days]
    return [_with_coverage(row, cover) for row in idle[:STALE_LIMIT]]


def coverage(generation: Generation, days: int) -> dict[str, float | None] | None:
    """The coverage of each backend that agents mount, for a window; None where not published."""
    span = _span(generation, days)
    return None if span is None else _coverage(generation, days, span)


def _coverage(generation: Generation, days: int, span: int) -> dict[str, float | None]:
    told = generation.rows(f"coverage-{span}")
    return {row["backend"]: row["coverage"][days - span] for row in told}


def _span(generation: Generation, days: int) -> int | None:
    """The first day of the document that answers that window of the index now published."""
    of = generation.rows("explored")
    if not of or of[0]["stale_index"] != generation.versions.get("stale_index"):
        return None
    spans = generation.rows(TOPS)
    return next((s["first_days"] for s in spans if s["first_days"] <= days <= s["last_days"]), None)


def _with_coverage(row: Row, cover: dict[str, float | None]) -> Row:
    found = row | {"coverage": cover.get(row["backend"])}
    del found["idle_days"]
    return found


def cut(rows: list[Row], min_size: int, backend: str, limit: int) -> list[Row] | None:
    """The first `limit` rows of a top that are as large and of that backend.

    None where rows below the STALE_LIMIT of the top may be among them.
    """
    found = [
        row
        for row in rows
        if row["size_bytes"] >= min_size and backend in ("", "all", row["backend"])
    ]
    whole = len(rows) < STALE_LIMIT or rows[-1]["size_bytes"] < min_size
    return found[:limit] if whole or len(found) >= limit else None
