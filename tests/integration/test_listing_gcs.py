"""Google's store: its client on a stand-in, since no emulator here serves it.

Its listing by XML is that of S3 but for the signature, and so moto answers it; a service account
file may name another address and say that no token is needed.
"""

import hashlib
import itertools
import json

import pytest

from storage.listing.objects import object_store
from storage.paths import path_bytes
from tests.hostile import HOSTILE

# What obstore cannot name: such a listing fails, and says so.
REFUSED = {"a//b", "/lead", "trail/", "a/a/", "../up", "x/../y", "./here", "tab\there",
           "\x01control"}  # fmt: skip
NUMBERS = itertools.count(1)
KEYS = [key for key in HOSTILE if key not in REFUSED]


@pytest.fixture
def google(new_home, moto_server, tmp_path, monkeypatch):
    """A bucket, and a lake that crawls it as Google's."""
    monkeypatch.setattr("storage.listing.gcs.PAGE_KEYS", 4)
    account = {"gcs_base_url": moto_server.url, "disable_oauth": True, "client_email": "",
               "private_key": "", "private_key_id": ""}  # fmt: skip
    file = tmp_path / "account.json"
    file.write_text(json.dumps(account))
    bucket = f"google{next(NUMBERS)}"  # the client encodes a dash, which moto does not take
    moto_server.client().create_bucket(Bucket=bucket)
    moto_server.put(bucket, {key: b"x" * (i + 1) for i, key in enumerate(KEYS)})
    auth = f"auth: {{method: static, service_account_path: {file}}}"
    home = new_home(backends=[f"{{name: g, type: gcs, config: {{bucket: {bucket}}}, {auth}}}"])
    home.bucket = bucket
    return home


def files_of(home):
    from lake.schemas import FILES

    rows = home.lake.scan(FILES).collect()
    found = zip(rows["path"], rows["size_bytes"], strict=True)
    return {path_bytes(path).decode(): size for path, size in found}


def test_a_bucket_of_google_is_crawled_page_by_page(google):
    """Every key that obstore can name, with its size."""
    said = google.run("crawl", "--format", "csv")
    assert (said.rows[0]["error"], said.code) == ("", 0), said.err
    assert files_of(google) == {key: i + 1 for i, key in enumerate(KEYS)}


def test_a_key_that_cannot_be_named_fails_the_listing_and_removes_nothing(google, moto_server):
    """Nothing is left out in silence."""
    google.run("crawl")
    moto_server.delete(google.bucket, KEYS[0])
    moto_server.put(google.bucket, {"a//b": b"1"})
    said = google.run("crawl", "--format", "csv")
    assert (said.code, said.rows[0]["state"]) == (1, "failed")
    assert "cannot be listed" in said.rows[0]["error"]
    assert len(files_of(google)) == len(KEYS)


def test_a_single_key_is_looked_up(google, moto_server):
    """What an audit asks of a drawn file: there as it is, or not there; a folder is no file."""
    for key in KEYS:  # nobody signs here, and so moto gives out what is public
        moto_server.client().put_object_acl(Bucket=google.bucket, Key=key, ACL="public-read")
    store = object_store(google.config.backends[0])
    for number, key in enumerate(KEYS):
        body = b"x" * (number + 1)
        (row,) = store.look(key).to_pylist()
        assert path_bytes(row["path"]).decode() == key
        assert row["size_bytes"] == len(body)
        assert row["etag"] == hashlib.md5(body).hexdigest()
        assert row["modified_at"] is not None
    inside = next(key for key in KEYS if "/" in key)
    for absent in ("nothing/here", inside.rpartition("/")[0] + "-", inside + "x"):
        assert store.look(absent).num_rows == 0
    google.run("crawl")
    said = google.run("verify", "--sample", "50", "--format", "csv")
    assert (said.code, said.rows[0]["checked"]) == (0, str(2 * len(KEYS)))
    assert said.rows[0]["agree"] == said.rows[0]["checked"]
