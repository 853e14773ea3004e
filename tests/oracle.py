"""Every metric once more, in SQL that DuckDB runs on the same tables: the second opinion.

Written from docs and design, not from the code it judges. Views that every query may use:
`files` (as at as-of), `access` (one row per access: backend, path, file_id, user, day,
read_count, write_count, bytes_read, bytes_written, first_write_at, last_access_at), `listings`,
`changes`, `agents`, `quotas`, `rules` (backend, prefix, team, rank), `members` (user, team,
since_at, number), `ignored` (name), `kept_reader` (file_id, reader), and the macro `as_of()`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import duckdb
import polars as pl

ACCESS_FROM_EVENTS = """
select backend, path, file_id, "user", day,
       case when op = 'read' then "count" else 0 end as read_count,
       case when op = 'write' then "count" else 0 end as write_count,
       case when op = 'read' then bytes_read else 0 end as bytes_read,
       case when op = 'write' then bytes_written else 0 end as bytes_written,
       case when op = 'write' then ts end as first_write_at,
       ts as last_access_at
from events
where op in ('read', 'write') and error = '' and "user" <> '' and backend <> '' and ts <= as_of()
"""
ACCESS_FROM_DAYS = """
select backend, path, file_id, "user", day, read_count, write_count, bytes_read, bytes_written,
       first_write_at, last_access_at
from access_daily
where last_access_at is not null and "user" <> '' and backend <> ''
"""
FILES_BY_CHANGES = """
select backend, path, file_id, size_bytes, modified_at, native_access_at, owner, first_seen_at,
       snapshot_at as last_seen_at
from (select *, row_number() over (partition by backend, path order by listing desc) as nth
      from file_changes where snapshot_at <= as_of())
where nth = 1 and change <> 'removed'
"""


def team_of(owner: str) -> str:
    """SQL: the team of an owner or user."""
    return (
        f"case when starts_with({owner}, 'team:') then substr({owner}, 6) else "
        f"coalesce((select team from first_team t where t.\"user\" = {owner}), 'unassigned') end"
    )


FIRST_TEAM = """
select "user",
       arg_min(team, (coalesce(since_at, timestamp '0001-01-01 00:00:00'), number)) as team
from members group by "user"
"""


def owners(key: str = "file_id", files: str = "files", tie: str = '"user"') -> str:
    """SQL: every file with owner and owner_source; `key`: file_id, or `backend, path`.

    `tie`: the column of access that decides which of the writers of one instant was first.
    """
    on = " and ".join(f"f.{k} = {{0}}.{k}" for k in key.split(", "))

    def keys(alias: str) -> str:
        return ", ".join(f"{alias}.{name}" for name in key.split(", "))

    return f"""
with writer as (
  select {key}, arg_min("user", (first_write_at, {tie})) as writer from access
  where first_write_at is not null and "user" not in ('', 'unknown') group by {key}),
sums as (
  select {key}, "user", sum(bytes_read) as bytes from access
  where day > cast(as_of() - interval 90 day as date) and "user" not in ('', 'unknown')
  group by {key}, "user" having sum(bytes_read) > 0),
reader as (
  select {key}, arg_min("user", (-bytes, "user")) as reader, max(bytes) as bytes
  from sums group by {key}),
kept as (
  select {keys("s")}, s."user" as reader, s.bytes from sums s
  join (select {keys("f")}, k.reader from kept_reader k
        join {files} f on f.file_id = k.file_id) k
    on {" and ".join(f"k.{name} = s.{name}" for name in key.split(", "))} and k.reader = s."user"),
ruled as (
  select f.backend, f.path, arg_min(r.team, (-length(r.prefix), r.rank)) as team
  from {files} f join rules r on r.backend = f.backend
   and (r.prefix = '' or f.path = r.prefix or starts_with(f.path, r.prefix || '/'))
  group by f.backend, f.path),
known as (
  select f.backend, f.path, f.file_id, 'team:' || u.team as rule,
         case when f.owner not in (select name from ignored) then f.owner end as storage,
         w.writer, case when d.bytes < 2 * k.bytes then k.reader else d.reader end as reader
  from {files} f
  left join ruled u on u.backend = f.backend and u.path = f.path
  left join writer w on {on.format("w")}
  left join reader d on {on.format("d")}
  left join kept k on {on.format("k")})
