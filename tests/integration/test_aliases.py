"""Names that are one person: one owner, one user, one member, from the instant they are so."""

import datetime as dt
import os

import pytest

from lake.control import people
from lake.names import names_of, resolved
from lake.people import active_days
from lake.schemas import FILE_READER
from pipelines import ingest
from pipelines.crawl import CrawlOptions, crawl
from pipelines.refresh import refresh
from storage import clock

NOW = clock.now()
DAY = dt.timedelta(days=1)
OLD = (NOW - 30 * DAY).timestamp()
# node, user, path, op, bytes: the same person on two nodes, one of which knows no names
EVENTS = (
    ("n1", "ann", "a", "write", 10), ("n2", "uid:1017", "b", "write", 20),
    ("n1", "ann", "read", "read", 40), ("n2", "uid:1017", "read", "read", 70),
    ("n3", "bob", "read", "read", 50), ("n3", "bob", "c", "write", 5),
    ("n2", "uid:1017", "a", "read", 3),
)  # fmt: skip
SIZES = {"a": 10, "b": 20, "c": 5, "read": 100}


@pytest.fixture
def two_nodes(home):
    """Four files, accesses by ann as two names and by bob; both of them in teams; refreshed."""
    for path, size in SIZES.items():
        (home.root() / path).write_bytes(b"x" * size)
        os.utime(home.root() / path, (OLD, OLD))
    at = (NOW - DAY).isoformat()
    home.land("one.jsonl", *(
        {"ts": at, "node": node, "user": user, "backend": "data", "path": path, "op": op,
         f"bytes_{'written' if op == 'write' else 'read'}": size}
        for node, user, path, op, size in EVENTS
    ))  # fmt: skip
    ingest.ingest(home.lake, str(home.landing), ingest.Window(NOW, dt.timedelta(days=400)))
    crawl(home.lake, home.config.backend("data"), CrawlOptions(NOW - DAY / 4))
    for user, team in (("uid:1017", "audio"), ("bob", "vision")):
        assert home.run("team", "add", user, team).code == 0
    assert home.run("team", "add", "ann", "vision", "--since", "2026-01-01").code == 0
    refresh(home.config, now=NOW)
    return home


def used(home, by, *more):
    """files, bytes, reads, bytes read and touched bytes of each group."""
    columns = ("files", "bytes", "read_count", "bytes_read", "touched_bytes")
    rows = home.run("usage", "--group-by", by, "--format", "csv", *more).rows
    return {row["group"]: tuple(int(row[name]) for name in columns) for row in rows}


APART = {
    "uid:1017": (2, 120, 2, 73, 130), "ann": (1, 10, 1, 40, 110), "bob": (1, 5, 1, 50, 105),
}  # fmt: skip
TOGETHER = {"ann": (3, 130, 3, 113, 130), "bob": (1, 5, 1, 50, 105)}


def touched(home, user):
    """What `user` shows: path, reads, writes, bytes read."""
    rows = home.run("user", user, "--format", "csv").rows
    return sorted(
        (r["path"], int(r["read_count"]), int(r["write_count"]), int(r["bytes_read"])) for r in rows
    )


def test_two_names_of_one_person_are_one_owner_and_one_member(two_nodes):
    """Owners by first writer and by dominant reader, sums, distinct files, teams, what he did.

    The file he read under two names counts once; of two teams the one joined first counts.
    """
    home = two_nodes
    assert used(home, "user") == APART
    assert used(home, "team") == {
        "audio": (2, 120, 2, 73, 130), "vision": (2, 15, 2, 90, 115),
    }  # fmt: skip
    done = home.run("alias", "add", "uid:1017", "ann")
    assert (done.code, done.err) == (0, "")
    refresh(home.config, now=NOW)
    assert used(home, "user") == TOGETHER
    assert used(home, "user", "--attribution", "access")["ann"] == (3, 130, 3, 113, 130)
    assert used(home, "team") == {
        "audio": (3, 130, 3, 113, 130), "vision": (1, 5, 1, 50, 105),
    }  # fmt: skip
    expected = [("a", 1, 1, 3), ("b", 0, 1, 0), ("read", 2, 0, 110)]
    assert touched(home, "ann") == touched(home, "uid:1017") == expected
    assert home.run("user", "uid:1017", "--limit", "1").code == 0
    owners = {
        r["path"]: r["owner"] for r in home.run("stale", "--days", "0", "--format", "csv").rows
    }
    assert owners == {"a": "ann", "b": "ann", "read": "ann", "c": "bob"}
    members = home.run("team", "list", "--format", "csv").rows
    assert [(row["user"], row["team"]) for row in members] == [
        ("ann", "audio"), ("ann", "vision"), ("bob", "vision"),
    ]  # fmt: skip
    assert active_days(home.lake, names_of("ann", people(home.lake, NOW)), NOW, 30)[
        "bytes_read"
    ].to_list() == [113]
    grown = home.run("growth", "--by", "team", "--format", "csv").rows
    assert {row["team"]: int(row["total_bytes"]) for row in grown} == {"audio": 130, "vision": 5}
    # whichever of his names joined
    assert home.run("team", "remove", "ann", "audio").code == 0
    refresh(home.config, now=NOW)
    assert set(used(home, "team")) == {"vision"}


