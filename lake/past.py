"""The published reports as they would be at another as-of, as SQL, without importing polars.

The rows are those of `lake.ask`, which computes every document with the metrics' own code; a test
compares the two.
"""

# ruff: noqa: S608 - texts are quoted in one place, the rest are numbers and our own names

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from contextlib import suppress
from itertools import accumulate, groupby
from typing import Any

from lake.inforce import limits
from lake.instant import COUNTED, Instant, team_of
from lake.query import COUNTS, COVERAGE_WINDOW, NoTableError
from lake.sql import EPOCH, instant_text, us

NEVER_CRAWLED = "never crawled"
MOST_PREFIXES = 10_000
"""As `lake.results` and `lake.metrics.usage` have them."""
MICROSECOND = dt.timedelta(microseconds=1)
AUDITED = ("checked", "agree", "agreement_low", "agreement_high")
Row = dict[str, Any]


class Past(Instant):
    """Documents and questions of the lake as it was at `as_of`."""

    def document(self, name: str) -> list[Row]:
        """The rows of a published document. Raises NoTableError where SQL does not answer it."""
        report, *which = name.split("-")
        rows: list[Row] = getattr(self, f"_{report}_rows")(*which)
        return rows

    def aliases(self) -> list[Row]:
        """Names that count as another one of the same person: name, canonical, since_at."""
        return self._alias_rows()

    def _usage_rows(self, group_by: str, attribution: str) -> list[Row]:
        """What each group stores and does, per backend: `lake.metrics.usage.usage`."""
        prefix = "split_part(path, '/', 1)"
        stored, mine = {
            "user": ("owner", '"user"'), "team": ("team", team_of('u."user"')),
            "backend": ("backend", "backend"), "prefix": (prefix, "prefix"),
        }[group_by]  # fmt: skip
        if group_by in ("user", "team"):
            touched = (
                f"with q as (select {mine} as g, file_id from touching u) "
                "select p.g, i.backend, count(*) as files, sum(i.size_bytes) as bytes "
                "from (select distinct g, file_id from q) p "
                "join stale_index i on p.file_id = i.file_id group by p.g, i.backend"
            )
        else:
            touched = (
                f"select {stored} as g, backend, count(*) as files, sum(size_bytes) as bytes "
                "from stale_index where telemetry is not null group by 1, 2"
            )
        owned = attribution == "owner"
        files, size, seen = (
            ("s.files", "s.bytes", "s.seen_at") if owned else ("t.files", "t.bytes", "c.acted_at")
        )
        sums = ", ".join(f"sum({name}) as {name}" for name in COUNTS)
        counts = ", ".join(f"coalesce(c.{name}, 0) as {name}" for name in COUNTS)
        rows = self.rows(
            f"with a as (select *, {mine} as g from acted u), "
            f"c as (select g, backend, {sums}, max(last_access_at) as acted_at "
            f"from a group by 1, 2), t as ({touched}), "
            f"s as (select {stored} as g, backend, count(*) as files, sum(size_bytes) as bytes, "
            "max(last_access_at) as seen_at from stale_index group by 1, 2) "
            'select coalesce(s.g, c.g) as "group", coalesce(s.backend, c.backend) as backend, '
            f"coalesce({files}, 0) as files, coalesce({size}, 0) as bytes, "
            f"{us(seen, 'last_access_at')}, {counts}, coalesce(t.bytes, 0) as touched_bytes "
            f"from s {'full outer' if owned else 'right'} join c "
            "on s.g = c.g and s.backend = c.backend "
            "left join t on c.g = t.g and c.backend = t.backend "
            'order by bytes desc, "group", backend',
            ("acted", "touching", "stale_index", "first_team"),
        )
        if group_by == "prefix" and len(rows) > MOST_PREFIXES:
            raise NoTableError("the small prefixes are one row together")
        return rows

    def _growth_rows(self, by: str) -> list[Row]:
        rows = self._growth_by_team() if by == "team" else self._growth_by_backend()
        return [{"by": by, **row} for row in rows]

    def _growth_by_backend(self) -> list[Row]:
        """The last listing of each day that counts: `lake.metrics.growth.by_backend`."""
        return self.rows(
            f"{self._listings()}, d as (select *, cast(snapshot_at as date) as d, row_number() "
            "over (partition by backend, cast(snapshot_at as date) "
            "order by snapshot_at desc, listing desc) as place "
            "from l where state in ('complete', 'partial', 'late')) "
            "select backend, '' as team, cast(d as varchar) as day, "
            "max(files) filter (where place = 1) as files, "
            "max(bytes) filter (where place = 1) as bytes, sum(added_bytes) as added_bytes, "
            "sum(removed_bytes) as removed_bytes from d group by backend, d order by backend, day",
            ("listings",),
        )

    def _growth_by_team(self) -> list[Row]:
        """Changes of each day by the teams of today: `lake.metrics.growth.by_team`."""
        grown = "c.size_bytes - c.previous_bytes"
        days = self.rows(
            "select c.backend, o.team, cast(cast(c.snapshot_at as date) as varchar) as day, "
            "sum(case c.change when 'added' then 1 when 'removed' then -1 else 0 end) as files, "
            f"sum({grown}) as bytes, sum(greatest({grown}, 0)) as added_bytes, "
            f"sum(greatest(-({grown}), 0)) as removed_bytes "
            "from file_changes c left join belonging o on c.file_id = o.file_id "
            f"where c.snapshot_at <= {self._at} group by 1, 2, 3 order by 1, 2, 3",
            ("belonging", "file_changes"),
        )
        found = []
        for _, series in groupby(days, key=lambda row: (row["backend"], row["team"])):
            rows = list(series)
            sums = [accumulate([row[name] for row in rows]) for name in ("files", "bytes")]
            found += [
                row | {"files": files, "bytes": size}
                for row, files, size in zip(rows, *sums, strict=True)
            ]
        return found

    def _quota_rows(self) -> list[Row]:
        """Quotas as they are set now against what their teams owned then."""
        rows = self._control(
            "quotas", "quota_id, team, backend, soft_bytes, hard_bytes, grace_seconds"
        )
        if not rows:
            return []
        used: defaultdict[tuple[str, str], int] = defaultdict(int)
        for row in self.rows(
            "select team, backend, sum(size_bytes) as bytes from stale_index group by 1, 2",
            ("stale_index",),
        ):
            used[row["team"], row["backend"]] += row["bytes"]
            used[row["team"], ""] += row["bytes"]
        names = (
            "quota_id", "team", "backend", "soft_bytes", "hard_bytes", "usage_bytes", "status",
        )  # fmt: skip
        return [{n: row[n] for n in names} | self._grace(row) for row in limits(rows, used)]

    def _grace(self, row: Row) -> Row:
        since = self._as_of if row["crossed"] else None
        grace = dt.timedelta(seconds=row["grace_seconds"])
        until = since + grace if since and grace else None
        told = {"soft_since_at": since, "grace_until_at": until}
        return {n: instant_text((at - EPOCH) // MICROSECOND if at else None)
                for n, at in told.items()}  # fmt: skip

    def _backends_rows(self) -> list[Row]:
        """Backends of the config and those that were ever crawled: `lake.results.backends`."""
        listed = {
            row["backend"]: row
            for row in self.rows(
                f"{self._listings()} select backend, last_value(state order by listing) as state, "
                f"{us(f'max(snapshot_at) filter (where state in {COUNTED})', 'crawled_at')} "
                "from l group by backend",
                ("listings",),
            )
        }
        stored = {
            row["backend"]: row
            for row in self.rows(
                "select backend, count(*) as files, sum(size_bytes) as bytes from living "
                "group by backend",
                ("living",),
            )
        }
        types = {backend.name: backend.type for backend in self._config.backends}
        cover, audits = self._coverage(COVERAGE_WINDOW), self._audited()
        nothing = {"files": 0, "bytes": 0, "state": NEVER_CRAWLED, "crawled_at": None}
        unknown: Row = dict.fromkeys(("verified_at", *AUDITED))
        return [
            {
                "name": name, "type": types.get(name, ""),
                **{n: (nothing | stored.get(name, {}) | listed.get(name, {}))[n] for n in nothing},
                "coverage": cover.get(name), **audits.get(name, unknown),
            }
            for name in sorted(types.keys() | listed.keys())
        ]  # fmt: skip

    def _audited(self) -> dict[str, Row]:
        """The latest audit of each backend up to the instant: `lake.results.audited`."""
        with suppress(NoTableError):  # nobody has asked for one yet
            rows = self.rows(
                "with v as (select *, row_number() over (partition by backend "
                "order by verified_at desc) as nth from verifications "
                f"where checked > 0 and verified_at <= {self._at}) "
                f"select backend, {us('verified_at')}, {', '.join(AUDITED)} from v where nth = 1",
                ("verifications",),
            )
            return {row.pop("backend"): row for row in rows}
        return {}

    def _team_rows(self) -> list[Row]:
        return [
            {
                "user": r["user"],
                "team": r["team"],
                "since_at": instant_text(r["since"]),
                "rank": r["rank"],
            }
            for r in self._members
        ]  # fmt: skip

    def _alias_rows(self) -> list[Row]:
        return [
            {"name": r["name"], "canonical": r["canonical"], "since_at": instant_text(r["since"])}
            for r in self._aliases
        ]

    def _listings(self) -> str:
        """SQL: l, the latest row of each listing up to the instant."""
        return (
            "with w as (select *, row_number() over (partition by backend, listing "
            "order by written_at desc) as nth from listings), "
            f"l as (select * from w where nth = 1 and snapshot_at <= {self._at})"
        )
