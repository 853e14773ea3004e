"""What tests look for on a page, and how they use its grids."""

from __future__ import annotations

import re
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, expect

ROW_HEIGHT = 35
HEAD_HEIGHT = 36


def expect_card(page: Page, label: str, value: str, exact: str = "") -> None:
    named = page.get_by_text(label, exact=True)
    found = page.locator(".wd-card", has=named).locator(".wd-value")
    expect(found).to_have_text(value)
    if exact:
        expect(found).to_have_attribute("title", exact)


def table_rows(page: Page, label: str) -> list[list[str]]:
    rows = page.get_by_role("region", name=label, exact=True).locator("tbody tr")
    expect(rows.first).to_be_visible()
    return [row.locator("td").all_inner_texts() for row in rows.all()]


def unfold(page: Page, panel: str) -> None:
    """Show the table below a panel's chart."""
    page.locator(f".st-key-panel-{panel}").get_by_text("Table", exact=True).click()


def grid(page: Page, panel: str) -> Locator:
    found = page.locator(f".st-key-panel-{panel} [data-testid=stDataFrame]").first
    expect(found).to_be_visible()
    return found


def grid_cell(page: Page, panel: str, row: int, column: int) -> Locator:
    """A cell as a screen reader finds it, both from 0; a column of boxes to tick counts."""
    return grid(page, panel).get_by_test_id(f"glide-cell-{column}-{row}")


def tick(page: Page, panel: str, *rows: int) -> None:
    """Tick the boxes of some rows of a grid, from 0."""
    sheet = grid(page, panel).locator(".dvn-scroller")  # lies over the canvas and takes the clicks
    for row in rows:
        sheet.click(position={"x": 18, "y": HEAD_HEIGHT + ROW_HEIGHT * row + ROW_HEIGHT // 2})


def settled(page: Page) -> None:
    """Wait until the page is drawn: nothing runs, is stale or fades, for half a second on end."""
    expect(page.locator("h1")).to_be_visible()
    page.wait_for_function(
        """() => {
          const busy = document.querySelector('[data-testid=stStatusWidget], [data-stale=true]')
            || document.getAnimations().some((one) => one.playState === 'running');
          if (busy || !window.idleSince) window.idleSince = performance.now();
          return !busy && performance.now() - window.idleSince > 500;
        }"""
    )


def serious_findings(page: Page) -> list[str]:
    """What axe finds serious or critical."""
    found = Axe().run(page).response["violations"]
    return [
        f"{one['id']}: {node['html'][:200]}"
        for one in found
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]


def download(page: Page, panel: str) -> tuple[str, str]:
    """Name and text of a panel's CSV."""
    with page.expect_download() as waiting:
        page.locator(f".st-key-panel-{panel}").get_by_role("button", name="CSV").click()
    return waiting.value.suggested_filename, Path(waiting.value.path()).read_text()


def bars(page: Page, panel: str) -> list[str]:
    """What a screen reader is told about each bar of a chart."""
    marks = page.locator(f".st-key-panel-{panel} [aria-roledescription=bar]")
    expect(marks.first).to_be_visible()
    return [mark.get_attribute("aria-label") or "" for mark in marks.all()]


def expect_no_trace(page: Page) -> None:
    text = page.locator("body").inner_text()
    assert "Traceback" not in text
    assert not re.search(r"\w\.py\b", text)
