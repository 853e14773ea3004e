"""Retention and housekeeping: raw events go, what was made of them stays."""

import datetime as dt

import polars as pl
from deltalake import DeltaTable

from lake.published import current
from lake.schemas import ACCESS_DAILY, EVENTS, LEDGER, STALE_INDEX
from lake.store import Lake
from pipelines import fold, people
from pipelines.ingest import Window, ingest
from pipelines.maintain import maintain
from pipelines.refresh import refresh

NOW = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC)
RETENTION = dt.timedelta(days=10)
FOLDED = (*(table for table in fold.TABLES if table.name != "agents"), *people.TABLES)


def count(lake, table):
    return lake.scan(table).select(pl.len()).collect().item()


def event(at, path):
    return {"ts": at, "user": "ann", "backend": "data", "path": path, "op": "read",
            "bytes_read": 5}  # fmt: skip


def test_events_past_retention_go_and_their_aggregates_stay(new_home):
    """The old day leaves events and the landing zone; usage, a rebuild and a new ingest agree."""
    home = new_home(extra="")
    home.file.write_text(
        home.file.read_text().replace("root: ./lake", "root: ./lake, retention: 10d")
    )
    old = home.land("dt=2026-11-09/hour=10/node=n/a.jsonl", event("2026-11-09T10:00:00Z", "old"))
    new = home.land("dt=2026-11-19/hour=10/node=n/b.jsonl", event("2026-11-19T10:00:00Z", "new"))
    lake = Lake(home.config.lake.root)
    ingest(lake, str(home.landing), Window(NOW - dt.timedelta(days=5), RETENTION))
    refresh(home.config, now=NOW)
    before = home.run("usage", "--format", "csv").out
    assert count(lake, EVENTS) == 2

    report = maintain(home.config, NOW)

    assert report.expired_days == ["2026-11-09"]
    assert report.expired_objects == 1
    assert (old.exists(), new.exists()) == (False, True)
    assert (count(lake, EVENTS), count(lake, ACCESS_DAILY), count(lake, LEDGER)) == (1, 2, 2)
    refresh(home.config, now=NOW, rebuild=True)
    assert home.run("usage", "--format", "csv").out == before
    assert ingest(lake, str(home.landing), Window(NOW, RETENTION)).objects == 0
    assert maintain(home.config, NOW).expired_days == []


def test_vacuum_keeps_what_the_published_results_need(home):
    """A table that moved on after the publication is vacuumed; the published version answers."""
    (home.root() / "f").write_bytes(b"x" * 9)
    home.run("crawl")
    now = dt.datetime.now(dt.UTC)
    refresh(home.config, now=now)
    question = ("stale", "--days", "0", "--min-size", "1", "--format", "csv")
    before = home.run(*question).out
    assert before.count("\n") == 2
    lake = home.lake
    pinned = current(lake.root).versions["stale_index"]
    rows = lake.scan(STALE_INDEX).collect()
    for frame in (rows, rows, rows.clear()):
        lake.replace(STALE_INDEX, frame)

    assert lake.vacuum(STALE_INDEX, 0, [pinned]) == 2
    maintain(home.config, now)

    assert count(lake, STALE_INDEX) == 0
    assert home.run(*question).out == before


def test_a_rebuild_makes_lost_rows_anew(new_home):
    """Rows that went away from what is folded come back, though nothing new has landed."""
    home = new_home(extra="")
    for day, path in (("2026-11-19", "a"), ("2026-11-20", "b")):
        at = f"{day}T10:00:00Z"
        home.land(f"dt={day}/hour=10/node=n/{path}.jsonl", event(at, path) | {"job": "7"})
    lake = Lake(home.config.lake.root)
    ingest(lake, str(home.landing), Window(NOW, RETENTION))
    refresh(home.config, now=NOW)
    before = {table.name: rows(lake, table) for table in FOLDED}
    assert all(before.values())
    for table in FOLDED:
        DeltaTable(lake.uri(table)).delete()
    assert not any(rows(lake, table) for table in FOLDED)
    refresh(home.config, now=NOW, rebuild=True)
    assert {table.name: rows(lake, table) for table in FOLDED} == before


def rows(lake, table):
    """Every row of a table, sorted."""
    return sorted(lake.scan(table).collect().rows(), key=repr)


def test_the_steps_of_maintenance_are_assets(new_home, monkeypatch):
    """The job of the Dagster UI runs all five in their order; the layout of the index stays."""
    import dagster as dg

    from lake import classes, state
    from lake.schemas import FILE_STATE
    from pipelines import settings
    from pipelines.defs import maintenance
    from pipelines.defs.automation import MAINTENANCE_JOB

    home = new_home()
    for number in range(6):
        (home.root() / f"f{number}").write_bytes(b"x" * number)
    home.run("crawl")
    old = dt.datetime.now(dt.UTC) - dt.timedelta(days=9)
    hour = f"{old:dt=%Y-%m-%d/hour=%H}"
    home.land(f"{hour}/node=n/a.jsonl", event(old.isoformat(), "f1"))
    ingest(home.lake, str(home.landing), Window(dt.datetime.now(dt.UTC), dt.timedelta(days=400)))
    for name, value in (("TOP_ROWS", 2), ("CLASS_ROWS", 2)):
        monkeypatch.setattr(classes, name, value)
    monkeypatch.setattr(state, "FOLD_SHARE", 9.0)
    refresh(home.config, now=old + dt.timedelta(days=1))
    refresh(home.config, now=dt.datetime.now(dt.UTC))
    laid_out = home.lake.parts(STALE_INDEX)
    assert len(laid_out) == 3
    orphan = home.folder / "lake" / "stale_index" / "left-by-a-killed-worker.parquet"
    orphan.write_bytes(b"")
    settings.use(str(home.file))
    steps = [getattr(maintenance, name) for name in maintenance.STEPS]
    job = dg.Definitions(assets=steps, jobs=[MAINTENANCE_JOB])
    with dg.instance_for_test() as instance:
        done = job.resolve_job_def(MAINTENANCE_JOB.name).execute_in_process(instance=instance)
    assert [
        str(e.asset_key and e.asset_key.path[-1]) for e in done.get_asset_materialization_events()
    ] == [
        "retention",
        "fold",
        "compaction",
        "checkpoints",
        "vacuum",
    ]
    assert {p.partition["landing_day"] for p in home.lake.parts(FILE_STATE)} == {"base"}
    assert [p.uri for p in home.lake.parts(STALE_INDEX)] == [p.uri for p in laid_out]
    assert (home.folder / "lake/events/_delta_log/_last_checkpoint").exists()
    assert orphan.exists()  # it is young: its worker may still commit it
    home.lake.vacuum(STALE_INDEX, 0)
    assert not orphan.exists()
