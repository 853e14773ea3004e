"""What a person's page shows of a user: the same as SQL over `access_daily` and `events`."""

import datetime as dt
import random
import shutil
from pathlib import Path

import duckdb
import polars as pl
import pytest
from deltalake import DeltaTable
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from lake import people
from lake.metrics import people as metrics
from lake.parts import Part
from lake.schemas import ACCESS_DAILY, EVENTS, USER_DAILY, USER_FILES, USER_JOBS
from lake.store import Lake
from pipelines import people as making
from pipelines.fold import fold
from tests.unit.test_state import START, Days, event

NOW = dt.datetime(2025, 3, 1, tzinfo=dt.UTC) + dt.timedelta(days=9, hours=1)
USERS = ("ann", "bob", "o'neil", "unknown", "")
PATHS = ("a", "b/c", "b/dd", "d/new\nline", "caf\\xe9")


def of_job(made, job, pod="", node="n1"):
    """An event of a job: of a Slurm id, of a pod, or of neither."""
    return made | {"job": job, "pod": pod, "node": node}


WRITTEN = st.builds(
    of_job,
    st.builds(
        event, st.integers(0, 4), st.integers(0, 40), st.sampled_from(USERS),
        st.sampled_from(PATHS), st.sampled_from(["read", "write", "stat"]), st.integers(0, 50),
    ),
    st.sampled_from(["", "", "17", "18"]), st.sampled_from(["", "pod-a"]),
    st.sampled_from(["n1", "n2", "n3"]),
)  # fmt: skip
STEPS = st.lists(
    st.tuples(st.lists(WRITTEN, min_size=1, max_size=12), st.booleans()), min_size=1, max_size=3
)


@pytest.fixture
def days(tmp_path):
    """An empty lake."""
    return Days(tmp_path / "lake")


def opinion(lake, user, days):
    """DuckDB: days, files and jobs of a user from `access_daily` and `events`."""
    con = duckdb.connect()
    con.execute("set timezone = 'UTC'")
    for table in (ACCESS_DAILY, EVENTS):
        files = DeltaTable(lake.uri(table)).file_uris()
        how = "hive_partitioning = true, hive_types_autocast = false, union_by_name = true"
        con.execute(f"create view {table.name} as from read_parquet({files!r}, {how})")
    name = user.replace("'", "''")
    day = f"day > date '{NOW.date()}' - {days} and day <= date '{NOW.date()}'"
    acts = f"""access_daily where "user" = '{name}' and last_access_at is not null
      and backend <> ''"""
    active = con.execute(f"""
      select day, sum(read_count + write_count)::bigint, sum(bytes_read)::bigint,
        sum(bytes_written)::bigint, count(distinct (landing_day, file_id))
      from {acts} and {day} group by day order by day""").fetchall()
    files = con.execute(f"""
      select day, backend, path, sum(read_count)::bigint, sum(write_count)::bigint,
        sum(bytes_read)::bigint, sum(bytes_written)::bigint, epoch_us(max(last_access_at))
      from {acts} and day <= date '{NOW.date()}' group by day, backend, path
      order by day desc, backend, path""").fetchall()
    jobs = con.execute(f"""
      with e as (select *, case when job <> '' then job else pod end as j,
                        substr(hour, 1, 10) as landed from events
        where "user" = '{name}' and op in ('read', 'write') and error = ''
          and (job <> '' or pod <> '') and {day}),
      n as (select j, day, landed, count(distinct file_id) as files from e group by all)
      select j, count(distinct node), epoch_us(min(ts)), epoch_us(max(ts)),
        (select max(files) from n where n.j = e.j), sum("count")::bigint,
        sum(bytes_read)::bigint, sum(bytes_written)::bigint
      from e group by j order by max(ts) desc, j""").fetchall()
    return active, files, jobs


