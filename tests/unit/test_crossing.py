"""Crossing days are published with the quotas, and are those of `growth --forecast`."""

import csv
import datetime as dt
import io
import json

import pytest

from lake import crossing, published
from lake.forecast import extended
from lake.read import carried
from pipelines.refresh import refresh
from storage import clock
from tests.home import Home

LAST = dt.date(2026, 11, 1)
NAMES = ("crossed_on", "crossed_early", "crossed_late")


def test_a_quota_tells_the_day_its_next_limit_is_reached():
    quota = {"soft_bytes": 100, "hard_bytes": 200, "usage_bytes": 120}
    ahead = [
        {"day": f"2026-12-0{n}", "low_bytes": 130 + n, "bytes": 150 + 20 * n,
         "high_bytes": 180 + 20 * n}
        for n in range(1, 6)
    ]  # fmt: skip
    assert crossing.crossing(quota, ahead) == {
        "next_limit_bytes": 200, "crossed_on": "2026-12-03", "crossed_early": "2026-12-01",
        "crossed_late": None,
    }  # fmt: skip
    over = crossing.crossing({**quota, "usage_bytes": 200}, ahead)
    assert over["next_limit_bytes"] is None
    assert over["crossed_on"] is None


def points(team, backend, sizes):
    """Growth of a team, every other day up to LAST."""
    return [
        {"by": "team", "backend": backend, "team": team, "files": 1, "bytes": size,
         "day": (LAST - dt.timedelta(days=2 * (len(sizes) - n))).isoformat(),
         "added_bytes": 0, "removed_bytes": 0}
        for n, size in enumerate(sizes)
    ]  # fmt: skip


HISTORY = [
    *points("red", "hot", [100 * n + n % 7 for n in range(60)]),
    *points("red", "cold", [50 * n for n in range(20)]),
    *points("blue", "cold", [9_000 - 40 * n for n in range(50)]),
]


def quota(team, backend, soft, hard):
    used = sum(
        max((p for p in HISTORY if (p["team"], p["backend"]) == (team, place)),
            key=lambda p: p["day"], default={"bytes": 0})["bytes"]
        for place in ("hot", "cold") if backend in ("", place)
    )  # fmt: skip
    return {"team": team, "backend": backend, "soft_bytes": soft, "hard_bytes": hard,
            "usage_bytes": used}  # fmt: skip


QUOTAS = [
    quota(team, backend, soft, hard)
    for team in ("red", "blue", "none")
    for backend in ("", "hot", "cold")
    for soft, hard in ((0, 6_000), (1, 8_000), (7_000, 10_000), (0, 0), (0, 10**9))
]


@pytest.mark.parametrize("asked", QUOTAS, ids=str)
def test_a_crossing_is_the_first_day_of_the_whole_forecast_that_reaches_the_limit(asked):
    """Of all teams together, day by day, as `growth --by team --forecast 365` computes it."""
    place = [p for p in HISTORY if asked["backend"] in ("", p["backend"])]
    rows = extended(carried(place, "team", LAST, 0), 365)
    mine = [row for row in rows if row["team"] == asked["team"]]
    left = [n for n in (asked["soft_bytes"], asked["hard_bytes"]) if n > asked["usage_bytes"]]
    (found,) = crossing.crossings([asked], HISTORY, LAST)
    for name, column in zip(NAMES, ("bytes", "high_bytes", "low_bytes"), strict=True):
        days = [row["day"] for row in mine if left and row[column] >= min(left)]
        assert found[name] == min(days, default=None)
    assert found["next_limit_bytes"] == (min(left) if left else None)


def test_some_are_reached_and_some_are_not():
    found = crossing.crossings(QUOTAS, HISTORY, LAST)
    assert 5 < sum(row["crossed_on"] is not None for row in found) < len(found) - 5


def test_only_what_changed_is_computed_again(monkeypatch):
    before = crossing.crossings(QUOTAS, HISTORY, LAST)
    counted = []
    monkeypatch.setattr(crossing, "extended", lambda rows, days: counted.append(days) or [])
    changed = QUOTAS[0] | {"hard_bytes": 7_000}
    found = crossing.crossings([changed, *QUOTAS[1:]], HISTORY, LAST, before)
    assert counted == [365]
    assert found[1:] == before[1:]


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    """A lake with one team whose bytes grew for two months, and a quota."""
    home = Home(tmp_path_factory.mktemp("grown"))
    (home.root() / "f").write_bytes(b"x" * 4_000)
    assert home.run("crawl").code == 0
    for args in (
        ("rule", "add", "data:", "red"),
        ("quota", "set", "--team", "red", "--soft", "5000B", "--hard", "6000B"),
    ):
        assert home.run(*args).code == 0
    refresh(home.config, now=clock.now())
    return home


def test_the_page_reads_what_the_command_line_computes(grown):
    """And a quota that is set later has its day at once, without a refresh."""
    root, today = grown.config.lake.root, clock.now().date()
    growth = [
        {"by": "team", "backend": "data", "team": "red", "files": 1, "bytes": 4_000 - 30 * n,
         "day": (today - dt.timedelta(days=n)).isoformat(), "added_bytes": 30, "removed_bytes": 0}
        for n in range(60, -1, -1)
    ]  # fmt: skip
    place = published.current(root).documents["growth-team"]
    (grown.folder / "lake" / "published" / place).write_text(json.dumps(growth))
    assert (
        grown.run("quota", "set", "--team", "red", "--soft", "4500B", "--hard", "6000B").code == 0
    )
    said = grown.run("growth", "--by", "team", "--forecast", "365", "--format", "csv")
    rows = [r for r in csv.DictReader(io.StringIO(said.out)) if r["low_bytes"]]
    (found,) = published.current(root).rows("crossing")
    assert found["next_limit_bytes"] == 4_500
    for name, column in zip(NAMES, ("total_bytes", "high_bytes", "low_bytes"), strict=True):
        assert found[name] == next(r["date"] for r in rows if int(r[column]) >= 4_500)


def test_a_refresh_publishes_the_crossings_and_quotas_without_results_have_none(grown, new_home):
    grown.run("refresh")
    (found,) = published.current(grown.config.lake.root).rows("crossing")
    assert tuple(found) == published.COLUMNS["crossing"]
    home = new_home()
    assert home.run("quota", "set", "--team", "x", "--hard", "1GB").code == 0
    (found,) = published.current(home.config.lake.root).rows("crossing")
    assert (found["next_limit_bytes"], found["crossed_on"]) == (1024**3, None)
