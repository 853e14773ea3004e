"""Published generations under races and crashes, on local disk and on S3.

A generation is one refresh: no reader mixes two, a slow refresh never takes a newer one's place,
and a publisher that dies between any two writes leaves what was published.
"""

import datetime as dt
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from pathlib import Path

import obstore
import polars as pl
import pytest

from lake import publish, published
from lake.change import set_quota
from lake.read import Reader
from lake.schemas import USAGE
from lake.store import Lake, SupersededError
from pipelines import refresh as refreshing
from pipelines.crawl import CrawlOptions, crawl
from pipelines.refresh import refresh
from storage import conditional
from storage.errors import LakeError
from storage.objectstore import listed, open_store

ROOT = Path(__file__).parents[2]
NOW = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)
OWNED = pl.DataFrame(schema={"team": pl.String, "backend": pl.String, "bytes": pl.Int64})


@pytest.fixture(params=["disk", "s3"])
def lake(request, tmp_path, monkeypatch):
    """An empty lake."""
    if request.param == "disk":
        return Lake(str(tmp_path / "lake"))
    server = request.getfixturevalue("moto_server")
    for name, value in server.environ().items():
        monkeypatch.setenv(name, value)
    return Lake(f"s3://{server.bucket()}/lake")


def stamped(ticket, size=50):
    """What the refresh of that ticket computed: every row of every document says so."""
    frame = pl.DataFrame({"ticket": [ticket] * size})
    documents: dict[str, pl.DataFrame] = dict.fromkeys(
        ("usage-team-owner", "stale", "backends"), frame
    )
    documents["growth-team"] = pl.DataFrame({"ticket": [ticket], "team": ["t"], "backend": ["b"]})
    return publish.Refreshed(ticket, NOW, documents, OWNED, {"usage": ticket}, None)


def seen(root):
    """Number, ticket, and all tickets that the documents of one generation show."""
    found = published.current(root)
    shown = {
        row["ticket"] for name in found.documents for row in found.rows(name) if "ticket" in row
    }
    return found.number, found.ticket, shown | {found.versions["usage"]}


def refresher(lake, tickets, lock):
    """Publish four times, each with the next ticket; being superseded is no error."""
    for _ in range(4):
        with lock:
            ticket = next(tickets)
        with suppress(SupersededError):
            publish.publish_results(lake, stamped(ticket), NOW)


def watch(lake, done):
    """Everything a reader sees until the end."""
    answers = []
    while not done.is_set():
        answers.append(seen(lake.root))
    return [*answers, seen(lake.root)]


def test_racing_refreshers_and_a_reader_that_never_stops(lake):
    """Two refreshers and somebody who sets quotas: each answer is of one refresh, none is older."""
    tickets, lock, done = iter(range(1, 1_000)), threading.Lock(), threading.Event()
    publish.publish_results(lake, stamped(next(tickets)), NOW)
    with ThreadPoolExecutor(4) as pool:
        reader = pool.submit(watch, lake, done)
        racing = [
            *(pool.submit(refresher, lake, tickets, lock) for _ in range(2)),
            pool.submit(publish.publish_control, lake, NOW),
        ]
        wait(racing)
        done.set()
        answers = reader.result()
    assert [each.exception() for each in racing] == [None] * 3
    assert all(shown == {ticket} for _, ticket, shown in answers)
    for each in (0, 1):  # numbers and tickets only grow
        values = [answer[each] for answer in answers]
        assert values == sorted(values)
    assert len({number for number, *_ in answers}) > 3


PROCESS = """
import contextlib, sys
from lake import publish
from lake.store import Lake, SupersededError
from tests.integration.test_generations import NOW, stamped
for ticket in map(int, sys.argv[2:]):
    with contextlib.suppress(SupersededError):
        publish.publish_results(Lake(sys.argv[1]), stamped(ticket), NOW)
"""


