"""A stale page as JSON straight from its columns is what its rows are as JSON, byte for byte."""

import datetime as dt

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from lake.publish import as_rows
from lake.schemas import STALE_INDEX
from lake.stalebody import body
from lake.text import render

NOW = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)
SCHEMA = {**STALE_INDEX.schema, "coverage": pl.Float64()}
HOSTILE = (
    "", "plain/file.bin", 'quo"te\\back/slash', "tab\tline\nfeed\r\b\f", "\x00\x01\x1f\x7f",
    "é 漢 \u2028\u2029 \U0001f600", "}{,coverage", '{"owner":"x"}', "</script>",
)  # fmt: skip
times = st.integers(-(10**15), 10**15).map(lambda us: NOW + dt.timedelta(microseconds=us))
texts = st.sampled_from(HOSTILE) | st.text(st.characters(codec="utf-8"), max_size=8)
rows = st.builds(
    lambda **row: row,
    backend=st.sampled_from(["a", 'b"']), path=texts, file_id=st.integers(0, 9),
    size_bytes=st.sampled_from([0, 1, 2**63 - 1]), last_modified_at=st.none() | times,
    last_access_at=times, evidence=texts, owner=texts, owner_source=texts, team=texts,
    coverage=st.none() | st.sampled_from([0.0, 1.0, 1 / 3, 5e-5, 1e-7, 0.1]),
)  # fmt: skip


@given(st.lists(rows, max_size=5))
def test_columns_and_rows_make_the_same_bytes(page):
    """Quotes, control characters, tiny shares, missing times, no rows at all."""
    frame = pl.DataFrame(page, schema=SCHEMA)
    assert body(frame) == render("stale", as_rows(frame), "json").encode()


def test_every_hostile_text_comes_through():
    """One row each."""
    one = {"backend": "a", "size_bytes": 1, "last_access_at": NOW, "coverage": 5e-5}
    frame = pl.DataFrame([{**one, "path": text, "owner": text} for text in HOSTILE], schema=SCHEMA)
    assert body(frame) == render("stale", as_rows(frame), "json").encode()
