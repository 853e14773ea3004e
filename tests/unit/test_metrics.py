"""Every number of one literal world against SQL that was written from the design, not the code.

Three teams, two backends, a dozen files, some thirty events; what is odd about a row stands
beside it. The rows go through the real ingest, crawl and fold; DuckDB reads the Delta files.
"""

import datetime as dt
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable

from lake import buckets, classes, control, index, publish, results, spread, world
from lake import compute as computing
from lake.compute import compute
from lake.largest import IndexFile, largest_of
from lake.metrics import quota, usage
from lake.metrics.ownership import Rule
from lake.metrics.span import INDEX
from lake.pieces import write_pieces
from lake.runner import INLINE
from lake.work import Work, workplace
from lake.world import Policy
from pipelines import crawl, ingest
from pipelines.fold import fold
from storage import clock
from storage.errors import LakeError
from storage.listing.columns import LISTED, Listing


def at(text):
    return dt.datetime.fromisoformat(f"2025-{text}").replace(tzinfo=dt.UTC)


AS_OF = at("10-31T12:00")
EARLIER = at("10-10T00:00")
RULES = (
    Rule("hot", "proj/rules", "audio"),
    Rule("hot", "proj/rules/deep", "nlp"),  # the longer prefix wins
    Rule("cold", "proj", "audio"),  # another backend
)
IGNORED = ("root", "nobody")
MEMBERS = [("ann", "vision"), ("bob", "vision"), ("bob", "nlp"), ("cid", "nlp"), ("dan", "audio")]

# path, size, owner, modified, native access
HOT_AUGUST = [
    ("proj/a.bin", 5000, None, "06-01T00:00", None),  # shrinks in October
    ("proj/b.bin", 2000, "root", "06-01T00:00", None),
    ("proj/gone.bin", 9, "ann", "06-01T00:00", None),
]
HOT = [
    ("proj/a.bin", 1000, None, "06-01T00:00", None),  # first written by ann
    ("proj/b.bin", 2000, "root", "06-01T00:00", None),  # root does not count; cid reads most
    ("proj/rules/c.bin", 300, "ann", "06-01T00:00", None),  # the rule beats the owner
    ("proj/rulesx/d.bin", 40, "eve", "06-01T00:00", None),  # not below the rule; eve has no team
    ("proj/rules/deep/e.bin", 5, None, "06-01T00:00", None),
    ("proj/rules", 2, None, "06-01T00:00", None),  # the prefix itself
    ("orphan", 6, None, "06-01T00:00", None),  # only `unknown` touched it
    ("old-reader", 70, None, "06-01T00:00", None),  # cid read it, but over 90 days ago
    ("skew", 80, None, "12-31T00:00", None),  # modified after its listing: first seen counts
    ("native", 90, "bob", "06-01T00:00", "10-15T08:00"),  # the storage knows of a later access
    ("native-skew", 91, "bob", "07-01T00:00", "12-31T00:00"),  # a native time that cannot be
]
COLD_SEPTEMBER = [
    ("x/tie", 100, None, None, None),  # ann and bob wrote at the same instant: ann, by name
    ("x/first", 110, None, None, None),  # nothing is known but when it was first seen
    ("x/gone", 120, None, None, None),
]
COLD = COLD_SEPTEMBER[:2]
LISTINGS = [
    ("hot", "08-01T00:00", HOT_AUGUST), ("hot", "10-05T00:00", HOT), ("hot", "10-30T00:00", HOT),
    ("cold", "09-15T00:00", COLD_SEPTEMBER), ("cold", "10-20T00:00", COLD),
]  # fmt: skip