def test_racing_processes_and_a_reader(lake):
    """As threads do: no answer mixes two, and the one that started last is what stays."""
    publish.publish_results(lake, stamped(1), NOW)
    children = [
        subprocess.Popen([sys.executable, "-c", PROCESS, lake.root, *tickets], cwd=ROOT)
        for tickets in (["2", "4", "6", "8"], ["3", "5", "7", "9"])
    ]
    answers = []
    while any(child.poll() is None for child in children):
        answers.append(seen(lake.root))
    answers.append(seen(lake.root))
    assert [child.returncode for child in children] == [0, 0]
    assert all(shown == {ticket} for _, ticket, shown in answers)
    for each in (0, 1):
        values = [answer[each] for answer in answers]
        assert values == sorted(values)
    assert answers[-1][1] == 9


def test_a_slow_refresh_is_not_published_over_a_newer_one(lake):
    """The order of start decides, whatever was published in between."""
    publish.publish_results(lake, stamped(2), NOW)
    publish.publish_control(lake, NOW)
    before = seen(lake.root)
    with pytest.raises(SupersededError, match="started later"):
        publish.publish_results(lake, stamped(1), NOW)
    assert seen(lake.root) == before


def test_two_who_read_the_same_generation_cannot_both_replace_it(lake):
    """The second one is told, and its bytes are nowhere."""
    store = open_store(published.place(lake.root))
    assert conditional.write_if_unchanged(store, "CURRENT", b"1", None)
    first = conditional.read_tagged(store, "CURRENT")
    assert not conditional.write_if_unchanged(store, "CURRENT", b"0", None)
    assert conditional.write_if_unchanged(store, "CURRENT", b"2", first)
    assert not conditional.write_if_unchanged(store, "CURRENT", b"3", first)
    last = conditional.read_tagged(store, "CURRENT")
    assert last is not None
    assert last.data == b"2"


def test_a_write_whose_answer_was_lost_counts(moto_server, fault_proxy, monkeypatch):
    """The store applied it and the connection broke: the retry finds its own bytes."""
    for name, value in moto_server.at(fault_proxy.url).environ().items():
        monkeypatch.setenv(name, value)
    lake = Lake(f"s3://{moto_server.bucket()}/lake")
    publish.publish_results(lake, stamped(1), NOW)
    fault_proxy.fault("after", match="PUT .*CURRENT")
    assert publish.publish_results(lake, stamped(2), NOW).ticket == 2
    assert seen(lake.root)[1:] == (2, {2})


def test_old_generations_go_but_not_from_under_a_reader(lake, monkeypatch):
    """The last ones stay, and all that was current within the hour, with what they carried over."""
    monkeypatch.setattr(publish, "KEEP_GENERATIONS", 3)
    publish.publish_results(lake, stamped(1), NOW)
    early = published.current(lake.root)
    for _ in range(4):
        publish.publish_control(lake, NOW)
    before = published.current(lake.root)
    publish.publish_results(lake, stamped(2), NOW)
    for held in (early, before):
        fresh = published.Generation(held.root, documents=held.documents)
        assert all(fresh.rows(name) for name in ("stale", "backends"))
    later = dt.datetime.now(dt.UTC) + dt.timedelta(hours=2)
    monkeypatch.setattr(publish.clock, "now", lambda: later)
    for _ in range(4):
        publish.publish_control(lake, NOW)
    fresh = published.Generation(early.root, documents=early.documents)
    with pytest.raises(LakeError, match="ask again"):
        fresh.rows("stale")
    names = [info.name for info in listed(open_store(published.place(lake.root)))]
    numbers = {int(name.partition("/")[0]) for name in names if name[0].isdigit()}
    now = published.current(lake.root)
    assert seen(lake.root)[1:] == (2, {2})
    assert len(numbers) <= publish.KEEP_GENERATIONS + 2
    assert max(numbers) == now.number


class Died(BaseException):
    """The process ends here."""


