"""The one Delta speaker: what a write promises."""

import json

import polars as pl
import pytest
from deltalake import write_deltalake
from deltalake.exceptions import CommitFailedError

from lake import store
from lake.parts import validated, write_part
from lake.schemas import QUARANTINE, TABLES, Column, Table
from lake.store import Lake
from storage.errors import LakeError


def rows(*texts, hour="h", batch=1):
    return pl.DataFrame([
        {"hour": hour, "object": "o", "line": n, "batch": batch, "reason": "r", "text": text}
        for n, text in enumerate(texts, 1)
    ], schema=QUARANTINE.schema)  # fmt: skip


def texts(lake):
    return sorted(lake.scan(QUARANTINE).collect()["text"].to_list())


def test_a_table_that_is_not_there_is_empty(tmp_path):
    """Reading makes nothing."""
    lake = Lake(str(tmp_path / "lake"))
    assert lake.scan(QUARANTINE).collect().schema == QUARANTINE.schema
    assert (lake.version(QUARANTINE), lake.app_version(QUARANTINE, "x")) == (-1, -1)
    lake.delete(QUARANTINE, {"hour": "h"})
    assert not (tmp_path / "lake").exists()


def test_a_version_of_an_application_is_written_once(tmp_path):
    """The same or a smaller number again adds nothing."""
    lake = Lake(str(tmp_path))
    assert lake.append(QUARANTINE, rows("a"), ("ingest", 2))
    assert not lake.append(QUARANTINE, rows("a"), ("ingest", 2))
    assert not lake.append(QUARANTINE, rows("b"), ("ingest", 1))
    assert lake.append(QUARANTINE, rows("c"), ("other", 0))
    assert texts(lake) == ["a", "c"]


@pytest.mark.parametrize("committed", [True, False])
def test_a_failed_commit_may_be_a_committed_one(tmp_path, monkeypatch, committed):
    """It is read back before it is tried again: the rows are there once."""
    lake = Lake(str(tmp_path))
    lake.append(QUARANTINE, rows("before"))
    tries = []

    def flaky(*args, **how):
        tries.append(1)
        if len(tries) > 1 or committed:
            write_deltalake(*args, **how)
        if len(tries) == 1:
            raise CommitFailedError("lost")

    monkeypatch.setattr(store, "write_deltalake", flaky)
    assert lake.append(QUARANTINE, rows("a"), ("ingest", 1))
    assert texts(lake) == ["a", "before"]


def test_a_commit_that_never_succeeds_is_an_error_in_one_line(tmp_path, monkeypatch):
    """After its tries, with the table's name."""
    lake = Lake(str(tmp_path))
    lake.create(QUARANTINE)

    def never(*_, **__):
        raise CommitFailedError("lost\nand more")

    monkeypatch.setattr(store, "write_deltalake", never)
    monkeypatch.setattr(store.time, "sleep", lambda _: None)
    with pytest.raises(LakeError, match=r"quarantine.*lost") as told:
        lake.append(QUARANTINE, rows("a"))
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("hour", ["h", "it's", "a b", "50%", 'q"', "", "x/../y"])
def test_replace_and_delete_touch_their_rows_only(tmp_path, hour):
    """Any value in a predicate, other rows stay."""
    lake = Lake(str(tmp_path))
    lake.append(QUARANTINE, rows("other", hour="other"))
    lake.append(QUARANTINE, rows("a", "b", hour=hour))
    lake.replace(QUARANTINE, rows("c", hour=hour), {"hour": hour})
    assert texts(lake) == ["c", "other"]
    lake.delete(QUARANTINE, {"hour": hour, "object": "o"})
    assert texts(lake) == ["other"]
    lake.replace(QUARANTINE, rows())
    assert texts(lake) == []


def test_rows_that_do_not_fit_are_refused_before_they_are_written(tmp_path):
    """A missing column, and null where there must be none."""
    with pytest.raises(LakeError, match="columns missing: text"):
        validated(QUARANTINE, rows("a").drop("text"))
    with pytest.raises(LakeError, match="null in reason"):
        Lake(str(tmp_path)).append(
            QUARANTINE, rows("a").with_columns(reason=pl.lit(None, pl.String))
        )
    assert not (tmp_path / "quarantine").exists()


def test_a_damaged_table_is_an_error_in_one_line(tmp_path):
    """It names the table and its place."""
    lake = Lake(str(tmp_path))
    lake.append(QUARANTINE, rows("a"))
    for file in (tmp_path / "quarantine" / "_delta_log").glob("*.json"):
        file.write_text("{")
    with pytest.raises(LakeError, match="quarantine") as told:
        lake.scan(QUARANTINE)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_every_declared_table_can_be_made_and_read_back(tmp_path, table):
    """The declared types are those that Delta gives back; no column is undocumented."""
    lake = Lake(str(tmp_path))
    lake.append(table, pl.DataFrame(schema=table.schema))
    assert lake.scan(table).collect_schema() == table.schema
    assert all(column.doc for column in table.columns)


def test_a_version_that_was_cleaned_away_is_one_line_with_a_way_out(tmp_path):
    """Results published long ago may name a version that the log does not know any more."""
    lake = Lake(str(tmp_path))
    for number in range(3):
        lake.append(QUARANTINE, rows(str(number)))
    handle = lake.open(QUARANTINE)
    assert handle is not None
    handle.create_checkpoint()
    for log in (tmp_path / "quarantine" / "_delta_log").glob("*[0-2].json"):
        log.unlink()
    with pytest.raises(LakeError, match=r"version 1.*is gone.*warpdrive refresh"):
        lake.at({"quarantine": 1}).scan(QUARANTINE)


def test_rows_in_no_order_of_texts_have_no_bounds_of_texts(tmp_path):
    """Nothing could be skipped by them; numbers and instants keep theirs."""
    rows = pl.DataFrame({"name": ["b", "a"], "size": [2, 1]})
    table = Table("t", "rows", (Column("name", pl.String(), ""), Column("size", pl.Int64(), "")))
    some = write_part(str(tmp_path), table, rows, ordered=False)
    every = write_part(str(tmp_path), table, rows)
    assert (some.least, some.most) == ({"size": 1}, {"size": 2})
    assert (every.least, every.most) == ({"name": "a", "size": 1}, {"name": "b", "size": 2})
    assert json.loads(some.stats)["nullCount"] == {"name": 0, "size": 0}