def told(lake, user, days, limit=metrics.MOST_FILES):
    """The same from the user tables."""
    us = pl.col(pl.Datetime("us", "UTC")).dt.timestamp("us")
    files = people.touched(lake, (user,), NOW, limit).drop("user")
    order = ("day", "backend", "path")
    return (
        people.active_days(lake, (user,), NOW, days).rows(),
        files.select(*order, pl.exclude(*order)).with_columns(us).rows(),
        people.jobs(lake, (user,), NOW, days, 1000).with_columns(us).rows(),
    )


def compare(lake, **how):
    """Every named user, in a long and a short window."""
    for user in USERS[:-1]:
        for days in (365, 20):
            assert told(lake, user, days, **how) == opinion(lake, user, days)


@settings(max_examples=3, deadline=None, derandomize=True, database=None,
          phases=[Phase.explicit, Phase.generate],
          suppress_health_check=[HealthCheck.too_slow])  # fmt: skip
@given(steps=STEPS)
def test_a_user_did_what_sql_finds_however_it_landed(steps, tmp_path_factory):
    """Late days, days that land again with other events, a rebuild: the same rows."""
    days = Days(tmp_path_factory.mktemp("people") / "lake")
    for rows, again in steps:
        days.land(rows, again=again)
        fold(days.lake)
        compare(days.lake)
    before = tables(days.lake)
    fold(days.lake, rebuild=True)
    compare(days.lake)
    assert tables(days.lake) == before


def tables(lake):
    return {table.name: lake.scan(table).sort("landing_day", "user", "day", maintain_order=True)
            .collect().to_dicts() for table in making.TABLES}  # fmt: skip


def busy(days):
    """Three users with more rows than are kept, whose accesses of a day land on two days."""
    rng = random.Random(7)
    days.land([
        event(4 + rng.choice([0, 1]), 0, rng.choice(["ann", "bob"]), f"f{rng.randrange(60)}",
              "read", 3)
        | {"day": START + dt.timedelta(days=4 - rng.randrange(3))}
        for _ in range(900)
    ])  # fmt: skip
    fold(days.lake)


def test_the_first_files_have_whole_sums_whatever_is_left_out(days, monkeypatch):
    """Of a file that is among the first, no landing day leaves its part out."""
    monkeypatch.setattr(metrics, "MOST_FILES", 20)
    busy(days)
    rows = days.lake.scan(USER_FILES).group_by("landing_day", "user").len().collect()
    assert set(rows["len"]) == {20}
    for user in ("ann", "bob"):
        (_, files, _), (_, expected, _) = (
            told(days.lake, user, 365, 20),
            opinion(days.lake, user, 365),
        )
        assert files == expected[:20]
        assert len(expected) > 100


def test_landing_days_are_read_from_the_latest_until_nothing_newer_is_left(days, monkeypatch):
    days.land([event(n, 0, "ann", f"f{m}", "read", 1) for n in range(9) for m in range(3)])
    fold(days.lake)
    monkeypatch.setattr(people, "AT_ONCE", 2)
    read: list[Part] = []
    whole = people._of

    def noted(parts, table, names):
        read.extend(parts)
        return whole(parts, table, names)

    monkeypatch.setattr(people, "_of", noted)
    found = people.touched(days.lake, ("ann",), NOW, 9)
    assert found.height == 9
    assert found["day"].unique().sort().to_list() == [START + dt.timedelta(n) for n in (6, 7, 8)]
    assert 3 <= len(read) <= 4


def test_names_of_one_person_are_one(days):
    days.land([
        event(n, 0, user, path, "read", 2)
        for n, user, path in ((0, "ann", "a"), (0, "a.n", "a"), (1, "a.n", "b"), (1, "bob", "a"))
    ])  # fmt: skip
    fold(days.lake)
    names = ("ann", "a.n")
    rows = people.touched(days.lake, names, NOW).select("user", "path", "read_count", "bytes_read")
    assert rows.rows() == [("ann", "b", 1, 2), ("ann", "a", 2, 4)]
    assert people.active_days(days.lake, names, NOW, 365)["accesses"].to_list() == [2, 1]


