"""Object stores, listed for real: every key as it is, in parallel, and on from where it stopped."""

import datetime as dt
import io
import json
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pytest

from storage.config import load_config
from storage.errors import BackendError
from storage.listing.columns import LISTED
from storage.listing.objects import list_objects
from storage.listing.progress import Progress
from storage.paths import path_bytes
from tests.hostile import taken_by
from tests.integration.objectserver import ObjectServer
from tests.servers import AzureServer

NOW = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)
ROOT = Path(__file__).parents[2]


def backend_of(tmp_path, text):
    file = tmp_path / "one.yaml"
    file.write_text(f"backends:\n  - {text}\n")
    return load_config(str(file)).backends[0]


def table_of(listing):
    return pa.Table.from_batches(listing.batches, schema=LISTED)


def listed_by(server, bucket, tmp_path, more="", **how):
    backend = backend_of(tmp_path, server.backend(bucket, more=more, root=how.pop("root", "")))
    return table_of(list_objects(backend, NOW, **how))


def test_every_key_survives_as_it_is(store_server, tmp_path):
    keys = taken_by(store_server)
    bucket = store_server.bucket({key: b"x" * (i + 1) for i, key in enumerate(keys)})
    rows = listed_by(store_server, bucket, tmp_path).to_pylist()
    found = {path_bytes(row["path"]).decode(): row["size_bytes"] for row in rows}
    assert found == {key: i + 1 for i, key in enumerate(keys)}
    assert len(rows) == len(keys)


def test_columns_are_what_the_store_says(store_server, tmp_path):
    bucket = store_server.bucket({"dir/one": b"12345"})
    row = listed_by(store_server, bucket, tmp_path, more="crawl: {need: [tier]}").to_pylist()[0]
    client = store_server.client()
    if isinstance(store_server, AzureServer):
        known = client.get_blob_client(bucket, "dir/one").get_blob_properties()
        etag, modified, tier = known.etag, known.last_modified, "Hot"
    else:
        known = client.head_object(Bucket=bucket, Key="dir/one")
        etag, modified, tier = known["ETag"], known["LastModified"], "STANDARD"
    assert (row["path"], row["size_bytes"], row["tier"]) == ("dir/one", 5, tier)
    assert row["etag"] == etag.strip('"')
    assert row["modified_at"].replace(microsecond=0) == modified
    assert row["owner"] is None


def test_the_owner_comes_where_it_is_asked_for(moto_server, tmp_path):
    bucket = moto_server.bucket({"one": b"1"})
    rows = listed_by(moto_server, bucket, tmp_path, more="crawl: {need: [owner]}").to_pylist()
    assert rows[0]["owner"] == "webfile"


@pytest.mark.parametrize("owner", ["R&D <vision>", "Zoë's team", "a&amp;b", ""])
def test_an_owner_is_who_the_store_says_however_xml_writes_it(owner, tmp_path):
    """An owner without a name is known by the number."""
    server = ObjectServer()
    server.owner = owner
    server.put("one", b"1")
    backend = backend_of(tmp_path, server.backend(more="crawl: {need: [owner]},"))
    try:
        rows = table_of(list_objects(backend, NOW)).to_pylist()
    finally:
        server.stop()
    assert [row["owner"] for row in rows] == [owner or "1f8e"]


def test_below_a_root_paths_are_relative_and_its_marker_is_no_file(store_server, tmp_path):
    bucket = store_server.bucket({"in/": b"", "in/a": b"1", "in/b/c": b"2", "inside": b"3"})
    found = listed_by(store_server, bucket, tmp_path, root="in")["path"].to_pylist()
    assert sorted(found) == ["a", "b/c"]


def test_an_empty_bucket_has_no_rows(store_server, tmp_path):
    assert listed_by(store_server, store_server.bucket(), tmp_path).num_rows == 0


@pytest.fixture(scope="module")
def many(moto_server):
    """A bucket of 307 keys: deep folders, a flat stretch, and one folder of folders."""
    keys = [f"deep/er/{i % 7}/{i:05d}" for i in range(100)]
    keys += [f"flat-{i:06d}" for i in range(150)]
    keys += [f"wide/{i:04d}/x" for i in range(50)] + [f"z{i}" for i in range(7)]
    return moto_server.bucket(dict.fromkeys(keys, b"")), sorted(keys)


@pytest.fixture
def small_pages(monkeypatch):
    """Pages of 50 keys, files of 50 rows."""
    monkeypatch.setattr("storage.listing.s3.PAGE_KEYS", 50)
    monkeypatch.setattr("storage.listing.staging.SAVE_ROWS", 50)


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("parallel", [1, 8])
def test_parts_together_are_the_whole_whatever_the_shape(moto_server, many, tmp_path, parallel):
    bucket, keys = many
    more = f"crawl: {{parallel: {parallel}}}"
    found = listed_by(moto_server, bucket, tmp_path, more=more)["path"].to_pylist()
    assert sorted(found) == keys


@pytest.mark.usefixtures("small_pages")
def test_idle_workers_are_given_parts_and_requests_stay_few(
    moto_server, many, tmp_path, fault_proxy
):
    bucket, keys = many
    fault_proxy.fault("slow", n=-1, delay=0.02)
    seen = moto_server.at(fault_proxy.url)
    found = listed_by(seen, bucket, tmp_path, more="crawl: {parallel: 4}")["path"].to_pylist()
    assert sorted(found) == keys
    pages = [r for r in fault_proxy.asked("max-keys=50&") if "delimiter" not in r.path]
    assert len({r.path for r in pages}) == len(pages)  # none is asked for twice
    assert len(fault_proxy.log) <= 60  # 7 pages if nothing is split