@contextmanager
def dying(monkeypatch, after):
    """Every write below the lake counts; the one after `after` of them does not happen."""
    left = [after]

    def counted(function):
        def call(*given, **how):
            if left[0] == 0:
                raise Died
            left[0] -= 1
            return function(*given, **how)

        return call

    with monkeypatch.context() as patch:
        for module, name in (
            (publish, "create"), (publish, "write_new"), (publish, "write_if_unchanged"),
            (obstore, "delete"), (Lake, "_retry"),
        ):  # fmt: skip
            patch.setattr(module, name, counted(getattr(module, name)))
        yield left


@pytest.mark.parametrize(
    "lake", ["disk", pytest.param("s3", marks=pytest.mark.slow)], indirect=True
)
def test_a_publisher_may_die_between_any_two_writes(lake, monkeypatch):
    """Readers go on with what there was; the next one publishes as ever."""
    publish.publish_results(lake, stamped(1), NOW)
    ticket, survived = 2, False
    for count in range(40):
        with dying(monkeypatch, count) as left:
            try:
                publish.publish_results(lake, stamped(ticket), NOW)
            except Died:
                pass
            else:
                survived = left[0] > 0
        number, told, shown = seen(lake.root)
        assert shown == {told}
        assert told in (ticket - 1, ticket)
        publish.publish_results(lake, stamped(ticket + 1), NOW)
        assert seen(lake.root)[0] > number
        assert seen(lake.root)[1:] == (ticket + 1, {ticket + 1})
        ticket += 2
        if survived:
            break
    assert survived


def crawled(home):
    crawl(home.lake, home.config.backend("data"), CrawlOptions(dt.datetime.now(dt.UTC)))


def answers(reader):
    """Bytes by four questions of one reader, two of them asked of the tables."""
    return {
        sum(row["bytes"] for row in reader.usage("team")),
        reader.growth()[-1]["bytes"],
        sum(row["size_bytes"] for row in reader.stale(days=0, min_size=1)),
        sum(row["bytes"] for row in reader.usage("prefix", depth=2)),
    }


def test_a_refresh_that_slept_through_another_changes_nothing(home, monkeypatch):
    """Its lease had run out: what it writes afterwards is neither published nor left in tables."""
    (home.root() / "a").write_bytes(b"x" * 10)
    crawled(home)
    refresh(home.config, now=dt.datetime.now(dt.UTC))
    whole, numbers = refreshing.results.build, iter((100, 101))

    class Lease:
        def __init__(self):
            self.number = next(numbers)

    @contextmanager
    def expired(*_given):
        yield Lease()

    def slept(*given, **how):
        found = whole(*given, **how)
        monkeypatch.setattr(refreshing.results, "build", whole)
        (home.root() / "b").write_bytes(b"x" * 7)
        crawled(home)
        refresh(home.config, now=dt.datetime.now(dt.UTC))
        return found

    monkeypatch.setattr(refreshing, "held", expired)
    monkeypatch.setattr(refreshing.results, "build", slept)
    report = refresh(home.config, now=dt.datetime.now(dt.UTC))
    assert report.superseded
    assert report.generation == published.current(home.lake.root).number
    assert answers(Reader(home.config)) == {17}
    teams = home.lake.scan(USAGE).filter(group_by="team", attribution="owner").collect()
    assert teams["bytes"].sum() == 17


def test_a_quota_set_while_tables_are_written_does_not_mix_refreshes(home, monkeypatch):
    """It publishes against the tables of the last refresh that ended, not those half written."""
    (home.root() / "a").write_bytes(b"x" * 10)
    crawled(home)
    refresh(home.config, now=dt.datetime.now(dt.UTC))
    (home.root() / "b").write_bytes(b"x" * 7)
    crawled(home)
    limits = {"team": "red", "backend": "", "soft_bytes": 0, "hard_bytes": 5, "grace_seconds": 0}
    whole = publish.publish_results
    seen = []

    def meanwhile(*given):
        set_quota(home.config, limits, "ann")
        seen.append(answers(Reader(home.config)))
        return whole(*given)

    monkeypatch.setattr(publish, "publish_results", meanwhile)
    refresh(home.config, now=dt.datetime.now(dt.UTC))
    assert seen == [{10}]
    assert answers(Reader(home.config)) == {17}
    assert [row["hard_bytes"] for row in Reader(home.config).quota()] == [5]


