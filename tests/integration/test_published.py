"""One answer is of one refresh, and what people decide is not hidden by a slow one."""

import datetime as dt

import polars as pl
import pytest

import lake
from lake import publish
from lake.change import set_quota
from lake.read import Reader
from pipelines.crawl import CrawlOptions, crawl
from pipelines.refresh import refresh
from storage.errors import UnknownNameError


def crawled_and_refreshed(home):
    """Bring the reports up to now."""
    now = dt.datetime.now(dt.UTC)
    crawl(home.lake, home.config.backend("data"), CrawlOptions(now))
    refresh(home.config, now=now)


def answers(reader):
    """Total bytes by four questions, one of which the engine answers."""
    return {
        "usage": sum(row["bytes"] for row in reader.usage(group_by="team")),
        "backends": sum(row["bytes"] for row in reader.backends()),
        "growth": reader.growth()[-1]["bytes"],
        "stale": sum(row["size_bytes"] for row in reader.stale(days=0, min_size=1)),
    }


def test_a_reader_keeps_to_one_generation(home):
    """Results published after a reader was opened do not mix into its answers."""
    (home.root() / "a").write_bytes(b"x" * 10)
    crawled_and_refreshed(home)
    early = Reader(home.config)
    (home.root() / "b").write_bytes(b"x" * 7)
    crawled_and_refreshed(home)
    assert answers(early) == dict.fromkeys(("usage", "backends", "growth", "stale"), 10)
    assert answers(Reader(home.config)) == dict.fromkeys(
        ("usage", "backends", "growth", "stale"), 17
    )


def test_a_quota_that_is_set_during_a_refresh_stays(home, monkeypatch):
    """The refresh read the quotas before; its results must not hide the new one."""
    (home.root() / "a").write_bytes(b"x" * 10)
    crawled_and_refreshed(home)
    limits = {"team": "red", "backend": "", "soft_bytes": 0, "hard_bytes": 5, "grace_seconds": 0}
    whole = publish.documents

    def meanwhile(*given):
        found = whole(*given)
        monkeypatch.setattr(publish, "documents", whole)
        set_quota(home.config, limits, "ann")
        return found

    monkeypatch.setattr(publish, "documents", meanwhile)
    refresh(home.config, now=dt.datetime.now(dt.UTC))
    assert [row["hard_bytes"] for row in Reader(home.config).quota()] == [5]


def test_a_notebook_gets_the_same_answers_as_typed_frames(home):
    """`lake.open` answers as the commands do, with instants and days as such."""
    (home.root() / "a").write_bytes(b"x" * 10)
    crawled_and_refreshed(home)
    opened = lake.open(str(home.file))
    usage = opened.usage(by="team").collect()
    assert usage.select("group", "bytes").rows() == [("unassigned", 10)]
    assert usage.schema["last_access_at"] == pl.Datetime("us", "UTC")
    assert opened.growth().collect().schema["day"] == pl.Date()
    assert opened.stale(days=0).collect()["path"].to_list() == ["a"]
    assert opened.table("files").collect()["size_bytes"].to_list() == [10]
    with pytest.raises(UnknownNameError, match="filez"):
        opened.table("filez")