def test_a_rebuild_changes_nothing_and_a_removal_gives_back_what_was(two_nodes):
    """Tables keep the names that were said; who is one person is decided when it is asked."""
    home = two_nodes
    assert home.run("alias", "add", "uid:1017", "ann").code == 0
    refresh(home.config, now=NOW)
    once = [used(home, by) for by in ("user", "team", "prefix")]
    refresh(home.config, now=NOW, rebuild=True)
    assert [used(home, by) for by in ("user", "team", "prefix")] == once
    assert home.lake.scan(FILE_READER).collect()["reader"].to_list() == ["uid:1017"]
    assert home.run("alias", "remove", "uid:1017").code == 0
    refresh(home.config, now=NOW)
    assert used(home, "user") == APART
    assert touched(home, "uid:1017") == [("a", 1, 0, 3), ("b", 0, 1, 0), ("read", 1, 0, 70)]


def test_an_alias_is_valid_from_an_instant(two_nodes):
    """Before it they are two, after it one; `--as-of` and the refresh say the same."""
    home = two_nodes
    since, before = (NOW - DAY / 24).isoformat(), (NOW - DAY / 12).isoformat()
    assert home.run("alias", "add", "uid:1017", "ann", "--since", since).code == 0
    refresh(home.config, now=NOW)
    assert used(home, "user") == TOGETHER
    assert used(home, "user", "--as-of", before) == APART
    (row,) = home.run("alias", "list", "--format", "csv").rows
    assert (row["name"], row["canonical"], row["since"][:16]) == (
        "uid:1017", "ann", since[:16].replace("T", " "),
    )  # fmt: skip
    assert home.run("alias", "list", "--as-of", before, "--format", "csv").rows == []


@pytest.mark.parametrize(("pair", "why"), [
    (("x", "x"), "an alias of itself"), (("ann", "uid:1"), "an alias of itself"),
    (("unknown", "ann"), "'unknown' is no person's name"), (("", "ann"), "required"),
    (("x", "unassigned"), "'unassigned' is no"), (("x", "team:red"), "'team:red' is no"),
    (("x\0", "ann"), "characters that cannot be shown"),
])  # fmt: skip
def test_what_cannot_be_an_alias_is_refused(home, pair, why):
    """One line, exit 2, and nothing is changed."""
    assert home.run("alias", "add", "uid:1", "ann").code == 0
    said = home.run("alias", "add", *pair)
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
    assert why in said.err
    assert people(home.lake, NOW + DAY) == {"uid:1": "ann"}


@pytest.mark.parametrize(("aliases", "known"), [
    ([], {}), ([("a", "b")], {"a": "b"}), ([("a", "b"), ("b", "c")], {"a": "c", "b": "c"}),
    ([("a", "a")], {}), ([("a", "b"), ("b", "a"), ("x", "b")], {"b": "a", "x": "a"}),
    ([("x", "c"), ("c", "b"), ("b", "c")], {"x": "b", "c": "b"}),
])  # fmt: skip
def test_an_alias_of_an_alias_counts_for_the_last(aliases, known):
    """A circle is one person by its first name; every name of him is found from every other."""
    assert resolved(aliases) == known
    for name, counts in known.items():
        assert set(names_of(name, known)) == {counts} | {n for n, c in known.items() if c == counts}
        assert names_of(name, known)[0] == counts
