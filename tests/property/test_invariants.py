"""Invariants 1 to 3 of the design, on real Delta tables of small worlds."""

import datetime as dt
import json
import tempfile
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from lake import control, results, world
from lake.schemas import ACCESS_DAILY, EVENTS, FILES, LISTINGS, QUARANTINE
from pipelines import crawl, ingest
from pipelines.fold import fold
from storage import clock
from storage.landing import compress, hour_of, segment_name
from storage.listing.columns import LISTED, Listing
from tests.home import Home

few = settings(
    max_examples=8, deadline=None, derandomize=True, database=None,
    # Shrinking runs a world hundreds of times: small worlds fail small enough.
    phases=[Phase.explicit, Phase.generate], report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip
NOW = clock.now()
WINDOW = ingest.Window(NOW, dt.timedelta(days=400))
START = dt.datetime(2025, 6, 1, tzinfo=dt.UTC)

PATHS = st.sampled_from(["a", "d/b", "d/c", "d/e/f", "it's", "caf\\xe9", "new\nline", 'q"uote'])
USERS = st.sampled_from(["ann", "bob", "uid:7", "unknown", "", "o'neil"])
GOOD = st.builds(
    lambda day, user, backend, path, op, size, error: json.dumps({
        "ts": (START + dt.timedelta(days=day)).isoformat(), "user": user, "backend": backend,
        "path": path, "op": op, "bytes_read": size, "error": error,
    }),
    st.integers(0, 120), USERS, st.sampled_from(["hot", "cold"]), PATHS,
    st.sampled_from(["read", "write", "stat", "list"]), st.integers(0, 100),
    st.sampled_from(["", "", "", "EIO"]),
)  # fmt: skip
BAD = st.sampled_from(
    ["{", '{"ts":""}', '{"ts":"2199-01-01T00:00:00Z"}', "[]", '{"bytes_read":-1}']
)
LINE = st.one_of(GOOD, GOOD, GOOD, BAD)


class Sent:
    """One segment of an agent: who, from which number on, in which hours it landed, how."""

    def __init__(self, node, first, lines, hours, kind) -> None:
        self.lines = lines
        text = "".join(line + "\n" for line in lines).encode()
        self.objects = {}
        for hour in hours:
            name = segment_name(hour, node, f"{node:0>16}", first, first + len(lines) - 1)
            if kind == "other name":
                name = name.replace(f"{node:0>16}", "copy")
            self.objects[name] = compress([text])


HOURS = [hour_of(NOW - dt.timedelta(hours=back)) for back in range(3)]


@st.composite
def sendings(draw):
    """Segments of two nodes; some landed twice, under another hour or another name."""
    found = []
    for number in range(draw(st.integers(1, 5))):
        lines = [*draw(st.lists(LINE, min_size=1, max_size=4))]
        # No two segments hold the same bytes unless they are copies of each other.
        lines.append(json.dumps({"ts": START.isoformat(), "path": f"segment-{number}"}))
        hours = draw(st.lists(st.sampled_from(HOURS), min_size=1, max_size=3, unique=True))
        found.append(Sent(draw(st.sampled_from("ab")), number * 10 + 1, lines, hours,
                          draw(st.sampled_from(["same name", "other name"]))))  # fmt: skip
    return found


@contextmanager
def fresh():
    with tempfile.TemporaryDirectory() as folder:
        yield Home(Path(folder), backends=("hot", "cold"))


def take(home):
    return ingest.ingest(home.lake, str(home.landing), WINDOW)


def state(home):
    """What is in the lake, without the numbers of the batches that brought it."""
    events = home.lake.scan(EVENTS).drop("batch").sort("object", "line").collect()
    refused = home.lake.scan(QUARANTINE).drop("batch").sort("object", "line").collect()
    return events.rows(), refused.rows()


@few
@given(sent=sendings(), data=st.data())
def test_every_landed_line_is_in_events_or_in_quarantine_exactly_once(sent, data):
    """Invariant 1, after any number of ingests while objects arrive in any order."""
    objects = [(name, body) for one in sent for name, body in one.objects.items()]
    arrivals = data.draw(st.permutations(objects))
    with fresh() as home:
        waiting = Counter()
        for name, body in arrivals:
            home.land(name, raw=body)
            waiting[name] += 1
            if data.draw(st.booleans()):
                take(home)
                waiting.clear()
        known = set(ingest.ledger(home.lake)["object"].to_list())
        assert known == {name for name, _ in arrivals} - set(waiting)
        take(home)
        events, refused = (home.lake.scan(t).collect() for t in (EVENTS, QUARANTINE))
        lines = Counter(line for one in sent for line in one.lines)
        good = Counter({line: n for line, n in lines.items() if accepted(line)})
        assert refused.height == sum((lines - good).values())
        assert events.height == sum(good.values())
        assert Counter(zip(events["path"], events["user"], events["op"], strict=True)) == Counter(
            key for line, n in good.items() for key in [told(line)] * n
        )


def accepted(line):
    return line.startswith('{"ts": "2025')


def told(line):
    event = json.loads(line)
    return (event["path"], event.get("user", ""), event.get("op", ""))


@few
@given(sent=sendings(), data=st.data())
def test_order_of_arrival_and_ingesting_twice_change_nothing(sent, data):
    """Invariant 2: all at once, or one by one in any order, with repeats."""
    objects = [(name, body) for one in sent for name, body in one.objects.items()]
    with fresh() as at_once, fresh() as one_by_one:
        for name, body in objects:
            at_once.land(name, raw=body)
        take(at_once)
        for name, body in data.draw(st.permutations(objects)):
            one_by_one.land(name, raw=body)
            take(one_by_one)
            if data.draw(st.booleans()):
                assert take(one_by_one).objects == 0
        assert state(one_by_one) == state(at_once)
        folded = []
        for home in (at_once, one_by_one):
            fold(home.lake)
            rows = home.lake.scan(ACCESS_DAILY).collect()
            folded.append(sorted(rows.rows(), key=repr))
            fold(home.lake, rebuild=True)
            again = home.lake.scan(ACCESS_DAILY).collect()
            assert sorted(again.rows(), key=repr) == folded[-1]
        assert folded[0] == folded[1]


LISTED_FILES = st.dictionaries(PATHS, st.tuples(st.integers(0, 1000), st.sampled_from(
    [None, "ann", "root", "cid"])), max_size=6)  # fmt: skip


def listing(files, at):
    rows = {
        "path": list(files), "size_bytes": [size for size, _ in files.values()],
        "owner": [owner for _, owner in files.values()],
        "etag": [f"e{size}" for size, _ in files.values()],
    }  # fmt: skip
    arrays = [
        pa.array(rows[f.name], f.type) if f.name in rows else pa.nulls(len(files), f.type)
        for f in LISTED
    ]
    batch = pa.RecordBatch.from_arrays(arrays, schema=LISTED)
    return Listing([batch], [], at, "inventory", at.isoformat())


@few
@given(
    lines=st.lists(GOOD, max_size=12),
    looks=st.lists(st.tuples(st.sampled_from(["hot", "cold"]), st.integers(0, 90), LISTED_FILES),
                   min_size=1, max_size=5),
    members=st.dictionaries(st.sampled_from(["ann", "bob", "cid"]), st.sampled_from(["x", "y"])),
    rules=st.lists(st.tuples(st.sampled_from(["hot", "cold"]), st.sampled_from(["", "d", "d/e"]),
                             st.sampled_from(["x", "z"])), max_size=2),
    back=st.integers(0, 100),
)  # fmt: skip
def test_owners_add_up_to_files_and_to_growth(lines, looks, members, rules, back):
    """Invariant 3 per backend, now and at any instant before, reports coming late included."""
    with fresh() as home, pytest.MonkeyPatch.context() as patch:
        home.land("all.jsonl", raw="".join(line + "\n" for line in lines).encode())
        take(home)
        fold(home.lake)
        control.add_members(home.lake, list(members.items()), None, "test", NOW)
        for name, day, files in looks:
            one = listing(files, START + dt.timedelta(days=day))
            patch.setattr(crawl, "_listings", lambda *_, one=one: iter([one]))
            found = crawl.crawl(home.lake, home.config.backend(name), crawl.CrawlOptions(NOW))
            assert found.error == ""
        policy = world.Policy(
            (("hot", "local"), ("cold", "local")), tuple(world.Rule(*r) for r in rules), ("root",)
        )
        for as_of in (NOW, START + dt.timedelta(days=back)):
            then = world.at(home.lake, policy, as_of)
            check_sums(then, results.compute(then, policy, control.quotas(home.lake)))
        assert home.lake.scan(LISTINGS).collect().height == len(looks)
        latest = world.at(home.lake, policy, NOW).files.collect()
        assert latest.height == home.lake.scan(FILES).collect().height


def check_sums(then, found):
    files = then.files.group_by("backend").agg(
        n=pl.len().cast(pl.Int64), b=pl.col("size_bytes").sum()
    )
    stored = {row[0]: row[1:] for row in files.collect().rows()}
    owned = found["usage"].filter(pl.col("attribution") == "owner")
    for group in ("team", "user", "backend", "prefix"):
        sums = owned.filter(pl.col("group_by") == group).group_by("backend").agg(
            pl.col("files", "bytes").sum()
        )  # fmt: skip
        assert {r[0]: r[1:] for r in sums.rows() if r[1]} == stored
    # A late report is a point of growth and nothing else: where it is the latest one before
    # as-of, the index of that instant is not known and stands at the report before it.
    looks = then.listings.sort("snapshot_at", "listing")
    last = {r["backend"]: r for r in looks.collect().to_dicts()}
    late = {name for name, row in last.items() if row["state"] == "late"}
    counted = {n: (r["files"], r["bytes"]) for n, r in last.items() if n not in late and r["files"]}
    assert counted == {name: sums for name, sums in stored.items() if name not in late}
    points = found["growth"].filter(pl.col("by") == "backend").sort("day")
    ends = points.group_by("backend", maintain_order=True).last().to_dicts()
    grown = {r["backend"]: (r["files"], r["bytes"]) for r in ends if r["backend"] not in late}
    assert {name: sums for name, sums in grown.items() if sums[0]} == counted
    teams = found["growth"].filter(pl.col("by") == "team").sort("day")
    ends = teams.group_by("backend", "team", maintain_order=True).last().group_by("backend").agg(
        pl.col("files", "bytes").sum()
    )  # fmt: skip
    assert {r[0]: r[1:] for r in ends.rows() if r[1]} == stored
    shown = found["backends"].filter(pl.col("files") > 0).select("name", "files", "bytes").rows()
    assert {r[0]: r[1:] for r in shown} == stored
