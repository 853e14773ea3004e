"""Two worlds (one published, one empty), their servers, and a browser."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import servers
import world
from playwright.sync_api import Browser, Page, expect, sync_playwright

ROOT = Path(__file__).parents[2]
SHOTS = ROOT / ".artifacts" / "ui"
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-quic", "--no-first-run",
)  # fmt: skip
WAIT_MS = 30_000
Open = Callable[..., Page]

LIMIT_SECONDS = 600  # the first test that needs a world waits for six runs of Dagster


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Bound each test, its share of the session's fixtures included."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(LIMIT_SECONDS))


@pytest.fixture(scope="session")
def empty(tmp_path_factory) -> Path:
    """The config of a lake that has published nothing."""
    return world.make(tmp_path_factory.mktemp("empty"))


@pytest.fixture(scope="session")
def published(tmp_path_factory) -> Path:
    """The config of a lake with results."""
    config = world.make(tmp_path_factory.mktemp("published"))
    world.publish(config)
    return config


@pytest.fixture(scope="session")
def own(published, tmp_path_factory) -> Path:
    """A copy of the published lake that tests change and damage; files and bytes stay."""
    folder = tmp_path_factory.mktemp("own")
    shutil.copytree(published.parent / "lake", folder / "lake")
    return Path(shutil.copy(published, folder))


@pytest.fixture(scope="session")
def dashboard(tmp_path_factory) -> Iterator[Callable[[Path], str]]:
    """The URL of `warpdrive dashboard` for a config; one server per config, kept."""
    urls: dict[Path, str] = {}
    with ExitStack() as running:

        def start(config: Path) -> str:
            if config not in urls:
                port = servers.free_port()
                command = [world.WARPDRIVE, "--config", str(config), "dashboard", "--port"]
                log = tmp_path_factory.mktemp("dashboard") / "log"
                urls[config] = running.enter_context(
                    servers.serving([*command, str(port)], port, "/_stcore/health", log, {})
                )
            return urls[config]

        yield start


@pytest.fixture(scope="session")
def dagster(published, tmp_path_factory) -> Iterator[str]:
    """The URL of the Dagster UI on the instance that the commands wrote."""
    port = servers.free_port()
    python = Path(sys.executable)
    command = [str(python.with_name("dagster-webserver")), "-m", "pipelines.definitions"]
    environ = {
        "DAGSTER_HOME": str(published.parent / ".dagster"),
        "WARPDRIVE_CONFIG": str(published),
    }
    instance = published.parent / ".dagster" / "dagster.yaml"
    if "nux:" not in instance.read_text():  # no dialog over the pages
        instance.write_text(f"{instance.read_text()}\nnux:\n  enabled: false\n")
    log = tmp_path_factory.mktemp("dagster") / "log"
    where = ["-h", "127.0.0.1", "-p", str(port)]
    with servers.serving([*command, *where], port, "/server_info", log, environ) as url:
        yield url


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium: $CHROMIUM, else the one on PATH."""
    found = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if not found:
        pytest.fail("no chromium: install it (`make test-ui` does) or name one in $CHROMIUM")
    expect.set_options(timeout=WAIT_MS)
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=found, args=list(FLAGS))
        yield running
        running.close()


@pytest.fixture
def visit(browser, request) -> Iterator[Open]:
    """Open an URL in a fresh window; a screenshot of each page is kept under .artifacts/ui."""
    opened: list[Page] = []

    def go(url: str, **how: Any) -> Page:
        how.setdefault("viewport", {"width": 1280, "height": 800})
        page = browser.new_context(**how).new_page()
        page.set_default_timeout(WAIT_MS)
        page.goto(url)
        opened.append(page)
        return page

    yield go
    SHOTS.mkdir(parents=True, exist_ok=True)
    for number, page in enumerate(opened):
        page.screenshot(path=SHOTS / f"{request.node.name}-{number}.png")
        shown = page.locator("body").inner_text()
        page.context.close()
        assert "Something went wrong" not in shown
        assert "Traceback" not in shown
