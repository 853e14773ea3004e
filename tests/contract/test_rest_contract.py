"""Contract §1.1 and §7, row by row, on the application itself."""

import gzip
import json
import re

import pytest
import zstandard

from tests.servers.asgi import InProcess

EVENT = {"ts": "2026-01-05T10:00:00Z", "user": "ann", "backend": "data", "path": "a", "op": "read"}
GETS = ("usage", "stale", "growth", "quota", "user/ann", "backends", "team", "ledger", "rules",
        "aliases", "audit_log", "verify", "diff?day1=2026-01-01&day2=2026-01-02")  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    from tests.home import Home

    return Home(tmp_path_factory.mktemp("rest"), extra="control_plane: {max_body: 2MB}")


@pytest.fixture(scope="module")
def api(folder):
    with InProcess({"": folder.config}) as found:
        yield found


def landed(home):
    """Every line that has landed, in no order."""
    found = []
    for place in home.landing.rglob("*.jsonl.zst"):
        reader = zstandard.ZstdDecompressor().stream_reader(place.read_bytes())
        found += reader.read().splitlines()
    return [json.loads(line) for line in found if line != b"nonsense"]


def test_every_error_has_the_one_body(api):
    for method, path, body, status in (
        ("GET", "/nope", None, 404), ("GET", "/", None, 404), ("PUT", "usage", b"", 405),
        ("GET", "usage?x=1", None, 400), ("POST", "ingest", b"{}", 400),
        ("PUT", "quota", b"{}", 400), ("DELETE", "quota?team=nobody", None, 404),
        ("POST", "ingest", b" " * (3 * 1024**2), 413), ("GET", "runs/unknown", None, 404),
    ):  # fmt: skip
        answer = api.ask(method, path, body)
        assert answer.status == status, (method, path, answer.body)
        assert set(answer.json) == {"error"}
        assert set(answer.error) == {"status", "code", "message", "hint", "param"}
        assert answer.error["status"] == status
        assert answer.error["message"]
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.body.endswith(b"}\n")


@pytest.mark.parametrize("path", GETS)
def test_a_body_is_json_with_a_new_line_and_head_has_the_same_headers(api, path):
    answer = api.get(path)
    assert answer.status == 200, answer.body
    assert answer.headers["content-type"] == "application/json"
    assert answer.body.endswith(b"]\n")
    head = api.ask("HEAD", path)
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-length"] == answer.headers["content-length"]


@pytest.mark.parametrize("path", [*GETS, "/healthz", "/metrics", "/docs", "/openapi.json"])
def test_a_trailing_slash_is_another_path(api, path):
    plain = path.partition("?")[0]
    assert api.get(plain + "/").status == 404


def test_doubled_slashes_are_one(api):
    """Senders whose address ends with a slash."""
    assert api.post("//api/v1/ingest", [EVENT]).json["accepted"] == 1
    assert api.get("//api///v1/backends").status == 200


@pytest.mark.parametrize(
    ("path", "allowed"),
    [("quota", "DELETE, GET, HEAD, PUT"), ("team", "DELETE, GET, HEAD, POST"), ("ingest", "POST"),
     ("usage", "GET, HEAD"), ("rules", "DELETE, GET, HEAD, POST"), ("crawl", "POST")],
)  # fmt: skip
def test_a_wrong_method_names_the_right_ones(api, path, allowed):
    answer = api.ask("PATCH", path)
    assert (answer.status, answer.headers["allow"]) == (405, allowed)


@pytest.mark.parametrize(
    ("question", "message"),
    [("usage?groupby=x", "group_by"), ("stale?day=5", "days"), ("usage?group_by=teams", "team"),
     ("growth?perod=5", "period"), ("quota?teem=x", "team"), ("backends?x=1", "as_of")],
)  # fmt: skip
def test_an_unknown_name_is_answered_with_the_nearest(api, question, message):
    answer = api.get(question)
    assert answer.status == 400
    assert message in answer.error["message"] + answer.error["hint"]


