-- Usage by team as it was at BEFORE, on day DAY: table() and instant() are Python's.
with first_team as materialized (
  select "user", arg_min(team, (coalesce(since_at, timestamptz '0001-01-01'), number)) team
  from {table('teams')} group by 1),
done as materialized (select backend, file_id, "user", day, read_count, write_count,
bytes_read, bytes_written, first_write_at, last_access_at from {table('access_daily')}
where last_access_at is not null and "user" <> '' and backend <> '' and day < date 'DAY'
union all select backend, file_id, "user", day, case when op = 'read' then "count" else 0 end,
case when op = 'write' then "count" else 0 end, case when op = 'read' then bytes_read else 0 end,
case when op = 'write' then bytes_written else 0 end, case when op = 'write' then ts end, ts
from {table('events')} where day = date 'DAY' and ts <= timestamptz 'BEFORE'
and op in ('read', 'write') and error = '' and "user" <> '' and backend <> ''),
living as materialized (select backend, file_id, size_bytes, owner, modified_at from
  (select *, row_number() over (partition by file_id order by listing desc) nth
   from {table('file_changes', True)} where snapshot_at <= timestamptz 'BEFORE')
  where nth = 1 and change <> 'removed'),
seen as (select file_id, max(last_access_at) seen_at from done group by 1),
writer as (select file_id, arg_min("user", (first_write_at, "user")) w from done
  where first_write_at is not null and "user" <> 'unknown' group by 1),
sums as (select file_id, "user", sum(bytes_read) b from done where day > date 'DAY' - 90
  and "user" <> 'unknown' group by 1, 2 having sum(bytes_read) > 0),
reader as (select file_id, arg_min("user", (-b, "user")) r, max(b) b from sums group by 1),
was as (select file_id, arg_max(reader, since_at) r from {table('file_reader')}
  where since_at <= timestamptz 'BEFORE' group by 1),
kept as (select was.*, b from was join sums on sums.file_id = was.file_id and "user" = r),
owned as (select l.*, coalesce(if(owner = 'root', null, owner), w,
    if(reader.b < 2 * kept.b, kept.r, reader.r), 'unassigned') whose
  from living l left join writer using (file_id) left join reader using (file_id)
  left join kept using (file_id)),
files as materialized (select o.*, coalesce(team, 'unassigned') team,
    greatest(seen_at, modified_at) touched_at
  from owned o left join first_team on "user" = whose left join seen using (file_id)),
theirs as (select d.*, coalesce(team, 'unassigned') team
  from done d left join first_team using ("user")),
acted as (select team, backend, sum(read_count) read_count, sum(write_count) write_count,
  sum(bytes_read) bytes_read, sum(bytes_written) bytes_written, max(last_access_at) seen_at
  from theirs group by 1, 2),
touched as (select p.team, f.backend, sum(size_bytes) b from
  (select distinct team, file_id from theirs) p join files f using (file_id) group by 1, 2),
stored as (select team, backend, count(*) files, sum(size_bytes) b, max(touched_at) seen_at
  from files group by 1, 2)
select team "group", backend, coalesce(files, 0) files, coalesce(stored.b, 0)::bigint as bytes,
{instant('stored.seen_at')} last_access, coalesce(read_count, 0)::bigint read_count,
coalesce(write_count, 0)::bigint write_count, coalesce(bytes_read, 0)::bigint bytes_read,
coalesce(bytes_written, 0)::bigint bytes_written, coalesce(touched.b, 0)::bigint touched_bytes
from stored full join acted using (team, backend) left join touched using (team, backend)
order by bytes desc, 1, 2
