"""The whole flow on object stores: the lake, the landing zone and a backend on one server."""

import json
import os
import threading

import polars as pl
import pytest

from lake.schemas import QUARANTINE
from storage.conditional import read_tagged, write_if_unchanged
from storage.objectstore import open_store
from tests.servers import AzureServer

EVENTS = [
    {"ts": "2026-10-20T10:00:00Z", "backend": "data", "path": "a/one.bin", "user": "ann",
     "op": "read", "bytes_read": 5, "latency_ms": 1.0, "node": "n1"},
    {"ts": "2026-10-21T10:00:00Z", "backend": "data", "path": "b/two.bin", "user": "bob",
     "op": "read", "bytes_read": 7, "latency_ms": 1.0, "node": "n1"},
]  # fmt: skip


@pytest.fixture
def alone(monkeypatch, store_server):
    """Nothing of the environment helps: the config alone says how the stores are reached."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "AZURE_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    if isinstance(store_server, AzureServer):
        for name, value in store_server.environ().items():
            monkeypatch.setenv(name, value)


@pytest.fixture
def store_home(new_home, store_server, alone):
    """A lake, a landing zone and the backend `data` on a server; only the config is local."""
    data = store_server.bucket({"a/one.bin": b"12345", "b/two.bin": b"1234567", "b/x.bin": b"1"})
    mine = store_server.bucket()
    home = new_home(backends=[store_server.backend(data, name="data")])
    text = home.file.read_text()
    for key, place in (("lake: {root", "lake"), ("telemetry: {landing", "landing")):
        url = f"{key}: '{store_server.url_of(mine, place)}', {store_server.reach()}}}"
        text = text.replace(f"{key}: ./{place}}}", url)
    home.file.write_text(text)
    home.data, home.bucket = data, mine
    return home


def do(home, *command):
    said = home.run(*command)
    assert said.code == 0, said.err
    return said


def test_from_the_landing_zone_to_the_report(store_home, store_server, tmp_path):
    log = tmp_path / "events.jsonl"
    log.write_text("".join(json.dumps(event) + "\n" for event in EVENTS))
    do(store_home, "team", "add", "ann", "red")
    do(store_home, "ingest", log)
    do(store_home, "crawl")
    do(store_home, "refresh")
    totals = do(store_home, "usage", "--group-by", "backend", "--format", "csv").rows
    columns = ("group", "files", "bytes", "read_count")
    assert [tuple(r[c] for c in columns) for r in totals] == [("data", "3", "13", "2")]
    owners = do(store_home, "usage", "--group-by", "user", "--format", "csv").rows
    assert {("ann", "5"), ("bob", "7")} <= {(r["group"], r["bytes"]) for r in owners}
    # Once more: the tables take replaces, and CURRENT is replaced where it stands.
    store_server.delete(store_home.data, "b/x.bin")
    store_server.put(store_home.data, {"c/four.bin": b"1234"})
    do(store_home, "ingest", log)
    do(store_home, "crawl")
    do(store_home, "refresh")
    totals = do(store_home, "usage", "--group-by", "backend", "--format", "csv").rows
    assert [tuple(r[c] for c in columns) for r in totals] == [("data", "3", "16", "2")]
    kept = store_server.keys(store_home.bucket)
    assert any(key.startswith("landing/dt=") for key in kept)
    assert any(key.startswith("lake/files/_delta_log/") for key in kept)
    assert not [key for key in kept if "_staging" in key]
    assert {path.name for path in store_home.folder.iterdir()} <= {"warpdrive.yaml", ".dagster"}


def test_writers_at_once_lose_nothing(store_home):
    lake = store_home.lake
    lake.create(QUARANTINE)
    base = {"hour": "2026-10-20T10", "object": "o", "line": 1, "batch": 1, "reason": "r"}
    failed = []

    def write(number):
        try:
            for turn in range(5):
                frame = pl.DataFrame([base | {"text": f"{number}-{turn}"}])
                lake.append(QUARANTINE, frame, (f"writer-{number}", turn))
        except Exception as error:  # noqa: BLE001 - a thread tells what it saw
            failed.append(error)

    threads = [threading.Thread(target=write, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    found = lake.scan(QUARANTINE).select("text").collect()["text"].sort().to_list()
    assert found == sorted(f"{n}-{t}" for n in range(4) for t in range(5))


def test_an_object_is_replaced_only_while_it_is_what_was_read(store_home):
    store = open_store(store_home.config.lake.root)
    assert write_if_unchanged(store, "one", b"1", None)
    assert not write_if_unchanged(store, "one", b"2", None)
    first = read_tagged(store, "one")
    assert first is not None
    assert write_if_unchanged(store, "one", b"2", first)
    assert not write_if_unchanged(store, "one", b"3", first)
    now = read_tagged(store, "one")
    assert now is not None
    assert now.data == b"2"
