"""Backends that only fsspec opens, by the plug-in for plain files."""

import datetime as dt
import os

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.spec import AbstractFileSystem

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


class Locked(MemoryFileSystem):
    """A plug-in whose folder `locked` cannot be read once it is locked."""

    protocol = "lockedmemory"
    store: dict = {}  # noqa: RUF012 - as fsspec has it
    pseudo_dirs = [""]  # noqa: RUF012
    locked = False
    find = AbstractFileSystem.find

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.removeprefix("lockedmemory://"))

    def ls(self, path, detail=True, **how):
        """The entries of a folder."""
        if self.locked and "locked" in path:
            raise PermissionError(path)
        return super().ls(path, detail, **how)


def test_a_folder_that_cannot_be_read_fails_the_listing_and_removes_nothing(tmp_path, monkeypatch):
    """Fsspec by itself would leave its files out, and they would be taken for deleted."""
    from lake.schemas import FILES
    from lake.store import Lake

    fsspec.register_implementation("lockedmemory", Locked, clobber=True)
    for path in ("/root/open/a", "/root/locked/b"):
        Locked().pipe(path, b"12")
    file = tmp_path / "warpdrive.yaml"
    file.write_text(
        "lake: {root: ./lake}\nbackends:\n"
        "  - {name: m, type: lockedmemory, config: {root: /root}}\n"
    )
    config = load_config(str(file))
    lake = Lake(config.lake.root)
    assert crawl(lake, config.backend("m"), CrawlOptions(NOW)).files == 2
    monkeypatch.setattr(Locked, "locked", True)
    failed = crawl(lake, config.backend("m"), CrawlOptions(NOW + dt.timedelta(hours=1)))
    assert (failed.state, failed.files) == ("failed", 2)
    assert "cannot be listed" in failed.error
    assert sorted(lake.scan(FILES).collect()["path"]) == ["locked/b", "open/a"]
