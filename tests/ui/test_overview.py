"""The overview page in a real browser, on a small world and on an empty one."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pytest
import world
from conftest import SHOTS
from playwright.sync_api import Page, expect

TEAMS = ["vision", "@ops", "unassigned"]


def expect_card(page: Page, label: str, value: str, exact: str = "") -> None:
    found = page.locator(".wd-card", has_text=label).locator(".wd-value")
    expect(found).to_have_text(value)
    if exact:
        expect(found).to_have_attribute("title", exact)


def bars(page: Page) -> list[str]:
    """What a screen reader is told about each bar of the team chart."""
    marks = page.locator(".st-key-panel-teams [aria-roledescription=bar]")
    expect(marks.first).to_be_visible()
    return [mark.get_attribute("aria-label") or "" for mark in marks.all()]


def teams_drawn(page: Page) -> set[str]:
    found = [re.search(r"Team: ([^;]+)", label) for label in bars(page)]
    return {match[1] for match in found if match}


def table_rows(page: Page, label: str) -> list[list[str]]:
    rows = page.get_by_role("region", name=label).locator("tbody tr")
    expect(rows.first).to_be_visible()
    return [row.locator("td").all_inner_texts() for row in rows.all()]


def expect_no_trace(page: Page) -> None:
    text = page.locator("body").inner_text()
    assert "Traceback" not in text
    assert ".py" not in text


def test_totals_are_those_of_the_world(dashboard, published, visit):
    page = visit(dashboard(published))
    expect_card(page, "Stored", "1.62 MB", "1,701,234 bytes")
    expect_card(page, "Files", "5")
    expect_card(page, "Backends", "2")
    expect_card(page, "Teams", "2")
    expect(page.locator(".wd-card", has_text="Stored")).to_contain_text("first listed 20")
    expect(page.locator(".wd-card", has_text="Teams")).to_contain_text("1.21 KB unassigned")
    expect(page.get_by_text(re.compile(r"As of .* UTC · published .* ago"))).to_be_visible()


def test_numbers_are_those_of_the_command_line(dashboard, published, visit):
    printed = world.run(published, "usage", "--group-by", "team", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(printed)))
    assert {(r["group"], r["backend"]): int(r["bytes"]) for r in rows if r["bytes"] != "0"} == {
        ("vision", "training"): 1_000_000, ("vision", "scratch"): 200_000,
        ("@ops", "training"): 500_000, ("unassigned", "scratch"): 1_234,
    }  # fmt: skip
    page = visit(dashboard(published))
    expect_card(page, "Stored", "1.62 MB", f"{sum(int(r['bytes']) for r in rows):,} bytes")
    page.locator(".st-key-panel-teams").get_by_text("Table", exact=True).click()
    shown = [(row[0], row[1], row[2]) for row in table_rows(page, "Storage by team")]
    assert shown == [(r["group"], r["backend"], r["files"]) for r in rows]
    cells = page.get_by_role("region", name="Storage by team").locator("tbody td:nth-child(4)")
    exact = [cell.get_attribute("title") for cell in cells.all()]
    assert exact == [f"{int(r['bytes']):,} byte{'' if r['bytes'] == '1' else 's'}" for r in rows]


def test_one_bar_per_team_with_its_exact_bytes(dashboard, published, visit):
    page = visit(dashboard(published))
    drawn = bars(page)
    assert teams_drawn(page) == set(TEAMS)
    assert any("Team: vision" in b and "Exactly: 1,000,000 bytes" in b for b in drawn)
    assert any("Team: vision" in b and "Exactly: 200,000 bytes" in b for b in drawn)
    labels = page.locator(".st-key-panel-teams .mark-text text").all_text_contents()
    totals = [label for label in labels if re.fullmatch(r"\d+\.\d\d .B", label)]
    assert totals == ["1.14 MB", "488.28 KB", "1.21 KB"]


def test_over_quota_comes_first_worst_on_top(dashboard, published, visit):
    page = visit(dashboard(published))
    expect(page.get_by_role("heading", level=3).first).to_have_text("Over quota")
    shown = [row[:3] for row in table_rows(page, "Teams over quota")]
    assert shown == [["@ops", "training", "exceeded"], ["vision", "all together", "warning"]]


def test_growth_ends_in_the_total(dashboard, published, visit):
    page = visit(dashboard(published))
    page.locator(".st-key-panel-growth").get_by_text("Table", exact=True).click()
    rows = table_rows(page, "Growth")
    assert sorted(row[1:4] for row in rows) == [
        ["scratch", "2", "196.52 KB"], ["training", "3", "1.43 MB"],
    ]  # fmt: skip


def test_a_backend_is_chosen_in_the_page_and_kept_by_the_url(dashboard, published, visit):
    page = visit(dashboard(published))
    expect_card(page, "Stored", "1.62 MB")
    page.get_by_role("radio", name="scratch").or_(
        page.get_by_role("button", name="scratch", exact=True)
    ).first.click()
    expect_card(page, "Stored", "196.52 KB", "201,234 bytes")
    expect(page).to_have_url(re.compile(r"[?&]backend=scratch"))
    page.reload()
    expect_card(page, "Stored", "196.52 KB", "201,234 bytes")
    expect_card(page, "Backends", "1")
    assert teams_drawn(page) == {"vision", "unassigned"}
    assert [row[0] for row in table_rows(page, "Backends")] == ["scratch"]


def test_a_link_to_a_backend_that_is_gone_says_so(dashboard, published, visit):
    page = visit(f"{dashboard(published)}/?backend=gone")
    expect(page.get_by_text("There is no backend 'gone': all are shown.")).to_be_visible()
    expect_card(page, "Stored", "1.62 MB")


def test_csv_is_that_of_the_command_line_but_for_formulas(dashboard, published, visit):
    page = visit(dashboard(published))
    with page.expect_download() as waiting:
        page.locator(".st-key-panel-teams").get_by_role("button", name="CSV").click()
    assert waiting.value.suggested_filename == "usage.csv"
    printed = world.run(published, "usage", "--group-by", "team", "--format", "csv")
    assert "\n@ops," in printed
    assert Path(waiting.value.path()).read_text() == printed.replace("\n@ops,", "\n'@ops,")


@pytest.mark.parametrize(
    ("scheme", "background"), [("light", "rgb(246, 247, 249)"), ("dark", "rgb(16, 21, 29)")]
)
def test_the_theme_follows_the_system(dashboard, published, visit, scheme, background):
    page = visit(dashboard(published), color_scheme=scheme)
    assert teams_drawn(page) == set(TEAMS)
    expect(page.locator(".stApp")).to_have_css("background-color", background)
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280


def test_an_empty_lake_says_what_to_run_until_there_are_results(dashboard, own, visit):
    lake = own.parent / "lake"
    aside = lake.rename(own.parent / "aside")
    page = visit(dashboard(own))
    expect(page.get_by_text("Nothing is published yet.")).to_be_visible()
    expect(page.get_by_text("warpdrive refresh")).to_be_visible()
    expect(page.locator(".wd-card")).to_have_count(0)
    page.screenshot(path=SHOTS / "empty.png")
    aside.rename(lake)
    expect_card(page, "Stored", "1.62 MB")
    expect(page.get_by_text("Nothing is published yet.")).to_have_count(0)


def test_damage_is_one_line_and_the_page_recovers(dashboard, own, visit):
    current = own.parent / "lake" / "published" / "CURRENT"
    whole = current.read_bytes()
    current.write_bytes(whole[:20])
    page = visit(dashboard(own))
    alert = page.get_by_role("alert")
    expect(alert).to_have_count(1)
    expect(alert).to_contain_text("is damaged")
    expect(alert).to_contain_text("warpdrive refresh")
    expect_no_trace(page)
    page.screenshot(path=SHOTS / "damaged.png")
    current.write_bytes(whole)
    page.reload()
    expect_card(page, "Stored", "1.62 MB")
    expect(page.get_by_role("alert")).to_have_count(0)


def test_a_new_generation_shows_up_by_itself(dashboard, own, visit):
    page = visit(dashboard(own))
    expect(page.get_by_text("2 of 2 quotas are crossed")).to_be_visible()
    world.run(own, "quota", "delete", "--team", "vision")
    expect(page.get_by_text("1 of 1 quotas are crossed")).to_be_visible()