# ts, user, backend, path, op, bytes, more
EVENTS = [
    ("05-01T10:00", "ann", "hot", "proj/a.bin", "write", 5000, {}),
    ("05-02T10:00", "bob", "hot", "proj/a.bin", "write", 1, {}),  # not the first
    ("10-01T10:00", "bob", "hot", "proj/a.bin", "read", 700, {"count": 3}),  # three reads in one
    ("10-01T11:00", "bob", "hot", "proj/a.bin", "read", 50, {}),  # same file, user and day
    ("10-02T10:00", "cid", "hot", "proj/b.bin", "read", 900, {}),
    ("10-03T10:00", "ann", "hot", "proj/b.bin", "read", 400, {}),
    ("10-03T11:00", "ann", "hot", "proj/b.bin", "read", 300, {}),  # 700 together: fewer than 900
    ("10-04T10:00", "unknown", "hot", "proj/b.bin", "read", 9999, {}),  # nobody owns by reading
    ("10-04T10:00", "unknown", "hot", "orphan", "read", 5, {}),
    ("10-04T11:00", "unknown", "hot", "orphan", "write", 5, {}),
    ("07-20T10:00", "cid", "hot", "old-reader", "read", 70, {}),
    ("10-06T10:00", "dan", "hot", "proj/rules/c.bin", "write", 300, {}),  # the rule stays
    ("10-07T10:00", "cid", "hot", "proj/b.bin", "read", 999, {"error": "EIO"}),  # failed
    ("10-08T10:00", "cid", "hot", "proj/b.bin", "stat", 0, {"weight": 10}),  # no access
    ("10-08T11:00", "cid", "hot", "proj", "list", 0, {"weight": 10}),
    ("10-09T10:00", "", "hot", "proj/b.bin", "read", 7, {}),  # nobody: in no report by user
    ("10-09T11:00", "ann", "", "proj/b.bin", "read", 7, {}),  # no backend
    ("10-09T12:00", "uid:1001", "hot", "native", "read", 11, {}),  # older than the native access
    ("09-20T10:00", "bob", "cold", "x/tie", "write", 1, {}),
    ("09-20T10:00", "ann", "cold", "x/tie", "write", 1, {}),
    ("09-21T10:00", "ann", "cold", "x/gone", "write", 120, {}),  # its file is gone now
    ("09-22T10:00", "dan", "cold", "x/gone", "read", 12, {}),  # dan touched nothing that lives
    ("09-23T10:00", "eve", "cold", "never-listed", "read", 1, {}),
    ("10-05T10:00", "ann", "away", "p", "read", 3, {}),  # a backend that was never crawled
    ("10-31T11:59:59", "cid", "cold", "x/tie", "read", 20, {}),  # just before as-of
    ("10-31T12:00:00", "cid", "cold", "x/tie", "read", 30, {}),  # at as-of
    ("10-31T12:00:01", "cid", "cold", "x/tie", "read", 40, {}),  # after it
    ("11-01T10:00", "dan", "cold", "x/first", "write", 50, {}),  # after it: owns nothing yet
    ("10-30T23:30", "dan", "hot", "skew", "read", 8, {"ts": "2025-10-31T01:30:00+02:00"}),
]  # fmt: skip


def batches(rows):
    columns = ("path", "size_bytes", "owner", "modified_at", "native_access_at")
    values: dict[str, Any] = dict(zip(columns, zip(*rows, strict=True), strict=True))
    for name in ("modified_at", "native_access_at"):
        values[name] = [at(text) if text else None for text in values[name]]
    values["etag"] = [f"e{size}" for size in values["size_bytes"]]
    arrays = [
        pa.array(values[f.name], f.type) if f.name in values else pa.nulls(len(rows), f.type)
        for f in LISTED
    ]
    return [pa.RecordBatch.from_arrays(arrays, schema=LISTED)]


def event(row):
    ts, user, backend, path, op, size, more = row
    sizes = {
        "bytes_read": size if op == "read" else 0,
        "bytes_written": size if op == "write" else 0,
    }
    return {"ts": at(ts).isoformat(), "user": user, "backend": backend, "path": path, "op": op,
            **sizes, **more}  # fmt: skip


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    """The literal world, through the real pipelines."""
    from tests.home import Home

    home = Home(tmp_path_factory.mktemp("metrics"), backends=("hot", "cold"))
    home.land("all.jsonl", *(event(row) for row in EVENTS))
    window = ingest.Window(clock.now(), dt.timedelta(days=400))
    ingest.ingest(home.lake, str(home.landing), window)
    with pytest.MonkeyPatch.context() as patch:
        for name, day, rows in LISTINGS:
            listing = Listing(batches(rows), [], at(day), "list")
            patch.setattr(crawl, "_listings", lambda *_, one=listing: iter([one]))
            crawl.crawl(home.lake, home.config.backend(name), crawl.CrawlOptions(at(day)))
    control.add_members(home.lake, MEMBERS, None, "test", AS_OF)
    fold(home.lake)
    return home.lake