select backend, path, file_id, coalesce(rule, storage, writer, reader, 'unassigned') as owner,
       case when rule is not null then 'rule' when storage is not null then 'storage'
            when writer is not null then 'writer' when reader is not null then 'reader'
            else 'none' end as owner_source
from known
"""


def stale_index(key: str = "file_id") -> str:
    """SQL: rows of stale_index. Views owned (of `owners`) and first_team are there."""
    on = " and ".join(f"f.{k} = {{0}}.{k}" for k in key.split(", "))
    return f"""
with seen as (select {key}, max(last_access_at) as telemetry from access group by {key}),
times as (
  select f.*, s.telemetry,
    case when native_access_at <= last_seen_at + interval 24 hour then native_access_at end as na,
    case when modified_at <= last_seen_at + interval 24 hour then modified_at end as mo,
    coalesce(native_access_at > last_seen_at + interval 24 hour, false)
      or coalesce(modified_at > last_seen_at + interval 24 hour, false) as skewed
  from files f left join seen s on {on.format("s")}),
latest as (select *, coalesce(greatest(telemetry, na, mo), first_seen_at) as last_at from times)
select f.backend, f.path, f.file_id, f.size_bytes, f.modified_at as last_modified_at,
       f.last_at as last_access_at,
       case when skewed then 'skewed' when telemetry = last_at then 'telemetry'
            when na = last_at then 'storage' when mo = last_at then 'modified'
            else 'first_seen' end as evidence,
       o.owner, o.owner_source,
       case when starts_with(o.owner, 'team:') then substr(o.owner, 6)
            else coalesce(t.team, 'unassigned') end as team
from latest f join owned o on {on.format("o")} left join first_team t on t."user" = o.owner
"""


GROUPS = {
    "user": ("owner", '"user"'),
    "team": ("team", "team"),
    "backend": ("backend", "backend"),
    "prefix": ("split_part(path, '/', 1)", "split_part(path, '/', 1)"),
}


def usage(group_by: str, attribution: str, key: str = "file_id", depth: int = 1) -> str:
    """SQL: rows of usage. The views stale_index and acted (access with `team`) are there."""
    theirs, mine = GROUPS[group_by]
    if group_by == "prefix":
        theirs = mine = f"array_to_string(string_split(path, '/')[1:{depth}], '/')"
    on = " and ".join(f"p.{k} = i.{k}" for k in key.split(", "))
    owned = attribution == "owner"
    columns = (
        ("coalesce(s.files, 0)", "coalesce(s.bytes, 0)", "s.last_at") if owned
        else ("coalesce(t.files, 0)", "coalesce(t.bytes, 0)", "a.last_at")
    )  # fmt: skip
    join = "full join" if owned else "right join"
    return f"""
with a as (
  select {mine} as g, backend, sum(read_count) as read_count, sum(write_count) as write_count,
         sum(bytes_read) as bytes_read, sum(bytes_written) as bytes_written,
         max(last_access_at) as last_at
  from acted group by all),
t as (
  select p.g, i.backend, count(*) as files, sum(i.size_bytes) as bytes
  from (select distinct {mine} as g, {key} from acted) p join stale_index i on {on} group by all),
s as (
  select {theirs} as g, backend, count(*) as files, sum(size_bytes) as bytes,
         max(last_access_at) as last_at
  from stale_index group by all)
select '{group_by}' as group_by, '{attribution}' as attribution, coalesce(s.g, a.g) as "group",
       coalesce(s.backend, a.backend) as backend, {columns[0]} as files, {columns[1]} as bytes,
       {columns[2]} as last_access_at, coalesce(a.read_count, 0) as read_count,
       coalesce(a.write_count, 0) as write_count, coalesce(a.bytes_read, 0) as bytes_read,
       coalesce(a.bytes_written, 0) as bytes_written, coalesce(t.bytes, 0) as touched_bytes