def test_answers_of_the_engine_are_of_the_published_refresh(home):
    """What is crawled after a refresh shows with the next one, by every question."""
    (home.root() / "a").write_bytes(b"x" * 10)
    crawled(home)
    refresh(home.config, now=dt.datetime.now(dt.UTC))
    (home.root() / "b").write_bytes(b"x" * 7)
    crawled(home)
    assert answers(Reader(home.config)) == {10}


def test_what_is_published_is_for_its_owner_only(home):
    """Documents may hold paths of everybody: no file under published/ is readable by others."""
    (home.root() / "a").write_bytes(b"x")
    crawled(home)
    refresh(home.config, now=dt.datetime.now(dt.UTC))
    files = [path for path in Path(published.place(home.lake.root)).rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if path.stat().st_mode & 0o007]


def test_a_lake_on_s3_is_refreshed_by_two_and_read_meanwhile(home, moto_server, monkeypatch):
    """Real refreshes of a growing backend: every answer of a reader is of one of them."""
    for name, value in moto_server.environ().items():
        monkeypatch.setenv(name, value)
    text = home.file.read_text().replace("./lake", f"s3://{moto_server.bucket()}/lake")
    home.file.write_text(text)

    def grown(size):
        (home.root() / f"f{size}").write_bytes(b"x" * size)
        crawled(home)
        refresh(home.config, now=dt.datetime.now(dt.UTC))

    grown(1)
    with ThreadPoolExecutor(2) as pool:
        racing = [pool.submit(grown, size) for size in (10, 100)]
        seen = [answers(Reader(home.config))]
        while not all(each.done() for each in racing):
            seen.append(answers(Reader(home.config)))
        assert [each.exception() for each in racing] == [None, None]
    assert all(len(answer) == 1 for answer in seen)
    sizes = [answer.pop() for answer in seen]
    assert sizes == sorted(sizes)
    assert answers(Reader(home.config)) == {111}
    paths = [row["path"] for row in Reader(home.config).stale(days=0, min_size=5)]
    assert paths == ["f100", "f10"]


@pytest.mark.parametrize("first", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 2))])
def test_a_refresh_may_die_between_any_two_commits(home, monkeypatch, first):
    """Tables are half written, yet every question is answered from the refresh before."""
    total = 0
    for number in range(first, 60, 3):
        (home.root() / f"f{number}").write_bytes(b"x" * (number + 1))
        crawled(home)
        with dying(monkeypatch, number) as left:
            died = False
            try:
                refresh(home.config, now=dt.datetime.now(dt.UTC))
            except Died:
                died = True
        told = answers(Reader(home.config)) if number > first or not died else {total}
        assert told in ({total}, {total + number + 1})
        refresh(home.config, now=dt.datetime.now(dt.UTC))
        total += number + 1
        assert answers(Reader(home.config)) == {total}
        if not died and left[0] > 0:
            break
    else:
        pytest.fail("never got through")


def test_a_run_that_was_superseded_fails_and_says_so(home, monkeypatch):
    """Dagster shows no row counts of results that nobody reads."""
    import dagster

    from pipelines.defs.results import refresh_results

    report = refreshing.RefreshReport(NOW, generation=7, superseded=True)
    monkeypatch.setattr(refreshing, "refresh", lambda *_given, **_how: report)
    monkeypatch.setenv("WARPDRIVE_CONFIG", str(home.file))
    run = dagster.materialize([refresh_results], raise_on_error=False)
    assert not run.success
    failures = [str(event.event_specific_data) for event in run.all_events if event.is_step_failure]
    assert any("published generation 7" in failure for failure in failures)
