"""Backends to the index: what is listed, what is held, what a crash leaves."""

import datetime as dt
import gzip
import hashlib
import json
import os
import shutil

import polars as pl
import pytest

from lake.metrics.index import replay
from lake.schemas import FILE_CHANGES, FILES, LISTINGS
from lake.store import Lake
from pipelines.crawl import CrawlOptions, crawl, latest_listings
from storage.backendconfig import Auth, Backend, Inventory
from storage.listing import gnufind
from storage.listing.posix import list_posix
from tests.home import Home

DAY = dt.timedelta(days=1)
START = dt.datetime(2026, 10, 1, tzinfo=dt.UTC)


def take(home, number=0, name="data", **how):
    """One crawl, `number` days after the start."""
    options = CrawlOptions(START + number * DAY, **how)
    return crawl(home.lake, home.config.backend(name), options)


def write(home, files, name="data"):
    for path, text in files.items():
        place = home.root(name) / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)


def index(home):
    rows = home.lake.scan(FILES).sort("backend", "path").collect()
    return dict(rows.select("path", "size_bytes").iter_rows())


def changes(home):
    rows = home.lake.scan(FILE_CHANGES).sort("listing", "path").collect()
    return rows.select("listing", "change", "path", "previous_bytes", "size_bytes").rows()


def test_a_lake_in_a_folder_of_any_name_with_backends_of_any_name(tmp_path):
    """Spaces, umlauts, percent signs: committed, removed and found again as they are."""
    name = "my d\u00e4ta 5%#1"
    home = Home(tmp_path / "my l\u00e4ke 10%", backends=(name, "b c"))
    write(home, {"a": "1", "b": "22"}, name)
    write(home, {"a": "1"}, "b c")
    event = {"ts": "2026-09-30T10:00:00Z", "user": "ann", "backend": name, "path": "a",
             "op": "read", "bytes_read": 1}  # fmt: skip
    home.land("x.jsonl", event)
    take(home, 0, name)
    take(home, 0, "b c")
    (home.root(name) / "b").write_text("4444")
    take(home, 1, name)
    rows = home.lake.scan(FILES).select("backend", "path", "size_bytes").sort("backend", "path")
    assert rows.collect().rows() == [("b c", "a", 1), (name, "a", 1), (name, "b", 4)]
    for command in ("ingest", "refresh"):
        said = home.run(command)
        assert said.code == 0, said.err
    said = home.run("usage", "--group-by", "backend", "--format", "csv")
    rows = [line.split(",")[:4] for line in said.out.splitlines()[1:]]
    assert rows == [[name, name, "2", "5"], ["b c", "b c", "1", "1"]]
    said = home.run("user", "ann", "--format", "csv")
    assert said.out.splitlines()[1] == f"{name},a,2026-09-30,1,0,1,0,2026-09-30 10:00:00"


def test_what_comes_changes_and_goes_is_in_the_index_and_in_the_changes(home):
    """The index is the last listing; the changes tell the way to it."""
    write(home, {"a": "1", "d/b": "22", "d/c": "333"})
    first = take(home, 0)
    assert (first.state, first.files, first.bytes, first.added) == ("complete", 3, 6, 3)
    write(home, {"d/b": "4444", "new": "5"})
    (home.root() / "a").unlink()
    second = take(home, 1)
    assert (second.files, second.bytes, second.added, second.removed) == (3, 8, 1, 1)
    assert index(home) == {"d/b": 4, "d/c": 3, "new": 1}
    assert changes(home)[3:] == [
        (2, "removed", "a", 1, 0), (2, "changed", "d/b", 2, 4), (2, "added", "new", 0, 1),
    ]  # fmt: skip
    rows = home.lake.scan(FILES).sort("path").collect()
    assert rows["first_seen_at"].to_list() == [START, START, START + DAY]
    assert rows["last_seen_at"].to_list() == [START + DAY] * 3


def test_the_same_again_changes_nothing_but_the_listings(home):
    """A crawl of what did not change adds and removes nothing."""
    write(home, {"a": "1"})
    take(home, 0)
    again = take(home, 1)
    assert (again.added, again.removed, len(changes(home))) == (0, 0, 1)