from s {join} a on s.g = a.g and s.backend = a.backend
left join t on t.g = a.g and t.backend = a.backend
"""


ACTED = """
select a.*, case when starts_with(a."user", 'team:') then substr(a."user", 6)
                 else coalesce(t.team, 'unassigned') end as team
from access a left join first_team t on t."user" = a."user"
"""
HOW = ("owner", "access")
EMPTY = {
    "rules": {"backend": pl.String, "prefix": pl.String, "team": pl.String, "rank": pl.Int64},
    "ignored": {"name": pl.String},
    "kept_reader": {"file_id": pl.Int64, "reader": pl.String},
}
ROLLUP = """
select backend, owner, team, last_access_at::date as last_access_day,
       case when size_bytes > 0 then floor(log2(size_bytes)) else -1 end::bigint as size_class,
       count(*) as files, sum(size_bytes)::bigint as bytes
from stale_index group by all
"""

GROWTH_BY_BACKEND = """
select 'backend' as "by", backend, '' as team, cast(snapshot_at as date) as day,
       arg_max(files, (snapshot_at, listing)) as files,
  arg_max(bytes, (snapshot_at, listing)) as bytes,
       sum(added_bytes) as added_bytes, sum(removed_bytes) as removed_bytes
from listings where state in ('complete', 'partial', 'late') and snapshot_at <= as_of()
group by backend, cast(snapshot_at as date)
"""

GROWTH_BY_TEAM = """
with days as (
  select c.backend, o.team, cast(c.snapshot_at as date) as day,
    sum(case change when 'added' then 1 when 'removed' then -1 else 0 end) as came,
    sum(size_bytes - previous_bytes) as grew,
    sum(greatest(size_bytes - previous_bytes, 0)) as added_bytes,
    sum(greatest(previous_bytes - size_bytes, 0)) as removed_bytes
  from changes c join ever_owned o on o.file_id = c.file_id group by all)
select 'team' as "by", backend, team, day,
  sum(came) over (partition by backend, team order by day) as files,
  sum(grew) over (partition by backend, team order by day) as bytes, added_bytes, removed_bytes
from days
"""

QUOTA = """
with owned_bytes as (
  select team, backend, sum(size_bytes) as bytes from stale_index group by all
  union all select team, '', sum(size_bytes) from stale_index group by team),
used as (
  select q.*, coalesce(o.bytes, 0) as usage_bytes from quotas q
  left join owned_bytes o on o.team = q.team and o.backend = q.backend)
select quota_id, team, backend, soft_bytes, hard_bytes, usage_bytes,
  case when hard_bytes > 0 and usage_bytes >= hard_bytes then 'EXCEEDED'
       when soft_bytes > 0 and usage_bytes >= soft_bytes then 'WARNING' else 'OK' end as status
from used
"""

COVERAGE = """
with beats as (
  select unnest(backends) as backend, node, hour,
         strptime(hour || ':00', '%Y-%m-%dT%H:%M') as began, heartbeats from agents),
inside as (
  select * from beats where began <= as_of() and began > as_of() - to_hours({hours})),
mounted as (
  select distinct backend, node from inside where began > as_of() - interval 7 day),
whole as (
  select i.backend, i.node, i.hour, sum(heartbeats) >= 55 as unbroken
  from inside i join mounted m on m.backend = i.backend and m.node = i.node
  group by all)
select backend,
       least(1.0, count(*) filter (unbroken) / (count(distinct node) * {hours}.0)) as coverage
from whole group by backend
"""

EVER_FILES = """
select backend, path, any_value(file_id) as file_id, last(owner order by listing) as owner
from changes group by backend, path
"""
LATEST_LISTINGS = """
select * exclude (nth) from (
  select *, row_number() over (partition by backend, listing order by written_at desc) as nth
  from listing_rows) where nth = 1 and snapshot_at <= as_of()
"""


def changed(first: dt.date, last: dt.date, group: str) -> str:
    """SQL: `diff` between the ends of two days; `group`: an expression over c and ever_owned o."""
    return f"""
