"""Bodies as the world sends them: OTLP in every shape of its JSON, keys, numbers, nests."""

import json

import pytest

from tests.contract.test_rest_contract import EVENT, landed
from tests.home import Home
from tests.servers.asgi import InProcess

TIME = "1767607200123456789"
DATA, READ = {"stringValue": "data"}, {"stringValue": "read"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return Home(tmp_path_factory.mktemp("bodies"))


@pytest.fixture(scope="module")
def api(folder):
    with InProcess({"": folder.config}) as found:
        yield found


def record(user, *more, **fields):
    """A log record of an access by `user`."""
    pairs = [("backend", DATA), ("op", READ), ("user", {"stringValue": user}), *more]
    return {"timeUnixNano": TIME, "attributes": [{"key": k, "value": v} for k, v in pairs]} | fields


def sent(*records, **group):
    return {"resourceLogs": [{"scopeLogs": [{"logRecords": list(records)}]} | group]}


@pytest.mark.parametrize("body", [
    {}, {"resourceLogs": None}, {"resourceLogs": [{"scopeLogs": None}]},
    {"resourceLogs": [{"resource": None, "scopeLogs": [{"logRecords": None}]}]},
    sent(record("null"), resource=None), sent(record("null"), resource={"attributes": None}),
    sent(record("null", ("job", None))), sent(record("null", (None, None))),
    sent(record("null", ("backends", {"arrayValue": None}))),
    sent(record("null", ("backends", {"arrayValue": {"values": None}}))),
    sent(record("null", observedTimeUnixNano=None, body=None)),
])  # fmt: skip
def test_null_is_as_if_the_key_were_not_there(api, body):
    """So proto3's JSON has it."""
    answer = api.post("/v1/logs", body)
    assert (answer.status, answer.json) == (200, {}), answer.body


@pytest.mark.parametrize("wrong", [
    ("bytes_read", {"intValue": "²"}), ("bytes_read", {"intValue": "٣"}),
    ("bytes_read", {"intValue": "9" * 5000}), ("bytes_read", {"intValue": None}),
    ("backends", {"arrayValue": "x"}), ("backends", {"arrayValue": {"values": "x"}}),
    ("backends", {"arrayValue": {"values": [5]}}),
])  # fmt: skip
def test_a_wrong_value_refuses_its_record_only(api, folder, wrong):
    user = f"beside {wrong}"
    answer = api.post("/v1/logs", sent(record(user), record(user, wrong)))
    assert answer.json["partialSuccess"]["rejectedLogRecords"] == "1", answer.body
    assert [line["ts"] for line in landed(folder) if line.get("user") == user] == [
        "2026-01-05T10:00:00.123456Z"
    ]


def test_a_value_that_is_no_object_is_no_otlp(api):
    for value in (5.5, ["x"], "x"):
        assert api.post("/v1/logs", sent(record("none", ("path", value)))).status == 400


@pytest.mark.parametrize(("time", "told"), [
    ("yesterday", "yesterday"), ("-5", "-5"), ("1.7e18", "1.7e18"),
    ("18446744073709551615", "2554-07-21T23:34:33.709551Z"),
])  # fmt: skip
def test_a_time_that_is_none_is_never_now(api, folder, time, told):
    """It goes to the quarantine as it is, as over `POST /ingest`."""
    user = f"when {time}"
    answer = api.post("/v1/logs", sent(record(user, timeUnixNano=time)))
    assert answer.json["partialSuccess"]["rejectedLogRecords"] == "0"
    assert answer.json["partialSuccess"]["errorMessage"].endswith("1 are in the quarantine")
    assert [line["ts"] for line in landed(folder) if line.get("user") == user] == [told]


@pytest.mark.parametrize(("told", "expected"), [
    ("1017", {"user": "someone", "uid": 1017}), ("alice", {"user": "someone"}),
])  # fmt: skip
def test_a_user_id_is_a_text_in_opentelemetry(api, folder, told, expected):
    job = {"stringValue": f"id {told}"}
    one = record("someone", ("user.id", {"stringValue": told}), ("job", job))
    assert api.post("/v1/logs", sent(one)).json == {}
    (line,) = [line for line in landed(folder) if line.get("job") == f"id {told}"]
    assert {key: line[key] for key in ("user", "uid") if key in line} == expected


def test_a_node_whose_name_no_folder_holds_does_not_stop_its_sender(api, folder):
    node = "host/" + "é" * 100
    batch = [EVENT | {"user": "long", "node": node, "boot": "0" * 15 + "b", "seq": 1}]
    assert api.post("ingest", batch).status == 200
    assert [line["node"] for line in landed(folder) if line.get("user") == "long"] == [node]


def test_a_user_may_have_a_slash(api):
    """Kerberos principals do; a path with one more segment is none."""
    assert api.get("user/hdfs%2Fnode@REALM").json == []
    assert api.get("/api/v1/user/hdfs%2fnode").json == []
    assert api.get("user/hdfs/node").status == 404
    assert api.get("api%2Fv1/usage").status == 404
    assert api.get("user/%2F?x=1").error["param"] == "x"


@pytest.mark.parametrize(("question", "param"), [
    ("usage?backend=nope", "backend"), ("quota?team=nope", "team"), ("verify?backend=x", "backend"),
    ("stale?min_size=%D9%A3KB", "min_size"), ("growth?by=user", "by"),
])  # fmt: skip
def test_what_is_wrong_is_named(api, question, param):
    answer = api.get(question)
    assert (answer.status, answer.error["param"]) == (400, param)


def test_what_comes_under_keys_is_counted_once_and_nothing_is_missed(new_home):
    """An agent's posts are told of its node; of what has no numbers no number is missing."""
    home = new_home()
    numbered = [EVENT | {"node": "gpu-1", "boot": "00000000000000aa", "seq": n} for n in (1, 2)]
    with InProcess({"": home.config}) as api:
        for _ in range(2):
            for key, batch in (("k1", [EVENT]), ("k2", [EVENT]), ("seg-1-2-0", numbered)):
                answer = api.post("ingest", batch, {"Idempotency-Key": key})
                assert answer.json["accepted"] == len(batch)
    assert home.run("ingest").code == 0
    told = home.run("ledger", "--format", "csv").rows
    assert [(row["node"], row["events"], row["objects"], row["gaps"]) for row in told] == [
        ("@http", "2", "2", "0"), ("gpu-1", "2", "1", "0"),
    ]  # fmt: skip


@pytest.mark.parametrize("odd", [{}, {"unknown": 1}], ids=["usual", "odd"])
def test_who_posts_as_a_team_is_told_of_the_quarantine(new_home, odd):
    """As many as the ingest puts there; a path or a job of such a name is none."""
    home = new_home()
    batch = [EVENT, EVENT | {"user": "team:vision"}, EVENT | {"path": "team:x", "job": "team:y"}]
    with InProcess({"": home.config}) as api:
        answer = api.post("ingest", [event | odd for event in batch])
        assert answer.json == {"accepted": 3, "quarantined": 1}
    assert home.run("ingest").code == 0
    (told,) = home.run("ledger", "--format", "csv").rows
    assert (told["events"], told["quarantined"]) == ("2", "1")


def test_a_deep_nest_is_refused_with_one_line(new_home):
    """An array as a whole; a line goes to the quarantine, and the lines beside it are counted."""
    home = new_home()
    deep = b'{"x":' + b"[" * 50_000 + b"]" * 50_000 + b"}"
    with InProcess({"": home.config}) as api:
        answer = api.post("ingest", b"[" + deep + b"]")
        assert (answer.status, answer.error["message"]) == (
            400, "invalid JSON: it is nested too deeply.")  # fmt: skip
        lines = deep + b"\n" + json.dumps(EVENT).encode()
        answer = api.post("ingest", lines, {"Content-Type": "application/x-ndjson"})
        assert answer.json == {"accepted": 2, "quarantined": 1}
    assert home.run("ingest").code == 0
    (told,) = home.run("ledger", "--format", "csv").rows
    assert (told["events"], told["quarantined"]) == ("1", "1")