def test_hostile_names_keep_their_identity(home):
    """Bytes that are not UTF-8, backslashes, quotes and new lines: each is one path."""
    names = [
        b"caf\xe9",
        b"a\\xe9",
        b"a'b",
        b'a"b',
        b"a\nb",
        b"a\rb",
        b" ",
        b"-",
        b"%41",
        "é".encode(),
    ]
    for name in names:
        (home.root() / os.fsdecode(name)).write_text("x")
    take(home)
    assert sorted(index(home)) == sorted([
        "caf\\xe9", "a\\\\xe9", "a'b", 'a"b', "a\nb", "a\rb", " ", "-", "%41", "é",
    ])  # fmt: skip
    take(home, 1)
    assert len(changes(home)) == len(names)


def test_links_and_special_files(home):
    """Hard links share their bytes, symlinks and pipes are no files, loops end."""
    write(home, {"z": "12345", "d/x": "1"})
    root = home.root()
    os.link(root / "z", root / "b")
    (root / "loop").symlink_to(root)
    (root / "link").symlink_to("z")
    os.mkfifo(root / "pipe")
    take(home)
    assert index(home) == {"b": 5, "d/x": 1, "z": 0}
    rows = home.lake.scan(FILES).filter(pl.col("path") == "z").collect()
    assert rows["link_of"].to_list() == ["b"]


def test_a_backend_that_is_not_there_removes_nothing(home):
    """It is reported as failed, and the index stays."""
    write(home, {"a": "1"})
    take(home, 0)
    shutil.rmtree(home.root())
    failed = take(home, 1)
    assert failed.state == "failed"
    assert str(home.root()) in failed.error
    assert index(home) == {"a": 1}
    assert latest_listings(home.lake)["state"].to_list() == ["complete", "failed"]
    write(home, {"a": "1", "b": "1"})
    assert take(home, 2).state == "complete"
    assert index(home) == {"a": 1, "b": 1}


def test_a_root_that_vanishes_while_it_is_listed_removes_nothing(home):
    """An unmount between the first look and the walk is not an empty folder."""
    write(home, {"a": "1"})
    listing = list_posix(str(home.root()), START)
    shutil.rmtree(home.root())
    assert sum(batch.num_rows for batch in listing.batches) == 0
    assert listing.unreadable == [""]


