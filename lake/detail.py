"""Closer looks for people: crawls, tiers, prefixes, evidence, quarantined lines.

Each is one small frame, from pinned versions of the tables where readers compare it with others.
"""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

from lake.metrics.usage import prefix
from lake.schemas import FILES, LISTINGS, QUARANTINE, STALE_INDEX
from lake.store import Lake

UNKNOWN_TIER = "not told"
SUMS = (pl.len().cast(pl.Int64).alias("files"), pl.col("size_bytes").sum().alias("bytes"))


class Part(NamedTuple):
    """Which part of the index: a version, a backend (empty = all), teams (None = all)."""

    version: int | None = None
    backend: str = ""
    teams: tuple[str, ...] | None = None

    def of(self, index: pl.LazyFrame) -> pl.LazyFrame:
        """The rows of stale_index that belong to this part."""
        if self.backend:
            index = index.filter(pl.col("backend") == self.backend)
        if self.teams is not None:
            index = index.filter(pl.col("team").is_in(list(self.teams)))
        return index


def crawls(lake: Lake, backend: str, limit: int) -> pl.DataFrame:
    """The latest crawls, newest first: the columns of listings."""
    rows = lake.scan(LISTINGS).sort("written_at").group_by("backend", "listing").last()
    if backend:
        rows = rows.filter(pl.col("backend") == backend)
    newest = rows.sort(["snapshot_at", "backend"], descending=[True, False]).head(limit)
    return newest.select(LISTINGS.schema.names()).collect()


def tiers(lake: Lake, backend: str, version: int | None = None) -> pl.DataFrame:
    """tier, files, bytes of a backend's index, largest first."""
    found = lake.scan(FILES, version).filter(pl.col("backend") == backend)
    tier = pl.col("tier").fill_null(UNKNOWN_TIER)
    return _largest(found.group_by(tier=tier).agg(SUMS), "tier")


def prefixes(lake: Lake, part: Part, depth: int, limit: int) -> pl.DataFrame:
    """backend, prefix (first `depth` segments), files, bytes, largest first."""
    found = part.of(lake.scan(STALE_INDEX, part.version))
    return _largest(found.group_by("backend", prefix=prefix(depth)).agg(SUMS), "prefix", limit)


def unassigned(lake: Lake, part: Part, depth: int, limit: int) -> pl.DataFrame:
    """backend, prefix, files, bytes of what has no team, largest first."""
    found = part.of(lake.scan(STALE_INDEX, part.version)).filter(pl.col("team") == "unassigned")
    return _largest(found.group_by("backend", prefix=prefix(depth)).agg(SUMS), "prefix", limit)


def evidence(lake: Lake, part: Part) -> pl.DataFrame:
    """owner_source, files, bytes: how owners are known, largest first."""
    found = part.of(lake.scan(STALE_INDEX, part.version))
    return _largest(found.group_by("owner_source").agg(SUMS), "owner_source")


def quarantine(lake: Lake, since_hour: str, reason: str, limit: int) -> pl.DataFrame:
    """hour, object, line, reason, text of refused lines, newest landing hour first."""
    found = lake.scan(QUARANTINE).filter(pl.col("hour") >= since_hour)
    if reason:
        found = found.filter(pl.col("reason") == reason)
    newest = found.sort(["hour", "object", "line"], descending=[True, False, False]).head(limit)
    return newest.select("hour", "object", "line", "reason", "text").collect()


def quarantine_reasons(lake: Lake, since_hour: str) -> pl.DataFrame:
    """reason, lines, objects, most lines first."""
    found = lake.scan(QUARANTINE).filter(pl.col("hour") >= since_hour)
    return (
        found.group_by("reason")
        .agg(
            lines=pl.len().cast(pl.Int64),
            objects=pl.col("object").n_unique().cast(pl.Int64),
        )
        .sort(["lines", "reason"], descending=[True, False])
        .collect()
    )


def _largest(rows: pl.LazyFrame, then: str, limit: int = 0) -> pl.DataFrame:
    ranked = rows.sort(["bytes", then], descending=[True, False])
    return (ranked.head(limit) if limit else ranked).collect(engine="streaming")