with c as (
  select backend, file_id, any_value(path) as path,
    first(case when change <> 'added' then [previous_bytes] end order by listing) as was,
    last(case when change <> 'removed' then [size_bytes] end order by listing) as now
  from changes
  where cast(snapshot_at as date) > date '{first}' and cast(snapshot_at as date) <= date '{last}'
  group by backend, file_id)
select {group} as "group", c.backend,
  count(*) filter (was is null) as added_files,
  coalesce(sum(now[1]) filter (was is null), 0) as added_bytes,
  count(*) filter (now is null) as removed_files,
  coalesce(sum(was[1]) filter (now is null), 0) as removed_bytes,
  coalesce(sum(now[1] - was[1]) filter (was is not null and now is not null), 0) as changed_bytes
from c left join ever_owned o on o.file_id = c.file_id
where was is not null or now is not null group by all
"""


def _columns(schema: pl.Schema, there: Collection[str]) -> str:
    """Every column; null where files from before it came have none."""
    instants = {name for name, dtype in schema.items() if isinstance(dtype, pl.Datetime)}
    told = {
        name: f'make_timestamp(epoch_us("{name}"))' if name in instants else f'"{name}"'
        for name in schema
    }
    return ", ".join(f'{told[n] if n in there else "null"} as "{n}"' for n in schema)


def as_people(rows: str, column: str) -> str:
    """SQL: rows with the name that counts in a column, and in `said` the name that stood there."""
    return (
        f'select r.* replace (coalesce(p.canonical, r."{column}") as "{column}"), '
        f'r."{column}" as said from ({rows}) r left join people p on p.name = r."{column}"'
    )


class Oracle:
    """DuckDB over Parquet files of tables and small frames, at one instant."""

    def __init__(self, as_of: dt.datetime) -> None:
        # Instants are timestamps in UTC without a zone: those with one need an extension.
        self.con = duckdb.connect()
        self.con.execute(f"create macro as_of() as timestamp '{as_of:%Y-%m-%d %H:%M:%S.%f}'")

    def table(self, name: str, uris: Sequence[str], schema: pl.Schema) -> None:
        """A view on the Parquet files of a table; an empty one without files."""
        if not uris:
            self.frame(name, pl.DataFrame(schema=schema))
            return
        listed = ", ".join("'" + uri.replace("'", "''") + "'" for uri in uris)
        source = (
            f"read_parquet([{listed}], hive_partitioning=true, hive_types_autocast=false, "
            "union_by_name=true)"
        )
        there = {row[0] for row in self.con.execute(f"describe from {source}").fetchall()}
        self.con.execute(
            f"create or replace view {name} as select {_columns(schema, there)} from {source}"
        )

    def frame(self, name: str, frame: pl.DataFrame) -> None:
        """A table with the rows of a frame."""
        self.con.register(f"_{name}", frame.to_arrow())
        columns = _columns(frame.schema, frame.columns)
        self.con.execute(f"create or replace table {name} as select {columns} from _{name}")
        self.con.unregister(f"_{name}")

    def view(self, name: str, sql: str) -> None:
        """What a query finds, under a name, computed once."""
        self.con.execute(f"create or replace temp table {name} as {sql}")

    def rows(self, sql: str, schema: dict[str, Any]) -> pl.DataFrame:
        """What a query finds, in the columns and types of a table."""
        found = pl.DataFrame(pl.from_arrow(self.con.sql(sql).to_arrow_table()))
        naive = [name for name, dtype in found.schema.items() if dtype == pl.Datetime("us")]
        found = found.with_columns(pl.col(naive).dt.replace_time_zone("UTC"))
        return found.select(pl.col(name).cast(dtype) for name, dtype in schema.items())

    def close(self) -> None:
        """Let go of everything."""
        self.con.close()


def same(ours: pl.DataFrame, theirs: pl.DataFrame, by: Iterable[str]) -> None:
    """Equal to the byte and the row, in the order of a key that tells rows apart."""
    key = list(by)
    left, right = ours.sort(key).rows(), theirs.select(ours.columns).sort(key).rows()
    extra = [row for row in left if row not in set(right)][:5]
    missing = [row for row in right if row not in set(left)][:5]
    assert left == right, f"only ours: {extra}\nonly DuckDB's: {missing}"