POLICY = Policy((("hot", "local"), ("cold", "local")), RULES, IGNORED)


@pytest.fixture(scope="module", params=[AS_OF, EARLIER], ids=["now", "before the last listings"])
def both(request, lake):
    """Our answers and a DuckDB with the tables, at one as-of."""
    then = world.at(lake, POLICY, request.param)
    ours = results.compute(then, POLICY, control.quotas(lake))
    con = duckdb.connect()
    for name in ("events", "file_changes", "listings"):
        files = DeltaTable(lake.uri(world_table(name))).file_uris()
        con.execute("set timezone = 'UTC'")
        con.execute(f"create table raw_{name} as select * from read_parquet({files!r})")
    con.execute('create table members ("user" text, team text, rank int)')
    con.executemany("insert into members values (?, ?, ?)", [
        ("ann", "vision", 0), ("bob", "vision", 0), ("cid", "nlp", 0), ("dan", "audio", 0),
    ])  # fmt: skip
    con.execute("create table rules (backend text, prefix text, team text)")
    con.executemany("insert into rules values (?, ?, ?)", [tuple(rule) for rule in RULES])
    con.execute("create table clock as select ?::timestamptz as t", [request.param])
    con.execute(ORACLE)
    return ours, con


def world_table(name):
    from lake.schemas import TABLES

    return TABLES[name]


ORACLE = r"""
create view acts as
  select e.* from raw_events e, clock
  where op in ('read', 'write') and error = '' and "user" <> '' and e.backend <> '' and ts <= t;
create view living as
  select backend, path, size_bytes, owner, modified_at, native_access_at, first_seen_at
  from (select c.*, row_number() over (partition by c.backend, path order by listing desc) n
        from raw_file_changes c, clock where snapshot_at <= t)
  where n = 1 and change <> 'removed';
create view seen as
  select backend, max(snapshot_at) as at from raw_listings, clock where snapshot_at <= t group by 1;
create view owned as
  select f.*,
    (select 'team:' || arg_max(r.team, length(prefix)) from rules r
      where r.backend = f.backend
        and (f.path = prefix or starts_with(f.path, prefix || '/'))) as by_rule,
    case when owner not in ('root', 'nobody') then owner end as by_storage,
    (select arg_min("user", (ts, "user")) from acts a where a.backend = f.backend
      and a.path = f.path and op = 'write' and "user" <> 'unknown') as by_writer,
    (select arg_max(u, (b, -ascii(u))) from (
      select "user" u, sum(bytes_read) b from acts a, clock where a.backend = f.backend
        and a.path = f.path and ts > t - interval 90 days and "user" <> 'unknown'
      group by 1 having sum(bytes_read) > 0)) as by_reader
  from living f;
create view touched as
  select f.backend, f.path, max(ts) as telemetry from living f
  join acts a on a.backend = f.backend and a.path = f.path group by 1, 2;
create view answer as
  select o.backend, o.path, size_bytes,
    coalesce(by_rule, by_storage, by_writer, by_reader, 'unassigned') as owner,
    case when by_rule is not null then 'rule' when by_storage is not null then 'storage'
      when by_writer is not null then 'writer' when by_reader is not null then 'reader'
      else 'none' end as owner_source,
    coalesce(greatest(telemetry,
      case when native_access_at <= s.at + interval 1 day then native_access_at end,
      case when modified_at <= s.at + interval 1 day then modified_at end),
      first_seen_at) as last_access_at,
    coalesce(native_access_at > s.at + interval 1 day, false)
      or coalesce(modified_at > s.at + interval 1 day, false) as skewed,
    telemetry, native_access_at, modified_at
  from owned o join seen s using (backend) left join touched using (backend, path);
create view teamed as
  select a.*, case when starts_with(owner, 'team:') then owner[6:]
    else coalesce((select team from members m where m."user" = a.owner), 'unassigned') end as team
  from answer a;
"""
GROUPS = {
    "user": ("owner", '"user"'),
    "team": ("team", "coalesce((select team from members m where m.user = a.user), 'unassigned')"),
    "backend": ("backend", "backend"),
    "prefix": ("split_part(path, '/', 1)", "split_part(path, '/', 1)"),
}  # fmt: skip


