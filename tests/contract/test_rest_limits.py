"""Pages of a long answer, and what is too much: rows, time."""

import datetime as dt
import os
import signal
import threading
import time

import pytest

from api import reading, site
from api.caller import LOCAL
from api.engine import EngineError
from api.questions import Order, Rows
from pipelines.crawl import CrawlOptions, crawl
from pipelines.refresh import refresh
from tests.home import Home
from tests.servers.asgi import InProcess

NOW = dt.datetime.now(dt.UTC)
SOON = dt.timedelta(seconds=0.3)
# Five sizes, so that pages end amid ties; two backends.
FILES = [(f"f{i:02}", 100 + i % 5, ("data", "other")[i % 2]) for i in range(25)]
ORDER = sorted(((-size, backend, path) for path, size, backend in FILES))


def write(home, path, size, backend):
    place = home.root(backend) / path
    place.write_bytes(b"x" * size)
    os.utime(place, (1_577_836_800, 1_577_836_800))


def published(home, at):
    for backend in home.config.backends:
        crawl(home.lake, backend, CrawlOptions(at))
    refresh(home.config, now=at)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    found = Home(tmp_path_factory.mktemp("limits"), ("data", "other"))
    for file in FILES:
        write(found, *file)
    published(found, NOW)
    return found


@pytest.fixture
def api(home):
    with InProcess({"": home.config}) as found:
        yield found


def key(row):
    return -row["size_bytes"], row["backend_name"], row["path"]


def pages(api, question, between=lambda: None):
    """The rows of every page, following `Link`; the cursor in it is that of the other header."""
    target, found = question, []
    while target:
        answer = api.get(target)
        assert answer.status == 200, answer.body
        found.append([key(row) for row in answer.json])
        link = answer.headers.get("link")
        cursor = answer.headers.get("x-next-cursor")
        assert (link is None) == (cursor is None)
        target = link and link.removeprefix("<").removesuffix('>; rel="next"')
        assert target is None or target.endswith(f"cursor={cursor}")
        between()
    return found


@pytest.mark.parametrize("days", ["0", "90", "91"])
@pytest.mark.parametrize("limit", [1, 4, 25, 30])
def test_pages_are_the_whole_answer_cut_up(api, days, limit):
    """Whatever the window: of the usual question, of the rollup, of neither."""
    found = pages(api, f"stale?days={days}&limit={limit}")
    assert [row for page in found for row in page] == ORDER
    assert all(len(page) == limit for page in found[:-1])
    assert len(found[-1]) < limit  # only a full page has one after it


def test_pages_keep_what_they_were_asked(api):
    """Size and backend go along in the link; another order of parameters is the same."""
    found = pages(api, "stale?min_size=103&backend=other&limit=2")
    assert [row for page in found for row in page] == [
        row for row in ORDER if row[1] == "other" and -row[0] >= 103
    ]


@pytest.mark.parametrize(("question", "total"), [
    ("stale", 25), ("stale?days=91", 25), ("stale?limit=3", 25), ("stale?min_size=103", 10),
    ("stale?backend=data&days=1", 13), ("stale?min_size=1KB", 0),
])  # fmt: skip
def test_the_total_counts_all_pages(api, question, total):
    """In a header, only where it is asked for; HEAD has it too."""
    asked = question + ("&" if "?" in question else "?") + "total=true"
    assert "x-total-count" not in api.get(question).headers
    assert api.get(asked).headers["x-total-count"] == str(total)
    assert api.ask("HEAD", asked).headers["x-total-count"] == str(total)


def test_what_comes_and_goes_between_pages_repeats_and_skips_nothing(tmp_path):
    """The rows that stay are seen once each."""
    home = Home(tmp_path, ("data", "other"))
    for file in FILES:
        write(home, *file)
    published(home, NOW)
    turns = iter(range(1, 100))

    def between():
        turn = next(turns)
        if turn == 1:
            write(home, "new", 5000, "data")  # before the page that was read
            (home.root("data") / "f24").unlink()  # on the page that was read
        if turn < 3:
            published(home, NOW + dt.timedelta(seconds=turn))

    with InProcess({"": home.config}) as api:
        found = pages(api, "stale?limit=7&days=30", between)
    assert [row for page in found for row in page] == ORDER


