"""Real history with a known truth, through the real commands; see tests/data/README.md.

$WARPDRIVE_TRACE names a folder of the same layout; without it the two backends of tests/data
serve. The name of the folder stands in the id of every test.
"""

import csv
import datetime as dt
import gzip
import itertools
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import duckdb
import pytest
from deltalake import DeltaTable

COMMITTED = Path(__file__).resolve().parents[1] / "data"
TRACE = Path(os.environ.get("WARPDRIVE_TRACE") or COMMITTED)
WARPDRIVE = Path(sys.executable).with_name("warpdrive")
AS_OF = "2026-11-01T00:00:00Z"
EVERYTHING = ("--days", "0", "--limit", "0")

pytestmark = pytest.mark.timeout(900)


class Loaded:
    """A lake that holds the trace, and the command line to ask it."""

    def __init__(self, folder):
        self.folder = folder
        self.lake = folder / "lake"
        self.config = folder / "warpdrive.yaml"
        self.asked = {}
        self.backends = sorted(p.name for p in (TRACE / "inventory").iterdir())
        lines = ["lake: {root: ./lake}", "telemetry: {landing: ./landing}", "backends:"]
        for name in self.backends:
            where = json.dumps(str(TRACE / "inventory" / name))
            lines += [
                f"  - name: {name}",
                "    type: s3",
                f"    config: {{bucket: {name}}}",
                f"    inventory: {{format: s3, location: {where}, sample: 0}}",  # no store
            ]
        self.config.write_text("\n".join(lines) + "\n")

    def run(self, *args):
        """What a command prints; it must succeed and must not complain."""
        environ = {k: v for k, v in os.environ.items() if k != "DAGSTER_HOME"}
        environ["WARPDRIVE_CONFIG"] = str(self.config)
        done = subprocess.run(
            [WARPDRIVE, *args], env=environ, capture_output=True, text=True, check=False,
            encoding="utf-8",
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, ""), args
        return done.stdout

    def rows(self, *args):
        """The rows of a report as CSV, as of the instant of the truth."""
        if args not in self.asked:
            out = self.run(*args, "--format", "csv", "--as-of", AS_OF)
            self.asked[args] = list(csv.DictReader(out.splitlines()))
        return self.asked[args]

    def events(self):
        """Every row of `events`, by (backend, path, user, op, second), read without our code."""
        files = DeltaTable(str(self.lake / "events")).file_uris()
        found = duckdb.execute(
            "select backend, path, user, op, epoch_us(ts) // 1000000 from read_parquet(?)", [files]
        ).fetchall()
        return Counter(found)


@pytest.fixture(scope="module", params=[TRACE.name])
def loaded(tmp_path_factory):
    """The trace, loaded once by the commands in the order of the manual."""
    found = Loaded(tmp_path_factory.mktemp("trace"))
    found.run("ingest", str(TRACE / "events"))
    found.run("crawl")
    found.run("team", "import", str(TRACE / "truth" / "teams.csv"))
    found.run("refresh")
    return found