class StoppedError(Exception):
    pass


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("place", ["local", "store"])
def test_a_stopped_listing_goes_on_where_it_was(
    moto_server, many, tmp_path, fault_proxy, monkeypatch, place
):
    bucket, keys = many
    seen = moto_server.at(fault_proxy.url)
    staging = str(tmp_path / "staging")
    if place == "store":
        for name, value in moto_server.environ().items():
            monkeypatch.setenv(name, value)
        staging = f"s3://{moto_server.bucket()}/staging"
    monkeypatch.setattr("storage.listing.fetch.MAX_PAUSE_SECONDS", 0.01)
    backend = backend_of(tmp_path, seen.backend(bucket, more="crawl: {parallel: 1}"))
    fault_proxy.fault("500", n=-1, match="start-after=flat-0000[4-9]")
    with pytest.raises(BackendError, match="status 500"):
        table_of(list_objects(backend, NOW, staging))
    before = len(fault_proxy.asked())
    fault_proxy.heal()
    listing = list_objects(backend, NOW + dt.timedelta(hours=1), staging)
    found = table_of(listing)["path"].to_pylist()
    assert sorted(found) == keys
    assert listing.snapshot_at == NOW  # as old as its oldest page
    assert len(fault_proxy.asked()) - before <= 5  # of the 7 pages of it all
    again = list_objects(backend, NOW + dt.timedelta(hours=2), staging)
    assert again.snapshot_at == NOW + dt.timedelta(hours=2)  # what is complete is not gone on with


def test_what_is_too_old_or_damaged_is_begun_anew(moto_server, many, tmp_path, small_pages):
    bucket, keys = many
    staging = tmp_path / "staging"
    backend = backend_of(tmp_path, moto_server.backend(bucket))
    for age, damage in ((dt.timedelta(hours=25), False), (dt.timedelta(hours=1), True)):
        first = iter(list_objects(backend, NOW, str(staging)).batches)
        next(first)
        del first
        checkpoint = next(staging.rglob("checkpoint.json"))
        assert json.loads(checkpoint.read_text())["rows"] >= 50
        if damage:
            checkpoint.write_text("{")
        listing = list_objects(backend, NOW + age, str(staging))
        assert sorted(table_of(listing)["path"].to_pylist()) == keys
        assert listing.snapshot_at == NOW + age
        assert list(staging.rglob("*.*")) == []


def test_the_rate_is_kept(moto_server, many, tmp_path, small_pages):
    began = time.monotonic()
    more = "crawl: {parallel: 8, requests_per_second: 20}"
    assert listed_by(moto_server, many[0], tmp_path, more=more).num_rows == len(many[1])
    assert time.monotonic() - began >= 6 / 20  # seven pages at least


def test_a_throttled_store_is_asked_again_by_all_later(
    moto_server, many, tmp_path, fault_proxy, monkeypatch, small_pages
):
    monkeypatch.setattr("storage.listing.fetch.FIRST_PAUSE_SECONDS", 0.01)
    for mode in ("503", "429"):
        fault_proxy.fault(mode, n=4)
        seen = moto_server.at(fault_proxy.url)
        assert listed_by(seen, many[0], tmp_path).num_rows == len(many[1])
    assert [r.status for r in fault_proxy.log].count(503) == 4
    assert [r.status for r in fault_proxy.log].count(429) == 4


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_shows_on_a_terminal_only(moto_server, many, tmp_path, capsys, small_pages):
    screen = Terminal()
    backend = backend_of(tmp_path, moto_server.backend(many[0]))
    for stream in (screen, io.StringIO()):
        table_of(list_objects(backend, NOW, progress=Progress("s3", stream)))
        assert ("objects/s" in stream.getvalue()) is stream.isatty()
    assert screen.getvalue().endswith("\r\x1b[K")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"secret_access_key": "wrong"}, "SignatureDoesNotMatch"),
        ({"bucket": "missing-one"}, "NoSuchBucket"),
    ],
)
@pytest.mark.slow
def test_a_refusal_says_why_in_one_line(ceph_server, tmp_path, change, says):
    bucket = ceph_server.bucket()
    text = ceph_server.backend(change.get("bucket", bucket))
    text = text.replace(
        ceph_server.secret_access_key,
        change.get("secret_access_key", ceph_server.secret_access_key),
    )
    with pytest.raises(BackendError, match=says) as error:
        table_of(list_objects(backend_of(tmp_path, text), NOW))
    assert "\n" not in str(error.value)
    assert len(ceph_server.keys(bucket)) == 0


def test_a_crawl_loads_no_library_that_it_does_not_need(moto_server, tmp_path):
    """Each of these costs as much CPU as listing tens of thousands of objects, or more."""
    bucket = moto_server.bucket({f"dir/{n:04}": b"x" for n in range(1100)})
    config = tmp_path / "one.yaml"
    config.write_text(f"backends:\n  - {moto_server.backend(bucket)}\n")
    code = """
import datetime as dt, sys
from lake.store import Lake
from pipelines.crawl import CrawlOptions, crawl
from storage.config import load_config
backend = load_config(sys.argv[1]).backends[0]
found = crawl(Lake(sys.argv[2]), backend, CrawlOptions(dt.datetime.now(dt.UTC)))
heavy = {"pandas", "scipy", "fsspec", "boto3", "azure", "dagster", "duckdb", "pyarrow.parquet",
         "pyarrow.dataset", "pyarrow.csv", "asyncio"}
print(found.state, found.files, *sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(config), str(tmp_path / "lake")],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["complete", "1100"]
