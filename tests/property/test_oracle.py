"""Every result against a second opinion: DuckDB computes it by SQL from the same tables.

Worlds come from hypothesis and go through the real ingest, crawl and refresh; the rows are equal
to the byte.
"""

import datetime as dt
import json
import tempfile
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from lake import control
from lake.ask import Ask
from lake.forecast import METHODS, backtest, extended
from lake.metrics.access import coverage
from lake.past import Past
from lake.read import Reader
from lake.schemas import (
    AGENTS,
    EVENTS,
    FILE_CHANGES,
    FILE_READER,
    GROWTH,
    LISTINGS,
    OWNERSHIP_RULES,
    QUOTA_STATUS,
    STALE_INDEX,
    TEAMS,
    USAGE,
    USER_ALIASES,
)
from pipelines import crawl, ingest
from pipelines.refresh import refresh
from storage import clock
from storage.listing.columns import LISTED, Listing
from tests import oracle
from tests.home import Home
from tests.oracle import Oracle, same

few = settings(
    max_examples=6, deadline=None, derandomize=True, database=None,
    # Shrinking runs a world hundreds of times: small worlds fail small enough.
    phases=[Phase.explicit, Phase.generate], report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip
START = dt.datetime(2025, 6, 1, tzinfo=dt.UTC)
HALF, END = START + dt.timedelta(days=60, hours=7), START + dt.timedelta(days=110, hours=13)
NOW = clock.now()
BACKENDS = ("hot", "cold")
EXTRA = "ownership: {ignore_owners: [root, nobody], rules: [{backend: cold, prefix: d/e, team: z}]}"
DIFF = (
    "group", "backend", "added_files", "added_bytes", "removed_files", "removed_bytes",
    "changed_bytes",
)  # fmt: skip

PATHS = st.sampled_from(["a", "d/b", "d/c", "d/e/f", "de", "it's", "caf\\xe9", "d/new\nline"])
USERS = st.sampled_from(["ann", "bob", "cid", "uid:7", "unknown", "", "o'neil"])
EVENT = st.builds(
    lambda at, user, where, op, size, error: {
        "ts": (START + dt.timedelta(hours=at, seconds=at)).isoformat(), "user": user,
        "backend": where[0], "path": where[1], "op": op, "bytes_read": size * (op == "read"),
        "bytes_written": size * (op == "write"), "error": error,
    },
    st.integers(0, 120 * 24), USERS, st.tuples(st.sampled_from([*BACKENDS, ""]), PATHS),
    st.sampled_from(["read", "read", "write", "stat", "list"]), st.integers(0, 5),
    st.sampled_from(["", "", "", "EIO"]),
)  # fmt: skip
# What a listing tells of a file follows from its size: then changes tell all that changed.
LOOK = st.tuples(
    st.sampled_from(BACKENDS), st.integers(0, 100 * 24),
    st.dictionaries(PATHS, st.integers(0, 9), max_size=8),
)  # fmt: skip
WORLD = st.fixed_dictionaries({
    "events": st.lists(EVENT, max_size=40),
    "looks": st.lists(LOOK, min_size=1, max_size=6),
    "members": st.lists(st.tuples(
        st.sampled_from(["ann", "bob", "cid", "uid:7"]), st.sampled_from(["x", "y"]),
        st.sampled_from([None, START + dt.timedelta(days=30), START + dt.timedelta(days=100)]),
    ), max_size=5, unique_by=lambda row: row[:2]),
    "aliases": st.lists(st.tuples(
        st.sampled_from(["bob", "cid", "uid:7", "o'neil"]), st.sampled_from(["ann", "zoe"]),
        st.sampled_from([None, START + dt.timedelta(days=30), START + dt.timedelta(days=100)]),
    ), max_size=3, unique_by=lambda row: row[0]),
    "rules": st.lists(st.tuples(
        st.sampled_from(BACKENDS), st.sampled_from(["", "d", "d/e", "de"]),
        st.sampled_from(["x", "z"]),
    ), max_size=3, unique_by=lambda row: row[:2]),
    "quotas": st.lists(st.tuples(
        st.sampled_from(["x", "y", "unassigned"]), st.sampled_from(["", *BACKENDS]),
        st.integers(0, 10), st.integers(10, 20),
    ), max_size=3, unique_by=lambda row: row[:2]),
    "beats": st.lists(st.tuples(
        st.sampled_from(["n1", "n2"]), st.integers(1, 24 * 9), st.sampled_from([1, 54, 55, 60]),
        st.sampled_from([["hot"], ["hot", "cold"], []]),
    ), max_size=4, unique_by=lambda row: row[:2]),
})  # fmt: skip


def listing(files, at):
    """A verified report of files; the owner and the times of each follow from its size."""
    sizes = list(files.values())
    hour, never = dt.timedelta(hours=1), dt.datetime(2199, 1, 1, tzinfo=dt.UTC)
    rows = {
        "path": list(files), "size_bytes": sizes, "etag": [f"e{size}" for size in sizes],
        "owner": [(None, "ann", "root", "cid", None)[size % 5] for size in sizes],
        "modified_at": [
            (None, START - size * hour, START + 2 * size * hour, never)[size % 4]
            for size in sizes
        ],
        "native_access_at": [(None, None, START + size * hour)[size % 3] for size in sizes],
    }  # fmt: skip
    arrays = [
        pa.array(rows[f.name], f.type) if f.name in rows else pa.nulls(len(files), f.type)
        for f in LISTED
    ]
    batch = pa.RecordBatch.from_arrays(arrays, schema=LISTED)
    return Listing([batch], [], at, "inventory", at.isoformat())


def heartbeats(node, hours, count, backends):
    """`count` heartbeats of one hour, so many hours before the end."""
    hour = END.replace(minute=0) - dt.timedelta(hours=hours)
    return [
        {"ts": (hour + dt.timedelta(seconds=55 * n)).isoformat(), "op": "agent", "node": node,
         "user": "", "backend": "", "path": "", "backends": backends, "seq": hours * 100 + n,
         "boot": "b"}
        for n in range(count)
    ]  # fmt: skip


def land(home, name, events):
    """An object of events, ingested."""
    if events:
        home.land(f"{name}.jsonl", *events)
        ingest.ingest(home.lake, str(home.landing), ingest.Window(NOW, dt.timedelta(days=400)))


def look(home, patch, one):
    """A crawl that finds these files then."""
    name, hours, files = one
    taken = listing(files, START + dt.timedelta(hours=hours))
    patch.setattr(crawl, "_listings", lambda *_: iter([taken]))
    options = crawl.CrawlOptions(NOW, allow_removal=True)
    assert crawl.crawl(home.lake, home.config.backend(name), options).error == ""


def decide(home, told):
    """Teams, rules and quotas, as somebody set them."""
    for user, team, since in told["members"]:
        control.add_members(home.lake, [(user, team)], since, "test", NOW)
    for name, canonical, since in told["aliases"]:
        control.add_alias(home.lake, (name, canonical), since, "test", NOW)
    for backend, prefix, team in told["rules"]:
        rule = {"backend": backend, "prefix": prefix, "team": team}
        control.add_rule(home.lake, rule, "test", NOW)
    for team, backend, soft, hard in told["quotas"]:
        new = {"team": team, "backend": backend, "soft_bytes": soft, "hard_bytes": hard,
               "grace_seconds": 0}  # fmt: skip
        control.set_quota(home.lake, new, "test", NOW)


def opinion(home, as_of, kept):
    """DuckDB with the views of the oracle on the lake's tables, as at an instant."""
    lake, found = home.lake, Oracle(as_of)
    for table, name in ((EVENTS, "events"), (FILE_CHANGES, "file_changes"), (AGENTS, "agents"),
                        (LISTINGS, "listing_rows"), (TEAMS, "team_rows"),
                        (OWNERSHIP_RULES, "rule_rows"),
                        (USER_ALIASES, "alias_rows")):  # fmt: skip
        found.table(name, [part.uri for part in lake.parts(table)], table.schema)
    found.view(
        "people",
        "select name, canonical from alias_rows "
        "where action = 'add' and (since_at is null or since_at <= as_of())",
    )
    found.view("access", oracle.as_people(oracle.ACCESS_FROM_EVENTS, "user"))
    found.view("files", oracle.as_people(oracle.FILES_BY_CHANGES, "owner"))
    found.view("listings", oracle.LATEST_LISTINGS)
    found.view("changes", "select * from file_changes where snapshot_at <= as_of()")
    joined = (
        'select "user", team, since_at, number from team_rows '
        "where action = 'add' and (since_at is null or since_at <= as_of())"
    )
    found.view("members", oracle.as_people(joined, "user"))
    found.view(
        "rules",
        "select backend, prefix, team, 0 as rank from rule_rows "
        "where action = 'add' union all select 'cold', 'd/e', 'z', 1",
    )
    found.frame("quotas", control.quotas(lake))
    found.frame("ignored", pl.DataFrame({"name": ["root", "nobody"]}))
    found.frame("kept", kept.select("file_id", "reader"))
    found.view("kept_reader", oracle.as_people("from kept", "reader"))
    found.view("first_team", oracle.FIRST_TEAM)
    found.view("owned", oracle.owners(tie="said"))
    found.view("stale_index", oracle.stale_index())
    found.view("acted", oracle.ACTED)
    found.view("ever_files", oracle.as_people(oracle.EVER_FILES, "owner"))
    found.view("ever", oracle.owners(files="ever_files", tie="said"))
    found.view("ever_owned", f"select file_id, {oracle.team_of('e.owner')} as team from ever e")
    return found


def compare(home, as_of, kept):
    """Every result table of the last refresh with what DuckDB says of the same instant."""
    lake, told = home.lake, opinion(home, as_of, kept)
    same(lake.scan(STALE_INDEX).collect(), told.rows("from stale_index", STALE_INDEX.schema),
         ["backend", "path"])  # fmt: skip
    used = " union all ".join(
        f"({oracle.usage(group, how)})" for group in oracle.GROUPS for how in oracle.HOW
    )
    key = ["group_by", "attribution", "group", "backend"]
    same(lake.scan(USAGE).collect(), told.rows(used, USAGE.schema), key)
    grown = f"({oracle.GROWTH_BY_BACKEND}) union all ({oracle.GROWTH_BY_TEAM})"
    same(lake.scan(GROWTH).collect(), told.rows(grown, GROWTH.schema),
         ["by", "backend", "team", "day"])  # fmt: skip
    limits = lake.scan(QUOTA_STATUS).drop("soft_since_at", "grace_until_at").collect()
    same(limits, told.rows(oracle.QUOTA, limits.schema), ["team", "backend"])
    covered(lake, told, as_of)
    reader = Reader(home.config)
    deep(reader, told)
    stale(reader, told, as_of)
    differences(reader, told)
    told.close()


def covered(lake, told, as_of):
    """Coverage of two windows; floats are the same division."""
    for days in (2, 90):
        ours = coverage(lake.scan(AGENTS), as_of, dt.timedelta(days=days))
        sql = oracle.COVERAGE.format(hours=days * 24)
        same(ours, told.rows(sql, ours.schema), ["backend"])


def deep(reader, told):
    """Usage by two path segments, which no document holds."""
    for how in ("owner", "access"):
        ours = reader.usage("prefix", attribution=how, depth=2)
        theirs = told.rows(oracle.usage("prefix", how, depth=2), USAGE.schema)
        key = ("group", "backend", "files", "bytes", "touched_bytes", "read_count")
        assert sorted(tuple(r[k] for k in key) for r in ours) == theirs.select(key).sort(key).rows()


def stale(reader, told, as_of):
    """Windows and sizes that no document holds, in order, and their totals."""
    for days, smallest in ((0, 1), (10, 0), (10, 5), (30, 4), (60, 3), (90, 0)):
        where = (f"from stale_index where last_access_at < as_of() - interval {days} day "
                 f"and size_bytes >= {smallest}")  # fmt: skip
        sql = f"select backend, path {where} order by size_bytes desc, backend, path"
        rows = reader.stale(days, smallest, limit=0)
        assert [(r["backend"], r["path"]) for r in rows] == told.con.execute(sql).fetchall()
        total = told.con.execute(f"select count(*), coalesce(sum(size_bytes), 0)::bigint {where}")
        counted = reader.stale_total(days, smallest)
        assert (counted["files"], counted["bytes"]) == total.fetchone()


def differences(reader, told):
    """What changed between days, by team, backend and prefix."""
    groups = {"team": "o.team", "backend": "c.backend", "prefix": "split_part(c.path, '/', 1)"}
    for first, last in ((0, 50), (20, 90), (0, 0)):
        days = [(START + dt.timedelta(days=day)).date() for day in (first, last)]
        for by, group in groups.items():
            ours = [tuple(row[name] for name in DIFF) for row in reader.diff(days[0], days[1], by)]
            theirs = told.con.execute(oracle.changed(days[0], days[1], group)).fetchall()
            assert sorted(ours) == sorted(theirs)


@few
@given(told=WORLD)
def test_duckdb_finds_the_same(told):
    """Half of a world is refreshed, then all of it: a dominant reader is kept from the first."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        home = Home(Path(folder), BACKENDS, EXTRA)
        decide(home, told)
        beats = [beat for row in told["beats"] for beat in heartbeats(*row)]
        land(home, "all", told["events"] + beats)
        for one in told["looks"]:
            look(home, patch, one)
        nobody = pl.DataFrame(schema=FILE_READER.schema)
        refresh(home.config, now=NOW, as_of=HALF)
        compare(home, HALF, nobody)
        kept = home.lake.scan(FILE_READER).collect()
        refresh(home.config, now=NOW, as_of=END)
        compare(home, END, kept)
        as_sql(home.config, HALF)


def as_sql(config, as_of):
    """Every document of an as-of by SQL, without polars, is the one of the metrics' own code."""
    past = Past(config, as_of, {})
    documents = Ask(config, as_of, {}).documents()
    default = [row | {"coverage": None} for row in documents.pop("stale")]
    assert [row | {"coverage": None} for row in past.stale(90, 0, "", 1000)] == default
    for name, rows in documents.items():
        assert past.document(name) == rows, name


@few
@given(told=WORLD)
def test_a_past_as_of_answers_as_it_was_answered_then(told):
    """`--as-of` is valid time: what comes later changes no answer about before."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        home = Home(Path(folder), BACKENDS, EXTRA)
        decide(home, told)
        half = HALF.isoformat()
        early = [one for one in told["looks"] if START + dt.timedelta(hours=one[1]) <= HALF]
        for one in early:
            look(home, patch, one)
        land(home, "early", [e for e in told["events"] if e["ts"] <= half])
        refresh(home.config, now=NOW, as_of=HALF)
        then = asked(Reader(home.config))
        for one in told["looks"]:
            if one not in early:
                look(home, patch, one)
        land(home, "late", [e for e in told["events"] if e["ts"] > half])
        refresh(home.config, now=NOW, as_of=END)
        patch.setattr(Reader, "_ask", None)  # by SQL alone
        del then["total"]
        assert asked(Reader(home.config, HALF), total=False) == then


def asked(reader, *, total=True):
    """Every question of a reader, as text."""
    days = START.date(), HALF.date()
    answers = {
        **{f"{group} {how}": reader.usage(group, attribution=how)
           for group in oracle.GROUPS for how in oracle.HOW},
        "deep": reader.usage("prefix", depth=2),
        "stale": reader.stale(30), "default": reader.stale(),
        **({"total": [reader.stale_total(30)]} if total else {}),
        "growth": reader.growth("", 0, "backend"), "teams": reader.growth("", 0, "team"),
        "quota": reader.quota(), "backends": reader.backends(), "ann": reader.user("ann"),
        "diff": reader.diff(*days),
    }  # fmt: skip
    return {name: json.dumps(rows, indent=0) for name, rows in answers.items()}


series = st.lists(st.integers(0, 10**15), min_size=8, max_size=60)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(values=series, ahead=st.integers(1, 20))
def test_the_forecast_is_the_method_that_was_best_on_the_past(values, ahead):
    """An independent back-test: least squares by numpy, the smallest mean absolute error wins."""
    import numpy as np

    def line(past, days, window):
        recent = past[-window:]
        return past[-1] + days * np.polyfit(range(len(recent)), recent, 1)[0]

    ours = backtest([float(v) for v in values], ahead)
    assert ours.ahead == max(1, min(ahead, len(values) // 2))
    forecasts = {
        "naive": lambda past, days: past[-1],
        "drift": lambda past, days: past[-1] + days * (past[-1] - past[0]) / (len(past) - 1),
        "trend-30": lambda past, days: line(past, days, 30),
        "trend-90": lambda past, days: line(past, days, 90),
    }
    assert list(forecasts) == list(METHODS)
    first = max(2, len(values) - ours.ahead - 365)
    step = max(1, (len(values) - ours.ahead - first) // 40)
    errors = {
        name: [abs(values[o + ours.ahead - 1] - method(values[:o], ours.ahead))
               for o in range(first, len(values) - ours.ahead + 1, step)]
        for name, method in forecasts.items()
    }  # fmt: skip
    means = {name: sum(each) / len(each) for name, each in errors.items()}
    assert means[ours.method] == pytest.approx(min(means.values()), rel=1e-6, abs=1)
    assert ours.mean_error_bytes == pytest.approx(means[ours.method], rel=1e-6, abs=1)
    assert ours.mean_error_bytes <= means["naive"] + 1


def test_the_interval_holds_what_came_on_a_line_with_noise():
    """Of 200 forecasts into a known future, the 80 % interval holds between 65 and 95 %."""
    import numpy as np

    rng, held = np.random.default_rng(4), 0
    for _ in range(200):
        values = (np.cumsum(rng.normal(1e9, 5e9, 120)) + 1e13).round()
        rows = [
            {"day": (START + dt.timedelta(days=n)).date().isoformat(), "backend": "b", "team": "",
             "files": 1, "bytes": int(value)} for n, value in enumerate(values[:110])
        ]  # fmt: skip
        last = extended(rows, 10)[-1]
        held += last["low_bytes"] <= values[119] <= last["high_bytes"]
    assert 130 <= held <= 190