@pytest.mark.parametrize("attribution", ["owner", "access"])
@pytest.mark.parametrize("group", GROUPS)
def test_usage(both, group, attribution):
    """Rows, values and order of every grouping and attribution."""
    ours, con = both
    of_file, of_act = GROUPS[group]
    acts = f"(select a.*, {of_act} as g from acts a)"
    expected = con.execute(f"""
      with stored as (select {of_file} g, backend, count(*) n, sum(size_bytes) b,
          max(last_access_at) seen from teamed group by 1, 2),
        did as (select g, backend, max(ts) acted,
          sum("count") filter (op = 'read') reads, sum("count") filter (op = 'write') writes,
          sum(bytes_read) filter (op = 'read') br, sum(bytes_written) filter (op = 'write') bw
          from {acts} group by 1, 2),
        touch as (select g, backend, count(*) n, sum(size_bytes) b from (
          select distinct g, t.backend, t.path, t.size_bytes from {acts} x
          join teamed t on t.backend = x.backend and t.path = x.path) group by 1, 2),
        whole as (select g, backend, s.n sn, s.b sb, s.seen, d.*, t.n tn, t.b tb
          from stored s full join did d using (g, backend) left join touch t using (g, backend))
      select g, backend,
        coalesce({"sn" if attribution == "owner" else "tn"}, 0)::bigint,
        coalesce({"sb" if attribution == "owner" else "tb"}, 0)::bigint as bytes,
        epoch_us({"seen" if attribution == "owner" else "acted"}),
        coalesce(reads, 0)::bigint, coalesce(writes, 0)::bigint, coalesce(br, 0)::bigint,
        coalesce(bw, 0)::bigint, coalesce(tb, 0)::bigint
      from whole where {"true" if attribution == "owner" else "acted is not null"}
      order by bytes desc, g, backend
    """).fetchall()
    shown = ours["usage"].filter(
        pl.col("group_by") == group, pl.col("attribution") == attribution
    ).drop("group_by", "attribution").with_columns(
        pl.col("last_access_at").dt.timestamp("us")
    ).rows()  # fmt: skip
    assert shown == expected


def test_every_file_with_owner_team_and_last_access(both):
    """The index of stale files: values, evidence and order."""
    ours, con = both
    expected = con.execute("""
      select backend, path, size_bytes, epoch_us(last_access_at),
        case when skewed then 'skewed' when telemetry = last_access_at then 'telemetry'
          when native_access_at = last_access_at then 'storage'
          when modified_at = last_access_at then 'modified' else 'first_seen' end,
        owner, owner_source, team
      from teamed order by size_bytes desc, backend, path
    """).fetchall()
    shown = ours["stale_index"].select(
        "backend", "path", "size_bytes", pl.col("last_access_at").dt.timestamp("us"), "evidence",
        "owner", "owner_source", "team",
    ).rows()  # fmt: skip
    assert shown == expected


def test_growth_of_backends_and_teams(both):
    """Points are the listings; teams add up to their backend on every day of a point."""
    ours, con = both
    expected = con.execute("""
      select backend, snapshot_at::date, files, bytes, added_bytes, removed_bytes
      from raw_listings, clock where snapshot_at <= t order by 1, 2
    """).fetchall()
    points = ours["growth"].filter(pl.col("by") == "backend")
    columns = ("backend", "day", "files", "bytes", "added_bytes", "removed_bytes")
    assert points.select(columns).rows() == expected
    teams = ours["growth"].filter(pl.col("by") == "team")
    for backend, day, files, size, added, removed in expected:
        there = teams.filter(pl.col("backend") == backend, pl.col("day") <= day)
        state = there.sort("day").group_by("team").last()
        assert (state["files"].sum(), state["bytes"].sum()) == (files, size)
        today = there.filter(pl.col("day") == day)
        assert (today["added_bytes"].sum(), today["removed_bytes"].sum()) == (added, removed)


