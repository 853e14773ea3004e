"""Any listings, in any pieces: the index is the last one, and the changes tell the way there."""

import datetime as dt
import tempfile
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lake.metrics.index import replay
from lake.schemas import FILE_CHANGES, FILES, LISTINGS
from lake.store import Lake
from pipelines import crawl, staging
from pipelines.compare import compared
from pipelines.crawl import CrawlOptions
from pipelines.index import Pieces
from pipelines.transforms.files import Moment
from storage.backendconfig import Auth, Backend
from storage.listing.columns import LISTED, Listing, batch

START = dt.datetime(2026, 10, 1, tzinfo=dt.UTC)
BACKEND = Backend("b", "local", "/b", {}, Auth(), None, None, None, 0o640)
PATH = st.text(st.sampled_from("ab/-é\U0010ffff\n"), min_size=1, max_size=5)
LISTS = st.lists(
    st.lists(st.tuples(PATH, st.integers(0, 3), st.sampled_from(["x", "y"])), max_size=25),
    min_size=1, max_size=4,
)  # fmt: skip


def listing(rows, number, batch_rows=3, unreadable=()):
    """A listing of (path, size, etag), a few rows a batch, in the order given."""
    batches = [
        batch(
            dict(zip(("path", "size_bytes", "etag"), map(list, zip(*rows[i : i + batch_rows],
                 strict=True)), strict=True)),
            len(rows[i : i + batch_rows]),
        )
        for i in range(0, len(rows), batch_rows)
    ]  # fmt: skip
    assert all(found.schema == LISTED for found in batches)
    return Listing(batches, list(unreadable), START + number * dt.timedelta(days=1), "list")


def take(lake, monkeypatch, found):
    monkeypatch.setattr(crawl, "list_backend", lambda *_: found)
    return crawl.crawl(lake, BACKEND, CrawlOptions(found.snapshot_at))


def small_pieces(monkeypatch):
    """Runs of 4 rows, ranges of 6: what a backend of millions of files goes through."""
    for name, rows in (("RUN_ROWS", 4), ("RANGE_ROWS", 6), ("BLOCK_ROWS", 2)):
        monkeypatch.setattr(staging, name, rows)
    monkeypatch.setattr("pipelines.index.IN_MEMORY_ROWS", 3)
    monkeypatch.setattr(staging, "IDS_IN_MEMORY", 5)


