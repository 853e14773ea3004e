"""Backends that only fsspec opens, by the plug-in for plain files."""

import datetime as dt
import os

import pytest

from pipelines.crawl import CrawlOptions, crawl
from storage.config import load_config
from storage.errors import BackendError
from storage.listing.generic import list_generic

NOW = dt.datetime(2026, 11, 2, tzinfo=dt.UTC)


@pytest.fixture(name="made")
def _made(tmp_path):
    root = tmp_path / "root"
    (root / "a b").mkdir(parents=True)
    (root / "a b" / "x\\y").write_bytes(b"12345")
    (root / "z").write_bytes(b"")
    os.utime(root / "z", (1_700_000_000, 1_700_000_000))
    file = tmp_path / "warpdrive.yaml"
    file.write_text(
        "lake: {root: ./lake}\nbackends:\n"
        f"  - {{name: files, type: file, config: {{root: {root}}}}}\n"
        f"  - {{name: gone, type: file, config: {{root: {root}/gone}}}}\n"
        "  - {name: odd, type: nosuch, config: {root: x}}\n"
    )
    return load_config(str(file))


def test_every_file_is_listed_with_size_and_time(made):
    """Paths are relative, with a backslash doubled as everywhere; times are UTC."""
    (batch,) = list_generic(made.backend("files"), NOW).batches
    rows = {row["path"]: row for row in batch.to_pylist()}
    assert {path: row["size_bytes"] for path, row in rows.items()} == {"a b/x\\\\y": 5, "z": 0}
    assert rows["z"]["modified_at"] == dt.datetime.fromtimestamp(1_700_000_000, dt.UTC)


@pytest.mark.parametrize(("name", "what"), [("gone", "does not exist"), ("odd", "nosuch")])
def test_what_cannot_be_listed_is_said_with_its_place(made, name, what):
    """A folder that is not there and a scheme that nobody knows are errors, never empty."""
    with pytest.raises(BackendError, match=what):
        list(list_generic(made.backend(name), NOW).batches)


def test_a_crawl_takes_it_like_any_other(made):
    """The crawl indexes what the fallback lists."""
    from lake.store import Lake

    result = crawl(Lake(made.lake.root), made.backend("files"), CrawlOptions(NOW))
    assert (result.state, result.files, result.bytes) == ("complete", 2, 5)