def test_what_the_world_was_made_for(lake):
    """The odd rows, said in words: the oracle is not the only witness."""
    then = world.at(lake, POLICY, AS_OF)
    rows = {row["path"]: row for row in world.stale_index(then).to_dicts()}
    owner = {path: (row["owner"], row["owner_source"], row["team"]) for path, row in rows.items()}
    assert owner == {
        "proj/a.bin": ("ann", "writer", "vision"),
        "proj/b.bin": ("cid", "reader", "nlp"),
        "proj/rules/c.bin": ("team:audio", "rule", "audio"),
        "proj/rules": ("team:audio", "rule", "audio"),
        "proj/rulesx/d.bin": ("eve", "storage", "unassigned"),
        "proj/rules/deep/e.bin": ("team:nlp", "rule", "nlp"),
        "orphan": ("unassigned", "none", "unassigned"),
        "old-reader": ("unassigned", "none", "unassigned"),
        "skew": ("dan", "reader", "audio"),
        "native": ("bob", "storage", "vision"),
        "native-skew": ("bob", "storage", "vision"),
        "x/tie": ("ann", "writer", "vision"),
        "x/first": ("unassigned", "none", "unassigned"),
    }
    seen = {path: (row["last_access_at"], row["evidence"]) for path, row in rows.items()}
    assert seen["x/tie"] == (AS_OF, "telemetry")
    assert seen["x/first"] == (at("09-15T00:00"), "first_seen")
    assert seen["native"] == (at("10-15T08:00"), "storage")
    assert seen["native-skew"] == (at("07-01T00:00"), "skewed")
    assert seen["proj/rules/deep/e.bin"] == (at("06-01T00:00"), "modified")


def test_owners_add_up_to_the_files_and_to_growth(both):
    """Invariant 3, per backend, at both instants."""
    ours, _ = both
    owned = results.owned_bytes(ours["usage"]).group_by("backend").agg(pl.col("bytes").sum())
    files = ours["stale_index"].group_by("backend").agg(bytes=pl.col("size_bytes").sum())
    last = ours["growth"].filter(pl.col("by") == "backend").sort("day").group_by("backend").last()
    for frame in (owned, files, last):
        sums = dict(frame.filter(pl.col("bytes") > 0).select("backend", "bytes").iter_rows())
        assert sums == dict(files.iter_rows())
        assert sorted(sums) == ["cold", "hot"]


def test_a_member_since_an_instant_counts_from_then_on(home):
    """--since is valid time: as-of before it, another team or none."""
    lake = home.lake
    control.add_members(lake, [("ann", "old"), ("bob", "old")], None, "test", AS_OF)
    control.add_members(lake, [("bob", "new"), ("cid", "new")], EARLIER, "test", AS_OF)
    control.remove_member(lake, "ann", "old", EARLIER, "test", AS_OF)

    def teams(as_of):
        return control.memberships(lake, as_of).select("user", "team", "rank").rows()

    assert teams(EARLIER - dt.timedelta(seconds=1)) == [("ann", "old", 0), ("bob", "old", 0)]
    assert teams(EARLIER) == [("bob", "old", 0), ("bob", "new", 1), ("cid", "new", 0)]


def test_first_joined_wins_and_file_order_breaks_ties(home):
    """Two teams of one import: the one named first; a later --since never comes first."""
    lake = home.lake
    control.add_members(lake, [("ann", "z"), ("ann", "a")], None, "test", AS_OF)
    control.add_members(lake, [("ann", "b")], EARLIER, "test", AS_OF)
    control.add_members(lake, [("ann", "a"), ("ann", "z")], None, "test", AS_OF)
    assert control.memberships(lake, AS_OF)["team"].to_list() == ["z", "a", "b"]


QUOTAS = {
    # soft, hard, grace days, used before and now -> status
    "no limits": (0, 0, 0, 0, 500, "OK"),
    "below both": (600, 900, 0, 0, 500, "OK"),
    "at soft": (500, 900, 0, 0, 500, "WARNING"),
    "at hard": (400, 500, 0, 0, 500, "EXCEEDED"),
    "only hard": (0, 500, 0, 0, 500, "EXCEEDED"),
    "within its grace": (400, 900, 7, 500, 500, "WARNING"),
    "after its grace": (400, 900, 2, 500, 500, "EXCEEDED"),
    "grace of a new crossing": (400, 900, 2, 100, 500, "WARNING"),
    "no files": (400, 900, 0, 0, None, "OK"),
}


@pytest.mark.parametrize(("soft", "hard", "grace", "before", "now", "status"), QUOTAS.values(),
                         ids=QUOTAS)  # fmt: skip