def truth(name):
    with (TRACE / "truth" / f"{name}.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def seconds(text):
    """An instant of a truth file as the CSV reports print it."""
    return dt.datetime.fromisoformat(text).strftime("%Y-%m-%d %H:%M:%S")


def lines_of_the_trace():
    for file in sorted((TRACE / "events").glob("*.jsonl.gz")):
        yield from gzip.decompress(file.read_bytes()).splitlines()


def test_events_holds_exactly_one_row_per_line(loaded):
    """Neither more nor fewer rows than lines, and the same accesses."""
    expected = Counter()
    for line in lines_of_the_trace():
        event = json.loads(line)
        at = int(dt.datetime.fromisoformat(event["ts"]).timestamp())
        expected[event["backend"], event["path"], event["user"], event["op"], at] += 1
    assert loaded.events() == expected


def test_teams(loaded):
    """Every user of the file is in his team, and nobody else is."""
    shown = {(row["user"], row["team"]) for row in loaded.rows("team", "list")}
    assert shown == {(row["user_id"], row["team_name"]) for row in truth("teams")}


@pytest.mark.parametrize("group", ["user", "team"])
def test_usage_by_access(loaded, group):
    """Files, bytes and last access of every group that ever touched a backend."""
    shown = {
        (row["group"], row["backend"], row["files"], row["bytes"], row["last_access"])
        for row in loaded.rows("usage", "--group-by", group, "--attribution", "access")
    }
    assert shown == {
        (row[group], row["backend"], row["file_count"], row["total_bytes"],
         seconds(row["last_access"]))
        for row in truth(f"usage_by_{group}")
    }  # fmt: skip


def test_usage_by_owner(loaded):
    """Stored files and bytes by first writer's team; teams that only acted own nothing."""
    shown = {
        (row["group"], row["backend"]): (row["files"], row["bytes"])
        for row in loaded.rows("usage", "--group-by", "team")
    }
    expected = {
        (row["team"], row["backend"]): (row["file_count"], row["total_bytes"])
        for row in truth("usage_owned_by_team")
    }
    assert {key: shown[key] for key in expected} == expected
    assert {value for key, value in shown.items() if key not in expected} <= {("0", "0")}


def test_last_access(loaded):
    """Every living file, its size and when it was last touched."""
    shown = [
        (row["backend"], row["path"], row["size_bytes"], row["last_access"])
        for row in loaded.rows("stale", *EVERYTHING)
    ]
    expected = [
        (row["backend"], row["path"], row["size_bytes"], seconds(row["last_access"]))
        for row in truth("last_access")
    ]
    assert sorted(shown) == sorted(expected)


def test_growth(loaded):
    """The state at every snapshot, and it goes down where more than half went away."""
    shown = {
        (row["backend"], row["date"]): (int(row["file_count"]), int(row["total_bytes"]))
        for row in loaded.rows("growth", "--period", "0")
    }
    expected = {
        (row["backend"], row["snapshot_date"]): (int(row["file_count"]), int(row["total_bytes"]))
        for row in truth("growth")
    }
    assert {key: shown[key] for key in expected} == expected
    points = sorted(expected)
    shrunk = [
        (before, after)
        for before, after in itertools.pairwise(points)
        if before[0] == after[0] and expected[after][1] * 2 < expected[before][1]
    ]
    assert shrunk, "the trace has a backend that loses more than half between two reports"
    assert all(shown[after][1] * 2 < shown[before][1] for before, after in shrunk)


def test_growth_has_every_day_and_changes_only_at_reports(loaded):
    """From the first report to as-of one row a day and backend; between reports nothing moves."""
    reported = {(row["backend"], row["snapshot_date"]) for row in truth("growth")}
    days = Counter()
    before = {}
    for row in loaded.rows("growth", "--period", "0"):
        name, state = row["backend"], (row["file_count"], row["total_bytes"])
        days[name] += 1
        if (name, row["date"]) not in reported:
            assert (state, row["added_bytes"], row["removed_bytes"]) == (before[name], "0", "0")
        before[name] = state
    end = dt.date.fromisoformat(AS_OF[:10])
    first = {name: min(day for b, day in reported if b == name) for name in loaded.backends}
    assert days == {n: (end - dt.date.fromisoformat(d)).days + 1 for n, d in first.items()}


def test_the_truth_agrees_with_itself():
    """Owned bytes, living files and the last point of growth are one sum per backend."""
    owned, living, last = Counter(), Counter(), {}
    for row in truth("usage_owned_by_team"):
        owned[row["backend"]] += int(row["total_bytes"])
    for row in truth("last_access"):
        living[row["backend"]] += int(row["size_bytes"])
    for row in sorted(truth("growth"), key=lambda row: row["snapshot_date"]):
        last[row["backend"]] = int(row["total_bytes"])
    assert owned == living == last


def test_events_again_under_other_names_change_nothing(loaded, tmp_path):
    """Renamed and unpacked files are known by what is in them."""
    before = loaded.events()
    for number, file in enumerate(sorted((TRACE / "events").glob("*.jsonl.gz"))):
        (tmp_path / f"again-{number:03d}.jsonl").write_bytes(gzip.decompress(file.read_bytes()))
    said = loaded.run("ingest", str(tmp_path))
    assert "Nothing new has landed" in said
    assert loaded.events() == before