def test_a_folder_that_cannot_be_read_keeps_its_rows(home, monkeypatch):
    """Below it nothing is removed, beside it everything is; the listing is partial."""
    write(home, {"locked/a": "1", "locked/deep/b": "2", "lockedx": "3", "open/c": "4"})
    take(home, 0)
    for path in ("locked/a", "lockedx", "open/c"):
        (home.root() / path).unlink()
    real = os.scandir

    def scandir(path):
        if not isinstance(path, int) and os.fsdecode(path).endswith("/locked"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(gnufind, "available", lambda: False)
    monkeypatch.setattr(os, "scandir", scandir)
    found = take(home, 1)
    assert (found.state, found.removed) == ("partial", 2)
    assert "'locked'" in found.error
    assert index(home) == {"locked/a": 1, "locked/deep/b": 1}
    monkeypatch.undo()
    assert take(home, 2).state == "complete"
    assert index(home) == {"locked/deep/b": 1}


def many(home, count=1000):
    for number in range(count):
        (home.root() / f"f{number:04}").write_text("x")


def test_a_mass_removal_is_held_until_a_second_listing_agrees(home):
    """More than 20 % of 1,000 files: nothing goes at once, new files come all the same."""
    many(home)
    take(home, 0)
    for number in range(201):
        (home.root() / f"f{number:04}").unlink()
    write(home, {"new": "xx"})
    first = take(home, 1)
    assert (first.state, first.files, first.removed) == ("held", 1001, 0)
    assert "201 files" in first.error
    second = take(home, 2)
    assert (second.state, second.files, second.removed) == ("complete", 800, 201)
    assert len(index(home)) == 800


def test_a_held_removal_that_grows_is_held_again_and_one_that_comes_back_is_not(home):
    """What the listing before had missed is confirmed; what only this one misses is not."""
    many(home)
    take(home, 0)
    for number in range(300):
        (home.root() / f"f{number:04}").unlink()
    assert take(home, 1).state == "held"
    for number in range(300, 600):
        (home.root() / f"f{number:04}").unlink()
    assert take(home, 2).state == "held"
    many(home)
    back = take(home, 3)
    assert (back.state, back.files, back.removed) == ("complete", 1000, 0)


def test_allow_removal_lets_it_through(home):
    """Whoever is sure says so."""
    many(home)
    take(home, 0)
    for number in range(500):
        (home.root() / f"f{number:04}").unlink()
    assert take(home, 1, allow_removal=True).removed == 500


@pytest.mark.parametrize(("count", "gone"), [(999, 999), (1000, 200)])
def test_a_removal_up_to_the_limits_is_none_to_hold(home, count, gone):
    """Fewer than 1,000 files, or no more than 20 %."""
    many(home, count)
    take(home, 0)
    for number in range(gone):
        (home.root() / f"f{number:04}").unlink()
    found = take(home, 1)
    assert (found.state, found.removed) == ("complete", gone)


def test_a_live_listing_is_not_taken_for_a_past_instant(home):
    """The disk shows now; an as-of before now takes nothing."""
    write(home, {"a": "1"})
    assert take(home, 1, as_of=START).listings == 0
    assert index(home) == {}


class Reports:
    """S3 Inventory reports of a backend, written as the store would."""

    def __init__(self, folder):
        self.folder = folder / "inv"
        self.backend = Backend(
            "inv", "s3", "/inv", {}, Auth(), Inventory("s3", str(self.folder)), None, None, 0o640,
        )  # fmt: skip

    def add(self, day, rows, schema="Bucket, Key, Size, LastModifiedDate, ETag", **manifest):
        """A report of `day` days after the start; rows are CSV lines without the bucket."""
        at = START + day * DAY
        place = self.folder / f"{at:%Y-%m-%dT%H-%MZ}"
        place.mkdir(parents=True)
        data = gzip.compress("".join(f'"inv",{row}\n' for row in rows).encode())
        (place / "data.csv.gz").write_bytes(data)
        key = f"inv/{place.name}/data.csv.gz"
        told = {
            "creationTimestamp": str(int(at.timestamp() * 1000)), "fileFormat": "CSV",
            "fileSchema": schema,
            "files": [{"key": key, "size": 1, "MD5checksum": hashlib.md5(data).hexdigest()}],
        } | manifest  # fmt: skip
        (place / "manifest.json").write_text(json.dumps(told))
        return place

    def take(self, home, **how):
        return crawl(home.lake, self.backend, CrawlOptions(START + 100 * DAY, **how))


@pytest.fixture
def inventory(home):
    return Reports(home.folder)


def row(key, size: object = 1, day=0):
    at = (START + day * DAY).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    return f'"{key}","{size}","{at}","e{size}"'


def test_every_report_is_taken_once_oldest_first_and_never_held(home, inventory):
    """Each at its instant; verified reports may remove what they like."""
    inventory.add(5, [row("a", 7)])
    inventory.add(0, [row(f"f{n}") for n in range(1200)])
    found = inventory.take(home)
    assert (found.state, found.listings, found.removed, found.files) == ("complete", 2, 1200, 1)
    listings = latest_listings(home.lake)
    assert listings["snapshot_at"].to_list() == [START, START + 5 * DAY]
    assert listings["files"].to_list() == [1200, 1]
    assert inventory.take(home).listings == 0


def test_a_report_that_comes_late_is_a_point_of_growth_only(home, inventory):
    """The index never goes back in time."""
    inventory.add(5, [row("a", 7)])
    inventory.take(home)
    inventory.add(1, [row("b", 3), row("c", 4)])
    late = inventory.take(home)
    assert (late.state, late.files) == ("late", 1)
    assert index(home) == {"a": 7}
    told = latest_listings(home.lake).sort("snapshot_at").select("state", "files", "bytes").rows()
    assert told == [("late", 2, 7), ("complete", 1, 7)]


def test_a_report_later_than_as_of_waits(home, inventory):
    """A crawl as of an instant takes what was known then."""
    inventory.add(0, [row("a")])
    inventory.add(5, [row("b")])
    assert inventory.take(home, as_of=START + DAY).listings == 1
    assert index(home) == {"a": 1}
    assert inventory.take(home).listings == 1
    assert index(home) == {"b": 1}


def test_hostile_keys_of_a_report(home, inventory):
    """Keys are URL-encoded; words that some readers take for null are keys."""
    keys = {"NULL": "NULL", "nan": "nan", "N/A": "N/A", "a%20b+c": "a b c", "a%2Bb": "a+b",
            "caf%C3%A9": "café", "caf%E9": "caf\\xe9", "a%5Cb": "a\\\\b", "a%0Ab": "a\nb",
            "a%2Cb%22": 'a,b"', "x/../y": "x/../y"}  # fmt: skip
    inventory.add(0, [row(key) for key in keys])
    assert inventory.take(home).error == ""
    assert sorted(index(home)) == sorted(keys.values())


def test_only_latest_versions_that_are_no_delete_marker_are_files(home, inventory):
    """A versioned bucket's report lists the dead too."""
    schema = "Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size"
    inventory.add(0, [
        '"a","v2","true","false","5"', '"a","v1","false","false","4"',
        '"b","v3","true","true",""', '"b","v2","false","false","9"',
    ], schema)  # fmt: skip
    inventory.take(home)
    assert index(home) == {"a": 5}


BROKEN = {
    "a wrong checksum": {"files": [{"key": "KEY", "size": 1, "MD5checksum": "0" * 32}]},
    "a data file that is gone": {"files": [{"key": "inv/x.csv.gz", "size": 1, "MD5checksum": ""}]},
    "an entry without checksum": {"files": [{"key": "KEY", "size": 1}]},
    "files that are no list": {"files": 7},
    "no files": {"files": None},
    "an unknown format": {"fileFormat": "XML"},
    "a format that is no text": {"fileFormat": 7},
    "a schema of other columns": {"fileSchema": "Bucket, Name"},
    "a schema without Key": {"fileSchema": "Bucket, Name, Size, LastModifiedDate, ETag"},
}


@pytest.mark.parametrize("told", BROKEN.values(), ids=BROKEN)
def test_a_report_that_is_not_whole_changes_nothing_and_is_named(home, inventory, told):
    """Failed, with the report's name, in one line; the index and earlier reports stay."""
    inventory.add(0, [row("a")])
    place = inventory.add(1, [row("b"), row("c")], **told)
    text = (place / "manifest.json").read_text().replace("KEY", f"inv/{place.name}/data.csv.gz")
    (place / "manifest.json").write_text(text)
    found = inventory.take(home)
    assert found.state == "failed"
    assert place.name in found.error
    assert "\n" not in found.error
    assert index(home) == {"a": 1}


def test_a_size_or_time_that_is_none_fails_the_report(home, inventory):
    """Nothing of it is guessed."""
    inventory.add(0, [row("a", "many")])
    assert inventory.take(home).state == "failed"
    assert index(home) == {}


class CrashError(Exception):
    """The process dies here."""


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("point", [1, 2, 3])
@pytest.mark.parametrize("more", [False, True], ids=["same reports", "one more report"])
def test_a_crash_between_the_commits_of_a_crawl_is_made_whole(
    home, inventory, monkeypatch, point, when, more
):
    """file_changes, listings, files: index, changes and listings agree after the next crawl."""
    inventory.add(0, [row("a", 1), row("b", 2)])
    inventory.take(home)
    inventory.add(1, [row("a", 5), row("c", 3)])
    seen = [0]

    def wrap(real):
        def write(self, *args, **how):
            seen[0] += 1
            if seen[0] == point and when == "before":
                raise CrashError
            found = real(self, *args, **how)
            if seen[0] == point and when == "after":
                raise CrashError
            return found

        return write

    for name in ("append", "commit"):
        monkeypatch.setattr(Lake, name, wrap(getattr(Lake, name)))
    with pytest.raises(CrashError):
        inventory.take(home)
    monkeypatch.undo()
    if more:
        inventory.add(2, [row("a", 5), row("d", 4)])
    inventory.take(home)
    assert index(home) == ({"a": 5, "d": 4} if more else {"a": 5, "c": 3})
    told = [(change, path) for _, change, path, _, _ in changes(home)]
    expected = [("added", "a"), ("added", "b"), ("changed", "a"), ("removed", "b"), ("added", "c")]
    assert sorted(told) == sorted(
        expected + ([("removed", "c"), ("added", "d")] if more else [])
    )  # fmt: skip
    listings = latest_listings(home.lake)
    assert listings["snapshot_at"].n_unique() == listings.height
    rows = home.lake.scan(FILE_CHANGES)
    again = replay(pl.LazyFrame(schema=FILES.schema), rows).sort("path").collect()
    assert dict(again.select("path", "size_bytes").iter_rows()) == index(home)
    assert home.lake.scan(LISTINGS).collect().height == listings.height
