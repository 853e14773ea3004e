"""Changes made in the browser: marks, quotas, rules. Each shows, is stored, and is logged."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import pytest
import world
from looking import expect_card, grid_cell, settled, table_rows, tick
from playwright.sync_api import Page, expect


@pytest.fixture(scope="module")
def changed(published, tmp_path_factory) -> Path:
    """A copy of the published lake that these tests change, one after the other."""
    folder = tmp_path_factory.mktemp("changed")
    shutil.copytree(published.parent / "lake", folder / "lake")
    return Path(shutil.copy(published, folder))


def logged(config: Path) -> list[dict[str, str]]:
    text = world.run(config, "audit-log", "--format", "csv")
    return list(csv.DictReader(io.StringIO(text)))


def fill(page: Page, label: str, value: str) -> None:
    box = page.get_by_role("textbox", name=label)
    box.fill(value)
    box.press("Tab")


def test_a_selection_is_marked_after_a_confirm_step_and_taken_back(dashboard, changed, visit):
    page = visit(f"{dashboard(changed)}/stale?days=10", viewport={"width": 1280, "height": 1500})
    expect(grid_cell(page, "files", 0, 1)).to_have_text("raw/one.bin")
    tick(page, "files", 0, 2)
    page.get_by_role("button", name="Mark 2 selected (976.56 KB) …").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("2 files, 976.56 KB")
    dialog.get_by_role("button", name="Mark 2 files").click()
    expect(dialog.get_by_role("alert")).to_contain_text("a reason is required")
    dialog.get_by_role("textbox", name="Reason").fill("old runs")
    dialog.get_by_role("button", name="Mark 2 files").click()
    expect(dialog).to_have_count(0)
    expect(page.get_by_text("2 files are marked (976.56 KB)")).to_be_visible()
    expect_card(page, "Marks would free", "976.56 KB", "1,000,000 bytes")
    expect(grid_cell(page, "marks", 0, 1)).to_have_text("raw/one.bin")
    expect(grid_cell(page, "marks", 1, 5)).to_have_text("old runs")
    (entry,) = [row for row in logged(changed) if row["action"] == "mark add"]
    assert entry["object"] == "training:raw/one.bin and 1 more"
    assert json.loads(entry["after"])["bytes"] == 1_000_000
    assert (published_file(changed)).exists()
    tick(page, "marks", 1)
    page.get_by_role("button", name="Take 1 marks back").click()
    expect_card(page, "Marks would free", "683.59 KB", "700,000 bytes")
    assert [r["action"] for r in logged(changed)].count("mark remove") == 1


def published_file(config: Path) -> Path:
    """A file that was marked, where the backend keeps it."""
    line = next(text for text in config.read_text().splitlines() if "name: training" in text)
    return Path(line.split("root: ")[1].rstrip("}")) / "raw" / "one.bin"


def test_a_selection_does_not_outlive_its_filter(dashboard, changed, visit):
    page = visit(f"{dashboard(changed)}/stale?days=10", viewport={"width": 1280, "height": 1500})
    expect(grid_cell(page, "files", 0, 1)).to_have_text("raw/one.bin")
    tick(page, "files", 0)
    expect(page.get_by_role("button", name="Mark 1 selected")).to_be_enabled()
    size = page.get_by_role("textbox", name="Owner")
    size.fill("carol")
    size.press("Enter")
    expect_card(page, "Files", "1")
    expect(page.get_by_role("button", name="Mark 0 selected")).to_be_disabled()


def test_everything_that_matches_is_marked(dashboard, changed, visit):
    page = visit(f"{dashboard(changed)}/stale?days=10&owner=carol")
    expect_card(page, "Files", "1")
    page.get_by_role("button", name="Mark all that match …").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("textbox", name="Reason").fill("left the company")
    dialog.get_by_role("button", name="Mark 1 files").click()
    expect_card(page, "Marks would free", "1.14 MB", "1,200,000 bytes")


def test_a_quota_is_set_edited_and_deleted(dashboard, changed, visit):
    page = visit(f"{dashboard(changed)}/quotas")
    page.get_by_role("combobox", name="Team").fill("rl")
    page.get_by_role("option", name="rl").click()
    fill(page, "Soft limit", "2GB")
    fill(page, "Hard limit", "1GB")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_contain_text("hard_limit: 2147483648 > 1073741824 bytes")
    fill(page, "Soft limit", "12 potato")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_contain_text("the soft limit '12 potato' is not a size")
    fill(page, "Soft limit", "512MB")
    fill(page, "Grace", "7d")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("region", name="Limits")).to_contain_text("rl")
    told = world.run(changed, "quota", "list", "--team", "rl", "--format", "csv")
    assert told.splitlines()[1] == f"rl,,{512 * 1024**2},{1024**3},0,OK,"
    page.goto(f"{dashboard(changed)}/quotas?quota=rl+·+all+together")
    expect(page.get_by_role("textbox", name="Soft limit")).to_have_value("512.00 MB")
    expect(page.get_by_role("textbox", name="Grace")).to_have_value("7d")
    fill(page, "Hard limit", "3GB")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("region", name="Limits")).to_contain_text("3.00 GB")
    page.get_by_role("button", name="Delete …").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete it").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    settled(page)
    assert [row[0] for row in table_rows(page, "Limits")] == ["@ops", "vision"]
    actions = [row["action"] for row in logged(changed) if row["object"] == "rl on all"]
    assert sorted(actions) == ["quota delete", "quota set", "quota set"]


def test_a_rule_is_previewed_saved_and_removed(dashboard, changed, visit):
    page = visit(f"{dashboard(changed)}/ownership", viewport={"width": 1280, "height": 2000})
    page.get_by_role("combobox", name="Backend").click()
    page.get_by_role("option", name="training").click()
    fill(page, "Prefix", "models")
    page.get_by_role("combobox", name="Team").fill("vision")
    page.get_by_role("option", name="vision").click()
    page.get_by_role("button", name="Preview …").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("1 files, 488.28 KB")
    dialog.get_by_role("button", name="Save the rule").click()
    expect(dialog).to_have_count(0)
    (row,) = table_rows(page, "Rules")
    assert row[:3] == ["training", "models", "vision"]
    page.get_by_role("combobox", name="Remove a rule").click()
    page.get_by_role("option", name="training:models").click()
    page.get_by_role("button", name="Remove …").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove it").click()
    expect(page.get_by_text("No rule yet.")).to_be_visible()
    actions = {row["action"] for row in logged(changed) if row["object"] == "training:models"}
    assert actions == {"rule add", "rule remove"}
