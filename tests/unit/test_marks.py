"""Marks mean one version of a file; pages of the stale index are a partition of it."""

import contextlib
import datetime as dt
import json
import tempfile
from collections.abc import Iterator
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lake import browse, control, marks
from lake.browse import Wanted
from lake.schemas import AUDIT_LOG, FILES, MARKS, STALE_INDEX
from lake.store import Lake
from storage.errors import LakeError, UnknownNameError, UsageError

AT = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)


def file(path: str, size: int, etag: str | None, number: int) -> dict:
    nothing = dict.fromkeys(FILES.schema)
    return {
        **nothing, "backend": "b", "path": path, "file_id": number, "size_bytes": size,
        "etag": etag, "modified_at": AT, "first_seen_at": AT, "last_seen_at": AT,
    }  # fmt: skip


@pytest.fixture
def lake(tmp_path):
    made = Lake(str(tmp_path))
    rows = [file("a", 100, "e1", 1), file("c", 30, None, 2), file("d", 7, "e3", 3)]
    made.replace(FILES, pl.DataFrame(rows, schema=FILES.schema))
    return made


def chosen(lake: Lake, *paths: str) -> pl.DataFrame:
    return lake.scan(FILES).filter(pl.col("path").is_in(paths)).collect()


def states(lake: Lake) -> dict[str, str]:
    return dict(marks.marked(lake).select("path", "state").iter_rows())


def test_a_mark_is_told_and_logged(lake):
    done = marks.mark(lake, chosen(lake, "a", "c"), " old\n runs ", "ann", AT)
    assert done == (2, 130, 0)
    rows = lake.scan(MARKS).collect().select("path", "etag", "size_bytes", "reason", "by").rows()
    assert rows == [
        ("a", "e1", 100, "old runs", "ann"),
        ("c", "modified:2026-11-01T00:00:00Z", 30, "old runs", "ann"),
    ]
    (logged,) = lake.scan(AUDIT_LOG).collect().to_dicts()
    assert (logged["who"], logged["action"], logged["object"]) == (
        "ann", "mark add", "b:a and 1 more",
    )  # fmt: skip
    assert json.loads(logged["after"])["bytes"] == 130


def test_a_mark_is_void_once_the_file_is_another_one(lake):
    marks.mark(lake, chosen(lake, "a", "c", "d"), "old", "ann", AT)
    touched = {**file("c", 30, None, 2), "modified_at": AT.replace(year=2027)}
    rows = [file("a", 100, "e2", 1), touched]
    lake.replace(FILES, pl.DataFrame(rows, schema=FILES.schema))
    assert states(lake) == {"a": "void", "c": "void", "d": "void"}
    lake.replace(FILES, pl.DataFrame([file("a", 100, "e1", 1)], schema=FILES.schema))
    assert states(lake) == {"a": "marked", "c": "void", "d": "void"}


def test_what_is_marked_or_gone_is_left_out_and_a_void_mark_can_be_renewed(lake):
    before = chosen(lake, "a", "d")
    marks.mark(lake, before.head(1), "old", "ann", AT)
    lake.replace(FILES, pl.DataFrame([file("a", 100, "e1", 1)], schema=FILES.schema))
    assert marks.mark(lake, before, "again", "bob", AT) == (0, 0, 2)
    lake.replace(FILES, pl.DataFrame([file("a", 90, "e9", 1)], schema=FILES.schema))
    assert marks.mark(lake, before, "again", "bob", AT) == (1, 90, 1)
    (row,) = marks.marked(lake).to_dicts()
    assert (row["reason"], row["by"], row["state"]) == ("again", "bob", "marked")


def test_a_mark_is_taken_back(lake):
    marks.mark(lake, chosen(lake, "a", "d"), "old", "ann", AT)
    assert marks.unmark(lake, chosen(lake, "a", "c"), "bob", AT) == (1, 100, 1)
    assert states(lake) == {"d": "marked"}
    assert lake.scan(AUDIT_LOG).collect().sort("before", "action")["action"].to_list() == [
        "mark add", "mark remove",
    ]  # fmt: skip
    assert marks.unmark(lake, chosen(lake, "a"), "bob", AT) == (0, 0, 1)