def test_a_user_is_found_by_the_bounds_of_row_groups(days):
    """Rows of one user lie together: most groups of a landing day say that they have none."""
    users = [f"u{n:05}" for n in range(20_000)]
    days.land([event(0, 0, user, "a", "read", 1) for user in users])
    fold(days.lake)
    (file,) = DeltaTable(days.lake.uri(USER_DAILY)).file_uris()
    groups = duckdb.execute(
        "select row_group_id, stats_min_value, stats_max_value from parquet_metadata(?) "
        "where path_in_schema = 'user'", [file],
    ).fetchall()  # fmt: skip
    assert len(groups) == 3
    assert sum(low <= "u10000" <= high for _, low, high in groups) == 1
    assert people.active_days(days.lake, ("u10000",), NOW, 365)["accesses"].to_list() == [1]
    assert people.active_days(days.lake, ("zed",), NOW, 365).is_empty()


def test_a_lake_without_the_tables_gets_them_from_what_is_kept(days):
    """Made by older code; of one day the events were let go: its jobs are not known any more."""
    days.land([
        of_job(event(n, 0, "ann", f"f{m}", "read", 5), f"{n}")
        for n in range(4) for m in range(3)
    ])  # fmt: skip
    fold(days.lake)
    before = tables(days.lake)
    for table in making.TABLES:
        shutil.rmtree(Path(days.lake.uri(table)))
    assert all(frame.is_empty() for frame in (
        people.active_days(days.lake, ("ann",), NOW, 365), people.touched(days.lake, ("ann",), NOW),
        people.jobs(days.lake, ("ann",), NOW, 365, 10),
    ))  # fmt: skip
    days.lake.delete(EVENTS, {"hour": [f"{START}T05"]})
    assert fold(days.lake) == {}
    after = tables(days.lake)
    assert after["user_daily"] == before["user_daily"]
    assert after["user_files"] == before["user_files"]
    assert after["user_jobs"] == before["user_jobs"][1:]
    assert len(after["user_jobs"]) == 3


def test_a_rebuild_keeps_the_jobs_of_days_whose_events_were_let_go(days):
    days.land([of_job(event(n, 0, "ann", "f", "read", 5), f"{n}") for n in range(3)])
    fold(days.lake)
    before = tables(days.lake)
    days.lake.delete(EVENTS, {"hour": [f"{START}T05"]})
    fold(days.lake, rebuild=True)
    assert tables(days.lake) == before


def test_a_crash_between_two_tables_is_made_good_by_the_next_fold(days, monkeypatch):
    days.land([of_job(event(0, 0, "ann", "f", "read", 5), "1")])
    whole = Lake.commit

    def dies(lake, table, *given, **how):
        if table is USER_FILES:
            raise OSError("disk full")
        return whole(lake, table, *given, **how)

    monkeypatch.setattr(Lake, "commit", dies)
    with pytest.raises(OSError, match="disk full"):
        fold(days.lake)
    assert people.touched(days.lake, ("ann",), NOW).is_empty()
    monkeypatch.setattr(Lake, "commit", whole)
    fold(days.lake)
    compare(days.lake)
    versions = [days.lake.version(table) for table in making.TABLES]
    fold(days.lake)
    assert [days.lake.version(table) for table in making.TABLES] == versions


def test_rows_of_a_landing_day_that_lost_its_events_go(days):
    """An object that is landed again without them: nothing of it stays."""
    days.land([of_job(event(0, 0, "ann", "f", "read", 5), "1")])
    fold(days.lake)
    days.land([of_job(event(0, 0, "bob", "f", "stat", 5), "1")], again=True)
    fold(days.lake)
    for table in (USER_DAILY, USER_FILES, USER_JOBS):
        assert days.lake.scan(table).collect().is_empty()
