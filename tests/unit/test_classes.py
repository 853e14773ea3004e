"""Classes of the index: ranges of its order that hold about as many rows each."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lake import classes
from lake.classes import class_of, cuts
from lake.parts import write_part
from lake.schemas import FILES
from lake.store import Lake

AT = pl.lit(0).cast(pl.Datetime("us", "UTC"))
FILE = st.tuples(st.sampled_from("ab"), st.text("xyz/", min_size=1, max_size=3), st.integers(0, 4))


def lake_of(root, files):
    """A lake whose `files` has rows (backend, path, size)."""
    rows = pl.DataFrame(files, schema=["backend", "path", "size_bytes"], orient="row")
    lake = Lake(str(root))
    for (backend,), part in rows.partition_by("backend", as_dict=True).items():
        whole = part.with_row_index("file_id").with_columns(
            first_seen_at=AT, last_seen_at=AT,
            **{c.name: pl.lit(None, c.dtype) for c in FILES.columns if c.nullable},
        )  # fmt: skip
        lake.commit(FILES, [write_part(lake.root, FILES, whole, {"backend": backend})])
    return lake, rows


@settings(max_examples=25, deadline=None, derandomize=True, database=None)
@given(files=st.lists(FILE, min_size=1, max_size=40, unique_by=lambda f: f[:2]))
def test_classes_follow_the_order_of_the_index(files, tmp_path_factory):
    """From row to row the class stays or grows, also among files of one size; none is too large."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classes, "TOP_ROWS", 3)
        patch.setattr(classes, "CLASS_ROWS", 5)
        lake, rows = lake_of(tmp_path_factory.mktemp("classes") / "lake", files)
        found = cuts(lake, ())
    order = rows.sort(["size_bytes", "backend", "path"], descending=[True, False, False])
    numbers = class_of(order, found).to_list()
    assert numbers == sorted(numbers)
    assert numbers[0] == 0
    assert max(numbers.count(n) for n in numbers) <= 10
    key = ["backend", "path"]
    there = rows.with_columns(class_of(rows, found)).join(order.with_row_index("place"), on=key)
    assert there.sort("place")["class"].to_list() == numbers


def test_many_files_of_one_size_are_cut_by_name(tmp_path, monkeypatch):
    """A lake of empty files needs no more memory than any other."""
    monkeypatch.setattr(classes, "TOP_ROWS", 100)
    monkeypatch.setattr(classes, "CLASS_ROWS", 200)
    lake, rows = lake_of(tmp_path / "lake", [("b", f"f{n:05d}", 0) for n in range(2_000)])
    numbers = class_of(rows, cuts(lake, ()))
    assert numbers.is_sorted()
    assert max(numbers.value_counts()["count"].to_list()) <= 220
