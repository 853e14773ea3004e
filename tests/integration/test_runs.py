"""The commands that run pipelines, on the persistent Dagster instance beside the config."""

import datetime as dt
import json
import shutil

import pytest

from storage import clock
from storage.landing import compress, hour_of, segment_name
from tests.home import Home

NOW = clock.now()
HOUR = hour_of(NOW - dt.timedelta(hours=2))
BOOT = "0123456789abcdef"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Two backends, one of which goes away; events of years ago and of today."""
    found = Home(tmp_path_factory.mktemp("runs"), backends=("data", "away"))
    text = found.file.read_text().replace("root: ./lake", "root: ./lake, retention: 5000d")
    found.file.write_text(text)
    (found.root() / "a").write_text("abc")
    return found


def segment(home, hour, path, first):
    """Land one read of one byte."""
    at = (NOW - dt.timedelta(hours=3)).isoformat()
    event = {"ts": at, "user": "ann", "backend": "data", "path": path, "op": "read",
             "bytes_read": 1, "seq": first, "boot": BOOT, "node": "n"}  # fmt: skip
    line = json.dumps(event).encode() + b"\n"
    return home.land(segment_name(hour, "n", BOOT, first, first), raw=compress([line]))


def failed(said):
    """Exit 1 and one line that says why."""
    assert said.code == 1
    assert said.err.count("\n") == 1
    assert said.err.startswith("error: ")
    return said.err


def test_the_story(home):
    """Ingest, crawl, refresh, ask, a backfill; what is gone is refused by name."""
    old = segment(home, "2020-02-03T04", "old", 1)  # before the first partition there is
    segment(home, HOUR, "a", 2)
    said = home.run("ingest")
    assert (said.code, said.err) == (0, "")
    assert said.out == ("Ingested 2 events from 2 objects (0 lines quarantined, 0 duplicates).\n")
    assert home.run("ingest").out == "Nothing new has landed.\n"

    shutil.rmtree(home.root("away"))
    said = home.run("crawl", "--format", "csv")
    assert "away" in said.err
    assert said.code == 1
    rows = {row["backend"]: row for row in said.rows}
    assert (rows["data"]["state"], rows["data"]["files"]) == ("complete", "1")
    assert (rows["away"]["state"], rows["away"]["files"]) == ("failed", "0")
    assert str(home.root("away")) in rows["away"]["error"]

    assert home.run("refresh", "--rebuild").out.startswith("Published generation 1 as of ")
    (row,) = home.run("usage", "--group-by", "backend", "--format", "csv").rows
    assert (row["group"], row["files"], row["bytes"], row["read_count"]) == ("data", "1", "3", "2")

    hours = ("ingest", "--from", "2020-02-03T04:00Z")
    said = home.run(*hours, "--to", "2020-02-03T06:00Z")
    assert (said.code, said.err) == (0, "")
    assert said.out == "Ingested 1 landing hours again; 0 events were new.\n"
    said = home.run("ingest", "--from", "2019-01-01", "--to", "2019-02-01")
    assert said.out == "Nothing has landed in those hours.\n"
    old.unlink()
    assert old.name in failed(home.run(*hours))
    assert home.run("user", "ann", "--format", "csv").rows[0]["bytes_read"] == "1"


def test_the_instance_stands_beside_the_config(home):
    """Runs are there for the Dagster UI, and nothing is written anywhere else."""
    home.run("crawl")
    assert (home.folder / ".dagster" / "dagster.yaml").is_file()
    found = {path.name for path in home.folder.iterdir()}
    assert found <= {".dagster", "lake", "landing", "roots", "warpdrive.yaml"}


def test_nothing_of_the_lake_is_readable_for_the_world(home):
    """Tables, published results and leases may hold names of people and files."""
    for path in (home.folder / "lake").rglob("*"):
        assert path.stat().st_mode & 0o007 == 0, path
