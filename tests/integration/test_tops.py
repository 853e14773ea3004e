"""The published tops of usual windows give the very rows that the engine finds, or none."""

import datetime as dt
import os

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lake import publish, published, read, tops, windows
from lake.ask import Ask
from lake.metrics.access import share, shares
from lake.read import Reader
from pipelines import crawl
from pipelines.refresh import refresh
from storage import clock
from tests.home import Home

NOW = clock.now().replace(microsecond=0)
LIMIT = 12


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    """60 files of two backends, nine sizes, up to 420 days old; a top has twelve rows."""
    home = Home(tmp_path_factory.mktemp("tops"), ("data", "other"))
    for backend in ("data", "other"):
        for number in range(30):
            place = home.root(backend) / f"f{number}"
            place.write_bytes(b"x" * (number * 7 % 9))
            at = (NOW - dt.timedelta(days=number * 14, seconds=number)).timestamp()
            os.utime(place, (at, at))
    home.land("a.jsonl", {"ts": (NOW - dt.timedelta(days=40)).isoformat(), "user": "ann",
                          "backend": "data", "path": "f29", "op": "read"})  # fmt: skip
    for ago in (1, 5, 33):  # an unbroken hour of the node that mounts `data`
        hour = NOW - dt.timedelta(days=ago)
        home.land(f"beats-{ago}.jsonl", *(
            {"ts": hour.isoformat(), "op": "agent", "node": "n1", "boot": "ab" * 8,
             "backends": ["data"], "seq": ago * 1000 + number,
             "user": "", "backend": "", "path": "", "count": 1}
            for number in range(60)
        ))  # fmt: skip
    assert home.run("ingest").code == 0
    for backend in home.config.backends:
        crawl.crawl(home.lake, backend, crawl.CrawlOptions(NOW))
    with pytest.MonkeyPatch.context() as patched:
        for module in (publish, read, tops, windows):
            patched.setattr(module, "STALE_LIMIT", LIMIT)
        refresh(home.config, now=NOW)
        generation = publish.publish_explored(home.lake, clock.now())
        yield home, Ask(home.config, NOW, generation.versions)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 1100), st.integers(0, 9), st.sampled_from(("", "all", "data", "other")),
       st.integers(0, LIMIT + 2))  # fmt: skip
def test_any_question_has_the_rows_of_the_engine(lake, days, size, backend, most):
    home, engine = lake
    rows = Reader(home.config).stale(days, size, backend, most)
    assert rows == engine.stale(days, size, backend, most)
    if days >= 7:
        assert all((row["coverage"] or 0) > 0 for row in rows if row["backend"] == "data")


@pytest.mark.parametrize(("how", "published_says"), [
    ({"days": 30, "limit": LIMIT}, True), ({"days": 365, "limit": LIMIT}, True),
    ({"days": 60, "min_size": 8}, True), ({"min_size": 8}, True),
    ({"days": 30, "backend": "data", "limit": 3}, True),
    ({"days": 30, "backend": "data"}, False),  # a smaller file of it may be the twelfth
    ({"days": 30, "limit": 0}, False), ({"days": 31}, True), ({"days": 89, "min_size": 8}, True),
    ({"days": 0}, True), ({"days": 6}, True), ({"days": 1094}, True), ({"days": 1095}, False),
])  # fmt: skip
def test_the_engine_is_asked_only_where_the_top_cannot_tell(lake, monkeypatch, how, published_says):
    home, _ = lake
    asked = []
    monkeypatch.setattr(Reader, "_asked", lambda *given: asked.append(given) or [])
    Reader(home.config).stale(**{"limit": LIMIT, **how})
    assert (not asked) == published_says


def test_tops_of_another_index_are_not_taken(lake, monkeypatch):
    """Between a refresh and the next tops, the engine answers."""
    home, engine = lake
    whole = published.current(home.config.lake.root)
    old = whole.rows("explored")
    other = [{**old[0], "stale_index": old[0]["stale_index"] - 1}]
    rows = type(whole).rows
    monkeypatch.setattr(
        type(whole), "rows", lambda self, name: other if name == "explored" else rows(self, name)
    )
    asked = []
    real = Reader._asked
    monkeypatch.setattr(
        Reader, "_asked", lambda self, *given: asked.append(given) or real(self, *given)
    )
    assert Reader(home.config).stale(30, limit=5) == engine.stale(30, 0, "", 5)
    assert asked


def test_a_document_holds_little_more_than_one_top(lake):
    """What is in no window's top is left out; what is left out of a window is in none of its."""
    home, engine = lake
    whole = published.current(home.config.lake.root)
    for span in whole.rows("tops"):
        first, last = span["first_days"], span["last_days"]
        held = {row["path"] + row["backend"] for row in whole.rows(f"stale-{first}")}
        every = [engine.stale(days, 0, "", LIMIT) for days in range(first, last + 1)]
        assert held == {row["path"] + row["backend"] for rows in every for row in rows}


def test_a_look_that_found_all_idle_files_is_the_last(lake, monkeypatch):
    """Where few files are old, each further look at the index would pass over all of it."""
    home, engine = lake
    looks = []
    real = tops.largest
    monkeypatch.setattr(tops, "largest", lambda *given: looks.append(given) or real(*given))
    monkeypatch.setattr(tops, "STALE_LIMIT", LIMIT)
    made = tops.tops(home.lake, published.current(home.config.lake.root))
    most = tops.LOOKED_AT * LIMIT
    full = [len(engine.stale(first, 0, "", 0)) >= most for first, _ in tops.SPANS]
    assert full[0]
    assert not full[-2]
    assert len(looks) == 1 + sum(full)
    assert made["tops"].rows() == [tuple(row.values()) for row in published.current(
        home.config.lake.root).rows("tops")]  # fmt: skip


@given(
    st.lists(st.integers(0, 40), max_size=80),
    st.integers(0, 10),
    st.integers(0, 30),
    st.integers(1, 9),
)
def test_the_skyband_is_the_union_of_all_tops(idle_days, first, more, limit):
    """Against every window's top by itself, and where a span must end early."""
    rows = [days for days in idle_days if days >= first]
    looked_at = rows[: tops.LOOKED_AT * limit]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(tops, "STALE_LIMIT", limit)
        last = tops._answered(looked_at, first + more)
        kept = tops._in_a_top(looked_at, last)
    wanted = set()
    for days in range(first, last + 1):
        wanted.update([n for n, idle in enumerate(rows) if idle >= days][:limit])
    assert {n for n, keep in enumerate(kept) if keep} == wanted


@given(st.data())
def test_coverage_of_each_window_is_what_one_question_says(data):
    hour = st.integers(0, 24 * 40).map(lambda hours: NOW - dt.timedelta(hours=hours, minutes=7))
    heard = data.draw(st.lists(st.tuples(st.sampled_from("ab"), hour, st.integers(0, 3))))
    rows = [(backend, at, whole, 3) for backend, at, whole in heard]
    rows += [(backend, NOW, 1, 3) for backend in "ab"]  # heard of in the last week
    schema = {"backend": pl.String, "at": pl.Datetime("us", "UTC"), "whole": pl.UInt32,
              "nodes": pl.UInt32}  # fmt: skip
    hours = pl.DataFrame(rows, schema=schema, orient="row")
    every = dict(shares(hours, NOW, range(7, 35)).iter_rows())
    for days in range(7, 35):
        one = dict(share(hours, NOW, dt.timedelta(days=days)).iter_rows())
        assert one == {backend: found[days - 7] for backend, found in every.items()}