def test_quota_states(soft, hard, grace, before, now, status):
    """Soft, hard and grace; reaching a limit is crossing it; a crossing is seen once."""
    from lake.metrics import quota
    from lake.schemas import QUOTA_STATUS

    limits = pl.DataFrame({
        "quota_id": [1], "team": ["vision"], "backend": [""], "soft_bytes": [soft],
        "hard_bytes": [hard], "grace_seconds": [grace * 86_400],
    })  # fmt: skip

    def owned(size):
        rows = [("vision", "hot", (size or 0) - 1), ("vision", "cold", 1), ("nlp", "hot", 9999)]
        schema = {"team": pl.String, "backend": pl.String, "bytes": pl.Int64}
        return pl.DataFrame(rows if size else rows[2:], schema=schema, orient="row")

    nothing = pl.DataFrame(schema=QUOTA_STATUS.schema)
    was = quota.status(limits, owned(before), nothing, AS_OF - dt.timedelta(days=3))
    after = quota.status(limits, owned(now), was, AS_OF)
    assert (after["usage_bytes"][0], after["status"][0]) == (now or 0, status)
    crossed = quota.crossings(was, after, AS_OF)
    assert crossed.height == int(was["status"][0] != status)
    if crossed.height:
        limit = hard if hard and (now or 0) >= hard else soft
        assert crossed["limit_bytes"][0] == limit
    assert quota.crossings(after, after, AS_OF).is_empty()


def test_a_crossing_is_told_by_the_crossings_before_it():
    """In whatever order the rows are: there and back, a third time, another quota, one twice."""
    steps = [
        ("t", "", "OK", "WARNING"), ("t", "", "WARNING", "EXCEEDED"), ("t", "", "EXCEEDED", "OK"),
        ("t", "", "OK", "WARNING"), ("u", "", "OK", "EXCEEDED"), ("u", "data", "OK", "WARNING"),
        ("u", "data", "WARNING", "OK"), ("v", "", "OK", "WARNING"), ("v", "", "OK", "WARNING"),
    ]  # fmt: skip
    rows = pl.DataFrame(steps, schema=["team", "backend", "before", "after"], orient="row")
    for some in (rows, rows.reverse()):
        assert quota.told(some).sort("team", "backend").rows() == [
            ("t", "", "WARNING"), ("u", "", "EXCEEDED"), ("u", "data", "OK"), ("v", "", "WARNING"),
        ]  # fmt: skip
    assert quota.told(rows.clear()).is_empty()


def test_documents_hold_stale_files_of_ninety_days(lake):
    """The published list: older than 90 days before as-of, largest first."""
    then = world.at(lake, POLICY, AS_OF)
    found = results.compute(then, POLICY, control.quotas(lake))
    shown = publish.documents(found, then.members, then.aliases, AS_OF)["stale"]["path"].to_list()
    assert shown == [
        "native-skew",
        "old-reader",
        "proj/rulesx/d.bin",
        "proj/rules/deep/e.bin",
        "proj/rules",
    ]


@pytest.mark.parametrize("as_of", [AS_OF, EARLIER])
def test_many_small_steps_find_what_one_finds(lake, as_of, monkeypatch):
    """A span per bucket, chunks of two rows, classes of three: the same rows in the same order."""
    then = world.at(lake, POLICY, as_of)
    whole = results.compute(then, POLICY, control.quotas(lake))
    for module, name, value in (
        (buckets, "ROWS_AT_ONCE", 1), (spread, "CHUNK_ROWS", 2), (classes, "TOP_ROWS", 2),
        (classes, "CLASS_ROWS", 3),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, value)
    pieces = results.compute(then, POLICY, control.quotas(lake))
    assert pieces.keys() == whole.keys()
    for name, frame in whole.items():
        assert pieces[name].rows() == frame.rows(), name


def joined(rows, most):
    """Rows of usage by prefix with all but the `most` largest of each backend as one, in Python."""
    stored = {}
    for row in rows:
        if row["attribution"] == "owner":
            stored.setdefault(row["backend"], []).append((-row["bytes"], row["group"]))
    found = {}
    for row in rows:
        known = sorted(each for each in stored[row["backend"]])
        largest = [group for size, group in known[:most]]
        crowded = len(known) > most
        group = "(other)" if crowded and row["group"] not in largest else row["group"]
        total = found.setdefault((row["attribution"], row["backend"], group), {})
        for name, value in row.items():
            if isinstance(value, int):
                total[name] = total.get(name, 0) + value
            elif name == "last_access_at":
                total[name] = max(total.get(name) or value, value) if value else total.get(name)
    return found


