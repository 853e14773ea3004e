"""The top of the stale index: what a full sort gives, reading a few rows of a few files."""

import datetime as dt
from itertools import pairwise

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lake import largest as module
from lake.cursor import Key, cursor, key
from lake.largest import DESCENDING, ORDER, behind, largest
from lake.schemas import STALE_INDEX
from lake.store import Lake
from storage.errors import UsageError

NOW = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)


def index(rows):
    """A sorted index of (size, idle days, backend)."""
    return pl.DataFrame(
        [
            {
                "backend": backend, "path": f"p{number:03d}", "file_id": number,
                "size_bytes": size, "last_modified_at": None,
                "last_access_at": NOW - dt.timedelta(days=idle), "evidence": "modified",
                "owner": "ann", "owner_source": "writer", "team": "red",
            }
            for number, (size, idle, backend) in enumerate(rows)
        ],
        schema=STALE_INDEX.schema,
    ).sort(ORDER, descending=DESCENDING)  # fmt: skip


def written(folder, frame, cuts):
    """The index in one file for each piece between the cuts, in any order of commits."""
    lake = Lake(str(folder))
    edges = [0, *sorted(cuts), frame.height]
    pieces = [frame[a:b] for a, b in pairwise(edges) if b > a]
    for piece in reversed(pieces):
        lake.append(STALE_INDEX, piece)
    return lake


files = st.tuples(st.integers(0, 6), st.integers(0, 4), st.sampled_from(["a", "b"]))


questions = st.fixed_dictionaries({
    "idle": st.integers(0, 4), "limit": st.integers(1, 20), "smallest": st.integers(0, 7),
    "backend": st.sampled_from(["", "a"]), "first": st.integers(1, 4), "whole": st.integers(0, 8),
})  # fmt: skip


@given(st.lists(files, min_size=1, max_size=60), st.sets(st.integers(1, 59), max_size=4), questions)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_pages_are_those_of_a_full_sort(tmp_path_factory, rows, cuts, ask):
    """Whatever the files, ties, window sizes and filters: page after page, nothing else."""
    frame = index(rows)
    lake = written(tmp_path_factory.mktemp("lake"), frame, {c for c in cuts if c < frame.height})
    where = pl.col("last_access_at") < NOW - dt.timedelta(days=ask["idle"])
    if ask["backend"]:
        where &= pl.col("backend") == ask["backend"]
    how = {"min_size_bytes": ask["smallest"]}
    expected = frame.filter(where, pl.col("size_bytes") >= ask["smallest"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "FIRST_ROWS", ask["first"])
        patch.setattr(module, "WHOLE_ROWS", ask["whole"])
        page = largest(lake, None, where, ask["limit"], **how)
        found = page.rows()
        while page.height:
            after = Key(*page.select(ORDER).row(-1))
            page = largest(lake, None, where, ask["limit"], after=after, **how)
            found += page.rows()
    assert found == expected.select(STALE_INDEX.schema.names()).rows()


def test_the_rest_is_not_read(tmp_path, monkeypatch):
    """Ten thousand rows, ten wanted: the smaller files are not opened, of the first a few rows."""
    frame = index([(size, 1, "a") for size in range(10_000)])
    lake = written(tmp_path, frame, {2_000, 6_000})
    opened, taken = [], []
    scan = pl.scan_parquet
    monkeypatch.setattr(
        module.pl, "scan_parquet", lambda uri, **how: opened.append(uri) or scan(uri, **how)
    )
    whole = module._File._whole
    monkeypatch.setattr(
        module._File, "_whole",
        lambda self, offset, window, *more: taken.append(window)
        or whole(self, offset, window, *more),
    )  # fmt: skip
    found = largest(lake, None, pl.lit(value=True), 10)
    assert found["size_bytes"].to_list() == list(range(9_999, 9_989, -1))
    assert len(opened) == 1
    assert sum(taken) <= 2_048


def test_what_was_read_is_read_once_within_bounds(tmp_path, monkeypatch):
    """Another window of days reads nothing again; more than is kept is read anew."""
    frame = index([(size, size % 9, "a") for size in range(10_000)])
    lake = written(tmp_path, frame, set())
    monkeypatch.setattr(module, "_windows", module._Windows())
    scans = []
    scan = pl.scan_parquet
    monkeypatch.setattr(
        module.pl, "scan_parquet", lambda uri, **how: scans.append(uri) or scan(uri, **how)
    )
    for days in range(9):
        old = pl.col("last_access_at") < NOW - dt.timedelta(days=days)
        found = largest(lake, None, old, 500)
        assert found.rows() == frame.filter(old).head(500).rows()
    assert 1 <= len(scans) <= 2
    monkeypatch.setattr(module, "KEPT_BYTES", 1000)
    monkeypatch.setattr(module, "_windows", module._Windows())
    for _ in range(3):
        assert largest(lake, None, pl.lit(value=True), 500).rows() == frame.head(500).rows()
    assert module._windows._bytes == 0
    assert len(scans) >= 4


def test_housekeeping_does_not_bring_the_files_together(tmp_path):
    """Joined files would not be sorted, and the top of the index would not be the top."""
    frame = index([(size, 1, "a") for size in range(100)])
    lake = written(tmp_path, frame, {30, 60})
    assert lake.compact(STALE_INDEX) == 0
    assert len(lake.parts(STALE_INDEX)) == 3
    found = largest(lake, None, pl.lit(value=True), 50)
    assert found["size_bytes"].to_list() == list(range(99, 49, -1))


def test_a_page_begins_behind_its_key_though_rows_came():
    """What is new above the key is not shown again; what is behind it is."""
    frame = index([(5, 1, "a"), (5, 1, "b"), (4, 1, "a"), (9, 1, "a")])
    after = Key(5, "a", "p000")
    assert frame.filter(behind(after))["path"].to_list() == ["p001", "p002"]


def test_a_cursor_comes_back_as_its_key():
    """Any path, also one with quotes and line ends."""
    row = {
        "size_bytes": 7,
        "backend": "b",
        "path": 'x/"\n\udc80é'.encode("utf-8", "replace").decode(),
    }
    assert key(cursor(row)) == Key(7, "b", row["path"])
    assert key("") is None


@pytest.mark.parametrize("text", ["x", "!!!", "W10", "WzEsMiwzXQ", "W1tbW1tbW1tb", "é", "bnVsbA"])
def test_what_is_no_cursor_is_refused_in_one_line(text):
    """It names the text and the way out."""
    with pytest.raises(UsageError, match="start without"):
        key(text)
