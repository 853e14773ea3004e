"""How a listing and the index are cut into ranges, and what a crawl does not load."""

import datetime as dt
import itertools
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import staging
from pipelines.staging import cuts, ranges
from storage.listing.arrow import instants, texts
from storage.listing.columns import batch

ROOT = Path(__file__).parents[2]
PATHS = st.lists(st.text("abc", min_size=1, max_size=5), unique=True, min_size=1, max_size=60)


def weights(samples, found):
    """Rows of each range."""
    return [
        sum(w for p, w in samples if (low is None or p >= low) and (high is None or p < high))
        for low, high in ranges(found)
    ]


@given(paths=PATHS, data=st.data())
def test_ranges_are_bounded_and_rise(paths, data):
    """No range stands for more than a quarter too many rows, whatever the edges."""
    weight = staging.RANGE_ROWS // 7
    edges = data.draw(st.sets(st.sampled_from(paths)))
    samples = [(path, weight) for path in paths]
    found = cuts(samples, edges)
    assert found == sorted(set(found))
    assert max(weights(samples, found)) <= staging.RANGE_ROWS * 5 // 4


def test_a_cut_falls_where_a_file_begins_when_one_is_near():
    """Files of as many rows as half a range, listed again: each is read once."""
    half = staging.RANGE_ROWS // 2
    edges = [f"{n:02}-00" for n in range(6)]
    listed = [(f"{n:02}-{m:02}", half // 99) for n in range(6) for m in range(100)]
    found = cuts([*((edge, half) for edge in edges), *listed], edges)
    assert found == edges[1:]
    assert found != cuts([*((edge, half) for edge in edges), *listed])


def test_reports_are_read_without_pandas():
    """Its import costs more CPU than a million rows of a report."""
    code = """
import sys, io, csv, datetime as dt
import pyarrow as pa
from pyarrow import parquet
from storage.listing import azurereport, reportfiles as r, s3report
out = io.BytesIO()
rows = {"key": ["a", "b"], "size": ["1", None], "is_latest": ["true", "false"],
        "e_tag": ['"x"', "y"], "storage_class": ["S", "S"],
        "last_modified_date": ["2026-10-01T00:00:00Z"] * 2}
with parquet.ParquetWriter(out, s := pa.schema([(n, pa.string()) for n in rows])) as writer:
    from storage.listing.arrow import texts
    writer.write_batch(pa.RecordBatch.from_arrays([texts(v) for v in rows.values()], schema=s))
(table,) = r.tables("x", "PARQUET", out.getvalue(), None)
found = s3report._listed("x", table, encoded=True)
lines = b"Name,Snapshot,Content-Length\\nc/a,,5\\nc/b,2026-10-01T00:00:00Z,6\\n"
(table,) = r.tables("x", "CSV", lines, None)
other = azurereport._listed("x", table, "c/")
assert "pandas" not in sys.modules
print(found.to_pylist()[0]["etag"], found.num_rows, other["path"], other["size_bytes"])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[:2] == ["x", "1"]


def listed(*pages):
    """Batches of paths; sizes count the rows."""
    size = itertools.count()
    return [batch({"path": list(p), "size_bytes": [next(size) for _ in p]}, len(p)) for p in pages]


def test_pages_that_come_in_any_order_are_not_sorted_row_by_row(tmp_path, monkeypatch):
    """Pages of eight listers: each is in order, and none reaches into another."""
    monkeypatch.setattr(pl.DataFrame, "sort", None)
    staged = staging.Staged("b", listed("ef", "ab", "", "cd"), tmp_path)
    assert staged.between(None, None)["path"].to_list() == list("abcdef")


@pytest.mark.parametrize("pages", [("cad", "ab"), ("ab", "bc"), ("ad", "bc"), ("ba", "dc")])
def test_of_a_path_that_is_listed_twice_the_last_row_counts(tmp_path, pages):
    """Also where pages seem to be in order and are not."""
    staged = staging.Staged("b", listed(*pages), tmp_path)
    last = {path: n for n, path in enumerate("".join(pages))}
    assert staged.between(None, None).select("path", "size_bytes").rows() == sorted(last.items())


def test_plain_values_are_arrow_none_and_nulls_included():
    """An empty container is a page of no values."""
    at = dt.datetime(2026, 10, 1, 12, tzinfo=dt.UTC)
    for values in ([], [None], ["é", None, ""]):
        assert texts(values).to_pylist() == values
    for values in ([], [None], [at, None]):
        assert instants(values).to_pylist() == values
