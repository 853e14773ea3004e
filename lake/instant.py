"""The lake as it was at an instant, as tables of one SQL context: for lakes that fit in memory.

What `lake.compute` does a span at a time for every result, here for one question, in a third of
the time and without polars. Each table is made when a question first needs it, from those of the
lake; a test compares all rows. Lakes with more than MOST_ROWS are left to `lake.compute`, whose
memory does not grow.
"""

# ruff: noqa: S608 - texts are quoted in one place, the rest are numbers and our own names

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from deltalake import QueryBuilder

from lake.inforce import latest, members
from lake.names import resolved
from lake.published import Generation
from lake.query import COUNTS, NoTableError, Query
from lake.sql import at_sql, below, quoted
from lake.unmade import COLUMNS, unmade
from storage.config import Config

MOST_ROWS = 1_000_000
VIEWS = ("belonging",)
"""What is not worth a copy: the rest is made once."""
NO_DAY = "''"
LARGE = ("files", "file_changes", "file_state", "file_user")
BASE = "base"
"""As `lake.metrics.state` has it: what is folded of landing days."""
READER_WINDOW = dt.timedelta(days=90)
CHANGE_AT = 2
NOBODY = "('', 'unknown')"
UNASSIGNED = "unassigned"
"""As `lake.metrics.ownership` has them."""
COUNTED = "('complete', 'partial', 'held')"
SKEW = "interval '24 hours'"


