"""Questions on the tables as SQL: deltalake's own engine, without importing polars.

The rows are those of `lake.ask`, which computes them with the metrics' own code; a test compares
the two. Tables are read in the versions of one generation; `lake.past` asks them of another as-of.
"""

# ruff: noqa: S608 - texts are quoted in one place, the rest are numbers and our own names

from __future__ import annotations

import datetime as dt
from contextlib import suppress
from pathlib import Path
from typing import Any

from deltalake import DeltaTable, QueryBuilder
from deltalake.exceptions import TableNotFoundError

from lake import windows
from lake.cursor import Key
from lake.published import Generation
from lake.sql import at_sql, below, instant_text, limited, only, quoted, segments, us
from storage.errors import LakeError, first_line
from storage.options import delta_options
from storage.units import MAX_GAPS

HEARTBEATS_UNBROKEN = 55  # as lake.metrics.access has it
SEEN_WITHIN = dt.timedelta(days=7)
COVERAGE_WINDOW = dt.timedelta(days=90)
COUNTS = ("read_count", "write_count", "bytes_read", "bytes_written")
NO_COLUMN = "No field named"
"""What the engine says of a column that was declared after the table was made."""
OBJECTS = (
    "l as (select *, row_number() over (partition by object "
    "order by batch desc, ingested_at desc) as nth from ledger), "
    "o as (select * from l where nth = 1)"
)
"""o: the latest row of each object of the ledger."""
GAPS = (
    "g as (select object, least(greatest(first_seq - coalesce(lag(last_seq) over "
    f"(partition by node, boot order by first_seq), 0) - 1, 0), {MAX_GAPS}) as gaps "
    "from o where state = 'ingested' and boot <> '')"
)
"""g: how many sequence numbers are missing before an object: `lake.metrics.ledger`."""
AUDIT = (
    "checked", "agree", "agreement_low", "agreement_high", "lag_seconds", "sample",
    "index_checked", "index_agree", "live_checked", "live_agree", "unchecked",
)  # fmt: skip
Row = dict[str, Any]


class NoTableError(LookupError):
    """A table, or a column, that the question needs is not there yet: nothing has written it."""


