"""Coverage of any window, from hours that are summed once, is that of the window alone."""

import datetime as dt
import random

import polars as pl
import pytest

from lake import coverage as module
from lake.metrics.access import coverage
from lake.metrics.ledger import broken_hours
from lake.schemas import AGENTS, LEDGER
from lake.store import Lake

NOW = dt.datetime(2026, 11, 20, 2, 30, tzinfo=dt.UTC)
BOOT = "ab" * 8


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    """Three nodes over 500 days, one of them gone for a month; one hour with a gap."""
    found, rng = Lake(str(tmp_path_factory.mktemp("lake"))), random.Random(5)
    beats = []
    for ago in range(0, 500 * 24, 5):
        at = NOW - dt.timedelta(hours=ago)
        for node, mounts in (("n1", ["a"]), ("n2", ["a", "b"]), ("n3", ["b", "c"])):
            if node != "n3" or ago > 30 * 24:
                beats.append((
                    f"{NOW:%Y-%m-%d}", f"{at:%Y-%m-%dT%H}", node, BOOT, rng.choice([60, 55, 54]),
                    1, 0, mounts,
                ))  # fmt: skip
    found.append(AGENTS, pl.DataFrame(beats, schema=AGENTS.schema, orient="row"))
    hour = NOW - dt.timedelta(hours=10)
    landed = [
        (f"o{first}", f"{hour:%Y-%m-%dT%H}", 1, "ingested", "", "n1", BOOT, first, last, 1, 1, 0,
         0, 1, "x", hour, hour, hour, None)
        for first, last in ((1, 50), (52, 100))
    ]  # fmt: skip
    found.append(LEDGER, pl.DataFrame(landed, schema=LEDGER.schema, orient="row"))
    return found


@pytest.mark.parametrize("days", [0, 1, 6, 7, 8, 30, 89, 90, 91, 364, 400, 2_000])
def test_every_window_is_as_if_it_were_counted_alone(lake, days):
    """Whatever the length; the nodes are those of the last seven days."""
    window = dt.timedelta(days=days or 90)
    alone = coverage(lake.scan(AGENTS), NOW, window, broken_hours(lake.scan(LEDGER)))
    told = module.covered(lake.root, lake.versions(), NOW, days)
    assert told.rows() == alone.rows()
    assert [backend for backend, _ in told.rows()] == ["a", "b"]
    assert 0 < told["coverage"][0] < 1


def test_hours_are_summed_once_for_a_generation(lake):
    """Of all windows up to a year: twice, up to 90 days and up to a year. Later tables: anew."""
    module._hours.cache_clear()
    for days in range(7, 300, 9):
        module.covered(lake.root, lake.versions(), NOW, days)
    assert module._hours.cache_info().misses == 2
    beat = (f"{NOW:%Y-%m-%d}", f"{NOW:%Y-%m-%dT%H}", "n4", BOOT, 60, 1, 0, ["d"])
    lake.append(AGENTS, pl.DataFrame([beat], schema=AGENTS.schema, orient="row"))
    told = module.covered(lake.root, lake.versions(), NOW, 30)
    assert [backend for backend, _ in told.rows()] == ["a", "b", "d"]


def test_a_lake_without_agents_has_no_coverage(tmp_path):
    """No row, no error."""
    assert module.covered(str(tmp_path), {"stale_index": 0}, NOW, 30).is_empty()
    assert module.covered(str(tmp_path), {}, NOW, 30).is_empty()
