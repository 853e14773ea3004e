"""A lake on a store that only the config file knows how to reach: no variable says it."""

import pytest

from storage.config import load_config
from storage.locations import record_of
from tests.home import Home
from tests.servers.asgi import InProcess


@pytest.fixture(scope="module")
def bucket(moto_server):
    """Where the lake and its landing zone are."""
    return moto_server.bucket()


@pytest.fixture(scope="module")
def home(tmp_path_factory, moto_server, bucket):
    """A published lake in a bucket; its workers are processes of their own."""
    home = Home(tmp_path_factory.mktemp("reached"), extra="runner: {kind: processes, workers: 2}")
    reached = (
        f"config: {{endpoint_url: '{moto_server.url}'}}, auth: {{method: static, access_key_id: "
        f"{moto_server.access_key_id}, secret_access_key: {moto_server.secret_access_key}}}"
    )
    text = home.file.read_text()
    for key, place in (("root", "lake"), ("landing", "landing")):
        text = text.replace(f"{key}: ./{place}", f"{key}: 's3://{bucket}/{place}', {reached}", 1)
    home.file.write_text(text)
    for name in ("a", "b"):
        (home.root() / name).write_bytes(b"x" * 7)
    for args in (("crawl",), ("refresh",)):
        said = home.run(*args)
        assert (said.code, said.err) == (0, ""), said
    return home


@pytest.mark.parametrize("question", ["stale?days=0", "stale?days=3000", "user/ann", "ledger",
                                      "audit_log", "rules", "usage?as_of=2026-01-01T00:00:00Z"
                                      ])  # fmt: skip
def test_a_server_answers_what_the_engine_computes(api, question):
    answer = api.get(question)
    assert answer.status == 200, answer.body
    assert len(answer.json) == (2 if question == "stale?days=0" else 0)


@pytest.fixture(scope="module")
def api(home):
    with InProcess({"": home.config}) as found:
        yield found


@pytest.mark.slow
def test_what_lands_is_ingested_and_folded_by_the_workers(home, moto_server, bucket):
    """Two landing days are two tasks, each in a process of its own."""
    event = b'{"ts":"2026-%b-01T00:00:00Z","user":"ann","backend":"data","path":"a","op":"read"}'
    moto_server.put(bucket, {
        f"landing/dt=2026-{month}-01/hour=00/a.jsonl": event % month.encode()
        for month in ("01", "02")
    })  # fmt: skip
    for args in (("ingest",), ("refresh",)):
        said = home.run(*args)
        assert (said.code, said.err) == (0, ""), said
    rows = home.run("usage", "--format", "csv").rows
    assert {row["group"]: row["read_count"] for row in rows}["ann"] == "2"


def test_another_tenants_file_does_not_change_how_a_lake_is_reached(tmp_path):
    """Both have a bucket of that name, each at its own endpoint."""
    files = {}
    for name, lake in (("a", "s3://data/lake-a"), ("b", "s3://data/lake-b"), ("c", "s3://data/c")):
        files[name] = tmp_path / f"{name}.yaml"
        own = f"config: {{bucket: data, endpoint_url: 'http://{name}'}}"
        backends = f"[{{name: x, type: s3, {own}}}]" if name != "c" else "[]"
        files[name].write_text(f"lake: {{root: '{lake}'}}\nbackends: {backends}\n")
    roots = {name: load_config(str(file)).lake.root for name, file in files.items()}
    reached = {name: record_of(f"{root}/published") for name, root in roots.items()}
    assert {name: record.options.get("endpoint_url") for name, record in reached.items()} == {
        "a": "http://a", "b": "http://b", "c": None,
    }  # fmt: skip
    assert reached["a"].options["root"] == "lake-a/published"
    assert reached["c"].auth.method == "env"
