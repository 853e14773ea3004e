"""A lake that older code made goes on working: columns that came later are empty until written."""

import datetime as dt
import json
import os
import shutil
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable

from lake import published
from lake.schemas import FILES, LEDGER, TABLES
from lake.store import Lake
from pipelines import crawl, ingest, maintain
from pipelines.refresh import refresh
from storage import clock
from storage.landing import compress, hour_of, segment_name
from tests.home import Home
from tests.older import make_older

NOW = clock.now().replace(microsecond=0)
WINDOW = ingest.Window(NOW, dt.timedelta(days=400))
LATER = {
    table.name: [c.name for c in table.columns if c.nullable and c.name not in table.partition_by]
    for table in TABLES.values()
}
"""Every column that may be null: more than any version will ever lack."""
QUESTIONS = (
    ("usage",), ("usage", "--group-by", "prefix", "--depth", "2"), ("stale",), ("growth",),
    ("stale", "--days", "7"), ("growth", "--by", "team"), ("quota", "list"), ("user", "ann"),
    ("backends",), ("team", "list"), ("rule", "list"), ("ledger",), ("audit-log",),
    ("diff", f"{NOW - dt.timedelta(days=1):%Y-%m-%d}", f"{NOW:%Y-%m-%d}"),
    ("usage", "--as-of", (NOW - dt.timedelta(minutes=10)).isoformat()),
    ("rule", "add", "data:deep", "vision", "--preview"), ("growth", "--forecast", "3"),
)  # fmt: skip


def lived_in(home):
    """Everything a lake may hold, once."""
    for number in range(6):
        place = home.root() / "deep" / f"q{number % 2}" / f"f{number}"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(b"x" * number)
        at = (NOW - dt.timedelta(days=100 + number)).timestamp()
        os.utime(place, (at, at))
    land(home, 1)
    step(home)
    for args in (
        ("team", "add", "ann", "vision"),
        ("rule", "add", "data:deep/q1", "vision"),
        ("quota", "set", "--team", "vision", "--soft", "1B", "--hard", "1TB"),
    ):
        assert home.run(*args).code == 0
    return home


def land(home, first):
    """A segment with a read of each file, a heartbeat and a line that is none."""
    at = (NOW - dt.timedelta(minutes=50)).isoformat()
    seen = [{"ts": at, "user": "ann", "backend": "data", "path": f"deep/q{n % 2}/f{n}",
             "op": "read", "bytes_read": n + first} for n in range(3)]  # fmt: skip
    beat = {"ts": at, "op": "agent", "backends": ["data"], "drops": 0, "path": "", "backend": ""}
    body = [json.dumps(event).encode() + b"\n" for event in (*seen, beat)]
    name = segment_name(hour_of(NOW), "n1", "ab" * 8, first, first + 4)
    home.land(name, raw=compress([*body, b"bad\n"]))


def step(home, **how):
    """Ingest, crawl, refresh."""
    ingest.ingest(home.lake, str(home.landing), WINDOW)
    for backend in home.config.backends:
        crawl.crawl(home.lake, backend, crawl.CrawlOptions(NOW))
    return refresh(home.config, now=NOW, **how)


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    """A lake that lacks every column that may be null."""
    home = lived_in(Home(tmp_path_factory.mktemp("old")))
    make_older(home.config.lake.root, LATER)
    return home


@pytest.fixture
def older(old, tmp_path):
    """A copy of it of one's own."""
    shutil.copytree(old.folder, tmp_path / "copy", dirs_exist_ok=True)
    return Home(tmp_path / "copy")


def columns(home, table):
    return {f.name for f in DeltaTable(home.lake.uri(table)).schema().fields}


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda asked: asked[0])  # times are no names
def test_every_question_is_answered_before_anything_is_written(old, question):
    """Typed nulls stand for what was not known then: no traceback, no empty answer."""
    said = old.run(*question, "--format", "json")
    assert (said.code, "Traceback" in said.err) == (0, False), said.err
    assert json.loads(said.out) or question[0] == "diff"


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)
def test_columns_come_with_the_next_write_and_old_rows_have_nulls(older, table):
    """Appended beside them, and replaced whole; what no write touches stays readable."""
    lake = older.lake
    before = lake.scan(table).collect()
    assert before.schema == table.schema
    if lake.open(table) is None:
        return
    assert columns(older, table) == set(table.schema) - set(LATER[table.name])
    lake.append(table, before.clear())
    assert columns(older, table) == set(table.schema)
    assert lake.scan(table).collect().equals(before)
    assert lake.scan(table, 0).collect().schema == table.schema


def test_the_lake_goes_on(older):
    """Ingest, crawl, refresh, rebuild and maintenance, with the numbers of a lake made new."""
    land(older, 6)
    (older.root() / "deep" / "q0" / "new").write_bytes(b"x" * 9)
    report = step(older)
    assert report.sums_agree
    assert older.lake.scan(FILES).collect().height == 7
    assert step(older, rebuild=True).sums_agree
    maintain.maintain(older.config, NOW)
    for table in (FILES, LEDGER):
        assert columns(older, table) == set(table.schema)
    reads = {
        row["group"]: int(row["read_count"]) for row in older.run("usage", "--format", "csv").rows
    }
    assert reads["ann"] == 6


def test_two_writers_add_the_columns_once(older):
    """Whoever comes second finds them there."""
    lake = older.lake
    stale = [lake.open(FILES) for _ in range(2)]
    for handle in stale:
        lake._evolve(handle, FILES)
    found = [f.name for f in DeltaTable(lake.uri(FILES)).schema().fields]
    assert sorted(found) == sorted(FILES.schema)


def test_older_code_may_write_a_table_that_newer_code_made(home):
    """What it does not know is null in its rows."""
    lived_in(home)
    lake = Lake(home.config.lake.root)
    DeltaTable(lake.uri(LEDGER)).alter.add_columns(
        [f for f in DeltaTable(lake.uri(FILES)).schema().fields if f.name == "inode"]
    )
    rows = lake.scan(LEDGER).collect()
    lake.append(LEDGER, rows)
    lake.replace(LEDGER, rows)
    assert lake.scan(LEDGER).collect().equals(rows)
    assert pl.scan_delta(lake.uri(LEDGER)).collect()["inode"].null_count() == rows.height


def test_documents_of_an_older_refresh_have_every_column(older):
    """A key that was not published then is null; what is published now has exactly these."""
    root = older.config.lake.root
    places = published.current(root).documents
    for name, where in places.items():
        file = Path(root) / "published" / where
        rows, names = json.loads(file.read_text()), published.COLUMNS[name.partition("-")[0]]
        assert all(tuple(row) == names for row in rows)
        file.write_text(json.dumps([{n: row[n] for n in names[:3]} for row in rows]))
    for name in places:
        names = published.COLUMNS[name.partition("-")[0]]
        rows = published.current(root).rows(name)
        assert all(tuple(row) == names and row[names[-1]] is None for row in rows)


def test_a_column_that_was_declared_once_stays_what_it_was():
    """tests/data/tables.json has what lakes were made with: later columns may be null."""
    made = json.loads((Path(__file__).parents[1] / "data" / "tables.json").read_text())
    for name, columns in made.items():
        now = {c.name: c for c in TABLES[name].columns}
        for column, (dtype, nullable) in columns.items():
            assert str(now[column].dtype) == dtype, f"{name}.{column}: another type"
            assert now[column].nullable >= nullable, f"{name}.{column}: old rows have nulls"
        later = [c.name for c in now.values() if c.name not in columns and not c.nullable]
        assert not later, f"{name}: {later} came later: declare them nullable"
