"""Questions that need the engine: any stale window, deep prefixes, one user, another as-of."""

from __future__ import annotations

import datetime as dt
from functools import cached_property
from typing import Any

import polars as pl

from lake import control, publish, results, world
from lake.coverage import with_coverage
from lake.cursor import Key
from lake.largest import behind, page
from lake.metrics import diff
from lake.metrics.ledger import by_node_and_hour
from lake.metrics.ownership import below, prefix_rules
from lake.metrics.span import AGES
from lake.metrics.usage import prefix
from lake.schemas import AGENTS, AUDIT_LOG, LEDGER, STALE_INDEX, STALE_ROLLUP, VERIFICATIONS
from lake.store import Lake
from lake.world import World
from storage.config import Config
from storage.units import format_instant

Row = dict[str, Any]


class Ask:
    """Answers at one as-of.

    `versions`: of every table, where the answers are those of a published generation.
    """

    def __init__(self, config: Config, as_of: dt.datetime, versions: dict[str, int]) -> None:
        self._lake = Lake(config.lake.root)
        self._read = self._lake.at(versions) if versions else self._lake
        self._policy = world.policy(config)
        self._as_of = as_of
        self._versions = versions
        self._index_version = versions.get(STALE_INDEX.name)

    @cached_property
    def _world(self) -> World:
        return world.at(self._read, self._policy, self._as_of)

    def documents(self) -> dict[str, list[Row]]:
        """All published documents as they would be at as-of."""
        found = results.compute(self._world, self._policy, control.quotas(self._lake))
        made = publish.documents(found, self._world.members, self._world.aliases, self._as_of)
        return {name: rows(frame) for name, frame in made.items()}

    def stale(
        self, days: int, min_size: int, backend: str, limit: int, after: Key | None = None
    ) -> list[Row]:
        """Rows of stale_index with `coverage`, not touched for `days`; behind the key `after`."""
        return rows(self.stale_frame(days, min_size, backend, limit, after))

    def stale_frame(
        self, days: int, min_size: int, backend: str, limit: int, after: Key | None = None
    ) -> pl.DataFrame:
        """The same, as a frame."""
        where = self._stale(days, min_size, backend)
        if self._index_version is None:
            found = self._index().filter(where, True if after is None else behind(after))
            kept = (found.head(limit) if limit else found).collect()
        else:
            how = {"after": after, "min_size_bytes": min_size}
            kept = page(self._read, self._index_version, where, limit, **how)
        return with_coverage(kept, self._lake.root, self._versions, self._as_of, days)

    def stale_total(self, days: int, min_size: int, backend: str) -> Row:
        """How many files `stale` has in all, and their bytes.

        From the rollup for the windows it knows, and of the index only the class of sizes that
        `min_size` cuts; any other window passes over two numbers of every file that is as large.
        """
        stale = self._stale(days, min_size, backend)
        rollup = self._read.scan(STALE_ROLLUP)
        if days not in AGES or self._index_version is None:
            return _sums(self._index().filter(stale), files=pl.len())
        size_class = min_size.bit_length() - 1
        cut = min_size & (min_size - 1) != 0 if min_size else False
        here = pl.col("backend") == backend if backend not in ("", "all") else pl.lit(value=True)
        found = _sums(
            rollup.filter(
                pl.col("age_days") >= days, pl.col("size_class") >= size_class + cut, here
            ),
            files=pl.col("files").sum(), size="bytes",
        )  # fmt: skip
        if cut:
            within = pl.col("size_bytes") < 1 << (size_class + 1)
            part = _sums(self._index().filter(stale, within), files=pl.len())
            found = {name: found[name] + part[name] for name in found}
        return found

    def _stale(self, days: int, min_size: int, backend: str) -> pl.Expr:
        long_ago = pl.col("last_access_at") < self._as_of - dt.timedelta(days=days)
        here = pl.col("backend") == backend if backend not in ("", "all") else pl.lit(value=True)
        return long_ago & (pl.col("size_bytes") >= min_size) & here

    def prefixes(self, attribution: str, depth: int) -> list[Row]:
        """Rows of usage by the first `depth` path segments."""
        return rows(results.prefix_rows(self._world, self._index(), attribution, depth))

    def aliases(self) -> list[Row]:
        """Names that count as another one of the same person."""
        return rows(control.aliases(self._read, self._as_of))

    def user(self, names: tuple[str, ...], backend: str, limit: int) -> list[Row]:
        """What a user touched, per file and day, newest first, ties by backend and path.

        `names`: all that the user has, the one that counts first.
        """
        key = ["backend", "path", "user", "day"]
        mine = self._world.access.filter(
            pl.col("user").is_in(names), pl.col("last_access_at").is_not_null()
        ).with_columns(user=pl.lit(names[0]))
        if backend not in ("", "all"):
            mine = mine.filter(pl.col("backend") == backend)
        counts = ("read_count", "write_count", "bytes_read", "bytes_written")
        found = (
            mine.group_by(key)
            .agg(pl.col(counts).sum(), pl.col("last_access_at").max())
            .sort(["last_access_at", "backend", "path"], descending=[True, False, False])
        )
        return rows((found.head(limit) if limit else found).collect())

    def ledger(self, node: str, hours: int) -> list[Row]:
        """Per node and landing hour of the last `hours`, newest first."""
        since = (self._as_of - dt.timedelta(hours=hours)).strftime("%Y-%m-%dT%H")
        objects = self._lake.scan(LEDGER).sort("batch", "ingested_at").group_by("object").last()
        found = by_node_and_hour(objects, self._lake.scan(AGENTS))
        if node:
            found = found.filter(pl.col("node") == node)
        return rows(found.filter(pl.col("hour") >= since).collect())

    def diff(self, first: dt.date, last: dt.date, by: str, depth: int) -> list[Row]:
        """What changed from the end of `first` to the end of `last`, by team, prefix or backend."""
        files = diff.between(self._world.changes, first, last)
        if by == "team":
            teams = world.teams_of_files(self._world).rename({"team": "group"})
            files = files.join(teams, on="file_id", how="left")
        else:
            group = prefix(depth) if by == "prefix" else pl.col("backend")
            files = files.with_columns(group=group)
        return rows(diff.summed(files).collect())

    def rules(self) -> list[Row]:
        """Every ownership rule with the files and bytes it decides about."""
        known = control.rules(self._lake)
        return [self.rule(row) for row in known.sort("backend", "prefix").to_dicts()]

    def rule_preview(self, backend: str, prefix: str, team: str, _kept: Any = ()) -> list[Row]:
        """What a rule would take from other teams."""
        return [self.rule({"backend": backend, "prefix": prefix, "team": team})]

    def rule(self, rule: Row) -> Row:
        """A rule, in force or not yet, with the files and bytes below its prefix.

        Of a rule that is not in force, those that another team has now and no longer prefix keeps.
        """
        here = (pl.col("backend") == rule["backend"]) & below(rule["prefix"])
        new = rule.get("at") is None
        ruled = (pl.col("team") == rule["team"]) & (pl.col("owner_source") == "rule")
        taken = (pl.col("team") != rule["team"]) & ~self._kept_by_longer(rule)
        counted = self._index().filter(here, taken if new else ruled)
        sums = counted.select(files=pl.len(), bytes=pl.col("size_bytes").sum()).collect()
        since = None if new else format_instant(rule["at"])
        names = ("backend", "prefix", "team")
        return {**{n: rule[n] for n in names}, "since": since, **sums.row(0, named=True)}

    def _kept_by_longer(self, rule: Row) -> pl.Expr:
        """Whether a rule with a longer prefix decides about the file, whoever it belongs to."""
        known = (*prefix_rules(control.rules(self._lake)), *self._policy.rules)
        longer = [
            below(other.prefix)
            for other in known
            if other.backend == rule["backend"] and len(other.prefix) > len(rule["prefix"])
        ]
        return pl.any_horizontal(longer) if longer else pl.lit(value=False)

    def audit_log(self, limit: int) -> list[Row]:
        """Changes of control tables, newest first."""
        found = self._lake.scan(AUDIT_LOG).sort("at", descending=True)
        return rows((found.head(limit) if limit else found).collect())

    def verify(self) -> list[Row]:
        """The last audit of each backend, both ways."""
        audits = self._lake.scan(VERIFICATIONS).filter(pl.col("kind") == "verify")
        return rows(audits.sort("verified_at").group_by("backend").last().sort("backend").collect())

    def _index(self) -> pl.LazyFrame:
        if self._index_version is None:
            return world.stale_index(self._world).lazy()
        return self._read.scan(STALE_INDEX, self._index_version)


def _sums(found: pl.LazyFrame, *, files: pl.Expr, size: str = "size_bytes") -> Row:
    sums = found.select(files=files.cast(pl.Int64), bytes=pl.col(size).sum())
    return sums.collect(engine="streaming").row(0, named=True)


def rows(frame: pl.DataFrame) -> list[Row]:
    """Rows as the published documents have them."""
    return publish.as_rows(frame)