def test_the_first_of_repeated_parameters_counts(api):
    assert api.get("usage?group_by=team&group_by=nonsense").status == 200
    assert api.get("usage?group_by=nonsense&group_by=team").status == 400


def test_a_content_type_is_not_asked_for(api):
    for kind in ("text/plain", "application/json", "", "application/x-www-form-urlencoded"):
        headers = {"Content-Type": kind} if kind else {}
        assert api.post("ingest", [EVENT], headers).json["accepted"] == 1
        assert api.ask("PUT", "quota", {"team_name": "t", "hard_limit": 5}, headers).status == 200


def test_keys_match_in_any_case_and_of_equal_keys_the_last_counts(api):
    body = b'{"TEAM_NAME":"old","team_name":"fold","Soft_Limit":1,"hard_limit":9,"hard_limit":2}'
    assert api.ask("PUT", "quota", body).status == 200
    (row,) = [row for row in api.get("quota").json if row["TeamName"] == "fold"]
    assert (row["SoftLimit"], row["HardLimit"]) == (1, 2)


def test_lines_come_with_their_own_content_type_only(api):
    lines = (
        b'{"ts":"2026-01-05T10:00:00Z","user":"nd"}\n\nnonsense\n{"user":"nd","bytes_read":1.5}\n'
    )
    said = api.post("ingest", lines, {"Content-Type": "application/x-ndjson; charset=utf-8"})
    assert said.json == {"accepted": 3, "quarantined": 2}
    assert api.post("ingest", lines, {"Content-Type": "application/json"}).status == 400


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_packed_bodies(api, encoding):
    plain = json.dumps([EVENT]).encode()
    pack = gzip.compress if encoding == "gzip" else zstandard.ZstdCompressor().compress
    headers = {"Content-Encoding": encoding}
    assert api.post("ingest", pack(plain), headers).json["accepted"] == 1
    assert api.post("ingest", pack(plain[:9]) + pack(plain[9:]), headers).json["accepted"] == 1
    for damaged in (pack(plain)[:-3], b"nonsense", pack(plain)[:6] + b"\0" * 9):
        assert api.post("ingest", damaged, headers).status == 400
    bomb = api.post("ingest", pack(b" " * 64 * 1024**2), headers)
    assert bomb.status == 413
    assert "uncompressed" in bomb.error["message"]
    assert api.post("ingest", plain, {"Content-Encoding": "br"}).status == 415


def test_a_zstd_window_over_8_mib_is_refused(api):
    wide = zstandard.ZstdCompressionParameters.from_level(1, window_log=27, write_content_size=0)
    packer = zstandard.ZstdCompressor(compression_params=wide).compressobj()
    body = packer.compress(json.dumps([EVENT]).encode()) + packer.flush()
    assert api.post("ingest", body, {"Content-Encoding": "zstd"}).status == 400


def test_what_is_declared_too_large_is_refused_before_it_is_read(api):
    """The client sends headers and nothing more."""
    answer = api.ask("POST", "ingest", headers={"Content-Length": str(3 * 1024**2)}, chunks=[None])
    assert answer.status == 413
    streamed = api.ask("POST", "ingest", chunks=[b"[" + b" " * 1024**2] * 9)
    assert streamed.status == 413


def test_an_event_over_1_mib_is_refused(api):
    answer = api.post("ingest", [EVENT | {"path": "x" * 1024**2}])
    assert (answer.status, "an event of" in answer.error["message"]) == (413, True)


def test_what_is_accepted_has_landed_with_numbers_of_its_own(api, folder):
    before = len(landed(folder))
    for _ in range(2):
        assert api.post("ingest", [EVENT | {"user": "num"}] * 3).json["accepted"] == 3
    mine = [line for line in landed(folder) if line.get("user") == "num"]
    assert len(landed(folder)) == before + 6
    assert len({(line["boot"], line["seq"]) for line in mine}) == 6
    assert all(line["path"] == "a" and line["ts"] == EVENT["ts"] for line in mine)