@settings(max_examples=40, deadline=None)
@given(LISTS)
def test_the_index_is_the_last_listing_and_the_changes_lead_there(lists):
    """Against dictionaries: what is there, since when, what came, changed and went."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        small_pieces(patch)
        lake = Lake(folder)
        old = Pieces(lake, FILES, "b")
        before, first_seen = {}, {}
        for number, rows in enumerate(lists):
            at = START + number * dt.timedelta(days=1)
            staged = staging.Staged("b", listing(rows, number).batches, Path(folder))
            done = compared(lake, old, staged, Moment("b", number + 1, at), None)
            now = {path: (size, etag) for path, size, etag in rows}
            expected = []
            for path in sorted(before.keys() | now.keys()):
                was, new = before.get(path), now.get(path)
                if new is None:
                    first_seen.pop(path)
                    expected.append((number + 1, "removed", path, before[path][0], 0))
                elif was is None:
                    first_seen[path] = at
                    expected.append((number + 1, "added", path, 0, new[0]))
                elif was != new:
                    expected.append((number + 1, "changed", path, was[0], new[0]))
            old, before = done.files, now
            assert done.bytes == sum(size for size, _ in now.values())
            files = old.between(None, None)
            found = files.select("path", "size_bytes", "etag", "first_seen_at").rows()
            assert found == [(p, *before[p], first_seen[p]) for p in sorted(before)]
            told = done.changes.between(None, None).select(
                "listing", "change", "path", "previous_bytes", "size_bytes"
            )
            assert told.rows() == expected


def test_a_crawl_in_pieces_is_committed_whole(tmp_path, monkeypatch):
    """Several files, one commit each; nothing of the staging is left."""
    small_pieces(monkeypatch)
    lake = Lake(str(tmp_path))
    rows = [(f"f{n:02}", n, "x") for n in range(30)]
    take(lake, monkeypatch, listing(rows[::-1], 0))
    take(lake, monkeypatch, listing([*rows[5:], ("new", 1, "y")], 1))
    files = lake.scan(FILES).sort("path").collect()
    assert files["path"].to_list() == [*(p for p, _, _ in rows[5:]), "new"]
    assert len(lake.parts(FILES)) > 3
    assert lake.version(FILES) == 2
    again = replay(pl.LazyFrame(schema=FILES.schema), lake.scan(FILE_CHANGES)).collect()
    assert again.sort("path")["path"].to_list() == files["path"].to_list()
    assert not any(Path(tmp_path, "staging").iterdir())


def test_two_paths_with_one_file_id_fail_loudly_and_change_nothing(tmp_path, monkeypatch):
    """The error names both; the index stays what it was; nothing that was written is left over."""
    small_pieces(monkeypatch)
    lake = Lake(str(tmp_path))
    rows = [(f"f{n:02}", n, "x") for n in range(20)]
    take(lake, monkeypatch, listing(rows, 0))
    same = pl.when(pl.col("path").is_in(["f03", "z9"])).then(7).otherwise(pl.col("path").hash(1))
    monkeypatch.setattr(
        staging, "file_id", lambda _backend: (same % (1 << 62)).cast(pl.Int64).alias("file_id")
    )
    before = {p.name for p in (tmp_path / "files").rglob("*.parquet")}
    found = take(lake, monkeypatch, listing([*rows, ("z9", 1, "y")], 1))
    assert found.state == "failed"
    assert "'f03' and 'z9'" in found.error
    assert "\n" not in found.error
    assert lake.scan(FILES).collect().height == 20
    assert {p.name for p in (tmp_path / "files").rglob("*.parquet")} == before
    assert lake.scan(LISTINGS).sort("listing").collect()["state"].to_list() == [
        "complete", "failed",
    ]  # fmt: skip


def test_a_rename_is_marked_and_not_followed(tmp_path, monkeypatch):
    """Same etag and size, one that went and one that came; two alike are not told apart."""
    small_pieces(monkeypatch)
    lake = Lake(str(tmp_path))
    filler = [(f"f{n:02}", 1, f"f{n}") for n in range(12)]
    first = [("old", 5, "e1"), ("a1", 7, "twin"), ("a2", 7, "twin"), ("zero", 0, "e0")]
    take(lake, monkeypatch, listing([*filler, *first], 0))
    second = [("new", 5, "e1"), ("b1", 7, "twin"), ("b2", 7, "twin"), ("nil", 0, "e0"),
              ("other", 6, "e1")]  # fmt: skip
    take(lake, monkeypatch, listing([*filler, *second], 1))
    rows = lake.scan(FILE_CHANGES).filter(pl.col("renamed_from").is_not_null()).collect()
    assert rows.select("path", "renamed_from", "change").rows() == [("new", "old", "added")]
    went = lake.scan(FILE_CHANGES).filter(pl.col("change") == "removed").collect()
    assert sorted(went["path"]) == ["a1", "a2", "old", "zero"]
    files = lake.scan(FILES).filter(pl.col("path") == "new").collect()
    assert files["first_seen_at"].to_list() == [START + dt.timedelta(days=1)]


def test_what_could_not_be_read_stays_in_every_range(tmp_path, monkeypatch):
    """Rows below the prefix stay as they were, in each piece of the index."""
    small_pieces(monkeypatch)
    lake = Lake(str(tmp_path))
    rows = [(f"d{n % 3}/f{n:02}", n, "x") for n in range(30)]
    take(lake, monkeypatch, listing(rows, 0))
    found = take(lake, monkeypatch, listing([r for r in rows if r[0] < "d0/f06"], 1, 3, ["d1"]))
    assert (found.state, found.removed) == ("partial", 18)
    paths = lake.scan(FILES).sort("path").collect()["path"].to_list()
    assert paths == ["d0/f00", "d0/f03", *(f"d1/f{n:02}" for n in range(1, 30, 3))]


def test_a_mass_removal_is_held_in_every_range(tmp_path, monkeypatch):
    """The second pass keeps what the first one would have dropped, and leaves no file behind."""
    small_pieces(monkeypatch)
    monkeypatch.setattr(staging, "RANGE_ROWS", 400)
    monkeypatch.setattr(staging, "RUN_ROWS", 300)
    lake = Lake(str(tmp_path))
    rows = [(f"f{n:04}", 1, "x") for n in range(1000)]
    take(lake, monkeypatch, listing(rows, 0, 100))
    assert take(lake, monkeypatch, listing(rows[500:], 1, 100)).state == "held"
    assert lake.scan(FILES).collect().height == 1000
    live = {part.path for part in lake.parts(FILES)}
    kept = {str(p.relative_to(tmp_path / "files")) for p in (tmp_path / "files").rglob("*.parquet")}
    assert len(live) > 1
    assert len(kept - live) == len(kept) - len(live)
    done = take(lake, monkeypatch, listing(rows[500:], 2, 100))
    assert (done.state, done.removed, done.files) == ("complete", 500, 500)
