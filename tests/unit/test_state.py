"""`file_state` and `file_user`: whatever was folded when, they are what `access_daily` says."""

import datetime as dt
import itertools

import duckdb
import polars as pl
import pytest
from deltalake import DeltaTable
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from lake import state
from lake.buckets import bucket, low, spans
from lake.metrics.state import BASE, folded_state, in_force
from lake.schemas import ACCESS_DAILY, ACTIVITY, EVENTS, FILE_STATE, FILE_USER, LEDGER
from lake.store import Lake
from pipelines.fold import fold

START = dt.date(2025, 3, 1)
MIDNIGHT = dt.datetime(2025, 3, 1, tzinfo=dt.UTC)


def event(landed, ago, user, path, op, size):
    """A row of `events`: landed on day `landed`, happened `ago` days before."""
    at = MIDNIGHT + dt.timedelta(days=landed - ago, hours=len(path))
    return {
        "hour": f"{START + dt.timedelta(days=landed)}T05", "object": "o", "line": 1, "batch": 1,
        "ts": at, "day": at.date(), "user": user, "backend": "hot", "path": path, "op": op,
        "bytes_read": size if op == "read" else 0, "bytes_written": size if op == "write" else 0,
        "count": 1, "weight": 1.0, "cache_hit": False, "node": "n", "latency_ms": 0.0,
        "error": "", "job": "", "pod": "", "boot": "", "bytes_hit": 0, "bytes_miss": 0,
        "kernel_cached": False,
    }  # fmt: skip


class Days:
    """A lake whose landing days are set at will, as ingest would leave them."""

    def __init__(self, root) -> None:
        self.lake = Lake(str(root))
        self.events = {}
        self.moves = 0

    def land(self, rows, *, again=False):
        """Add rows to their landing days, or let them take the place of those of their days."""
        from lake.ids import file_id

        days = {row["hour"][:10] for row in rows}
        for day in days:
            kept = [] if again else self.events.get(day, [])
            self.events[day] = kept + [row for row in rows if row["hour"][:10] == day]
            names = [name for name in EVENTS.schema if name != "file_id"]
            frame = pl.DataFrame(self.events[day], schema={n: EVENTS.schema[n] for n in names})
            hours = [f"{day}T05"]
            self.lake.replace(EVENTS, frame.with_columns(file_id()), {"hour": hours})
            self.moves += 1
            self._ledger(day)

    def _ledger(self, day):
        values = {"object": f"o{self.moves}", "hour": f"{day}T05", "batch": self.moves}
        zeros = {str: "", int: 0}
        row = {}
        for column in LEDGER.columns:
            kind = column.dtype.to_python()
            row[column.name] = None if column.nullable else zeros.get(kind, MIDNIGHT)
        self.lake.append(LEDGER, pl.DataFrame([row | values], schema=LEDGER.schema))

    def sql(self, query):
        """DuckDB over `access_daily`."""
        con = duckdb.connect()
        con.execute("set timezone = 'UTC'")
        files = DeltaTable(self.lake.uri(ACCESS_DAILY)).file_uris()
        con.execute(
            f"create view acts as select * from read_parquet({files!r}, hive_partitioning = true) "
            "where last_access_at is not null and \"user\" <> ''"
        )
        return con.execute(query).fetchall()


@pytest.fixture
def days(tmp_path):
    """An empty lake."""
    return Days(tmp_path / "lake")


def states(lake):
    """`file_state` with one row per file, as every reader makes it."""
    rows = folded_state(lake.scan(FILE_STATE)).sort("file_id").with_columns(
        pl.col("last_access_at", "first_write_at").dt.timestamp("us")
    )  # fmt: skip
    return rows.collect().rows()


EXPECTED_STATES = """
  select file_id, epoch_us(max(last_access_at)),
    epoch_us(min(first_write_at) filter ("user" <> 'unknown')),
    arg_min("user", (first_write_at, "user")) filter (first_write_at is not null
      and "user" <> 'unknown')
  from acts group by 1 order by 1
"""


def sums(lake, since):
    """Bytes per file and user after a day, and all pairs ever."""
    rows = lake.scan(FILE_USER)
    new = rows.filter(pl.col("landing_day") != BASE)
    days = new.select(pl.col("landing_day").unique()).collect()["landing_day"].to_list()
    both = pl.concat([in_force(rows.filter(pl.col("landing_day") == BASE), days), new])
    read = both.filter(pl.col("day") > since).group_by("file_id", "user").agg(
        pl.col("bytes_read").sum()
    )  # fmt: skip
    pairs = both.group_by("file_id", "user").agg(pl.col("last_access_at").max())
    found = pairs.join(read, on=["file_id", "user"], how="left").with_columns(
        pl.col("last_access_at").dt.timestamp("us"), pl.col("bytes_read").fill_null(0)
    )  # fmt: skip
    return sorted(found.collect().rows())


def expected_sums(days, since):
    return days.sql(f"""
      select file_id, "user", epoch_us(max(last_access_at)),
        coalesce(sum(bytes_read) filter (day > date '{since}'), 0)::bigint
      from acts group by 1, 2 order by 1, 2
    """)


WRITTEN = st.builds(
    event, st.integers(0, 200), st.integers(0, 3), st.sampled_from(["ann", "bob", "unknown", ""]),
    st.sampled_from(["a", "b/c", "b/dd", "eeee"]), st.sampled_from(["read", "write", "stat"]),
    st.integers(0, 50),
)  # fmt: skip
STEPS = st.lists(
    st.tuples(st.lists(WRITTEN, min_size=1, max_size=6), st.booleans(), st.booleans()),
    min_size=1, max_size=5,
)  # fmt: skip


