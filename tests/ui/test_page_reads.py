"""Which tables a page opens, and how much of them, on a lake that fits no page."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from lake.publish import publish_explored
from lake.schemas import TABLES
from pipelines import crawl, ingest
from pipelines.refresh import refresh
from storage import clock
from storage.landing import compress, hour_of, segment_name
from tests.home import Home
from tests.opened import Opened

ROOT = Path(__file__).parents[2]
FILES, USERS, DAYS, READS = 4_000, 20, 30, 40
WHOLE = {
    "events", "access_daily", "files", "file_changes", "file_state", "file_user", "activity",
    "quarantine",
}  # fmt: skip
"""Tables with a row per event or file: no page may need them."""
OPENS: dict[str, set[str]] = {
    "overview": set(),
    "backend": {"listings"},
    "stale": {"stale_index", "stale_rollup"},
    "user": {"stale_index", "user_daily", "user_files", "user_jobs"},
    "quotas": {"quotas"},
    "ingest": {"ledger"},
    "ownership": set(),
}
QUERY = {"stale": {"days": "0"}, "user": {"user": "u3"}, "backend": {"backend": "data"}}


@pytest.fixture(scope="module")
def large(tmp_path_factory) -> Home:
    """4,000 files; 20 users who read 40 of them on each of 30 days, in jobs."""
    home = Home(tmp_path_factory.mktemp("large"))
    for number in range(FILES):
        place = home.root() / f"d{number % 50}" / f"f{number}"
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(b"x" * (number % 97))
    now = clock.now().replace(microsecond=0)
    for ago in range(DAYS):
        at = now - dt.timedelta(days=ago, minutes=10)
        events = [
            {"ts": at.isoformat(), "user": f"u{user}", "backend": "data", "op": "read",
             "path": f"d{n % 50}/f{n}", "bytes_read": n, "job": f"{user}-{ago}"}
            for user in range(USERS)
            for n in range(user * READS, user * READS + READS)
        ]  # fmt: skip
        lines = [json.dumps(event).encode() + b"\n" for event in events]
        name = segment_name(hour_of(at), "n1", "ab" * 8, ago * 1000, ago * 1000 + len(lines) - 1)
        home.land(name, raw=compress(lines))
    ingest.ingest(home.lake, str(home.landing), ingest.Window(now, dt.timedelta(days=400)))
    crawl.crawl(home.lake, home.config.backend("data"), crawl.CrawlOptions(now))
    for args in (("team", "add", "u3", "vision"), ("quota", "set", "--team", "vision", "--hard",
                                                   "1MB")):  # fmt: skip
        assert home.run(*args).code == 0
    refresh(home.config, now=clock.now())
    publish_explored(home.lake, clock.now())
    return home


@pytest.fixture
def opened(large):
    """The files of the lake that are opened."""
    found = Opened(large.folder / "lake")
    yield found
    found.close()


def page(large: Home, name: str, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.setenv("WARPDRIVE_CONFIG", str(large.file))
    st.cache_data.clear()
    app = AppTest.from_file(str(ROOT / "dashboard" / "app.py"), default_timeout=60)
    for key, value in QUERY.get(name, {}).items():
        app.query_params[key] = value
    app.run()
    return app if name == "overview" else app.switch_page(f"app_pages/{name}.py").run()


def by_table(files: set[Path], lake: Path) -> dict[str, int]:
    """Bytes of the data files that were opened, by table."""
    found: dict[str, int] = {}
    for file in files:
        name = file.relative_to(lake).parts[0]
        if name in TABLES and file.suffix == ".parquet" and "_delta_log" not in file.parts:
            found[name] = found.get(name, 0) + file.stat().st_size
    return found


@pytest.mark.parametrize("name", list(OPENS))
def test_a_page_opens_only_what_was_made_for_it(large, opened, monkeypatch, name):
    app = page(large, name, monkeypatch)
    assert not app.exception
    assert not app.error
    read = by_table(opened.files(), large.folder / "lake")
    # The top of the index may be in memory: the process that made it has read it.
    assert OPENS[name] - {"stale_index"} <= set(read) <= OPENS[name]
    assert not set(read) & WHOLE


def test_what_is_opened_is_seen(large, opened):
    """The witness of the test above: a question that does pass over accesses is noticed."""
    assert large.run("user", "u3", "--format", "csv").code == 0
    assert "access_daily" in by_table(opened.files(), large.folder / "lake")
