"""`stale_index` is in one order, whatever order its rows come in."""

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from lake.index import ordered
from lake.pieces import load_pieces, write_pieces

ROW = st.tuples(st.integers(0, 3), st.sampled_from(["a", "b", "é"]), st.text("ab/é", max_size=3))
SCHEMA = {"size_bytes": pl.Int64, "backend": pl.String, "path": pl.String}


def frame(rows):
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


@given(st.lists(ROW, max_size=12), st.booleans())
def test_rows_are_largest_first_with_ties_by_backend_and_path(rows, in_path_order):
    """As Python sorts them; those that come in path order are not compared again."""
    if in_path_order:
        rows.sort(key=lambda row: (row[1].encode(), row[2].encode()))
    found = ordered(frame(rows)).rows()
    assert found == sorted(rows, key=lambda row: (-row[0], row[1].encode(), row[2].encode()))


@given(st.lists(st.lists(ROW, min_size=1, max_size=4), max_size=5))
def test_pieces_are_read_as_they_were_written(tmp_path_factory, groups):
    """Any of many frames in one file, in the order they are asked for."""
    frames = {number * 7: frame(rows) for number, rows in enumerate(groups)}
    place = str(tmp_path_factory.mktemp("pieces"))
    pieces = write_pieces(place, "some", frames)
    for number, given_frame in frames.items():
        assert load_pieces([pieces[number]], {}).equals(given_frame)
    found = load_pieces(list(reversed(pieces.values())), frame([]).schema)
    assert found.rows() == [row for rows in reversed(groups) for row in rows]