@settings(max_examples=7, deadline=None, derandomize=True, database=None,
          phases=[Phase.explicit, Phase.generate],
          suppress_health_check=[HealthCheck.too_slow])  # fmt: skip
@given(steps=STEPS)
def test_states_are_what_access_daily_says_however_it_came_about(steps, tmp_path_factory):
    """Late days, days opened again, rows that went away, folds in between, a rebuild: one state."""
    days = Days(tmp_path_factory.mktemp("state") / "lake")
    now = MIDNIGHT + dt.timedelta(days=210)
    since = (now - dt.timedelta(days=90)).date()
    for rows, again, folded in steps:
        days.land(rows, again=again)
        fold(days.lake, buckets=5)
        if folded:
            state.fold_base(days.lake, now, at_once=True)
        assert states(days.lake) == days.sql(EXPECTED_STATES)
        assert sums(days.lake, since) == expected_sums(days, since)
    state.fold_base(days.lake, now, at_once=True)
    before = {table.name: days.lake.scan(table).collect() for table in state.BUCKETED}
    activity = days.lake.scan(ACTIVITY).sort(pl.all()).collect()
    fold(days.lake, rebuild=True)
    state.fold_base(days.lake, now, at_once=True)
    for table in state.BUCKETED:
        after = days.lake.scan(table).collect()
        assert after.sort(after.columns).rows() == before[table.name].sort(after.columns).rows()
        assert set(after["landing_day"]) <= {BASE}
    assert days.lake.scan(ACTIVITY).sort(pl.all()).collect().equals(activity)


def test_days_are_folded_once_they_are_sealed(days):
    """48 h after its end; what a partial holds of the future keeps it out; a late day is folded."""
    days.land([event(0, 0, "ann", "a", "read", 1), event(1, 0, "ann", "a", "read", 1)])
    fold(days.lake, buckets=4)

    def left(now):
        state.fold_base(days.lake, now, at_once=True)
        rows = days.lake.scan(FILE_STATE).collect()
        return sorted(set(rows["landing_day"]) - {BASE})

    assert left(MIDNIGHT + dt.timedelta(days=3, seconds=-1)) == ["2025-03-01", "2025-03-02"]
    assert left(MIDNIGHT + dt.timedelta(days=3)) == ["2025-03-02"]
    assert left(MIDNIGHT + dt.timedelta(days=4)) == []
    days.land([event(0, -9, "bob", "a", "read", 1)])  # a clock that is nine days ahead
    fold(days.lake)
    assert left(MIDNIGHT + dt.timedelta(days=8)) == ["2025-03-01"]
    assert left(MIDNIGHT + dt.timedelta(days=10)) == []


def test_folding_waits_until_it_is_worth_it(days):
    """A few rows beside a large base stay a partial."""
    days.land([event(0, 0, "ann", f"f{n}", "read", 1) for n in range(30)])
    fold(days.lake)
    now = MIDNIGHT + dt.timedelta(days=100)
    assert state.fold_base(days.lake, now) == {"file_state": 1, "file_user": 1}
    days.land([event(1, 0, "ann", "a", "read", 1)])
    fold(days.lake)
    assert state.fold_base(days.lake, now) == {}
    for day in range(2, 8):
        days.land([event(day, 0, "ann", "a", "read", 1)])
    fold(days.lake)
    assert state.fold_base(days.lake, now) == {"file_state": 7, "file_user": 7}


def test_the_number_of_buckets_is_that_of_the_creation(days):
    """Another number in the config later changes nothing; every file has rows of one bucket."""
    days.land([event(0, 0, "ann", f"f{n}", "read", 1) for n in range(200)])
    fold(days.lake, buckets=7)
    fold(days.lake, buckets=99)
    assert state.bucket_count(days.lake) == 7
    state.fold_base(days.lake, MIDNIGHT + dt.timedelta(days=100), at_once=True)
    rows = days.lake.scan(FILE_STATE).with_columns(right=bucket(7)).collect()
    assert rows.height == 200
    assert rows["bucket"].to_list() == rows["right"].to_list()
    assert set(rows["bucket"]) == set(range(7))
    assert len(DeltaTable(days.lake.uri(FILE_STATE)).file_uris()) == 7


@pytest.mark.parametrize("count", [1, 3, 64, 1000])
def test_buckets_are_ranges_that_cover_every_file_id(count):
    """Bounds and numbers agree at both ends of every bucket; spans leave nothing out."""
    lows = [low(number, count) for number in range(count)] + [2**63]
    assert lows[0] == -(2**63)
    ends = pl.DataFrame({"file_id": [*lows[:-1], *(end - 1 for end in lows[1:])]}).select(
        bucket(count)
    )  # fmt: skip
    assert ends["bucket"].to_list() == [*range(count), *range(count)]
    for rows in (0, 10**6, 10**9):
        found = spans(count, rows)
        assert found[0].low == -(2**63)
        assert found[-1].high == 2**63 - 1
        assert all(a.high + 1 == b.low for a, b in itertools.pairwise(found))


def test_a_crash_between_two_tables_is_finished_by_the_next_fold(days, monkeypatch):
    """Each table knows for itself which landing days it has."""
    days.land([event(0, 0, "ann", "a", "read", 1)])
    whole = Lake.commit

    def dies(lake, table, *given, **how):
        if table.name == "file_user":
            raise OSError("disk full")
        return whole(lake, table, *given, **how)

    monkeypatch.setattr(Lake, "commit", dies)
    with pytest.raises(OSError, match="disk full"):
        fold(days.lake)
    monkeypatch.setattr(Lake, "commit", whole)
    assert states(days.lake) == days.sql(EXPECTED_STATES)
    assert fold(days.lake) == {"2025-03-01": 1}
    assert sums(days.lake, START) == expected_sums(days, START)
    assert fold(days.lake) == {}
