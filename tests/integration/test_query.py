"""The SQL of `lake.query` and the metrics' own code give the same rows for every question."""

import datetime as dt
import json
import os

import pytest

from lake import instant, published, read, schemas, unmade
from lake.ask import Ask
from lake.past import Past
from lake.query import NoTableError, Query
from pipelines import crawl, ingest
from pipelines.refresh import refresh
from storage import clock
from storage.landing import compress
from tests.home import Home

NOW = clock.now().replace(microsecond=0)
USERS = ("ann", "bob", "o'hara", "")


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """A lake of two backends with accesses on many days, heartbeats, gaps, rules; both engines."""
    home = Home(tmp_path_factory.mktemp("query"), ("data", "other"))
    for backend in ("data", "other"):
        for number in range(30):
            place = home.root(backend) / f"p{number % 3}" / f"q{number % 2}" / f"it's {number}"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(b"x" * (number % 7))
            at = (NOW - dt.timedelta(days=number * 5)).timestamp()
            os.utime(place, (at, at))
    events = [event(n) for n in range(400)]
    home.land("all.jsonl", *events)
    hour = NOW - dt.timedelta(hours=3)
    later = hour + dt.timedelta(hours=1)
    for node, at, first, last in (
        ("n1", hour, 1, 3), ("n1", hour, 6, 7), ("n2", hour, 1, 57), ("n2", later, 60, 119),
    ):  # fmt: skip
        home.land(
            f"dt={at:%Y-%m-%d}/hour={at:%H}/node={node}/{'ab' * 8}-{first}-{last}.jsonl.zst",
            raw=compress(
                json.dumps(beat(at, seq, node)).encode() + b"\n" for seq in range(first, last + 1)
            ),
        )
    ingest.ingest(home.lake, str(home.landing), ingest.Window(NOW, dt.timedelta(days=400)))
    for backend in home.config.backends:
        crawl.crawl(home.lake, backend, crawl.CrawlOptions(NOW))
    for args in (("team", "add", "ann", "vision"), ("rule", "add", "data:p1/q1", "vision"),
                 ("rule", "add", "other:", "all"), ("rule", "add", "data:p0", "gone"),
                 ("rule", "remove", "data:p0")):  # fmt: skip
        assert home.run(*args).code == 0
    refresh(home.config, now=NOW)
    generation = published.current(home.config.lake.root)
    query = Query(home.config.lake.root, generation, NOW)
    return home, query, Ask(home.config, NOW, generation.versions)


def event(number):
    """Accesses of all kinds, in days up to today, some of them after as-of or failed."""
    ago = dt.timedelta(hours=number * 7 % 2400, microseconds=number % 5 * 1000 + number % 2)
    at = NOW - ago if number % 50 else NOW + dt.timedelta(hours=1)
    return {
        "ts": at.isoformat(), "user": USERS[number % 4], "backend": ("data", "other")[number % 2],
        "path": f"p{number % 3}/q{number % 2}/it's {number % 33}",
        "op": ("read", "write", "stat")[number % 7 % 3], "bytes_read": number,
        "bytes_written": number % 3, "count": number % 4 + 1,
        **({"error": "EIO"} if number % 11 == 0 else {}),
    }  # fmt: skip


def beat(hour, seq, node):
    """A heartbeat of a node that mounts `data`."""
    return {"ts": hour.isoformat(), "op": "agent", "node": node, "boot": "ab" * 8, "seq": seq,
            "backends": ["data"], "drops": seq * 2, "user": "", "backend": "", "path": "",
            "count": 1}  # fmt: skip


QUESTIONS = (
    *(("stale", days, size, backend, limit)
      for days in (0, 1, 30, 90, 400) for size in (0, 3)
      for backend, limit in (("", 0), ("data", 5), ("all", 0))),
    *(("user", names, backend, limit)
      for names in (("ann",), ("o'hara",), ("nobody",), ("o'hara", "ann"), ("both", "ann"))
      for backend, limit in (("", 0), ("other", 7))),
    *(("prefixes", how, depth) for how in ("owner", "access") for depth in (1, 2, 3, 9)),
    ("ledger", "", 24), ("ledger", "n1", 1000), ("ledger", "", 1), ("rules",),
    ("audit_log", 0), ("audit_log", 1),
)  # fmt: skip