@pytest.mark.parametrize("most", [1, 2, 3, 1000])
def test_small_prefixes_are_one_row(lake, most, monkeypatch):
    """However the files are divided into spans; counts and bytes stay what they were together."""
    then = world.at(lake, POLICY, AS_OF)
    whole = results.compute(then, POLICY, control.quotas(lake))["usage"]
    rows = whole.filter(pl.col("group_by") == "prefix").to_dicts()
    monkeypatch.setattr(usage, "MOST_PREFIXES", most)
    monkeypatch.setattr(buckets, "ROWS_AT_ONCE", 1)
    few = results.compute(then, POLICY, control.quotas(lake))["usage"]
    assert few.filter(pl.col("group_by") != "prefix").equals(
        whole.filter(pl.col("group_by") != "prefix")
    )
    told = few.filter(pl.col("group_by") == "prefix").to_dicts()
    names = ("attribution", "backend", "group")
    found = {tuple(row[n] for n in names): row for row in told}
    expected = joined(rows, most)
    assert found.keys() == expected.keys()
    for key, row in expected.items():
        assert {n: found[key][n] for n in row} == row, key


@pytest.mark.parametrize("parts", [1, 7])
def test_a_flat_store_has_no_row_per_object(monkeypatch, parts):
    """The largest objects of all are found though each part keeps but few."""
    monkeypatch.setattr(usage, "MOST_PREFIXES", 5)
    names = ("files", "bytes", "touched_files", "touched_bytes")
    rows = pl.DataFrame({
        "backend": ["b"] * 101, "prefix": [f"o{n:03d}" for n in range(100)] + ["folder"],
        "files": [1] * 100 + [9], "bytes": [n * 37 % 101 for n in range(100)] + [50],
        "seen_at": [AS_OF] * 101, "touched_files": [1] * 101, "touched_bytes": [1] * 101,
        "at_root": [True] * 100 + [False],
    })  # fmt: skip
    kept = [usage.few_at_root(rows.gather_every(parts, n)) for n in range(parts)]
    assert max(frame.height for frame in kept) <= 7
    sums = pl.concat(kept).group_by("backend", "prefix").agg(pl.col(names).sum())
    nothing = pl.DataFrame(schema={"backend": pl.String, "prefix": pl.String})
    few, _ = usage.few_prefixes(sums, nothing)
    told = few.group_by("prefix").agg(pl.col(names).sum()).sort("bytes", descending=True)
    largest = rows.sort("bytes", descending=True).head(5)
    assert set(told["prefix"]) == {*largest["prefix"], "(other)"}
    assert [told[n].sum() for n in names] == [rows[n].sum() for n in names]


def test_the_files_of_the_index_have_disjoint_sizes(lake, tmp_path, monkeypatch):
    """Every row is in one file, in the order of the index from file to file."""
    then = world.at(lake, POLICY, AS_OF)
    rows = world.stale_index(then)
    for module, name, value in (
        (classes, "TOP_ROWS", 2), (classes, "CLASS_ROWS", 3), (index, "TOP_GROUP", 2),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, value)
    with workplace(str(tmp_path)) as place:
        found = compute(then.whole, Work(place))
        written = index.write_index(str(tmp_path), found.index, INLINE)
    parts = [part for part, _ in written]
    assert len(parts) > 3
    assert max(part.rows for part in parts) <= 6
    assert sum(size for _, size in written) == rows["size_bytes"].sum()
    assert pl.concat([pl.read_parquet(part.uri) for part in parts]).rows() == rows.rows()
    where = pl.col("last_access_at") < AS_OF - dt.timedelta(days=90)
    best = largest_of([IndexFile.of(part) for part in parts], where, 3)
    assert best.rows() == rows.filter(where).head(3).rows()


def test_rows_and_paths_that_do_not_match_are_an_error(tmp_path):
    """Two living paths with one file_id would be counted twice, or not at all."""
    row = {"backend": "b", "file_id": 1, "size_bytes": 5, "last_modified_at": AS_OF,
           "last_access_at": AS_OF, "evidence": "modified", "owner": "o", "owner_source": "none",
           "team": "t", "class": 0}  # fmt: skip
    rows = pl.DataFrame([row], schema={**INDEX, "class": pl.Int32})
    run = index.write_run(str(tmp_path), rows)
    paths = pl.DataFrame({"file_id": [1, 1], "path": ["a", "b"]})
    found = index.classes([run], {0: [write_pieces(str(tmp_path), "paths", {0: paths})[0]]})
    with pytest.raises(LakeError, match="file_id twice"):
        index.gathered(found)


