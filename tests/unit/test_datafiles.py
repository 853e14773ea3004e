"""Parquet files that are written while their rows come."""

import dataclasses

import polars as pl
import pyarrow.parquet as pq
import pytest

from lake.datafiles import write_frames
from lake.schemas import QUARANTINE, Table
from lake.store import Lake
from storage.errors import LakeError

WHERE = {"hour": "2026-11-24T10"}
MIXED = Table("quarantine", "", tuple(
    dataclasses.replace(column, nullable=column.name == "text") for column in QUARANTINE.columns
), partition_by=("hour",))  # fmt: skip


def rows(reasons, texts=None):
    texts = texts or ["x"] * len(reasons)
    return pl.DataFrame(
        {"hour": WHERE["hour"], "object": "o", "line": range(1, len(reasons) + 1), "batch": 1,
         "reason": reasons, "text": texts}, schema=QUARANTINE.schema,
    )  # fmt: skip


def test_columns_that_are_never_null_are_written_as_such(tmp_path):
    """Only what may be null has room for it; bounds and rows are those of all frames."""
    frames = [rows(["b", "a"], ["t", None]), rows([]), rows(["c"])]
    part = write_frames(str(tmp_path), MIXED, WHERE, frames)
    assert part is not None
    schema = pq.read_schema(part.uri)
    assert {each.name: each.nullable for each in schema} == {
        "object": False, "line": False, "batch": False, "reason": False, "text": True,
    }  # fmt: skip
    assert pl.read_parquet(part.uri)["reason"].to_list() == ["b", "a", "c"]
    assert part.stats == (
        '{"numRecords": 3, "minValues": {"object": "o", "line": 1, "batch": 1, "reason": "a", '
        '"text": "t"}, "maxValues": {"object": "o", "line": 2, "batch": 1, "reason": "c", '
        '"text": "x"}, "nullCount": {"object": 0, "line": 0, "batch": 0, "reason": 0, "text": 1}}'
    )
    lake = Lake(str(tmp_path))
    lake.commit(QUARANTINE, [part])
    lake.delete(QUARANTINE, {"line": 2})  # the engine writes what is left of the file anew
    assert sorted(lake.scan(QUARANTINE).collect()["reason"].to_list()) == ["b", "c"]


@pytest.mark.parametrize("first", [[], ["good"]])
def test_a_null_where_none_may_be_is_refused_and_leaves_no_file(tmp_path, first):
    """In the first rows or in later ones."""
    frames = [rows(first * 70_000), rows(["good", None])]
    with pytest.raises(LakeError, match="table quarantine: null in reason"):
        write_frames(str(tmp_path), QUARANTINE, WHERE, frames)
    assert not [*tmp_path.rglob("*.parquet")]
