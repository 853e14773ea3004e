"""The published tops of usual windows give the very rows that the engine finds, or none."""

import datetime as dt
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lake import publish, published, read
from lake.ask import Ask
from lake.read import Reader
from pipelines import crawl
from pipelines.refresh import refresh
from storage import clock
from tests.home import Home

NOW = clock.now().replace(microsecond=0)
LIMIT = 12
WINDOWS = (*publish.TOP_DAYS, 90)


@pytest.fixture(scope="module")
def tops(tmp_path_factory):
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
    assert home.run("ingest").code == 0
    for backend in home.config.backends:
        crawl.crawl(home.lake, backend, crawl.CrawlOptions(NOW))
    with pytest.MonkeyPatch.context() as patched:
        for module in (publish, read):
            patched.setattr(module, "STALE_LIMIT", LIMIT)
        refresh(home.config, now=NOW)
        generation = publish.publish_explored(home.lake, clock.now())
        yield home, Ask(home.config, NOW, generation.versions)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(WINDOWS), st.integers(0, 9), st.sampled_from(("", "all", "data", "other")),
       st.integers(0, LIMIT + 2))  # fmt: skip
def test_any_question_on_a_usual_window_has_the_rows_of_the_engine(tops, days, size, backend, most):
    home, engine = tops
    rows = Reader(home.config).stale(days, size, backend, most)
    assert rows == engine.stale(days, size, backend, most)


@pytest.mark.parametrize(("how", "published_says"), [
    ({"days": 30, "limit": LIMIT}, True), ({"days": 365, "limit": LIMIT}, True),
    ({"days": 60, "min_size": 8}, True), ({"min_size": 8}, True),
    ({"days": 30, "backend": "data", "limit": 3}, True),
    ({"days": 30, "backend": "data"}, False),  # a smaller file of it may be the twelfth
    ({"days": 30, "limit": 0}, False), ({"days": 31}, False),
])  # fmt: skip
def test_the_engine_is_asked_only_where_the_top_cannot_tell(tops, monkeypatch, how, published_says):
    home, _ = tops
    asked = []
    monkeypatch.setattr(Reader, "_asked", lambda *given: asked.append(given) or [])
    Reader(home.config).stale(**{"limit": LIMIT, **how})
    assert (not asked) == published_says


def test_tops_of_another_index_are_not_taken(tops, monkeypatch):
    """Between a refresh and the next tops, the engine answers."""
    home, engine = tops
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
