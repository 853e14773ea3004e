"""Every page but the overview in a real browser: what it shows is what the command line prints."""

from __future__ import annotations

import csv
import io
import re

import pytest
import world
from looking import (
    bars,
    download,
    expect_card,
    grid_cell,
    serious_findings,
    settled,
    table_rows,
    unfold,
)
from playwright.sync_api import expect

PAGES = ("", "backend", "stale", "user?user=alice", "quotas", "ingest", "ownership")


def printed(config, *arguments: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(world.run(config, *arguments, "--format", "csv"))))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_accessible_and_fits(dashboard, published, visit, name, scheme):
    page = visit(
        f"{dashboard(published)}/{name}", color_scheme=scheme,
        viewport={"width": 1280, "height": 1700},
    )  # fmt: skip
    settled(page)
    assert serious_findings(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280


def test_pages_are_reached_by_their_names(dashboard, published, visit):
    page = visit(dashboard(published))
    for title in ("Backend", "Stale", "User", "Quotas", "Ingest", "Ownership", "Overview"):
        page.get_by_role("link", name=title, exact=True).click()
        expect(page.get_by_role("heading", level=1)).to_have_text(title)


def test_a_backend_is_told_as_the_commands_tell_it(dashboard, published, visit):
    page = visit(f"{dashboard(published)}/backend?backend=training&show=Files")
    (row,) = [r for r in printed(published, "backends") if r["name"] == "training"]
    assert row["total_bytes"] == "1500000"
    expect_card(page, "Stored", "1.43 MB", "1,500,000 bytes")
    expect_card(page, "Files", row["file_count"])
    expect_card(page, "Last crawl", "complete")
    expect(page.get_by_role("heading", name="Files over time")).to_be_visible()
    unfold(page, "prefixes")
    assert [r[1:] for r in table_rows(page, "Top prefixes")] == [
        ["raw", "2", "976.56 KB"], ["models", "1", "488.28 KB"],
    ]  # fmt: skip
    unfold(page, "owners")
    assert [r[:2] for r in table_rows(page, "Owners")] == [
        ["alice", "1"], ["carol", "1"], ["bob", "1"],
    ]  # fmt: skip
    (crawl,) = table_rows(page, "Crawls")
    assert crawl[1:7] == ["list", "complete", "3", "1.43 MB", "3", "0"]
    name, text = download(page, "size")
    assert name == "growth.csv"
    assert text == world.run(
        published, "growth", "--backend", "training", "--period", "90", "--format", "csv"
    )


def test_a_deeper_prefix_is_asked_for(dashboard, published, visit):
    page = visit(f"{dashboard(published)}/backend?backend=training")
    page.locator(".st-key-panel-prefixes").get_by_role("radio", name="2").or_(
        page.locator(".st-key-panel-prefixes").get_by_role("button", name="2", exact=True)
    ).first.click()
    expect(page).to_have_url(re.compile("depth=2"))
    unfold(page, "prefixes")
    expect(page.get_by_role("region", name="Top prefixes")).to_contain_text("raw/one.bin")


def test_a_user_owns_touches_and_runs_jobs(dashboard, published, visit):
    page = visit(f"{dashboard(published)}/user")
    expect(page.get_by_text("Choose a user to see")).to_be_visible()
    page.get_by_role("combobox", name="User").fill("bob")
    page.get_by_role("option", name="bob").click()
    expect(page).to_have_url(re.compile(r"[?&]user=bob"))
    expect_card(page, "Owns", "292.97 KB", "300,000 bytes")
    expect_card(page, "Touched", "976.56 KB", "1,000,000 bytes")
    expect_card(page, "Read", "683.59 KB", "700,000 bytes")
    expect_card(page, "Team", "vision")
    touched = table_rows(page, "Touched")
    told = printed(published, "user", "bob")
    assert [(r[0], r[1], r[2], r[3], r[4]) for r in touched] == [
        (r["day"], r["path"], r["backend"], r["read_count"], r["write_count"]) for r in told
    ]
    assert len(touched) == 2
    (job,) = table_rows(page, "Jobs")
    assert (job[0], *job[3:]) == ("4711", "1", "1", "3", "683.59 KB", "0 B")
    unfold(page, "days")
    assert [r[1:] for r in table_rows(page, "Active days")] == [
        ["3", "1", "683.59 KB", "0 B"], ["1", "1", "0 B", "292.97 KB"],
    ]  # fmt: skip


def test_a_link_to_a_user_who_is_not_there_says_so(dashboard, published, visit):
    page = visit(f"{dashboard(published)}/user?user=nobody")
    expect(page.get_by_text("There is no user 'nobody'")).to_be_visible()


def test_the_ledger_and_the_quarantine_are_told(dashboard, published, visit):
    page = visit(f"{dashboard(published)}/ingest")
    (row,) = printed(published, "ledger")
    expect_card(page, "Events", row["events"])
    expect_card(page, "Quarantined", "1")
    expect_card(page, "Missing", "0")
    unfold(page, "hours")
    (shown,) = table_rows(page, "Ledger")
    assert shown[1:4] == [row["hour"], row["events"], row["objects"]]
    (line,) = table_rows(page, "Refused lines")
    assert line[2:] == ["6", "ts is not an RFC 3339 time: 'yesterday'", world.REFUSED]
    name, text = download(page, "quarantine")
    assert name == "quarantine.csv"
    assert text.splitlines()[0] == "hour,object,line,reason,text"


def test_unassigned_bytes_are_a_number(dashboard, published, visit):
    page = visit(f"{dashboard(published)}/ownership")
    expect_card(page, "Unassigned", "1.21 KB", "1,234 bytes")
    expect_card(page, "Assigned", "1.62 MB", "1,700,000 bytes")
    unfold(page, "unassigned")
    assert table_rows(page, "Unassigned by prefix") == [["scratch", "notes.txt", "1", "1.21 KB"]]
    unfold(page, "evidence")
    assert table_rows(page, "Evidence") == [
        ["first writer", "4", "1.62 MB"], ["unassigned", "1", "1.21 KB"],
    ]  # fmt: skip


def test_quotas_are_bars_against_their_limits(dashboard, published, visit):
    page = visit(f"{dashboard(published)}/quotas")
    assert [row[:3] for row in table_rows(page, "Limits")] == [
        ["@ops", "training", "exceeded"], ["vision", "all together", "warning"],
    ]  # fmt: skip
    drawn = bars(page, "limits")
    assert any("vision · all" in b and "Exactly: 1,200,000 bytes" in b for b in drawn)
    name, text = download(page, "limits")
    assert name == "quota.csv"
    told = world.run(published, "quota", "list", "--format", "csv")
    assert text == told.replace("\n@ops,", "\n'@ops,")


def test_stale_files_are_those_of_the_command(dashboard, published, visit):
    page = visit(f"{dashboard(published)}/stale?days=10")
    told = printed(published, "stale", "--days", "10")
    assert len(told) == 5
    expect_card(page, "Stale", "1.62 MB", "1,701,234 bytes")
    expect_card(page, "Files", "5")
    for number, row in enumerate(told):
        expect(grid_cell(page, "files", number, 1)).to_have_text(row["path"])
        expect(grid_cell(page, "files", number, 3)).to_have_text(row["size_bytes"])
    name, text = download(page, "files")
    assert name == "stale.csv"
    plain = world.run(published, "stale", "--days", "10", "--format", "csv")
    assert text == plain.replace(",@ops", ",'@ops")


def test_stale_files_are_filtered_sorted_and_browsed(dashboard, published, visit):
    page = visit(f"{dashboard(published)}/stale")
    expect_card(page, "Files", "1")
    days = page.get_by_role("spinbutton", name="Not touched for (days)")
    days.fill("10")
    days.press("Enter")
    expect_card(page, "Files", "5")
    expect(page).to_have_url(re.compile("days=10"))
    size = page.get_by_role("textbox", name="At least")
    size.fill("300KB")
    size.press("Enter")
    expect_card(page, "Stale", "1.14 MB", "1,200,000 bytes")
    page.get_by_role("radio", name="smallest").or_(
        page.get_by_role("button", name="smallest")
    ).first.click()
    expect(grid_cell(page, "files", 0, 1)).to_have_text("models/net.pt")
    size.fill("12 potato")
    size.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("the smallest size '12 potato' is not a size")
    size.fill("")
    size.press("Enter")
    page.get_by_role("radio", name="Browse all").or_(
        page.get_by_role("button", name="Browse all")
    ).first.click()
    expect(grid_cell(page, "files", 0, 0)).to_have_text("raw/one.bin")
