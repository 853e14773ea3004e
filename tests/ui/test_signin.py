"""Signing in against an OpenID Connect provider: who may see what, in a real browser."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import servers
import world
from conftest import WAIT_MS
from looking import bars, expect_card, settled, table_rows
from playwright.sync_api import Page, expect

PROVIDER = Path(__file__).with_name("provider.py")
PEOPLE = {
    "ann": {"email": "ann@example.org", "roles": ["admin"], "tenant": "main"},
    "bob": {"role": "reader", "teams": ["vision"], "tenant": "main"},
    "eve": {"tenant": "main"},
    "nat": {"role": "reader"},
    "tim": {"role": "reader", "tenant": "other"},
}


@pytest.fixture(scope="module")
def door(published, empty, tmp_path_factory) -> Iterator[str]:
    """The URL of a dashboard with two tenants, behind a provider."""
    folder = tmp_path_factory.mktemp("door")
    main = folder / "main.yaml"
    shutil.copytree(published.parent / "lake", folder / "lake")
    shutil.copy(published, main)
    ports = servers.free_port(), servers.free_port()
    config = folder / "front.yaml"
    config.write_text(
        f"tenants: {{main: {main}, other: {empty}}}\n"
        "dashboard:\n"
        "  oidc:\n"
        f"    metadata_url: http://127.0.0.1:{ports[0]}/.well-known/openid-configuration\n"
        "    client_id: dashboard\n"
        "    client_secret: a-secret-of-the-client-0123456789\n"
        f"    redirect_uri: http://127.0.0.1:{ports[1]}/oauth2callback\n"
        "    cookie_secret: 0123456789abcdef0123456789abcdef\n"
    )
    provider = [sys.executable, str(PROVIDER), str(ports[0]), json.dumps(PEOPLE)]
    command = [world.WARPDRIVE, "--config", str(config), "dashboard", "--port", str(ports[1])]
    with (
        servers.serving(provider, ports[0], "/", folder / "provider.log", {}),
        servers.serving(command, ports[1], "/_stcore/health", folder / "log", {}) as url,
    ):
        yield url


def enter(page: Page, who: str) -> None:
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("link", name=who, exact=True).click()


def test_a_stranger_sees_a_button_and_no_number(door, visit):
    page = visit(f"{door}/stale?days=1")
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    settled(page)
    assert re.search(r"\d+ (B|KB|MB)", page.locator("body").inner_text()) is None
    expect(page.get_by_role("link", name="Overview")).to_have_count(0)


def test_an_administrator_sees_all_and_signs_out(door, visit):
    page = visit(door)
    enter(page, "ann")
    expect_card(page, "Stored", "1.62 MB", "1,701,234 bytes")
    expect(page.get_by_text("ann@example.org · admin · main")).to_be_visible(timeout=WAIT_MS)
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    page.goto(f"{door}/quotas")
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()


def test_a_member_sees_the_rows_of_the_team_only(door, visit):
    page = visit(door)
    enter(page, "bob")
    expect_card(page, "Stored", "1.14 MB", "1,200,000 bytes")
    expect_card(page, "Files", "3")
    assert all("Team: vision" in bar for bar in bars(page, "teams"))
    assert [(row[0], row[3]) for row in table_rows(page, "Backends")] == [
        ("scratch", "195.31 KB"), ("training", "976.56 KB"),
    ]  # fmt: skip
    page.get_by_role("link", name="Backend").click()
    page.get_by_role("radio", name="training").or_(
        page.get_by_role("button", name="training")
    ).first.click()
    expect_card(page, "Stored", "976.56 KB", "1,000,000 bytes")
    expect(page.get_by_text("models")).to_have_count(0)
    page.get_by_role("link", name="Stale").click()
    days = page.get_by_role("spinbutton", name="Not touched for (days)")
    days.fill("10")
    days.press("Enter")
    expect_card(page, "Stale", "976.56 KB", "1,000,000 bytes")  # the backend goes along
    expect(page.get_by_text("Marking needs the role operator.")).to_be_visible()
    page.get_by_role("link", name="User").click()
    page.get_by_role("combobox", name="User").click()
    expect(page.get_by_role("option")).to_have_text(["alice", "bob"])
    page.keyboard.press("Escape")
    page.get_by_role("link", name="Quotas").click()
    assert [row[0] for row in table_rows(page, "Limits")] == ["vision"]
    expect(page.get_by_role("button", name="Save")).to_have_count(0)
    page.get_by_role("link", name="Ingest").click()
    expect(page.get_by_text("Nodes serve all teams")).to_be_visible()
    settled(page)
    assert "carol" not in page.locator("body").inner_text()


@pytest.mark.parametrize(
    ("who", "told"),
    [("eve", "role is missing"), ("nat", "belongs to no tenant")],
)
def test_who_may_see_nothing_is_told_so(door, visit, who, told):
    page = visit(door)
    enter(page, who)
    expect(page.get_by_role("alert")).to_contain_text(told)
    expect(page.locator(".wd-card")).to_have_count(0)


def test_a_tenant_sees_its_own_lake(door, visit):
    page = visit(door)
    enter(page, "tim")
    expect(page.get_by_text("Nothing is published yet.")).to_be_visible()
    expect(page.locator(".wd-card")).to_have_count(0)
