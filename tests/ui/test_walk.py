"""All pages in turn: filters live in the URL, charts have tables and CSVs, no traces."""

from __future__ import annotations

import csv
import io
import shutil

import pytest
import world
from looking import expect_no_trace, settled, table_rows, unfold
from playwright.sync_api import Page

FILTERS = {
    "": {"backend": "scratch", "period": "30+days"},
    "backend": {"backend": "training", "period": "1+year", "show": "Files", "depth": "2"},
    "stale": {"days": "10", "min_size": "1KB", "backend": "training", "team": "vision",
              "owner": "alice", "order": "smallest"},
    "user": {"user": "bob"},
    "quotas": {"quota": "vision+·+all+together"},
    "ingest": {"hours": "48+hours"},
    "ownership": {"backend": "scratch", "depth": "1"},
}  # fmt: skip
SHOWN = {
    "": ("scratch", "30 days"), "backend": ("training", "1 year", "Files", "2"),
    "stale": ("smallest",), "user": (), "quotas": (), "ingest": ("48 hours",),
    "ownership": ("scratch", "1"),
}  # fmt: skip


def chosen(page: Page) -> list[str]:
    """What the rows of choices have selected."""
    marked = page.locator(
        "[data-testid=stSegmentedControl] [aria-checked=true], "
        "[data-testid=stButtonGroup] [aria-checked=true], "
        "[data-testid=stButtonGroup] [aria-pressed=true], "
        "[data-testid=stBaseButton-segmented_controlActive]"
    )
    return marked.all_inner_texts()


@pytest.mark.parametrize("name", list(FILTERS))
def test_a_link_with_every_filter_shows_what_it_says(dashboard, published, visit, name):
    query = "&".join(f"{key}={value}" for key, value in FILTERS[name].items())
    page = visit(f"{dashboard(published)}/{name}?{query}", viewport={"width": 1280, "height": 2400})
    settled(page)
    for key in FILTERS[name]:
        assert f"{key}=" in page.url
    found = chosen(page)
    for text in SHOWN[name]:
        assert text in found
    expect_no_trace(page)
    panels = page.locator("[class*=st-key-panel-]")
    for number in range(panels.count()):
        panel = panels.nth(number)
        if panel.locator("[data-testid=stVegaLiteChart]").count():
            title = panel.get_by_role("heading").first.inner_text()
            assert panel.get_by_role("button", name="CSV").count(), f"{title} has no CSV"
            tables = panel.get_by_text("Table", exact=True).count() + panel.locator(
                ".wd-table, [data-testid=stDataFrame]"
            ).count()  # fmt: skip
            assert tables, f"{title} has no table"


def told(config, *arguments: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(world.run(config, *arguments, "--format", "csv"))))


def test_numbers_are_those_of_the_command_line(dashboard, published, visit):
    """The main table of each page that a command has too; the stale page has its own test."""
    url = dashboard(published)
    tall = {"width": 1280, "height": 2400}
    page = visit(f"{url}/", viewport=tall)
    unfold(page, "teams")
    usage = told(published, "usage", "--group-by", "team")
    rows = table_rows(page, "Storage by team")
    assert {(r[0], r[1]) for r in rows} == {(r["group"], r["backend"]) for r in usage}
    backends = {r[0]: r[2] for r in table_rows(page, "Backends")}
    assert backends == {r["name"]: r["file_count"] for r in told(published, "backends")}
    page.goto(f"{url}/quotas")
    limits = sorted((r[0], r[2]) for r in table_rows(page, "Limits"))
    assert limits == sorted(
        (r["team"], r["status"].lower()) for r in told(published, "quota", "list")
    )
    page.goto(f"{url}/user?user=alice")
    touched = [(r[0], r[1], r[3]) for r in table_rows(page, "Touched")]
    assert touched == [(r["day"], r["path"], r["read_count"]) for r in
                       told(published, "user", "alice")]  # fmt: skip


@pytest.mark.parametrize("damage", ["gone", "current", "index", "document"])
def test_a_damaged_lake_is_one_line(dashboard, published, tmp_path, visit, damage):
    """The lake goes away, or breaks, under a server that has shown it."""
    shutil.copytree(published.parent / "lake", tmp_path / "lake")
    config = tmp_path / "warpdrive.yaml"
    shutil.copy(published, config)
    url = dashboard(config)
    page = visit(f"{url}/stale?days=10")
    settled(page)
    results = tmp_path / "lake" / "published"
    if damage == "gone":
        shutil.rmtree(tmp_path / "lake")
    elif damage == "current":
        (results / "CURRENT").write_text("{half")
    elif damage == "index":
        for file in (tmp_path / "lake" / "stale_index").rglob("*.parquet"):
            file.write_bytes(b"torn")
    else:
        for file in results.rglob("backends.json"):
            file.write_text("[")
    for name in ("", "stale?days=11", "backend", "ownership"):
        page.goto(f"{url}/{name}")
        settled(page)
        expect_no_trace(page)
