"""`/metrics` of the lake: the numbers of the reports, bounded in number, cut to one's teams."""

import datetime as dt
import json
import os
import subprocess
import sys

import pytest
from prometheus_client.parser import text_string_to_metric_families
from servers.rest import Server

from api.lakemetrics import lake_text
from lake import gauges
from storage import clock
from storage.landing import compress, segment_name

NOW = clock.now()


def samples(text):
    """(name, labels) → value of an exposition."""
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


@pytest.fixture
def governed(home):
    """3 files of 100, 20 and 3 bytes, two of them idle for 400 days; one refused line."""
    for name, size, idle in (("a", 100, 0), ("b", 20, 400), ("c", 3, 400)):
        place = home.root() / name
        place.write_bytes(b"x" * size)
        at = (NOW - dt.timedelta(days=idle)).timestamp()
        os.utime(place, (at, at))
    at = (NOW - dt.timedelta(minutes=1)).isoformat()
    good = {"ts": at, "user": "ann", "backend": "data", "path": "a", "op": "write"}
    home.land("e.jsonl", good, {**good, "ts": "never"})
    for args in (("ingest",), ("crawl",), ("team", "add", "ann", "vision"),
                 ("rule", "add", "data:a", "vision"),
                 ("quota", "set", "--team", "vision", "--soft", "50", "--hard", "400"),
                 ("quota", "set", "--team", "nlp", "--hard", "9"), ("refresh",)):  # fmt: skip
        assert home.run(*args).code == 0
    return home


def test_the_numbers_are_those_of_the_lake(governed):
    """Stored, owned, idle, quotas, what came, ingest; each by hand."""
    found = samples(lake_text(governed.config.lake.root))
    data, team = ("backend", "data"), ("team", "vision")
    assert found["warpdrive_lake_stored_bytes", data] == 123
    assert found["warpdrive_lake_stored_files", data] == 3
    assert found["warpdrive_lake_usage_bytes", data, team] == 100
    assert sum(v for k, v in found.items() if k[0] == "warpdrive_lake_usage_bytes") == 123
    for days, size, files in (("30", 23, 2), ("365", 23, 2)):
        idle = ("idle_days", days)
        assert found["warpdrive_lake_stale_bytes", data, idle] == size
        assert found["warpdrive_lake_stale_files", data, idle] == files
    whole = ("backend", "all")
    assert found["warpdrive_quota_usage_ratio", whole, ("limit", "hard"), team] == 0.25
    assert found["warpdrive_quota_usage_ratio", whole, ("limit", "soft"), team] == 2
    assert found["warpdrive_quota_status", whole, ("status", "WARNING"), team] == 1
    assert found["warpdrive_quota_status", whole, ("status", "OK"), team] == 0
    assert found["warpdrive_lake_added_bytes", data] == 123
    assert found["warpdrive_lake_listing_state", data, ("state", "complete")] == 1
    assert found["warpdrive_lake_listing_state", data, ("state", "held")] == 0
    assert (
        abs(found["warpdrive_lake_crawled_timestamp_seconds", data] - clock.now().timestamp()) < 120
    )
    assert found["warpdrive_ingest_events_total",] == 1
    assert found["warpdrive_ingest_quarantined_lines_total",] == 1
    assert found["warpdrive_ingest_objects_total",] == 1
    assert found["warpdrive_ingest_skewed_objects_total",] == 0
    assert found["warpdrive_agents_dropped_events_total",] == 0
    assert not [k for k in found if k[0] == "warpdrive_lake_coverage_ratio"]  # no agent reports


@pytest.mark.parametrize("hour", ["2001-01-01T00", "2199-01-01T00"])
def test_a_node_with_a_wrong_clock_is_in_the_log_the_ledger_and_the_metrics(home, hour):
    """The object counts; who ingests it, who looks for it and who watches is told."""
    event = {"ts": (NOW - dt.timedelta(minutes=1)).isoformat(), "user": "ann", "backend": "data",
             "path": "a", "op": "read", "node": "n9"}  # fmt: skip
    body = compress([json.dumps(event).encode() + b"\n"])
    home.land(segment_name(hour, "n9", "ab" * 8, 1, 1), raw=body)
    command = [sys.executable, "-c", "import cli; cli.run()", "ingest", "--config", home.file]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Ingested 1 events from 1 objects" in done.stdout
    assert "1 objects from a wrong clock" in done.stdout
    told = [line for line in done.stderr.splitlines() if line.startswith("WARNING")]
    assert any("1 objects are named for an hour" in line and "clocks" in line for line in told)
    assert home.run("refresh").code == 0
    (row,) = home.run("ledger", "--format", "csv").rows
    assert (row["node"], row["hour"], row["events"]) == ("n9", "skewed", "1")
    found = samples(lake_text(home.config.lake.root))
    assert found["warpdrive_ingest_skewed_objects_total",] == 1
    assert found["warpdrive_ingest_objects_total",] == 1


def test_a_token_of_some_teams_sees_those_only(governed):
    """No series without a team, none of another."""
    found = samples(lake_text(governed.config.lake.root, ["vision"]))
    assert {dict(key[1:])["team"] for key in found} == {"vision"}
    assert samples(lake_text(governed.config.lake.root, [])) == {}


def test_the_number_of_series_is_bounded(monkeypatch):
    """Groups beyond the limit are summed up as `other`: nothing is lost."""
    monkeypatch.setattr(gauges, "MAX_GROUPS", 3)
    rows = [{"group": f"t{n}", "backend": "data", "bytes": 10 - n} for n in range(10)]
    found = dict(gauges._bounded(rows, "group", "bytes"))
    assert list(found) == [("t0", "data"), ("t1", "data"), ("t2", "data"), ("other", "data")]
    assert sum(found.values()) == sum(row["bytes"] for row in rows)


def test_an_empty_lake_has_no_series(home):
    """Nothing is published, nothing is created, nothing fails."""
    assert lake_text(home.config.lake.root) == b""
    assert not (home.folder / "lake").exists()


def test_the_server_serves_them_beside_its_own(governed):
    """One exposition: the lake's families and the server's."""
    server = Server(governed.file)
    try:
        server.get("backends")
        body = server.get("/metrics").body
    finally:
        server.stop()
    assert samples(body)["warpdrive_lake_stored_bytes", ("backend", "data")] == 123
    assert b"warpdrive_api_requests_total{" in body