@pytest.mark.parametrize("question", QUESTIONS, ids=str)
def test_both_engines_answer_the_same_rows(asked, question):
    """Same rows, same order, same keys."""
    _, query, ask = asked
    name, *args = question
    told = getattr(query, name)(*args)
    assert told == getattr(ask, name)(*args)
    assert [list(row) for row in told] == [list(row) for row in getattr(ask, name)(*args)]


AGO = (dt.timedelta(days=-3), dt.timedelta(hours=2, minutes=30), dt.timedelta(days=40),
       dt.timedelta(days=900))  # fmt: skip


@pytest.fixture(scope="module", params=AGO, ids=str)
def then(asked, request):
    """Both engines at another as-of, in a lake that was not made for it."""
    home, _, _ = asked
    at = NOW - request.param
    return Past(home.config, at, {}), Ask(home.config, at, {})


def test_both_engines_publish_the_same_of_another_as_of(then):
    """Every document: same rows, same order, same keys."""
    past, ask = then
    documents = ask.documents()
    assert past.stale(90, 0, "", 1000) == ask.stale(90, 0, "", 1000)
    del documents["stale"]  # the question above, without coverage
    for name, rows in documents.items():
        told = past.document(name)
        assert told == rows, name
        assert [list(row) for row in told] == [list(row) for row in rows]


@pytest.mark.parametrize("question", QUESTIONS[::7], ids=str)
def test_both_engines_answer_the_same_of_another_as_of(then, question):
    """Same rows, same order, same keys."""
    past, ask = then
    name, *args = question
    told, theirs = getattr(past, name)(*args), getattr(ask, name)(*args)
    assert told == theirs
    assert [list(row) for row in told] == [list(row) for row in theirs]


def test_a_lake_too_large_for_memory_is_left_to_the_metrics(asked, monkeypatch):
    """Theirs does not grow with the lake; the answer is the same."""
    home, _, _ = asked
    at = NOW - dt.timedelta(days=1)
    monkeypatch.setattr(instant, "MOST_ROWS", 10)
    with pytest.raises(NoTableError, match="60 rows"):
        Past(home.config, at, {}).document("usage-user-owner")
    told = read.Reader(home.config, at).usage()
    assert told == Ask(home.config, at, {}).documents()["usage-user-owner"]


def test_tables_that_are_not_there_have_the_columns_they_will_have():
    """In type too: what is made of none is made of some later."""
    types = {"t": schemas.TEXT, "n": schemas.INT, "d": schemas.DAY, "i": schemas.AT,
             "l": schemas.TEXTS}  # fmt: skip
    known = {name: table.schema for name, table in schemas.TABLES.items()}
    for table, columns in unmade.COLUMNS.items():
        for column in columns.split():
            name, kind = column.split(":")
            assert known[table][name] == types[kind], (table, name)


def test_the_questions_are_not_empty(asked):
    """What is compared above has rows, and coverage is a number where there is an agent."""
    _, query, _ = asked
    assert len(query.stale(1, 0, "", 0)) > 20
    # Of two nodes and 24 hours one is whole: before the second of n2 there is a gap.
    assert {(r["backend"], r["coverage"]) for r in query.stale(1, 0, "", 0)} == {
        ("data", 1 / 48), ("other", None),
    }  # fmt: skip
    assert query.user(("o'hara", "ann"), "", 0)
    assert [row["files"] for row in query.rules()] == [5, 30]
    gaps = {row["node"]: (row["gaps"], row["drops"]) for row in query.ledger("", 1000)}
    assert gaps["n1"] == (2, 14)
    assert len(query.audit_log(0)) == 5


def test_a_table_that_is_not_there_is_said(home):
    """The reader asks the metrics' own code then; nothing is created."""
    query = Query(home.config.lake.root, published.Generation("x"), NOW)
    with pytest.raises(NoTableError):
        query.ledger("", 24)
    assert home.run("ledger").code == 0
    assert home.run("audit-log").code == 0


@pytest.fixture(scope="module")
def changed(tmp_path_factory):
    """A backend on four days: bigger, smaller, gone, new, back again; rules; both engines."""
    home = Home(tmp_path_factory.mktemp("changed"), extra=RULES)
    days = (
        dict.fromkeys(range(20), 10), {1: 50, 4: None, 5: 1}, {2: None, 31: 9, 4: 3, 5: 10},
        {32: 5, 6: 11},
    )  # fmt: skip
    for ago, sizes in zip((3, 2, 1, 0), days, strict=True):
        for number, size in sizes.items():
            place = home.root() / f"p{number % 3}" / f"q{number % 2}" / f"it's {number}"
            place.parent.mkdir(parents=True, exist_ok=True)
            if size is None:
                place.unlink()
            else:
                place.write_bytes(b"x" * size)
        at = NOW - dt.timedelta(days=ago)
        crawl.crawl(home.lake, home.config.backend("data"), crawl.CrawlOptions(at))
    for place, team in (("data:p1/q1", "vision"), ("data:p0", "all"), ("data:p2/q0", "gone")):
        assert home.run("rule", "add", place, team).code == 0
    assert home.run("rule", "remove", "data:p2/q0").code == 0
    refresh(home.config, now=NOW)
    generation = published.current(home.config.lake.root)
    query = Query(home.config.lake.root, generation, NOW)
    return home, query, Ask(home.config, NOW, generation.versions)


