"""The self-audit: what it counts, its interval, and where it is shown."""

import datetime as dt
import json
import math
import os

import polars as pl
import pytest

from lake.agreement import wilson
from lake.schemas import VERIFICATIONS
from pipelines import verify
from pipelines.crawl import CrawlOptions, crawl, list_backend
from storage.listing.columns import batch

START = dt.datetime(2026, 10, 1, tzinfo=dt.UTC)


def audit(home, sample=1000, seed=1, now=START + dt.timedelta(hours=1)):
    asked = verify.Asked(sample, seed, now)
    lister = lambda backend, at: list_backend(backend, at).batches  # noqa: E731
    return verify.verify(home.lake, home.config.backend("data"), asked, lister)


def files(home, count):
    for number in range(count):
        (home.root() / f"f{number:03}").write_text("x" * number)


@pytest.mark.parametrize(("agree", "checked"), [(0, 1), (1, 1), (9, 10), (995, 1000), (50, 100)])
def test_the_interval_is_wilsons(agree, checked):
    """Its bounds are the shares from which what was seen is 1.96 standard errors away."""
    low, high = wilson(agree, checked)
    seen = agree / checked
    assert 0 <= low <= seen <= high <= 1
    for bound in {low, high} - {seen}:
        error = math.sqrt(bound * (1 - bound) / checked)
        assert abs(seen - bound) == pytest.approx(1.959964 * error, rel=1e-5)


def test_the_interval_of_nine_in_ten():
    """As the textbooks have it."""
    assert wilson(9, 10) == pytest.approx((0.5958, 0.9821), abs=5e-5)


def test_nothing_checked_says_nothing():
    """From 0 to 1."""
    assert wilson(0, 0) == (0.0, 1.0)


def test_both_ways_are_counted_and_stored(home):
    """One went, one changed, one came, one was touched: found by the way that can see it."""
    files(home, 20)
    crawl(home.lake, home.config.backend("data"), CrawlOptions(START))
    first = audit(home)
    assert (first["checked"], first["agree"], first["lag_seconds"]) == (40, 40, 3600.0)
    (home.root() / "f001").unlink()
    (home.root() / "f002").write_text("changed")
    (home.root() / "new").write_text("n")
    os.utime(home.root() / "f003", (1, 1))
    row = audit(home)
    # f001, f002, f003 of the index; f002, f003, new of the store.
    assert (row["index_checked"], row["index_agree"]) == (20, 17)
    assert (row["live_checked"], row["live_agree"]) == (20, 17)
    assert (row["checked"], row["agree"]) == (40, 34)
    assert (row["agreement_low"], row["agreement_high"]) == wilson(34, 40)
    stored = home.lake.scan(VERIFICATIONS).sort("agree").collect()
    assert stored["agree"].to_list() == [34, 40]


def test_hard_links_and_hostile_names_agree(home):
    """What the index says of them is what the store has."""
    (home.root() / "a").write_text("12345")
    os.link(home.root() / "a", home.root() / "b")
    for name in (b"caf\xe9", b"new\nline", b"back\\slash"):
        (home.root() / os.fsdecode(name)).write_text("x")
    crawl(home.lake, home.config.backend("data"), CrawlOptions(START))
    row = audit(home)
    assert (row["checked"], row["agree"]) == (10, 10)


def test_a_seed_draws_the_same_sample_in_any_order(home):
    """So that a finding can be looked at again."""
    files(home, 60)
    crawl(home.lake, home.config.backend("data"), CrawlOptions(START))
    asked = verify.Asked(7, 3, START)
    first = verify.drawn_from_index(home.lake, "data", asked)
    assert first.equals(verify.drawn_from_index(home.lake, "data", asked))
    other = verify.drawn_from_index(home.lake, "data", verify.Asked(7, 4, START))
    assert not first["path"].equals(other["path"])
    names = [f"f{n:03}" for n in range(60)]
    batches = [batch({"path": [n], "size_bytes": [1]}, 1) for n in names]
    forward = verify.drawn_from_store(batches, "data", asked)
    assert forward["path"].equals(verify.drawn_from_store(batches[::-1], "data", asked)["path"])
    assert forward["path"].equals(first["path"])


def test_samples_are_uniform():
    """Each of 50 files about as often as any other, over 2,000 seeds."""
    ids = pl.Series(range(50), dtype=pl.Int64).to_numpy()
    hits = [0] * 50
    for seed in range(2000):
        for found in verify._smallest(ids, verify.Asked(5, seed, START)):
            hits[found] += 1
    assert sum(hits) == 10_000
    assert min(hits) > 140
    assert max(hits) < 260  # 200 each; 13.4 is one standard deviation


def test_the_command_shows_stores_and_publishes_it(home):
    """In its own rows, with the backend's numbers, and in the footers."""
    files(home, 5)
    assert home.run("crawl").code == 0
    assert home.run("refresh").code == 0
    assert json.loads(home.run("backends", "--format", "json").out)[0]["agreement_low"] is None
    said = home.run("verify", "--backend", "data", "--sample", "3", "--format", "csv")
    assert said.code == 0, said.err
    assert [(r["backend"], r["checked"], r["agree"]) for r in said.rows] == [("data", "6", "6")]
    assert float(said.rows[0]["agreement_low"]) == pytest.approx(0.60967, abs=1e-4)
    shown = json.loads(home.run("backends", "--format", "json").out)[0]
    assert (shown["checked"], shown["agree"]) == (6, 6)
    assert shown["agreement_high"] == 1.0
    assert "agree in 100.00% of 6 (95 %: 60.97% to 100.00%)" in home.run("usage").err
    home.run("refresh")
    assert json.loads(home.run("backends", "--format", "json").out)[0]["checked"] == 6


def test_a_seed_of_the_command_asks_for_the_same_files_again(home):
    """A finding can be shown once more."""
    files(home, 40)
    home.run("crawl")
    drawn = verify.drawn_from_index(home.lake, "data", verify.Asked(3, 7, START))
    (home.root() / drawn["path"][0]).unlink()
    for _ in range(2):
        said = home.run("verify", "--sample", "3", "--seed", "7")
        assert said.code == 0, said.err
    rows = home.lake.scan(VERIFICATIONS).collect()
    assert rows.select("seed", "index_checked", "index_agree").rows() == [(7, 3, 2)] * 2


def test_a_backend_that_is_gone_fails_alone_with_exit_code_1(new_home):
    """The others are audited all the same."""
    home = new_home(("data", "gone"))
    files(home, 2)
    home.run("crawl")
    home.root("gone").rmdir()
    said = home.run("verify", "--format", "csv")
    assert said.code == 1
    assert [r["backend"] for r in said.rows] == ["data"]
    assert "backend 'gone' could not be verified" in said.err
