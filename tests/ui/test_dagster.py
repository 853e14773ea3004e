"""The Dagster UI shows what the commands ran, in a real browser."""

from __future__ import annotations

from playwright.sync_api import expect

TALL = {"width": 1280, "height": 2600}  # rows outside the window are not drawn


def test_assets_are_listed_by_layer(dagster, visit):
    page = visit(f"{dagster}/assets", viewport=TALL)
    for name in ("usage", "files", "events", "file_state", "stale_rollup"):
        expect(page.locator(f"a[href='/assets/{name}']").first).to_be_visible()
    page.goto(f"{dagster}/asset-groups")
    for group in ("telemetry", "inventory", "control", "state", "reports"):
        expect(page.get_by_text(group, exact=True).first).to_be_visible()


def test_every_run_of_the_commands_succeeded(dagster, visit):
    page = visit(f"{dagster}/runs")
    expect(page.get_by_text("Success", exact=True)).to_have_count(4)  # ingest, 2 crawls, refresh
    expect(page.get_by_text("Failure", exact=True)).to_have_count(0)


def test_an_asset_tells_its_meaning_and_its_check(dagster, visit):
    page = visit(f"{dagster}/assets/usage", viewport=TALL)
    expect(
        page.get_by_text("What each user, team, backend and prefix stores").first
    ).to_be_visible()
    page.goto(f"{dagster}/assets/usage?view=checks")
    expect(page.get_by_text("sums_agree").first).to_be_visible()
    expect(page.get_by_text("Passed", exact=True).first).to_be_visible()
    expect(page.get_by_text("1701234").first).to_be_visible()