def test_senders_numbers_name_the_object_and_a_retry_is_no_second_one(api, folder):
    batch = [EVENT | {"node": "n7", "boot": "00000000000000aa", "seq": 5 + i} for i in range(3)]
    for _ in range(2):
        assert api.post("ingest", batch).json["accepted"] == 3
    names = [place.name for place in folder.landing.rglob("node=n7/*")]
    assert names == ["00000000000000aa-5-7.jsonl.zst"]


def test_a_key_is_one_object_whatever_the_body_says_the_second_time(api, folder):
    for user in ("first", "second"):
        headers = {"Idempotency-Key": "k-1"}
        assert api.post("ingest", [EVENT | {"user": user}], headers).status == 200
    users = {line.get("user") for line in landed(folder)}
    assert "first" in users
    assert "second" not in users
    assert api.post("ingest", [EVENT], {"Idempotency-Key": "k" * 501}).status == 400


@pytest.mark.parametrize(
    "headers",
    [{"Host": "evil.example"}, {"Origin": "https://evil.example"},
     {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Host": ""},
     {"Origin": "null"}],
)  # fmt: skip
def test_a_web_page_of_another_origin_changes_nothing(api, headers):
    answer = api.post("team", {"user_id": "evil", "team_name": "evil"}, headers)
    assert answer.status == 403
    assert "evil" not in {row["team_name"] for row in api.get("team").json}


@pytest.mark.parametrize("host", ["localhost:8080", "127.0.0.1", "[::1]:80", "10.1.2.3:8080"])
def test_names_of_this_machine_and_bare_addresses_are_fine(api, host):
    headers = {"Host": host, "Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin"}
    assert api.post("team", {"user_id": "u", "team_name": "h"}, headers).status == 200


def test_teams_are_imported_whole_or_not_at_all(api):
    good = b"user_id,team_name\nimp1,imports\nimp2,imports\n"
    assert api.post("team/import", good).json == {"status": "ok", "new": 2, "members": 2}
    assert api.post("team/import", good).json == {"status": "ok", "new": 0, "members": 2}
    bad = api.post("team/import", b"user_id,team_name\nimp3,imports\nimp4,\n")
    assert bad.status == 400
    assert "line 3" in bad.error["message"]
    assert api.post("team/import", b"a,b\n1,2\n").status == 400
    members = [r["user_id"] for r in api.get("team").json if r["team_name"] == "imports"]
    assert members == ["imp1", "imp2"]
    assert api.ask("DELETE", "team?user=imp1&team=imports").status == 200
    assert api.ask("DELETE", "team?user=imp1&team=imports").status == 404


def test_a_quota_and_a_rule_can_be_removed_and_all_of_it_is_in_the_audit_log(api):
    assert api.ask("PUT", "quota", {"team_name": "gone", "hard_limit": 5}).status == 200
    assert api.ask("DELETE", "quota?team=gone").json == {"status": "ok"}
    assert "gone" not in {row["TeamName"] for row in api.get("quota").json}
    rule = {"backend": "data", "prefix": "x/y/", "team": "ruled"}
    assert api.post("rules", rule).status == 200
    assert [r["prefix"] for r in api.get("rules").json if r["team"] == "ruled"] == ["x/y"]
    assert api.get("rules/preview?backend=data&prefix=x&team=ruled").json[0]["files"] == 0
    assert api.ask("DELETE", "rules?backend=data&prefix=x/y").status == 200
    assert api.post("rules", rule | {"backend": "dta"}).status == 400
    log = api.get("audit_log?limit=4").json
    assert [row["action"] for row in log] == [
        "rule remove",
        "rule add",
        "quota delete",
        "quota set",
    ]
    assert {row["who"] for row in log} == {"local"}
    assert json.loads(log[3]["after"])["hard_bytes"] == 5


def test_an_alias_is_set_listed_and_removed_and_is_in_the_audit_log(api):
    pair = {"name": "uid:77", "canonical": "zoe"}
    assert api.post("aliases", pair).json == {"status": "ok"}
    assert api.get("aliases").json == [pair | {"since": None}]
    for bad in ({}, {"name": "x"}, {"name": "x", "canonical": "x"}, {"name": "unknown",
                "canonical": "x"}, {"name": "zoe", "canonical": "uid:77"},
                {"name": "x", "canonical": "team:red"}, pair | {"since": "soon"}):  # fmt: skip
        assert api.post("aliases", bad).status == 400, bad
    assert api.ask("DELETE", "aliases?name=uid:77").status == 200
    assert api.ask("DELETE", "aliases?name=uid:77").status == 404
    assert api.get("aliases").json == []
    log = api.get("audit_log?limit=2").json
    assert [(row["action"], row["object"], row["who"]) for row in log] == [
        ("alias remove", "uid:77", "local"), ("alias add", "uid:77", "local"),
    ]  # fmt: skip
    assert json.loads(log[1]["after"]) == pair | {"since_at": None}


def test_an_unknown_backend_of_a_quota_is_said(api):
    said = api.ask("PUT", "quota", {"team_name": "t", "backend_name": "soon", "hard_limit": 1})
    assert said.json["status"] == "ok"
    assert "soon" in said.json["note"]


def test_metrics_count_requests_and_events(api):
    text = api.get("/metrics").body.decode()
    assert re.search(r'warpdrive_api_ingested_events_total\{tenant=""\} [1-9]', text)
    assert 'route="/api/v1/ingest",status="200"' in text
    assert 'route="none"' in text  # what no route answers is one series, not one a path


def test_the_description_has_every_route(api):
    document = api.get("/openapi.json").json
    assert {"/api/v1/ingest", "/api/v1/quota", "/v1/logs", "/healthz"} <= set(document["paths"])
    page = api.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert b"http://" not in page.body
    assert b"https://" not in page.body


def test_otlp_logs_are_events(api, folder):
    def value(kind, it):
        return {f"{kind}Value": it}

    record = {"timeUnixNano": "1767607200123456789", "attributes": [
        {"key": "warpdrive.backend", "value": value("string", "data")},
        {"key": "op", "value": value("string", "read")},
        {"key": "file.path", "value": value("string", "otlp/file")},
        {"key": "user.name", "value": value("string", "otel")},
        {"key": "bytes_read", "value": value("int", "4096")},
        {"key": "cache_hit", "value": value("bool", True)},
        {"key": "latency_ms", "value": value("double", 0.25)},
    ]}  # fmt: skip
    wrong = {"attributes": [*record["attributes"][:2],
                            {"key": "bytes_read", "value": value("double", 1.5)}]}  # fmt: skip
    other = {"attributes": [{"key": "http.route", "value": value("string", "/")}]}
    host = {"attributes": [{"key": "host.name", "value": value("string", "gpu-3")}]}
    body = {"resourceLogs": [{"resource": host, "scopeLogs": [{"logRecords": [record]}]}]}
    assert api.post("/v1/logs", body).json == {}
    (line,) = [line for line in landed(folder) if line.get("user") == "otel"]
    expected = {
        "ts": "2026-01-05T10:00:00.123456Z", "node": "gpu-3", "path": "otlp/file",
        "bytes_read": 4096, "cache_hit": True, "latency_ms": 0.25,
    }  # fmt: skip
    assert {key: line[key] for key in expected} == expected
    body["resourceLogs"][0]["scopeLogs"][0]["logRecords"] = [record, wrong, other]
    assert api.post("/v1/logs", body).json["partialSuccess"]["rejectedLogRecords"] == "2"
    assert api.post("/v1/logs", b"{").status == 400
    assert api.post("/v1/logs", b"\n", {"Content-Type": "application/x-protobuf"}).status == 415


def test_a_body_that_stops_coming_is_given_up(api, monkeypatch):
    monkeypatch.setattr("api.body.CHUNK_SECONDS", 0.05)
    answer = api.ask("POST", "ingest", chunks=[b"[", None])
    assert answer.status == 408
