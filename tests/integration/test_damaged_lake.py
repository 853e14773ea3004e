"""Files of a lake that were cut or lost: which one, in one line, and what a refresh mends."""

import shutil
from pathlib import Path

import pytest

from tests.home import Home


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A published lake; tests damage copies of it."""
    home = Home(tmp_path_factory.mktemp("whole"))
    (home.root() / "x").write_bytes(b"123")
    event = {"ts": "2026-11-01T10:00:00Z", "user": "ann", "backend": "data", "path": "x",
             "op": "write"}  # fmt: skip
    home.land("a.jsonl", event)
    for command in ("ingest", "crawl", "refresh"):
        assert home.run(command).code == 0
    return home


@pytest.fixture
def home(whole, tmp_path):
    """A copy of it."""
    shutil.copytree(whole.folder, tmp_path / "copy")
    return Home(tmp_path / "copy")


def owned(home):
    said = home.run("usage", "--format", "csv")
    assert said.code == 0, said.err
    return [line.split(",")[:4] for line in said.out.splitlines()[1:]]


@pytest.mark.parametrize(("table", "command"), [("files", "refresh"), ("ledger", "ingest")])
@pytest.mark.parametrize("lost", [True, False], ids=["lost", "cut"])
def test_a_damaged_file_of_a_table_is_named_in_one_line(home, table, command, lost):
    """It was a traceback that did not say which file."""
    (file,) = Path(home.config.lake.root, table).rglob("*.parquet")
    size = file.stat().st_size
    if lost:
        file.unlink()
    else:
        with file.open("r+b") as handle:
            handle.truncate(100)
    said = home.run(command)
    gone = size if lost else size - 100
    assert (said.code, said.out) == (1, "")
    assert said.err.splitlines()[-1] == (
        f"error: {file}: table {table} has lost {gone} of the {size} bytes of this file: "
        "put it back from a copy of the lake."
    )
    assert "Traceback" not in said.err


@pytest.mark.parametrize("damaged", ["CURRENT", "*/*.json", "**/*"])
@pytest.mark.parametrize("text", ["", "gar{bage"])
def test_a_refresh_mends_whatever_is_published(home, damaged, text):
    """Readers say so, and what they say helps; numbers of generations only grow."""
    published = Path(home.config.lake.root, "published")
    before = max(int(place.name) for place in published.iterdir() if place.name.isdigit())
    for place in published.glob(damaged):
        if place.is_file():
            place.write_text(text)
    said = home.run("usage")
    assert said.code == 1
    assert "is damaged" in said.err
    assert said.err.rstrip().endswith("run `warpdrive refresh` to publish again.")
    said = home.run("refresh")
    assert said.code == 0, said.err
    assert owned(home) == [["ann", "data", "1", "3"]]
    assert home.run("quota", "set", "--team", "t", "--hard", "1").code == 0
    after = max(int(place.name) for place in published.iterdir() if place.name.isdigit())
    assert after > before