@pytest.mark.parametrize("cursor", ["x", "eyJ4IjoxfQ", "WzEsMl0", "%00", "%C3%A9"])
def test_a_cursor_that_no_page_ended_with_is_refused(api, cursor):
    answer = api.get(f"stale?cursor={cursor}")
    assert (answer.status, answer.error["param"]) == (400, "cursor")


@pytest.mark.parametrize("path", ["stale", "user/ann", "audit_log"])
def test_more_rows_than_a_page_may_have_are_refused_not_cut(api, path):
    answer = api.get(f"{path}?limit=1000001")
    assert (answer.status, answer.error["param"]) == (400, "limit")
    assert api.get(f"{path}?limit=1000000").status == 200


def test_all_rows_are_given_up_to_the_page_size(api, monkeypatch):
    """Whoever asks for all learns that it is too much, instead of taking a part for it."""
    monkeypatch.setattr(reading, "MAX_ROWS", 24)
    answer = api.get("stale?limit=0&days=31")
    assert (answer.status, answer.error["param"]) == (400, "limit")
    assert answer.error["message"] == "the answer has more than 24 rows."
    monkeypatch.setattr(reading, "MAX_ROWS", 25)
    assert len(api.get("stale?limit=0&days=31").json) == 25


def test_the_answers_that_are_kept_are_bounded_by_their_bytes(api, monkeypatch):
    """The latest stay; one that was let go is made again, the same."""
    monkeypatch.setattr(site, "CACHED_BYTES", 3000)
    told = {path: api.get(path).body for path in (f"stale?days={n}&limit=5" for n in range(9))}
    (found,) = api.app._state.sites.values()
    sizes = [len(body) for body, _ in found._answers.values()]
    assert 2 <= len(sizes) < len(told)
    assert found._answer_bytes == sum(sizes) <= 3000
    assert {path: api.get(path).body for path in told} == told


def test_a_question_that_takes_too_long_is_answered_in_time(tmp_path):
    """503 and when to come again; what is published and what lands do not wait for it.

    Whoever computed it is ended, so that the next question finds a process that is free.
    """
    home = Home(tmp_path)
    quick = home.config._replace(server=home.config.server._replace(request_timeout=SOON))
    with InProcess({"": home.config}) as api:
        (found,) = api.app._state.sites.values()
        for _ in range(3):  # more than there are processes for such questions
            found.config = home.config
            assert api.get("user/ann").json == []
            (engine,) = (e for e in found._pools.engines._all if e._process)
            stopped = engine._process
            stopped.send_signal(signal.SIGSTOP)
            found.config = quick
            begun = time.monotonic()
            answer = api.get("user/ann")
            assert (answer.status, answer.headers["retry-after"]) == (503, "10")
            assert answer.error["message"] == "the answer takes too long."
            assert time.monotonic() - begun < 5
            assert stopped.wait(5) == -signal.SIGKILL
        assert [api.get(path).status for path in ("usage", "backends")] == [200, 200]
        assert api.post("ingest", [{"op": "read"}]).status == 200


def test_a_process_that_dies_is_told_and_replaced(tmp_path):
    """While it computes: 503. Between two questions: nobody notices. A bug of ours: 500."""
    home = Home(tmp_path)
    with InProcess({"": home.config}) as api:
        assert api.get("user/ann").json == []
        (found,) = api.app._state.sites.values()
        (engine,) = (e for e in found._pools.engines._all if e._process)
        engine._process.kill()
        engine._process.wait()
        assert api.get("user/ann").json == []
        engine._process.send_signal(signal.SIGSTOP)
        ending = threading.Timer(0.2, engine._process.kill)
        ending.start()
        answer = api.get("user/ann")
        assert (answer.status, answer.headers["retry-after"]) == (503, "10")
        assert answer.error["message"] == "the process that computes the answer has ended."
        assert api.get("user/ann").json == []
        order = Order(home.config, LOCAL, None, Rows("user", "no_such_method", (), 1))
        with pytest.raises(EngineError, match="no_such_method"):
            found._pools.engines.answer(order)