class Query:
    """Answers of one published generation of a lake."""

    teams = "stale_index"
    """What tells the team of a file."""

    def __init__(self, root: str, generation: Generation, as_of: dt.datetime) -> None:
        self._root = root.rstrip("/")
        self._generation = generation
        self._versions = generation.versions
        self._as_of = as_of

    def stale(
        self, days: int, min_size: int, backend: str, limit: int, after: Key | None = None
    ) -> list[Row]:
        """Rows of stale_index with `coverage`, not touched for `days`, largest first."""
        before = self._as_of - dt.timedelta(days=days)
        found = self.rows(
            "select backend, path, file_id, size_bytes, "
            f"{us('last_modified_at')}, {us('last_access_at')}, evidence, owner, owner_source, "
            f"team from stale_index where last_access_at < {at_sql(before)} "
            f"and size_bytes >= {min_size}{only('backend', backend)}{_behind(after)} "
            f"order by size_bytes desc, backend, path{limited(limit)}",
            ("stale_index",),
        )
        cover = windows.coverage(self._generation, days)
        if cover is None:
            cover = self._coverage(dt.timedelta(days=days) or COVERAGE_WINDOW)
        return [row | {"coverage": cover.get(row["backend"])} for row in found]

    def user(self, names: tuple[str, ...], backend: str, limit: int) -> list[Row]:
        """What a user touched, per file and day, newest first, ties by backend and path.

        `names`: all that the user has, the one that counts first.
        """
        wanted = ", ".join(quoted(name) for name in names)
        sums = ", ".join(f"sum({name}) as {name}" for name in COUNTS)
        return self.rows(
            f'with a as ({self._access()}) select backend, path, {quoted(names[0])} as "user", '
            f"cast(day as varchar) as day, {sums}, {us('max(last_access_at)', 'last_access_at')} "
            f'from a where "user" in ({wanted}){only("backend", backend)} '
            "group by backend, path, day "
            f"order by last_access_at_us desc, backend, path{limited(limit)}",
            ("access_daily", "events", "ledger"),
        )

    def prefixes(self, attribution: str, depth: int) -> list[Row]:
        """Rows of usage by the first `depth` path segments, largest first."""
        sums = ", ".join(f"sum({name}) as {name}" for name in COUNTS)
        zero = ", ".join(f"coalesce(c.{name}, 0) as {name}" for name in COUNTS)
        part = segments("path", depth)
        owned = attribution == "owner"
        kept = "full outer join" if owned else "right join"
        files, size, seen = (
            ("s.files", "s.bytes", "s.seen_at") if owned
            else ("t.files", "t.touched_bytes", "c.acted_at")
        )  # fmt: skip
        return self.rows(
            f"with a as (select {part} as g, backend, file_id, {', '.join(COUNTS)}, last_access_at "
            f"from ({self._access()}) where \"user\" <> '' and backend <> ''), "
            f"i as (select {part} as g, backend, file_id, size_bytes, last_access_at "
            "from stale_index), "
            f"c as (select g, backend, {sums}, max(last_access_at) as acted_at "
            "from a group by g, backend), "
            "t as (select p.g, i.backend, count(*) as files, sum(i.size_bytes) as touched_bytes "
            "from (select distinct g, file_id from a) p join i on p.file_id = i.file_id "
            "group by p.g, i.backend), "
            "s as (select g, backend, count(*) as files, sum(size_bytes) as bytes, "
            "max(last_access_at) as seen_at from i group by g, backend) "
            f"select 'prefix' as group_by, '{attribution}' as attribution, "
            'coalesce(s.g, c.g) as "group", coalesce(s.backend, c.backend) as backend, '
            f"coalesce({files}, 0) as files, coalesce({size}, 0) as bytes, "
            f"{us(seen, 'last_access_at')}, {zero}, "
            "coalesce(t.touched_bytes, 0) as touched_bytes "
            f"from s {kept} c on s.g = c.g and s.backend = c.backend "
            "left join t on c.g = t.g and c.backend = t.backend "
            'order by bytes desc, "group", backend',
            ("stale_index", "access_daily", "events", "ledger"),
        )

    def ledger(self, node: str, hours: int) -> list[Row]:
        """Per node and landing hour of the last `hours`, newest first."""
        since = (self._as_of - dt.timedelta(hours=hours)).strftime("%Y-%m-%dT%H")
        found = self.rows(
            f"with {OBJECTS}, {GAPS}, "
            "b as (select node, boot, hour, max(drops) as drops from agents "
            "group by node, boot, hour), "
            "d as (select node, hour, drops - coalesce(lag(drops) over (partition by node, boot "
            "order by hour), 0) as drops from b), "
            "n as (select node, hour, sum(drops) as drops from d group by node, hour) "
            "select o.node, o.hour, sum(o.events) as events, count(*) as objects, "
            "coalesce(sum(g.gaps), 0) as gaps, "
            "sum(case when o.state = 'ingested' then 0 else 1 end) as duplicates, "
            f"{us('max(o.landed_at)', 'late_seconds')}, sum(o.quarantined) as quarantined, "
            "coalesce(max(n.drops), 0) as drops from o left join g on o.object = g.object "
            "left join n on o.node = n.node and o.hour = n.hour "
            f"where o.hour >= {quoted(since)}"
            f"{f' and o.node = {quoted(node)}' if node else ''} "
            "group by o.node, o.hour order by o.hour desc, o.node",
            ("ledger", "agents"),
            latest=True,
        )
        return [row | {"late_seconds": _late(row)} for row in found]

    def rules(self) -> list[Row]:
        """Every ownership rule in force with the files and bytes it decides about."""
        found = self.rows(
            "with l as (select *, row_number() over (partition by backend, prefix "
            "order by number desc) as nth from ownership_rules), "
            "r as (select * from l where nth = 1 and action not in ('remove', 'delete')) "
            f"select r.backend, r.prefix, r.team, {us('max(r.at)', 'since_at')}, "
            "count(i.file_id) as files, coalesce(sum(i.size_bytes), 0) as bytes "
            "from r left join stale_index i on i.backend = r.backend and i.team = r.team "
            "and i.owner_source = 'rule' and (r.prefix = '' or i.path = r.prefix "
            "or starts_with(i.path, concat(r.prefix, '/'))) "
            "group by r.backend, r.prefix, r.team order by r.backend, r.prefix",
            ("ownership_rules", "stale_index"),
            latest=True,
        )
        names = ("backend", "prefix", "team")
        return [
            {**{n: row[n] for n in names}, "since": row["since_at"],
             "files": row["files"], "bytes": row["bytes"]}
            for row in found
        ]  # fmt: skip

    def rule_preview(
        self, backend: str, prefix: str, team: str, kept: tuple[str, ...]
    ) -> list[Row]:
        """What a rule would take from other teams: one row as `rules` has them.

        `kept`: prefixes of the config's own rules for that backend.
        """
        longer = "".join(
            f" and not {below(one)}"
            for one in (*self._ruled(backend), *kept)
            if len(one) > len(prefix)
        )
        (sums,) = self.rows(
            "select count(*) as files, coalesce(sum(size_bytes), 0) as bytes from stale_index "
            f"where backend = {quoted(backend)} and team <> {quoted(team)} and {below(prefix)}"
            f"{longer}",
            ("stale_index",),
        )
        return [{"backend": backend, "prefix": prefix, "team": team, "since": None, **sums}]

    def _ruled(self, backend: str) -> list[str]:
        """Prefixes of the backend that a rule of the table decides about."""
        with suppress(NoTableError):  # nobody has added one yet
            found = self.rows(
                "with l as (select *, row_number() over (partition by backend, prefix "
                "order by number desc) as nth from ownership_rules) select prefix from l where "
                f"nth = 1 and action not in ('remove', 'delete') and backend = {quoted(backend)}",
                ("ownership_rules",),
                latest=True,
            )
            return [row["prefix"] for row in found]
        return []

    def diff(self, first: dt.date, last: dt.date, by: str, depth: int) -> list[Row]:
        """What changed from the end of `first` to the end of `last`: `lake.metrics.diff`.

        Raises NoTableError by team where a file is gone: the index does not tell whose it was.
        """
        start, end = (at_sql(_midnight(day)) for day in (first, last))
        group = {"team": "i.team", "prefix": segments("f.path", depth)}.get(by, "f.backend")
        joined = f" left join {self.teams} i on i.file_id = f.file_id" if by == "team" else ""
        added, removed = "was is null", "now is null"
        found = self.rows(
            "with c as (select *, row_number() over (partition by backend, file_id "
            "order by listing) as nth, row_number() over (partition by backend, file_id "
            "order by listing desc) as back from file_changes "
            f"where snapshot_at >= {start} and snapshot_at < {end} "
            f"and snapshot_at <= {at_sql(self._as_of)}), "
            "f as (select e.backend, e.file_id, e.path, "
            "case when b.change <> 'added' then b.previous_bytes end as was, "
            "case when e.change <> 'removed' then e.size_bytes end as now "
            "from c b join c e on b.backend = e.backend and b.file_id = e.file_id "
            "where b.nth = 1 and e.back = 1 and (b.change <> 'added' or e.change <> 'removed')) "
            f'select {group} as "group", f.backend, '
            f"count(*) filter (where {added}) as added_files, "
            f"coalesce(sum(now) filter (where {added}), 0) as added_bytes, "
            f"count(*) filter (where {removed}) as removed_files, "
            f"coalesce(sum(was) filter (where {removed}), 0) as removed_bytes, "
            "coalesce(sum(now - was), 0) as changed_bytes "
            f"from f{joined} group by 1, 2 order by added_bytes desc, removed_bytes desc, 1, 2",
            ("file_changes", *((self.teams,) if joined else ())),
        )
        if any(row["group"] is None for row in found):
            raise NoTableError("stale_index has no files that are gone")
        return found

    def audit_log(self, limit: int) -> list[Row]:
        """Changes of control tables, newest first."""
        return self.rows(
            f'select {us("at")}, who, action, object, "before", "after" from audit_log '
            f"order by at_us desc{limited(limit)}",
            ("audit_log",),
            latest=True,
        )

    def verify(self) -> list[Row]:
        """The last audit of each backend, both ways."""
        return self.rows(
            "with l as (select *, row_number() over (partition by backend order by verified_at "
            "desc) as nth from verifications where kind = 'verify') "
            f"select backend, {us('verified_at')}, {', '.join(AUDIT)} from l where nth = 1 "
            "order by backend",
            ("verifications",),
            latest=True,
        )

    def _coverage(self, window: dt.timedelta) -> dict[str, float | None]:
        """Share of node-hours with unbroken heartbeats: `lake.metrics.access.coverage`."""
        hour = "%Y-%m-%dT%H"
        start, recent, end = (
            at.strftime(hour)
            for at in (self._as_of - window, self._as_of - SEEN_WITHIN, self._as_of)
        )
        found = self.rows(
            f"with {OBJECTS}, {GAPS}, "
            "broken as (select distinct o.node, o.hour from g join o on g.object = o.object "
            "where g.gaps > 0), "
            "s as (select unnest(backends) as backend, node, hour, heartbeats from agents "
            f"where hour <= '{end}' and hour > '{start}'), "
            f"r as (select distinct backend, node from s where hour > '{recent}'), "
            "h as (select s.backend, s.node, s.hour, sum(s.heartbeats) as beats from s "
            "join r on s.backend = r.backend and s.node = r.node "
            "group by s.backend, s.node, s.hour) "
            f"select h.backend, sum(case when h.beats >= {HEARTBEATS_UNBROKEN} "
            "and broken.node is null then 1 else 0 end) as whole, "
            "count(distinct h.node) as nodes from h left join broken "
            "on h.node = broken.node and h.hour = broken.hour group by h.backend",
            ("agents", "ledger"),
        )
        hours = window / dt.timedelta(hours=1)
        return {r["backend"]: min(1.0, r["whole"] / (r["nodes"] * hours)) for r in found}

    def _access(self, landing_days: str = "") -> str:
        """Accesses up to as-of: whole days from access_daily, the last one from its events.

        Of these landing days, texts as SQL lists them; of all where there are none.
        """
        folded, landed = (
            f" and {day} in ({landing_days})" if landing_days else ""
            for day in ("landing_day", "substr(hour, 1, 10)")
        )
        day = self._as_of.date().isoformat()
        sums = [f"case when op = 'read' then {c} else 0 end as {n}" for n, c in (
            ("read_count", '"count"'), ("bytes_read", "bytes_read"))]  # fmt: skip
        sums += [f"case when op = 'write' then {c} else 0 end as {n}" for n, c in (
            ("write_count", '"count"'), ("bytes_written", "bytes_written"))]  # fmt: skip
        key = 'backend, path, file_id, "user", day'
        return (
            f"select {key}, read_count, bytes_read, write_count, bytes_written, first_write_at, "
            "last_access_at from access_daily where last_access_at is not null "
            f"and day < date '{day}'{folded} union all select {key}, {', '.join(sums)}, "
            "case when op = 'write' then ts end, ts from events "
            f"where day = date '{day}' and ts <= {at_sql(self._as_of)} and error = '' "
            f"and op in ('read', 'write') and batch <= (select max(batch) from ledger){landed}"
        )

    def rows(self, sql: str, tables: tuple[str, ...], *, latest: bool = False) -> list[Row]:
        """The rows of a query; columns ending in `_us` are instants, as texts without it."""
        found = self._run(self._context(tables, latest=latest), sql)
        names = [name.removesuffix("_us") for name in found.column_names]
        columns = [
            [instant_text(value) for value in values] if name.endswith("_us") else values
            for name in found.column_names
            for values in (found.column(name).to_pylist(),)
        ]
        return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]

    def _context(self, tables: tuple[str, ...], *, latest: bool) -> QueryBuilder:
        """A context with these tables in it. Raises NoTableError."""
        context = QueryBuilder()
        for name in tables:
            handle = self._open(name, None if latest else self._versions.get(name))
            if handle is None:
                raise NoTableError(name)
            context.register(name, handle)
        return context

    def _run(self, context: QueryBuilder, sql: str) -> Any:
        """The Arrow table of a query. Raises NoTableError for a column that is not there yet."""
        try:
            return context.execute(sql).read_all()
        except Exception as error:
            if NO_COLUMN in str(error):
                raise NoTableError(first_line(error)) from error
            raise LakeError(f"{self._root}: cannot be asked: {first_line(error)}.") from error

    def _open(self, name: str, version: int | None) -> DeltaTable | None:
        place = f"{self._root}/{name}"
        if "://" not in place and not (Path(place) / "_delta_log").is_dir():
            return None
        try:
            return DeltaTable(place, version=version, storage_options=delta_options(self._root))
        except TableNotFoundError:
            return None
        except Exception as error:
            raise LakeError(
                f"table {name} at {place} cannot be opened: {first_line(error)}."
            ) from error


def _midnight(day: dt.date) -> dt.datetime:
    """The end of a UTC day."""
    start = dt.datetime(day.year, day.month, day.day, tzinfo=dt.UTC)
    try:
        return start + dt.timedelta(days=1)
    except OverflowError:
        return start


def _behind(key: Key | None) -> str:
    if key is None:
        return ""
    size, backend, path = key.size_bytes, quoted(key.backend), quoted(key.path)
    tied = f"backend > {backend} or (backend = {backend} and path > {path})"
    return f" and (size_bytes < {size} or (size_bytes = {size} and ({tied})))"


def _late(row: Row) -> int:
    """Whole seconds from the end of a landing hour to the last object in it."""
    try:
        end = dt.datetime.fromisoformat(row["hour"] + ":00:00+00:00") + dt.timedelta(hours=1)
    except ValueError:  # the partition skewed
        return 0
    landed = dt.datetime.fromisoformat(row["late_seconds"])
    return max(0, (landed - end) // dt.timedelta(seconds=1))
