"""Sums that people look around by: top prefixes, unassigned ones, evidence of owners, tiers.

Made once per refresh in one pass over the published index, file by file, after the results are
out; readers then need no look at the files. Memory is bounded: where there are more than
MAX_GROUPS prefixes, deep ones are joined to their parents, and readers ask for those depths live.
"""

from __future__ import annotations

from typing import Any

import polars as pl

from lake.detail import SUMS, UNKNOWN_TIER
from lake.metrics.usage import segments
from lake.parts import load
from lake.published import Generation
from lake.schemas import FILES, STALE_INDEX
from lake.store import Lake

DEPTH = 4
TOP = 60
MAX_GROUPS = 1_000_000
DOCUMENTS = ("prefixes", "unassigned", "evidence", "tiers")
OF_VERSION = "explored"
"""The document that says of which version of the index the others are."""
ADDED = (pl.col("files").sum(), pl.col("bytes").sum())
NAMES = tuple(f"segment_{n}" for n in range(DEPTH))
Row = dict[str, Any]


def explored(lake: Lake, index_version: int, files_version: int | None) -> dict[str, pl.DataFrame]:
    """Every document of DOCUMENTS and OF_VERSION, of one version of the index.

    prefixes, unassigned: backend, depth, prefix, files, bytes: the TOP of each backend and depth.
    evidence: backend, team, owner_source, files, bytes. tiers: backend, tier, files, bytes.
    """
    uris = [part.uri for part in lake.parts(STALE_INDEX, index_version) if part.rows]
    sums, depth = _prefix_sums(uris)
    tier = pl.col("tier").fill_null(UNKNOWN_TIER)
    tiers = lake.scan(FILES, files_version).group_by("backend", tier=tier).agg(SUMS)
    evidence = load(uris, STALE_INDEX.schema).group_by("backend", "team", "owner_source").agg(SUMS)
    return {
        "prefixes": _top(sums, depth),
        "unassigned": _top(sums.filter("open"), depth),
        "evidence": _ranked(evidence, "owner_source"),
        "tiers": _ranked(tiers, "tier"),
        OF_VERSION: pl.DataFrame({"stale_index": [index_version], "depth": [depth]}),
    }


def published(generation: Generation, name: str) -> list[Row] | None:
    """The rows of one of DOCUMENTS; None where those of this very index are not published yet."""
    told = generation.rows(OF_VERSION)
    mine = generation.versions.get(STALE_INDEX.name)
    return generation.rows(name) if told and told[0]["stale_index"] == mine else None


def deepest(generation: Generation) -> int:
    """How deep prefixes are published; 0 = not at all."""
    told = generation.rows(OF_VERSION)
    mine = generation.versions.get(STALE_INDEX.name)
    return int(told[0]["depth"]) if told and told[0]["stale_index"] == mine else 0


def _prefix_sums(uris: list[str]) -> tuple[pl.DataFrame, int]:
    """Sums by backend, whether nobody owns it, and the first segments; and how many segments."""
    key, depth = ["backend", "open", *NAMES], DEPTH
    found: pl.DataFrame | None = None
    for uri in uris:
        rows = load([uri], STALE_INDEX.schema).select(
            "backend", "size_bytes", (pl.col("team") == "unassigned").alias("open"),
            segments(NAMES),
        ).unnest("segments")  # fmt: skip
        sums = rows.group_by(key).agg(SUMS).collect(engine="streaming")
        found = sums if found is None else _added(pl.concat([found, sums]), key)
        while found.height > MAX_GROUPS and depth > 1:
            depth -= 1
            key = key[:-1]
            found = _added(found, key)
        # A flat store: every object is a prefix. The index comes largest first, and so they stay.
        found = found.top_k(MAX_GROUPS, by="bytes") if found.height > MAX_GROUPS else found
    nothing = dict.fromkeys(NAMES, pl.String) | {"files": pl.Int64, "bytes": pl.Int64}
    empty = pl.DataFrame(schema={"backend": pl.String, "open": pl.Boolean, **nothing})
    return (empty if found is None else found), depth


def _added(sums: pl.DataFrame, key: list[str]) -> pl.DataFrame:
    return sums.group_by(key).agg(ADDED)


def _top(sums: pl.DataFrame, depth: int) -> pl.DataFrame:
    """backend, depth, prefix, files, bytes: the largest prefixes of each backend and depth."""
    found = []
    for deep in range(1, depth + 1):
        prefix = pl.concat_str(NAMES[:deep], separator="/", ignore_nulls=True)
        rows = (
            sums.group_by("backend", *NAMES[:deep]).agg(ADDED)
            .with_columns(prefix=prefix, depth=pl.lit(deep, pl.Int64))
            .sort(["bytes", "prefix"], descending=[True, False])
        )  # fmt: skip
        found.append(rows.group_by("backend", maintain_order=True).head(TOP))
    return pl.concat(found, how="diagonal").select("backend", "depth", "prefix", "files", "bytes")


def _ranked(rows: pl.LazyFrame, then: str) -> pl.DataFrame:
    ordered = rows.sort(["bytes", then, "backend"], descending=[True, False, False])
    return ordered.collect(engine="streaming")