def test_owner_and_team_come_from_the_index(lake):
    marks.mark(lake, chosen(lake, "a", "d"), "old", "ann", AT)
    row = {**dict.fromkeys(STALE_INDEX.schema), **index_row("a", 100, AT), "file_id": 1}
    lake.replace(STALE_INDEX, pl.DataFrame([row], schema=STALE_INDEX.schema))
    found = marks.marked(lake).select("path", "team").rows()
    assert found == [("a", "vision"), ("d", "unassigned")]


@pytest.mark.parametrize(("reason", "told"), [(" \n", "reason is required"), ("x" * 501, "501")])
def test_a_reason_is_required(lake, reason, told):
    with pytest.raises(UsageError, match=told):
        marks.mark(lake, chosen(lake, "a"), reason, "ann", AT)
    assert lake.scan(MARKS).collect().is_empty()


def test_a_failed_append_logs_nothing(lake, monkeypatch):
    def broken(*_: object) -> None:
        raise LakeError("disk full")

    monkeypatch.setattr(Lake, "append", broken)
    with pytest.raises(LakeError):
        marks.mark(lake, chosen(lake, "a"), "old", "ann", AT)
    assert control.quotas(lake).is_empty()
    assert lake.scan(AUDIT_LOG).collect().is_empty()


def index_row(path: str, size: int, touched: dt.datetime, backend: str = "b") -> dict:
    return {
        "backend": backend, "path": path, "file_id": hash((backend, path)) % 2**60,
        "size_bytes": size, "last_modified_at": touched, "last_access_at": touched,
        "evidence": "modified", "owner": "ann", "owner_source": "writer", "team": "vision",
    }  # fmt: skip


ROWS = st.lists(
    st.tuples(
        st.sampled_from(["b", "c"]), st.text("xyz", min_size=1, max_size=3),
        st.integers(0, 4), st.integers(0, 3),
    ),
    max_size=25, unique_by=lambda row: row[:2],
)  # fmt: skip


@contextlib.contextmanager
def index_of(*rows: dict) -> Iterator[Lake]:
    """A lake whose index has these rows, in its own order."""
    with tempfile.TemporaryDirectory() as folder:
        made = Lake(folder)
        frame = pl.DataFrame(rows, schema=STALE_INDEX.schema)
        order = ["size_bytes", "backend", "path"]
        made.append(STALE_INDEX, frame.sort(order, descending=[True, False, False]))
        yield made


@settings(max_examples=60, deadline=None)
@given(ROWS, st.sampled_from(sorted(browse.ORDERS)), st.integers(1, 4), st.integers(0, 2))
def test_pages_are_all_rows_in_order_each_once(rows, order, height, days):
    """Keyset pages put together = the sorted rows, whatever the ties."""
    wanted = Wanted(AT, days=days)
    found, after = [], None
    with index_of(*(index_row(p, s, AT - dt.timedelta(days=d), b) for b, p, s, d in rows)) as lake:
        while not (page := browse.page(lake, None, wanted, order, height, after)).is_empty():
            found += page.select("backend", "path", "size_bytes").rows()
            after = browse.end(page, order)
        totals = browse.totals(lake, None, wanted)
    column, descending = browse.ORDERS[order]
    sign = -1 if descending else 1
    value = {"size_bytes": 2, "last_access_at": 3}[column]
    sign = -sign if value == 3 else sign  # many days back is an early instant
    kept = sorted((r for r in rows if r[3] > days), key=lambda r: (sign * r[value], r[0], r[1]))
    assert found == [(r[0], r[1], r[2]) for r in kept]
    assert totals == (len(kept), sum(r[2] for r in kept))


def test_filters_narrow_and_an_unknown_order_is_told():
    with index_of(index_row("a", 5, AT), index_row("z", 3, AT, "c")) as lake:
        where: dict[str, Any] = {"as_of": AT + dt.timedelta(days=2), "days": 1}
        narrower: list[dict[str, Any]] = [
            {}, {"backend": "c"}, {"min_size_bytes": 4}, {"teams": ()}, {"owner": "bob"},
            {"teams": ("vision",), "owner": "ann"},
        ]  # fmt: skip
        paths = [
            browse.page(lake, None, Wanted(**where, **more), "largest", 9)["path"].to_list()
            for more in narrower
        ]
        assert paths == [["a", "z"], ["z"], ["a"], [], [], ["a", "z"]]
        assert browse.matching(lake, None, Wanted(**where)).collect().height == 2
        with pytest.raises(UnknownNameError, match=r"'larges'.*Did you mean 'largest'"):
            browse.page(lake, None, Wanted(**where), "larges", 9)
