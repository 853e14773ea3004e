"""What passes between the steps of a refresh, on an object store."""

import polars as pl

from lake.pieces import load_pieces, write_pieces
from storage.objectstore import listed, open_store


def test_pieces_on_s3_are_ranges_of_one_object(moto_server, monkeypatch):
    """Any of them is read alone; without frames there is no object."""
    for name, value in moto_server.environ().items():
        monkeypatch.setenv(name, value)
    place = f"s3://{moto_server.bucket()}/work"
    frames = {n: pl.DataFrame({"n": range(n, n + 50), "text": [f"é{n}"] * 50}) for n in range(40)}
    pieces = write_pieces(place, "spans", frames)
    assert write_pieces(place, "spans", {}) == {}
    assert len(list(listed(open_store(place)))) == 1
    found = load_pieces([pieces[n] for n in (39, 0, 7)], frames[0].schema)
    assert found.equals(pl.concat([frames[n] for n in (39, 0, 7)]))
