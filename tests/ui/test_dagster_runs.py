"""Things run from the Dagster UI: an asset, a backfill of landing hours, checks, the sensors."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pytest
import servers
import world
from playwright.sync_api import Page, expect

from lake.schemas import EVENTS
from lake.store import Lake
from storage.config import load_config

PATIENCE_SECONDS = 180
TALL = {"width": 1440, "height": 1400}


class Team(NamedTuple):
    """The UI of a lake of its own, and the lake's config."""

    url: str
    config: Path

    def ask(self, query: str, **variables: Any) -> Any:
        """What the web server's GraphQL says."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(
            f"{self.url}/graphql", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            told = json.loads(answer.read())
        assert "errors" not in told, told
        return told["data"]

    def runs(self) -> list[dict[str, Any]]:
        """Every run, the newest first, its tags as a mapping."""
        told = self.ask(
            "{runsOrError {... on Runs {results {runId jobName status tags {key value}}}}}"
        )
        return [
            run | {"tags": {tag["key"]: tag["value"] for tag in run["tags"]}}
            for run in told["runsOrError"]["results"]
        ]


def until(what: Callable[[], Any]) -> Any:
    """The first true answer of `what`."""
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        if found := what():
            return found
        time.sleep(0.3)
    raise AssertionError(what)


@pytest.fixture(scope="module")
def team(published, tmp_path_factory) -> Iterator[Team]:
    """Web server and daemon, as `make dev` starts them, on a copy of the published lake."""
    folder = tmp_path_factory.mktemp("team")
    for name in ("lake", "landing", ".dagster", "data"):
        shutil.copytree(published.parent / name, folder / name)
    config = folder / "warpdrive.yaml"
    text = published.read_text()
    config.write_text(text.replace(str(published.parent / "data"), str(folder / "data")))
    environ = {"DAGSTER_HOME": str(folder / ".dagster"), "WARPDRIVE_CONFIG": str(config)}
    port = servers.free_port()
    python = Path(sys.executable)
    module = ["-m", "pipelines.definitions"]
    web = [str(python.with_name("dagster-webserver")), *module, "-h", "127.0.0.1", "-p", str(port)]
    daemon_log = (folder / "daemon.log").open("wb")
    with (
        daemon_log,
        servers.serving(web, port, "/server_info", folder / "web.log", environ) as url,
    ):
        daemon = subprocess.Popen(
            [str(python.with_name("dagster-daemon")), "run", *module], cwd=folder,
            stdout=daemon_log, stderr=daemon_log, start_new_session=True,
            env={**os.environ, **environ},
        )  # fmt: skip
        try:
            yield Team(url, config)
        finally:
            servers.end(daemon)


def materialize(page: Page) -> None:
    """Press Materialize, and agree that the assets of the same step come with it."""
    page.get_by_role("button", name="Materialize").first.click()
    page.get_by_role("button", name="Confirm").click()


def ended(team: Team, known: set[str], jobs: set[str] | None = None) -> dict[str, Any]:
    """The first run that was not known before and has ended."""

    def found() -> list[dict[str, Any]]:
        return [r for r in team.runs() if r["runId"] not in known
                and (jobs is None or r["jobName"] in jobs)
                and r["status"] in ("SUCCESS", "FAILURE")]  # fmt: skip

    return until(found)[-1]


def test_an_asset_is_materialized_from_its_page(team, visit):
    (team.config.parent / "data" / "scratch" / "late.bin").write_bytes(bytes(66))
    known = {run["runId"] for run in team.runs()}
    page = visit(f"{team.url}/assets/usage", viewport=TALL)
    materialize(page)
    run = ended(team, known)
    assert run["status"] == "SUCCESS"
    page.goto(f"{team.url}/runs/{run['runId']}")
    expect(page.get_by_text("Success", exact=True).first).to_be_visible()
    page.goto(f"{team.url}/assets/file_state?view=events")
    expect(page.get_by_text("dagster/row_count").first).to_be_visible()
    expect(page.get_by_text("table_bytes").first).to_be_visible()


def test_missing_hours_are_filled_by_a_backfill(team, visit):
    """All hours selected in the dialog: one run reads them again, and nothing counts twice."""
    lake = Lake(load_config(str(team.config)).lake.root)
    events = lake.scan(EVENTS).select(pl.len()).collect().item()
    page = visit(f"{team.url}/assets/events?view=partitions", viewport=TALL)
    expect(page.get_by_text("Missing (", exact=False).first).to_be_visible()
    materialize(page)
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="All", exact=True).click()
    known = {run["runId"] for run in team.runs()}
    hour = time.strftime("%Y-%m-%d-%H:00", time.gmtime())
    page.get_by_role("button", name="Launch backfill").click()

    def done() -> list[dict[str, Any]]:
        told = team.ask("""{partitionBackfillsOrError {... on PartitionBackfills
            {results {id status numPartitions}}}}""")
        every = told["partitionBackfillsOrError"]["results"]
        return [b for b in every if b["status"] not in ("REQUESTED", "CANCELING")]

    (backfill,) = until(done)
    assert backfill["status"] == "COMPLETED_SUCCESS"
    assert backfill["numPartitions"] > 1
    mine = [r for r in team.runs() if r["tags"].get("dagster/backfill") == backfill["id"]]
    assert [(r["status"], r["runId"] in known) for r in mine] == [("SUCCESS", False)]
    page.goto(f"{team.url}/assets/events?view=partitions")
    expect(page.get_by_text(re.compile(r"Missing \([01]\)"))).to_be_visible()
    told = team.ask("""{assetNodeOrError(assetKey: {path: ["events"]}) {... on AssetNode
        {assetPartitionStatuses {... on TimePartitionStatuses
        {ranges {startKey endKey status}}}}}}""")
    (there,) = told["assetNodeOrError"]["assetPartitionStatuses"]["ranges"]
    # In the last hour of a day the dialog leaves out the next one, which is the next day's first.
    assert there["status"] == "MATERIALIZED"
    assert there["startKey"].endswith("-00:00")
    assert there["endKey"] >= hour
    assert lake.scan(EVENTS).select(pl.len()).collect().item() == events


def test_sensors_and_schedules_run_by_themselves(team, visit):
    """What lands is ingested and shown without anybody's doing; the sensors say what they did."""
    page = visit(f"{team.url}/automation", viewport=TALL)
    for name in ("landed_objects", "reports_follow", "crawl_daily", "maintain_daily",
                 "verify_weekly", "check_freshness_hourly"):  # fmt: skip
        expect(page.get_by_text(name, exact=True)).to_be_visible()
    told = team.ask("""{repositoriesOrError {... on RepositoryConnection {nodes {
        sensors {name sensorState {status}} schedules {name scheduleState {status}}}}}}""")
    (found,) = told["repositoriesOrError"]["nodes"]
    states = [one["sensorState"]["status"] for one in found["sensors"]]
    states += [one["scheduleState"]["status"] for one in found["schedules"]]
    assert states == ["RUNNING"] * 6
    known = {run["runId"] for run in team.runs()}
    now = time.gmtime()
    place = team.config.parent / "landing" / time.strftime("dt=%Y-%m-%d/hour=%H/node=late", now)
    place.mkdir(parents=True)
    event = {"ts": time.strftime("%Y-%m-%dT%H:%M:%SZ", now), "user": "bob", "backend": "scratch",
             "path": "tmp/x", "op": "read", "bytes_read": 7, "node": "late"}  # fmt: skip
    (place / "0000000000000001-000000000001-000000000001.jsonl").write_text(
        json.dumps(event) + "\n"
    )
    run = ended(team, known, {"ingest_landed"})
    assert run["status"] == "SUCCESS"
    assert run["tags"]["warpdrive/work"] == "ingest"
    assert run["tags"]["dagster/max_retries"] == "2"
    report = ended(team, known, {"refresh_reports"})
    assert report["status"] == "SUCCESS"
    until(lambda: "late" in world.run(team.config, "ledger", "--format", "csv"))


def test_freshness_checks_are_run_from_their_page(team, visit):
    page = visit(f"{team.url}/assets/files?view=checks", viewport=TALL)
    expect(page.get_by_text("fresh_training").first).to_be_visible()
    known = {run["runId"] for run in team.runs()}
    page.get_by_role("button", name="Execute all").click()
    assert ended(team, known)["status"] == "SUCCESS"
    page.goto(f"{team.url}/assets/files?view=checks&checkDetail=fresh_scratch")
    expect(page.get_by_text("last listed at").first).to_be_visible()


def test_lineage_runs_from_the_landing_zone_to_the_reports(team, visit):
    page = visit(f"{team.url}/assets/usage?view=lineage&lineageScope=upstream&lineageDepth=9",
                 viewport={"width": 1900, "height": 1400})  # fmt: skip
    for name in ("landing", "events", "access_daily", "file_state", "stale_index", "usage"):
        expect(page.get_by_text(name, exact=True).first).to_be_visible()
