"""The world of the suite, as it is told and as it goes on."""

import os
import signal
from pathlib import Path

import pytest

from tests.conformance import telling
from tests.conformance.telling import World, event


def pytest_collection_modifyitems(config, items):
    """The first test that needs the world waits until it is told.

    What needs a command of its own is not collected for a server that runs elsewhere.
    """
    mine = [item for item in items if "tests/conformance/" in item.nodeid]
    for item in mine:
        item.add_marker(pytest.mark.timeout(900))
    if telling.URL:
        beyond = [item for item in mine if _starts(item) or (_asks(item) and not telling.NAMED)]
        config.hook.pytest_deselected(items=beyond)
        items[:] = [item for item in items if item not in beyond]


def _starts(item):
    return "lifecycle" in item.nodeid


def _asks(item):
    return "command_line" in item.nodeid


EMPTY_QUESTIONS = ("usage", "usage?group_by=team", "stale", "growth", "quota", "user/nobody",
                   "backends")  # fmt: skip


@pytest.fixture(scope="session")
def blank(tmp_path_factory):
    """A server that nobody told anything yet, and what it answered."""
    folder = Path(telling.FOLDER) if telling.URL else tmp_path_factory.mktemp("conformance")
    if not telling.URL:
        telling.prepare(folder)
    world = World(folder)
    world.answers["blank"] = {question: world.server.get(question) for question in EMPTY_QUESTIONS}
    yield world
    world.server.stop()


@pytest.fixture(scope="session")
def world(blank):
    """Everything told, crawled once: the barrier has answered."""
    telling.files(blank)
    telling.teams_and_quotas(blank)
    telling.events(blank)
    blank.first_crawl = blank.crawl()
    return blank


@pytest.fixture(scope="session")
def later(world):
    """After a second crawl: files have gone, one has grown, a team has crossed its limit."""
    world.before = {
        "growth": world.rows("growth", backend="data")[-1],
        "backends": {row["name"]: row for row in world.rows("backends")},
        "stale": {row["path"] for row in world.rows("stale", backend="data")},
    }
    for path in ("stale/gone.bin", "later/gone.bin"):
        (world.root() / path).unlink()
    world.write("grow/file.bin", 5000)
    world.answers["b60"] = telling.sequence(world)
    return world


@pytest.fixture(scope="session")
def restarted(later):
    """The same config behind new processes: one stopped, one killed right after an answer."""
    later.exit_code = later.server.stop()
    later.server = later.start()
    later.answers["restarted"] = {
        path: later.rows(path) for path in ("usage?group_by=team", "quota", "user/newest")
    }
    later.post(event("killed", "f", bytes_read=6))
    os.kill(later.server.process.pid, signal.SIGKILL)
    later.server.stop()
    later.server = later.start()
    later.crawl()
    return later
