"""What the dashboard works out, without a browser."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from dashboard import axes, charts, columns, data, maps, questions
from dashboard import format as fmt
from dashboard.tables import Cell, Column, card, table, text

ROOT = Path(__file__).parents[2]


@pytest.fixture
def app(monkeypatch):
    """The app for a config file, run once."""

    def run(config) -> AppTest:
        monkeypatch.setenv("WARPDRIVE_CONFIG", str(config))
        return AppTest.from_file(str(ROOT / "dashboard" / "app.py"), default_timeout=60).run()

    return run


def test_the_page_runs_without_an_exception(app, published):
    page = app(published)
    assert not page.exception
    assert [title.value for title in page.title] == ["Overview"]
    assert {head.value for head in page.subheader} == {
        "Over quota", "Storage by team", "Growth", "This week", "Backends",
    }  # fmt: skip


def test_a_missing_config_is_one_line(app, tmp_path):
    page = app(tmp_path / "none.yaml")
    assert not page.exception
    assert len(page.error) == 1
    assert "none.yaml" in page.error[0].value
    assert "\n" not in page.error[0].value


def test_our_own_bug_is_one_line_and_a_logged_traceback(app, published, monkeypatch, caplog):
    def broken(*_: object) -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(questions, "overview", broken)
    page = app(published)
    assert not page.exception
    assert [error.value for error in page.error] == [
        "Something went wrong on our side. The details are in the dashboard's log."
    ]
    assert "ZeroDivisionError" in caplog.text


def test_an_empty_lake_is_no_error(app, empty):
    page = app(empty)
    assert not page.exception
    assert not page.error
    assert "warpdrive refresh" in page.info[0].value


def test_quotas_alone_are_no_results(app, empty, tmp_path):
    """Teams and quotas publish a generation before the first refresh."""
    config = tmp_path / "warpdrive.yaml"
    config.write_text(empty.read_text())
    published = tmp_path / "lake" / "published"
    published.mkdir(parents=True)
    (published / "1").mkdir()
    (published / "1" / "quota.json").write_text("[]")
    (published / "CURRENT").write_text(
        '{"number": 1, "as_of": "2026-11-01T00:00:00Z", "published_at": "2026-11-01T00:00:00Z",'
        ' "documents": {"quota": "1/quota.json"}}'
    )
    page = app(config)
    assert not page.error
    assert "Nothing is published yet" in page.info[0].value


def usage(group: str, backend: str, size: int) -> dict:
    return {"group": group, "backend": backend, "files": 1 if size else 0, "bytes": size}


def test_teams_are_ranked_by_all_their_backends():
    rows = [usage("b", "x", 5), usage("a", "x", 4), usage("a", "y", 3), usage("gone", "x", 0)]
    assert charts.team_totals(rows) == [
        {"group": "a", "files": 2, "bytes": 7}, {"group": "b", "files": 1, "bytes": 5},
    ]  # fmt: skip


def test_a_backend_keeps_its_colour_and_small_ones_share_one():
    many = [{"name": f"b{i:02}", "bytes": 100 - i} for i in range(12)]
    domain = charts.colours(many)
    assert domain == [*(f"b{i:02}" for i in range(9)), "other backends"]
    spec = charts.teams([usage("t", "b10", 5), usage("t", "b11", 6), usage("t", "b00", 1)], domain)
    bars = spec.to_dict()["layer"][0]["data"]["values"]
    assert [(row["backend"], row["bytes"]) for row in bars] == [("other backends", 11), ("b00", 1)]


@pytest.mark.parametrize("days", [1, 2, 7, 8, 400])
def test_growth_is_drawn_for_any_number_of_days(days):
    first = dt.date(2025, 1, 1)
    points = [
        {"day": str(first + dt.timedelta(n)), "backend": "x", "files": 1, "bytes": 10}
        for n in range(days)
    ]
    spec = charts.growth(points, ["x"]).to_dict()
    assert len(spec["data"]["values"]) == days


@pytest.mark.parametrize(
    ("top", "expected"),
    [
        (0, [0]),
        (3, [0, 1, 2, 3]),
        (900, [0, 250, 500, 750]),
        (4096, [0, 1024, 2048, 3072, 4096]),
        (1024**5 * 8191, [n * 2500 * 1024**5 for n in range(4)]),
    ],
)
def test_ticks_are_round_in_1024(top, expected):
    assert axes.ticks(top) == expected


def test_thinning_keeps_the_last_day_and_every_added_byte():
    days = [f"2026-01-{n:02}" for n in range(1, 32)]
    rows = [
        {"day": day, "backend": b, "files": 1, "bytes": n, "added_bytes": 1, "removed_bytes": 2}
        for n, day in enumerate(days)
        for b in ("x", "y")
    ]
    found = data.thinned(rows, 10)
    assert len(found) <= 2 * 11
    assert found[-1]["day"] == "2026-01-31"
    assert found[0]["day"] == "2026-01-01"
    assert sum(row["added_bytes"] for row in found if row["backend"] == "x") == 31
    assert data.thinned(rows, 31) == rows


def test_the_error_bars_of_an_audit_are_told():
    audited = {
        "agreement_low": 0.9964, "agreement_high": 0.99993, "agree": 1999, "checked": 2000,
        "verified_at": "2026-11-25T00:00:00Z",
    }  # fmt: skip
    cell = columns.agreement(audited)
    assert cell.text == "99.6% to 100.0%"
    assert "1,999 of 2,000 compared rows agree" in cell.hover
    assert columns.agreement({"name": "training"}).text == "—"


def team_day(team: str, day: str, size: int, added: int = 0, removed: int = 0) -> dict:
    return {"team": team, "day": day, "bytes": size, "files": size, "added_bytes": added,
            "removed_bytes": removed}  # fmt: skip


def test_the_week_is_what_came_and_went_after_its_first_day():
    rows = [
        team_day("a", "2026-11-01", 10, 10), team_day("a", "2026-11-02", 12, 5, 3),
        team_day("new", "2026-11-05", 7, 7), team_day("still", "2026-11-01", 4, 4),
        team_day("still", "2026-11-08", 4),
    ]  # fmt: skip
    found = questions.week(rows, dt.date(2026, 11, 1))
    assert [(r["team"], r["added_bytes"], r["removed_bytes"], r["moved_bytes"]) for r in found] == [
        ("a", 5, 3, 2), ("new", 7, 0, 7),
    ]  # fmt: skip


@pytest.mark.parametrize("sizes", [[1.0], [6, 6, 4, 3, 2, 2, 1], [1e15, 1.0], [1.0] * 60])
def test_a_treemap_fills_its_area_in_proportion(sizes):
    tiles = maps.squarified(sizes, 1200, 340)
    assert [tile.place for tile in tiles] == list(range(len(sizes)))
    for tile in tiles:
        assert tile.width * tile.height == pytest.approx(
            sizes[tile.place] / sum(sizes) * 1200 * 340, rel=1e-6
        )
        assert -1e-6 <= tile.x <= tile.x + tile.width <= 1200 + 1e-3
        assert -1e-6 <= tile.y <= tile.y + tile.height <= 340 + 1e-3


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_begins_a_formula(start):
    assert fmt.guarded([{"group": f"{start}1+1", "bytes": -1}]) == [
        {"group": f"'{start}1+1", "bytes": -1}
    ]


def test_names_are_never_markup():
    shown = table("x", [Column("Team", text("t"))], [{"t": '<img src=x onerror="a">'}])
    assert "<img" not in shown
    assert "<b>" not in card("<b>", Cell("<b>", '"><b>'), "<b>")
    assert fmt.plain("a*b [x](y) `run`\nline") == r"a\*b \[x\](y) `run` line"


def test_a_long_table_says_where_the_rest_is():
    rows = [{"t": str(n)} for n in range(201)]
    shown = table("x", [Column("Team", text("t"))], rows, csv="usage.csv")
    assert shown.count("<tr>") == 201
    assert "1 more rows are in usage.csv" in shown