READS = {
    # bytes read by the owner in force and by another -> who owns then
    "none before: most bytes": (None, {"ann": 10, "bob": 11}, "bob"),
    "none before: ties by name": (None, {"bob": 10, "ann": 10}, "ann"),
    "less than twice as much": ("ann", {"ann": 10, "bob": 19}, "ann"),
    "twice as much": ("ann", {"ann": 10, "bob": 20}, "bob"),
    "not read in the window any more": ("ann", {"bob": 1}, "bob"),
    "nobody reads any more": ("ann", {}, None),
}


@pytest.mark.parametrize(("before", "reads", "owner"), READS.values(), ids=READS)
def test_a_dominant_reader_stays_until_another_read_twice_as_much(before, reads, owner):
    """The factor of two, and what ends it."""
    from lake.metrics.ownership import dominant_reader

    day = AS_OF.date()
    rows = [(1, user, day, size) for user, size in reads.items()]
    rows += [(1, "ann", day - dt.timedelta(days=90), 999), (1, "unknown", day, 999)]
    schema = {"file_id": pl.Int64, "user": pl.String, "day": pl.Date, "bytes_read": pl.Int64}
    readers = pl.LazyFrame(
        [(1, before)] if before else [], schema={"file_id": pl.Int64, "reader": pl.String},
        orient="row",
    )  # fmt: skip
    found = dominant_reader(pl.LazyFrame(rows, schema=schema, orient="row"), readers, AS_OF)
    assert found.collect().rows() == ([(1, owner)] if owner else [])


def test_a_refresh_remembers_who_owned_by_reading(home):
    """bob overtakes ann by less than twice: ann stays, now, after a rebuild and at the time before;
    cid reads more than twice as much and owns, but not before he did."""
    from pipelines.refresh import refresh

    (home.root() / "f").write_bytes(b"x" * 10)
    home.run("crawl")
    began = clock.now()

    def read(number, user, size):
        at = clock.now().isoformat()
        home.land(f"{number}.jsonl", {"ts": at, "user": user, "backend": "data", "path": "f",
                                      "op": "read", "bytes_read": size})  # fmt: skip
        window = ingest.Window(began, dt.timedelta(days=400))
        ingest.ingest(home.lake, str(home.landing), window)

    def owner(*, rebuild=False):
        refresh(home.config, now=clock.now(), rebuild=rebuild)
        found = home.run("usage", "--format", "csv").rows
        return [row["group"] for row in found if row["files"] == "1"]

    ignored = home.file.read_text() + "ownership: {ignore_owners: [root]}\n"
    home.file.write_text(ignored)
    read(1, "ann", 10)
    assert owner() == ["ann"]
    read(2, "bob", 19)
    assert (owner(), owner(rebuild=True)) == (["ann"], ["ann"])
    before = clock.now()
    read(3, "cid", 39)
    assert owner() == ["cid"]
    policy = world.policy(home.config)
    for as_of, name in ((before, "ann"), (clock.now(), "cid")):
        index = world.stale_index(world.at(home.lake, policy, as_of))
        assert index["owner"].to_list() == [name]


def test_sums_of_many_spans_hold_no_more_than_their_keys(monkeypatch):
    """They are added up while they come, whatever the order; instants are the latest."""
    monkeypatch.setattr(computing, "HELD_ROWS", 10)
    added = computing.Adding(("key",))
    most = 0
    for n in range(100):
        at = AS_OF + dt.timedelta(hours=n)
        added.add(pl.DataFrame({"key": ["a", f"b{n % 3}"], "files": [1, n], "seen_at": [at, at]}))
        most = max(most, added._rows)
    assert most <= 12
    assert sorted(added.total().rows()) == [
        ("a", 100, AS_OF + dt.timedelta(hours=99)),
        *(
            (f"b{k}", sum(range(k, 100, 3)), AS_OF + dt.timedelta(hours=(99, 97, 98)[k]))
            for k in range(3)
        ),
    ]
