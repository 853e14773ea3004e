"""What Dagster shows: every asset with layer, owner and meaning; checks; what runs by itself."""

import datetime as dt
import json
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
import yaml

from lake.schemas import LISTINGS, TABLES
from lake.store import Lake
from pipelines import ingest as ingesting
from pipelines.defs import automation, crawl, freshness, ingest, maintenance, results
from storage import clock
from storage.config import load_config
from storage.landing import compress, hour_of, segment_name

ROOT = Path(__file__).resolve().parents[2]
LAYERS = {
    "telemetry": {"events", "quarantine", "ledger"},
    "inventory": {"files", "file_changes", "listings"},
    "state": {
        "access_daily",
        "agents",
        "file_state",
        "file_user",
        "activity",
        "file_reader",
        "user_daily",
        "user_files",
        "user_jobs",
    },
    "reports": {
        "stale_index",
        "stale_rollup",
        "usage",
        "growth",
        "quota_status",
        "quota_events",
        "backends",
    },
    "housekeeping": {"retention", "fold", "compaction", "checkpoints", "vacuum"},
}
CHECKS = {
    ("files", "listed"), ("files", "removals_not_held"), ("files", "report_agrees"),
    ("quarantine", "few_lines_refused"), ("ledger", "all_read"), ("ledger", "clocks_agree"),
    ("usage", "sums_agree"), ("backends", "telemetry_covers"),
}  # fmt: skip
AT = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def assets() -> list[dg.AssetsDefinition]:
    return [
        ingest.ingest_hours, crawl.crawl_backend, results.refresh_results,
        *(getattr(maintenance, name) for name in maintenance.STEPS),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def specs(assets) -> dict[str, dg.AssetSpec]:
    return {spec.key.path[-1]: spec for asset in assets for spec in asset.specs}


def test_assets_stand_in_their_layers(specs):
    found: dict[str, set[str]] = {}
    for name, spec in specs.items():
        found.setdefault(spec.group_name, set()).add(name)
    assert found == LAYERS


def test_a_stranger_learns_what_an_asset_is(specs):
    for name, spec in specs.items():
        assert len(spec.description) > 60, name
        assert spec.owners == ["team:storage-platform"]
        assert spec.kinds
        if name in TABLES:
            columns = spec.metadata["dagster/column_schema"].columns
            assert [c.name for c in columns] == TABLES[name].schema.names()
            assert all(column.description for column in columns)


def test_checks_hold_the_invariants(assets):
    found = {
        (key.asset_key.path[-1], key.name) for asset in assets for key in asset.check_keys
    }  # fmt: skip
    assert found == CHECKS


def test_column_lineage_names_columns_that_are_there():
    for table, origins in results._ORIGINS.items():
        for column, pairs in origins.items():
            assert column in TABLES[table].schema
            for source, name in pairs:
                assert name in source.schema


def test_what_runs_by_itself_is_on():
    sensors = [automation.landed_objects, automation.reports_follow]
    schedules = [automation.crawl_daily, automation.maintain_daily]
    assert all(s.default_status == dg.DefaultSensorStatus.RUNNING for s in sensors)
    assert all(s.default_status == dg.DefaultScheduleStatus.RUNNING for s in schedules)


def test_the_sensor_asks_once_for_the_same_objects(home, monkeypatch):
    """While a run is slow the daemon sees the key it knows; new objects are another request."""
    monkeypatch.setenv("WARPDRIVE_CONFIG", str(home.file))
    now = clock.now().replace(minute=30)
    monkeypatch.setattr(automation.clock, "now", lambda: now)
    with dg.DagsterInstance.ephemeral() as instance:

        def asked():
            context = dg.build_sensor_context(instance=instance)
            found = automation.landed_objects(context)
            return [r.run_key for r in getattr(found, "run_requests", None) or []]

        def land(seq):
            line = {"ts": now.isoformat(), "op": "read", "backend": "b", "path": f"p{seq}"}
            name = segment_name(hour_of(now), "n", "ab" * 8, seq, seq)
            home.land(name, raw=compress([json.dumps(line).encode() + b"\n"]))

        assert asked() == []
        land(1)
        first = asked()
        assert first[0] is not None
        assert asked() == first
        land(2)
        both = asked()
        assert both != first
        now += automation.ASKED_AGAIN
        assert asked() not in (first, both)
        ingesting.ingest(
            home.lake, str(home.landing), ingesting.Window(now, dt.timedelta(days=400))
        )
        assert asked() == []


def test_runs_that_start_by_themselves_are_retried_and_bounded():
    tags = automation.tags("crawl", "b")
    assert tags["dagster/max_retries"] == "2"
    for name in ("dagster.yaml", "deploy/dagster-postgres.yaml"):
        told = yaml.safe_load((ROOT / name).read_text())
        assert told["run_retries"] == {"enabled": True, "max_retries": 0}
        limits = told["concurrency"]["runs"]["tag_concurrency_limits"]
        bounded = {(limit["key"], str(limit.get("value", ""))) for limit in limits}
        for work in ("ingest", "refresh", "maintenance", "crawl"):
            assert ("warpdrive/work", work) in bounded
        assert any(limit["key"] == "warpdrive/backend" for limit in limits)


def test_the_instance_of_one_machine_is_accepted(tmp_path):
    (tmp_path / "dagster.yaml").write_text((ROOT / "dagster.yaml").read_text())
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert instance.run_retries_enabled
        limits = instance.get_concurrency_config().run_queue_config
        assert limits is not None
        assert limits.max_concurrent_runs == 4


@pytest.mark.parametrize(
    ("listed", "state", "passed"),
    [
        (None, "", False), (dt.timedelta(hours=35), "complete", True),
        (dt.timedelta(hours=37), "complete", False), (dt.timedelta(hours=1), "failed", False),
    ],
)  # fmt: skip
def test_a_backend_is_fresh_within_its_interval(tmp_path, listed, state, passed):
    """The crawl interval is a day by default, a listing may be a day and a half old."""
    file = tmp_path / "warpdrive.yaml"
    file.write_text("lake: {root: ./lake}\n")
    config = load_config(str(file))
    if listed is not None:
        texts = dict.fromkeys(("source", "report", "error"), "")
        counts = dict.fromkeys(
            ("files", "bytes", "added", "removed", "added_bytes", "removed_bytes"), 0
        )
        row = {
            "backend": "training-data", "listing": 1, "snapshot_at": AT - listed, "state": state,
            "seconds": 1.0, "written_at": AT, **texts, **counts,
        }  # fmt: skip
        row = dict.fromkeys(LISTINGS.schema) | row
        frame = pl.DataFrame([row], schema=LISTINGS.schema)
        Lake(config.lake.root).append(LISTINGS, frame)
    found = freshness.evaluate(config, "training-data", AT)
    assert found.passed is passed
    assert found.check_name == "fresh_training_data"
    assert found.description is not None