class Instant(Query):
    """Questions on the lake as it was at `as_of`.

    `versions`: of the tables that are read; their latest where it tells none.
    """

    teams = "belonging"

    def __init__(self, config: Config, as_of: dt.datetime, versions: dict[str, int]) -> None:
        super().__init__(config.lake.root, Generation("", versions=versions), as_of)
        self._config = config
        self._at = at_sql(as_of)
        self._one = QueryBuilder()
        self._ready: set[str] = set()
        self._made = {
            "living": self._living, "gone": self._gone, "seen": self._seen,
            "touching": self._touching, "acted": self._acted, "read": self._read,
            "reading": self._reading, "belonging": self._belonging,
            "owned": lambda: self._owned("living"), "lost": lambda: self._owned("gone"),
            "stale_index": self._stale_index, "person": self._person,
            "first_team": self._first_team, "again": self._again,
        }  # fmt: skip

    def _context(self, tables: tuple[str, ...], *, latest: bool = False) -> QueryBuilder:
        """The one context of all questions, with these tables in it."""
        for name in tables:
            if name not in self._ready:
                self._add(name, latest=latest)
                self._ready.add(name)
        return self._one

    def _add(self, name: str, *, latest: bool) -> None:
        if make := self._made.get(name):
            kind = "view" if name in VIEWS else "table"
            self._run(self._one, f"create {kind} {name} as {make()}")
            return
        handle = self._open(name, None if latest else self._versions.get(name))
        if handle is not None:
            if name in LARGE and (rows := handle.count()) > MOST_ROWS:
                raise NoTableError(f"{name} has {rows} rows: too many to hold")
            self._one.register(name, handle)
        elif name in COLUMNS:
            self._run(self._one, f"create table {name} as {unmade(name)}")
        else:
            raise NoTableError(name)

    def _replayed(self) -> list[str]:
        """Backends with a listing after the instant: changes tell their files."""
        found = self.rows(
            "with l as (select *, row_number() over (partition by backend, listing "
            f"order by written_at desc) as nth from listings) select distinct backend from l "
            f"where nth = 1 and state in {COUNTED} and snapshot_at > {self._at} order by backend",
            ("listings",),
        )
        return [row["backend"] for row in found]

    def _living(self) -> str:
        """The index as at the latest listing up to the instant: `lake.metrics.index.replay`."""
        columns = (
            "backend, path, file_id, size_bytes, modified_at, native_access_at, owner, "
            "first_seen_at"
        )
        behind = listed(self._replayed())
        self._context(("files", "file_changes") if behind else ("files",))
        if not behind:
            return f"select {columns}, last_seen_at from files"
        told = f"backend in ({behind}) and snapshot_at <= {self._at}"
        return (
            f"select {columns}, last_seen_at from files where backend not in ({behind}) "
            f"union all select {columns}, snapshot_at from ({_newest(told)}) "
            "where change <> 'removed'"
        )

    def _gone(self) -> str:
        """The last row of files that are not there any more."""
        self._context(("living", "file_changes"))
        told = f"snapshot_at <= {self._at} and change = 'removed'"
        return (
            f"select backend, path, file_id, owner from ({_newest(told)}) c "
            "where not exists (select 1 from living l where l.file_id = c.file_id)"
        )

    @cached_property
    def _late(self) -> str:
        """Landing days with accesses after the instant, as SQL; all if the base has some."""
        found = self.rows(
            "select landing_day from file_state group by landing_day "
            f"having max(last_access_at) > {self._at}",
            ("file_state",),
        )
        late = {row["landing_day"] for row in found}
        if BASE in late:
            folded = self.rows("select distinct landing_day from access_daily", ("access_daily",))
            late |= {row["landing_day"] for row in folded}
        return listed(sorted(late)) or NO_DAY

    def _again(self) -> str:
        """Accesses up to the instant of the landing days that hold later ones."""
        if self._late == NO_DAY:
            return unmade("access_daily")
        self._context(("ledger", "access_daily", "events"))
        return f"select * from ({self._access(self._late)}) where \"user\" <> '' and backend <> ''"

    def _seen(self) -> str:
        """file_id, telemetry (the last access), writer: who wrote first, ties by name."""
        self._context(("file_state", "again"))
        return (
            "select file_id, max(last_access_at) as telemetry, "
            "first_value(writer order by first_write_at, writer) "
            "filter (where writer is not null) as writer from ("
            "select file_id, last_access_at, first_write_at, first_writer as writer "
            f"from file_state where landing_day not in ({self._late}) "
            "union all select file_id, last_access_at, first_write_at, "
            f'case when first_write_at is not null and "user" not in {NOBODY} then "user" end '
            "from again) group by file_id"
        )

    def _touching(self) -> str:
        """file_id, user, day, bytes_read: as `lake.metrics.state.in_force` has them."""
        self._context(("file_user", "again"))
        opened = self.rows(
            f"select distinct landing_day as d from file_user where landing_day <> '{BASE}'",
            ("file_user",),
        )
        again = ", ".join((self._late, *(quoted(row["d"]) for row in opened)))
        return (
            f'select file_id, {self._counting("user")} as "user", day, bytes_read from ('
            'select file_id, "user", day, bytes_read from file_user '
            f"where landing_day not in ({self._late}) "
            f"and not (landing_day = '{BASE}' and source_day in ({again})) "
            'union all select file_id, "user", day, bytes_read from again) u'
        )

    def _acted(self) -> str:
        """What each user did in each first segment of paths of a backend."""
        self._context(("activity", "again"))
        sums = ", ".join(f"sum({name}) as {name}" for name in COUNTS)
        told = ", ".join((*COUNTS, "last_access_at"))
        return (
            f'select backend, prefix, {self._counting("user")} as "user", {sums}, '
            "max(last_access_at) as last_access_at from ("
            f'select backend, prefix, "user", {told} from activity '
            f"where landing_day not in ({self._late}) union all "
            f"select backend, split_part(path, '/', 1), \"user\", {told} from again) u "
            "group by 1, 2, 3"
        )

    def _read(self) -> str:
        """file_id, user, read: what each user read of a file in the days that decide."""
        self._context(("touching",))
        since = (self._as_of - READER_WINDOW).date().isoformat()
        return (
            'select file_id, "user", sum(bytes_read) as read from touching '
            f"where day > date '{since}' and bytes_read > 0 and \"user\" not in {NOBODY} "
            'group by file_id, "user"'
        )

    def _reading(self) -> str:
        """file_id, reader: `lake.metrics.ownership.dominant_reader`."""
        self._context(("read", "file_reader"))
        return (
            "with most as (select file_id, max(read) as read from read group by file_id), "
            'm as (select r.file_id, min(r."user") as "user", max(r.read) as read from read r '
            "join most on r.file_id = most.file_id and r.read = most.read group by r.file_id), "
            "latest as (select file_id, max(since_at) as since_at from file_reader "
            f"where since_at <= {self._at} group by file_id), "
            f"b as (select u.file_id, {self._counting('reader')} as reader from file_reader u "
            "join latest on u.file_id = latest.file_id and u.since_at = latest.since_at), "
            "k as (select b.file_id, min(b.reader) as reader, max(r.read) as read from b "
            'join read r on b.file_id = r.file_id and b.reader = r."user" group by b.file_id) '
            f"select m.file_id, case when m.read < {CHANGE_AT} * k.read then k.reader "
            'else m."user" end as reader from m left join k on m.file_id = k.file_id'
        )

    def _owned(self, files: str) -> str:
        """The files of a table with telemetry, owner, owner_source and team."""
        self._context((files, "seen", "reading", "first_team"))
        ignored = listed(self._config.ownership.ignore_owners)
        counts = f"u.owner is not null{f' and u.owner not in ({ignored})' if ignored else ''}"
        return (
            f"with k as (select u.*, s.telemetry, {self._by_rule()} as rule, "
            f"case when {counts} then {self._counting('owner')} end as storage, "
            f"{self._counting('writer', 's')} as writer, r.reader from {files} u "
            "left join seen s on u.file_id = s.file_id "
            "left join reading r on u.file_id = r.file_id), "
            f"o as (select *, coalesce(rule, storage, writer, reader, '{UNASSIGNED}') as belongs, "
            "case when rule is not null then 'rule' when storage is not null then 'storage' "
            "when writer is not null then 'writer' when reader is not null then 'reader' "
            "else 'none' end as owner_source from k) "
            f"select o.*, {team_of('belongs')} as team from o"
        )

    def _belonging(self) -> str:
        """file_id, team of every file that was ever listed up to the instant."""
        self._context(("owned", "lost"))
        return "select file_id, team from owned union all select file_id, team from lost"

    def _by_rule(self) -> str:
        """The owner by the longest rule that holds backend and path."""
        rules = sorted(
            (*self._rules(), *self._config.ownership.rules),
            key=lambda rule: (-len(rule[1]), rule[0], rule[1]),
        )
        cases = "".join(
            f" when u.backend = {quoted(backend)} and {below(prefix, 'u.path')} "
            f"then {quoted(f'team:{team}')}"
            for backend, prefix, team in rules
        )
        return f"case{cases} end" if cases else "cast(null as varchar)"

    def _stale_index(self) -> str:
        """Every living file, dated: `lake.metrics.stale`; `telemetry` beside its columns."""
        self._context(("owned",))
        limit = f"last_seen_at + {SKEW}"
        return (
            "with t as (select *, "
            f"case when native_access_at <= {limit} then native_access_at end as native, "
            f"case when modified_at <= {limit} then modified_at end as modified, "
            f"coalesce(native_access_at > {limit}, false) or "
            f"coalesce(modified_at > {limit}, false) as skewed from owned), "
            "d as (select *, coalesce(greatest(telemetry, native, modified), first_seen_at) "
            "as latest from t) "
            "select backend, path, file_id, size_bytes, modified_at as last_modified_at, "
            "latest as last_access_at, case when skewed then 'skewed' "
            "when telemetry = latest then 'telemetry' when native = latest then 'storage' "
            "when modified = latest then 'modified' else 'first_seen' end as evidence, "
            "belongs as owner, owner_source, team, telemetry from d"
        )

    def _counting(self, column: str, of: str = "u") -> str:
        """The name that counts for the one in a column."""
        told = f'{of}."{column}"'
        if not self._people:
            return told
        self._context(("person",))
        return f"coalesce((select max(p.canonical) from person p where p.name = {told}), {told})"

    def _person(self) -> str:
        return _pairs("name", "canonical", self._people.items())

    def _first_team(self) -> str:
        return _pairs(
            '"user"', "team", ((r["user"], r["team"]) for r in self._members if r["rank"] == 0)
        )

    @cached_property
    def _aliases(self) -> list[dict[str, Any]]:
        rows = self._control("user_aliases", "name, canonical", valid=True)
        return sorted(latest(rows, ("name",)), key=lambda row: row["name"])

    @cached_property
    def _people(self) -> dict[str, str]:
        return resolved((row["name"], row["canonical"]) for row in self._aliases)

    @cached_property
    def _members(self) -> list[dict[str, Any]]:
        return members(self._control("teams", '"user", team', valid=True), self._people)

    def _rules(self) -> list[tuple[str, str, str]]:
        rows = latest(
            self._control("ownership_rules", "backend, prefix, team"), ("backend", "prefix")
        )
        return [(row["backend"], row["prefix"], row["team"]) for row in rows]

    def _control(self, table: str, columns: str, *, valid: bool = False) -> list[dict[str, Any]]:
        """Rows of a control table as it is now; `valid`: since the instant or before."""
        since = ", cast(since_at as bigint) as since" if valid else ""
        where = f" where since_at is null or since_at <= {self._at}" if valid else ""
        try:
            return self.rows(
                f"select number, action, {columns}{since} from {table}{where}", (table,)
            )
        except NoTableError:
            return []


def team_of(owner: str) -> str:
    """SQL: the team of an owner or a user, by first_team: `lake.metrics.ownership.team_of`."""
    return (
        f"case when starts_with({owner}, 'team:') then substr({owner}, 6) else coalesce("
        f"(select max(f.team) from first_team f where f.\"user\" = {owner}), '{UNASSIGNED}') end"
    )


def _newest(told: str) -> str:
    """SQL: the last of these changes of each file."""
    return (
        "select c.* from file_changes c join (select file_id, max(listing) as listing "
        f"from file_changes where {told} group by file_id) m "
        f"on c.file_id = m.file_id and c.listing = m.listing where {told}"
    )


def _pairs(first: str, second: str, pairs: Any) -> str:
    """A table of two columns of texts."""
    told = ", ".join(f"({quoted(a)}, {quoted(b)})" for a, b in pairs)
    if not told:
        return f"select '' as {first}, '' as {second} where false"
    return f"select * from (values {told}) as v({first}, {second})"


def listed(names: Sequence[str]) -> str:
    """Texts as a list in SQL; empty where there are none."""
    return ", ".join(quoted(name) for name in names)