RULES = "ownership: {rules: [{backend: data, prefix: p1/q0, team: config}]}"
KEPT = ("p1/q0",)
SPANS = [(3, 0), (2, 0), (1, 0), (2, 1), (3, 2), (9, 0), (0, 0), (9, 3), (1, -9)]


@pytest.mark.parametrize("by", ["prefix", "backend"])
@pytest.mark.parametrize("span", SPANS, ids=str)
def test_both_engines_tell_the_same_changes(changed, span, by):
    """Between any two days, in any depth."""
    _, query, ask = changed
    first, last = ((NOW - dt.timedelta(days=ago)).date() for ago in span)
    for depth in (1, 2, 9):
        assert query.diff(first, last, by, depth) == ask.diff(first, last, by, depth)


def test_changes_are_these(changed):
    """From the end of the first day to that of the last, counted by hand."""
    _, query, _ = changed
    (row,) = query.diff((NOW - dt.timedelta(days=3)).date(), NOW.date(), "backend", 1)
    assert row == {
        "group": "data", "backend": "data", "added_files": 2, "added_bytes": 14,
        "removed_files": 1, "removed_bytes": 10, "changed_bytes": 40 - 7 + 1,
    }  # fmt: skip


def test_changes_by_team_where_nothing_went_and_where_something_did(changed):
    """The index knows the teams of files that are there only: of the rest, the changes."""
    home, query, ask = changed
    days = [(NOW - dt.timedelta(days=ago)).date() for ago in (3, 1, 0)]
    alive = query.diff(days[1], NOW.date() + dt.timedelta(days=1), "team", 1)
    assert alive == ask.diff(days[1], NOW.date() + dt.timedelta(days=1), "team", 1)
    with pytest.raises(NoTableError):
        query.diff(days[0], days[2], "team", 1)
    past = Past(home.config, NOW, published.current(home.config.lake.root).versions)
    assert past.diff(days[0], days[2], "team", 1) == ask.diff(days[0], days[2], "team", 1)
    said = home.run("diff", days[0], days[2], "--format", "json")
    assert (said.code, json.loads(said.out)) == (0, ask.diff(days[0], days[2], "team", 1))


@pytest.mark.parametrize("hours", [0, 1, 30, 60, 100])
def test_both_engines_tell_what_was_there_then(changed, hours):
    """Files that came, went, grew and came back: every document, and what changed up to it."""
    home, _, _ = changed
    at = NOW - dt.timedelta(hours=hours)
    past, ask = Past(home.config, at, {}), Ask(home.config, at, {})
    documents = ask.documents()
    assert past.stale(0, 0, "", 0) == ask.stale(0, 0, "", 0)
    del documents["stale"]  # of another window than that
    for name, rows in documents.items():
        assert past.document(name) == rows, name
    days = (NOW - dt.timedelta(days=9)).date(), NOW.date()
    for by in ("team", "prefix", "backend"):
        assert past.diff(*days, by, 1) == ask.diff(*days, by, 1)
    assert past.rules() == ask.rules()
    for prefix in ("", "p1", "p2/q0"):
        told = past.rule_preview("data", prefix, "vision", KEPT)
        assert told == ask.rule_preview("data", prefix, "vision")


@pytest.mark.parametrize("team", ["vision", "new", "it's"])
@pytest.mark.parametrize("prefix", ["", "p0", "p1", "p1/q1", "p2/q0", "p1/q", "p0/q0/it's 0"])
def test_both_engines_preview_a_rule_alike(changed, prefix, team):
    """What longer rules, of table and config, keep is not taken."""
    _, query, ask = changed
    told = query.rule_preview("data", prefix, team, KEPT)
    assert told == ask.rule_preview("data", prefix, team)
    assert list(told[0]) == list(ask.rule_preview("data", prefix, team)[0])
