"""`--server URL`: the same rows as the local lake, one line for every error, no token in sight."""

import datetime as dt
import json
import os
import subprocess
import sys
import time

import pytest
from servers.goserver import GoServer
from servers.rest import Server

from tests.home import Home

NOW = dt.datetime.now(dt.UTC)
QUESTIONS = (
    "usage", "usage --group-by team", "usage --group-by backend --backend data",
    "usage --group-by prefix --depth 2 --attribution access",
    "usage --as-of 2030-01-01", "stale", "stale --days 0 --min-size 2 --limit 3 --backend data",
    "growth", "growth --by team --period 0", "growth --by backend --forecast 3 --backend other",
    "quota list", "quota list --team vision", "user ann", "user ann --backend data --limit 1",
    "backends", "team list", "alias list", "rule list", "rule add data:p1 vision --preview",
    "ledger --hours 99",
    "diff 2026-01-01 2030-01-01", "diff 2026-01-01 2030-01-01 --by prefix --depth 2", "audit-log",
    "audit-log --limit 1",
    *(f"{question} --as-of 2030-01-01" for question in (
        "quota list", "team list", "alias list", "user ann", "backends", "stale --days 0",
        "growth", "diff 2026-01-01 2030-01-01", "rule list", "ledger --hours 40000")),
)  # fmt: skip
REST = {
    "usage": "usage", "usage --group-by team": "usage?group_by=team",
    "stale --days 0 --min-size 2 --limit 3 --backend data":
        "stale?days=0&min_size=2&limit=3&backend=data",
    "growth": "growth", "growth --by team --period 0": "growth?by=team&period=0",
    "quota list": "quota", "user ann": "user/ann", "backends": "backends", "team list": "team",
    "alias list": "aliases", "rule list": "rules", "ledger --hours 99": "ledger?hours=99",
    "audit-log": "audit_log",
    "diff 2026-01-01 2030-01-01": "diff?day1=2026-01-01&day2=2030-01-01",
}  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A lake with everything in it, and a server on it; only read by the tests."""
    home = Home(tmp_path_factory.mktemp("served"), ("data", "other"))
    for path, size in (("p1/a", 5000), ("p1/q/b", 20), ('we"ird,\n\x1b[31mname\r', 7)):
        for backend in ("data", "other"):
            place = home.root(backend) / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(b"x" * size)
            os.utime(place, (1_577_836_800, 1_577_836_800))
    at = (NOW - dt.timedelta(days=1)).isoformat()
    home.land("all.jsonl", *(
        {"ts": at, "user": user, "backend": "data", "path": path, "op": op, "bytes_read": 3}
        for user, path, op in (("ann", "p1/a", "write"), ("bob", "p1/a", "read"),
                               ("ann", "p1/q/b", "read"))
    ))  # fmt: skip
    for args in (("ingest",), ("crawl",), ("team", "add", "ann", "vision"),
                 ("alias", "add", "eve", "ann"), ("rule", "add", "other:p1", "vision"),
                 ("quota", "set", "--team", "vision", "--hard", "4KB"), ("refresh",)):  # fmt: skip
        assert home.run(*args).code == 0
    server = Server(home.file)
    yield home, server, f"http://127.0.0.1:{server.port}"
    server.stop()


@pytest.mark.parametrize("fmt", ["csv", "json", "table"])
@pytest.mark.parametrize("question", QUESTIONS)
def test_a_server_gives_the_same_rows_as_the_lake(world, question, fmt):
    """Byte for byte, in every format; invariant 5."""
    home, _, url = world
    local = home.run(*question.split(), "--format", fmt)
    remote = home.run(*question.split(), "--format", fmt, "--server", url)
    assert (local.code, remote.code, remote.err) == (0, 0, local.err)
    assert remote.out == local.out
    assert local.out.count("\n") > (0 if fmt == "json" else 1)


@pytest.mark.parametrize("question", REST)
def test_json_is_the_body_of_the_server(world, question):
    """CLI local == CLI --server == REST, as bytes."""
    home, server, url = world
    body = server.get(REST[question]).body.decode()
    assert home.run(*question.split(), "--format", "json").out == body
    assert home.run("--server", url, *question.split(), "--format", "json").out == body
    assert json.loads(body)


@pytest.mark.parametrize(("command", "code", "told"), [
    ("usage --backend dta", 2, "'dta'"),
    ("usage --group-by tem", 2, "'tem'"),
    ("quota list --team visio", 2, "'visio'"),
    ("user nobody-here", 2, "nobody-here"),
    ("quota delete --team nobody", 2, "no quota for team 'nobody'"),
    ("team remove nobody vision", 2, "nobody"),
    ("rule remove data:nowhere", 2, "nowhere"),
    ("quota set --team t --soft 2 --hard 1", 2, "soft_limit must be <= hard_limit"),
    ("crawl --backend nowhere", 2, "nowhere"),
    ("diff 2030-01-01 2026-01-01", 2, "2030-01-01"),
])  # fmt: skip
def test_an_error_of_the_server_is_one_line_and_the_right_exit(world, command, code, told):
    """As without a server."""
    home, _, url = world
    local, remote = home.run(*command.split()), home.run(*command.split(), "--server", url)
    assert (local.code, remote.code, remote.out) == (code, code, "")
    assert told in local.err
    assert told in remote.err
    assert remote.err.startswith("error: ")
    assert remote.err.count("\n") == 1


def test_an_audit_is_asked_of_a_server_and_is_then_what_the_lake_and_rest_tell(world):
    """Local = `--server` = `GET /verify` after it, byte for byte; one that fails is named."""
    home, server, url = world
    assert home.run("verify", "--sample", "5", "--format", "json").code == 0
    asked = home.run("verify", "--sample", "4", "--format", "json", "--server", url)
    assert (asked.code, asked.err) == (0, "")
    rows = json.loads(asked.out)
    assert [(row["backend"], row["checked"], row["agree"]) for row in rows] == [
        ("data", 6, 6), ("other", 6, 6)  # three files, both ways
    ]  # fmt: skip
    assert rows[0]["agreement_low"] == pytest.approx(0.60967, abs=1e-5)
    assert asked.out == server.get("verify").body.decode()
    one = home.run("verify", "--backend", "data", "--format", "json", "--server", url)
    assert json.loads(one.out) == server.get("verify?backend=data").json
    started = server.post("verify?wait=false&backend=data&sample=1")
    assert (started.status, set(started.json)) == (202, {"status", "run_id"})
    assert started.headers["location"] == f"/api/v1/runs/{started.json['run_id']}"
    told = followed(server, started.headers["location"])
    assert (told["status"], told["kind"], told["who"]) == ("ok", "verify", "local")
    assert told["audits"] == server.get("verify?backend=data").json
    assert server.post("verify?backend=nope").status == 400
    moved = home.folder / "away"
    home.root("other").rename(moved)
    try:
        failed = home.run("verify", "--format", "csv", "--server", url)
        assert failed.code == 1
        assert [row["backend"] for row in failed.rows] == ["data"]
        assert "backend 'other' could not be verified" in failed.err
        only = server.post("verify?backend=other")
        assert (only.status, "other" in only.error["message"]) == (502, True)
    finally:
        moved.rename(home.root("other"))


def followed(server, place):
    """A run at its end."""
    while (told := server.get(place).json)["status"] in ("requested", "running"):
        time.sleep(0.05)
    return told


def test_changes_through_a_server_are_seen_in_the_lake(new_home):
    """Every changing command says what it says without a server, and does it."""
    home = new_home()
    server = Server(home.file)
    url = f"http://127.0.0.1:{server.port}"
    try:

        def said(*args):
            done = home.run(*args, "--server", url)
            assert done.code == 0, done
            return done

        done = said("quota", "set", "--team", "vision", "--soft", "1KB", "--hard", "2.5GB")
        assert done.out == (
            'Quota set for team "vision" (backend=all, soft=1.00 KB, hard=2.50 GB)\n'
        )
        done = said("quota", "set", "--team", "vision", "--backend", "later", "--grace", "7d")
        assert "'later' is not in the config" in done.err
        (row, later) = home.run("quota", "list", "--format", "csv").rows
        assert (row["soft_bytes"], row["hard_bytes"]) == ("1024", "2684354560")
        assert later["backend"] == "later"
        assert said("quota", "delete", "--team", "vision").out.startswith("Quota deleted")
        assert len(home.run("quota", "list", "--format", "csv").rows) == 1
        assert said("team", "add", "ann", "vision", "--since", "2026-01-01").out.startswith(
            "1 of 1"
        )
        file = home.folder / "teams.csv"
        file.write_text("user_id,team_name\nann,vision\nbob,nlp\n")
        assert said("team", "import", file).out.startswith("1 of 2 memberships are new.")
        assert said("team", "remove", "bob", "nlp").out.startswith("Removed bob from nlp.")
        assert home.run("team", "list", "--format", "csv").out == (
            "user,team,since\nann,vision,2026-01-01 00:00:00\n"
        )
        done = said("alias", "add", "ann2", "ann", "--since", "2026-01-01")
        assert done.out == "ann2 counts as ann. Reports follow at the next refresh.\n"
        assert home.run("alias", "list", "--format", "csv").out == (
            "name,canonical,since\nann2,ann,2026-01-01 00:00:00\n"
        )
        done = said("alias", "add", "ann2", "ann")
        assert home.run("alias", "list", "--format", "csv").out == (
            "name,canonical,since\nann2,ann,\n"
        )
        circle = home.run("alias", "add", "ann", "ann2", "--server", url)
        assert (circle.code, "an alias of itself" in circle.err) == (2, True)
        done = said("alias", "remove", "ann2")
        assert done.out == "ann2 is no alias any more. Reports follow at the next refresh.\n"
        assert home.run("alias", "remove", "ann2", "--server", url).code == 2
        assert said("rule", "add", "data:x", "vision").out.startswith("data:x belongs to vision.")
        assert len(home.run("rule", "list", "--format", "csv").rows) == 1
        assert said("rule", "remove", "data:x").out.startswith("The rule of data:x is removed.")
        assert home.run("rule", "list", "--format", "csv").rows == []
        file.write_text("user_id,team_name\n")
        assert said("team", "import", file).out.startswith("0 of 0 memberships are new.")
        file.write_text("user_id,team_name\nann\n")
        bad = home.run("team", "import", file, "--server", url)
        assert (bad.code, bad.out) == (2, "")
        assert "teams.csv" in bad.err
    finally:
        server.stop()


def test_files_and_crawls_go_through_a_server(new_home, monkeypatch):
    """A file counts once however often it is sent; a log that grew goes on where it ended."""
    home = new_home()
    monkeypatch.setenv("XDG_STATE_HOME", str(home.folder / "state"))
    (home.root() / "a").write_bytes(b"x" * 10)
    log = home.folder / "log.jsonl"
    line = json.dumps({"ts": (NOW - dt.timedelta(days=1)).isoformat(), "user": "ann",
                       "backend": "data", "path": "a", "op": "read"}) + "\n"  # fmt: skip
    log.write_text(line * 3)
    server = Server(home.file)
    url = f"http://127.0.0.1:{server.port}"
    try:
        first = home.run("ingest", log, "--server", url)
        assert first.code == 0, first
        assert ": 3 events accepted, 0 of them for the quarantine." in first.out
        assert ": 0 events accepted" in home.run("ingest", log, "--server", url).out
        log.write_text(line * 3 + "not json\n")
        assert "1 of them for the quarantine" in home.run("ingest", log, "--server", url).out
        log.write_text(line * 3 + "not json\n" + line * 2)
        assert ": 2 events accepted" in home.run("ingest", log, "--server", url).out
        done = home.run("crawl", "--server", url, "--format", "csv")
        assert (done.code, [(r["backend"], r["state"], r["files"]) for r in done.rows]) == (
            0, [("data", "complete", "1")]
        )  # fmt: skip
        rows = home.run("usage", "--format", "csv", "--server", url).rows
        assert [row["read_count"] for row in rows if row["group"] == "ann"] == ["5"]
        assert "name files to send" in home.run("ingest", "--server", url).err
        home.root().rename(home.folder / "gone")
        failed = home.run("crawl", "--server", url)
        assert failed.code == 1
    finally:
        server.stop()


EMPTY = {("GET", f"/api/v1/{path}"): None for path in ("usage", "stale", "growth", "quota",
                                                       "backends", "user/ann")}  # fmt: skip


@pytest.fixture
def go():
    """An old server."""
    server = GoServer(dict(EMPTY))
    yield server
    server.stop()


def test_null_of_an_old_server_is_no_rows(home, go):
    """In every format."""
    for command in ("usage", "stale", "growth", "quota list", "backends"):

        def said(fmt, command=command):
            return home.run(*command.split(), "--server", go.url, "--format", fmt)

        assert (said("json").out, said("json").err) == ("[]\n", "")
        assert said("csv").out.count("\n") == 1
        assert said("table").code == 0


def test_rows_of_an_old_server_are_shown_as_far_as_they_go(home, go):
    """Keys that it does not know are empty cells; json is its body."""
    row = {"group_name": "ann", "backend_name": "data", "file_count": 2, "total_bytes": 5,
           "last_access": "2026-01-02T03:04:05.123456789+02:00"}  # fmt: skip
    go.answers["GET", "/api/v1/usage"] = [row, {**row, "last_access": "0001-01-01T00:00:00Z"}]
    go.answers["GET", "/api/v1/quota"] = [{
        "ID": 1, "TeamName": "t", "BackendName": "", "SoftLimit": 1, "HardLimit": 9,
        "current_usage": 3, "usage_percent": 33.3, "exceeded": False, "soft_exceeded": True,
    }]  # fmt: skip
    said = home.run("usage", "--server", go.url, "--format", "csv")
    assert said.out.split("\n")[1:] == ["ann,data,2,5,2026-01-02 01:04:05,,,,,",
                                        "ann,data,2,5,,,,,,", ""]  # fmt: skip
    assert json.loads(home.run("usage", "--server", go.url, "--format", "json").out)[0] == row
    assert "ann" in home.run("usage", "--server", go.url).out
    (quota,) = home.run("quota", "list", "--server", go.url, "--format", "csv").rows
    assert quota["status"] == "WARNING"


@pytest.mark.parametrize(("answer", "code", "told"), [
    ((400, "control.SetQuota: team_name is required"), 2, "team_name is required"),
    ((500, "boom\nmore"), 1, "answers 500: boom"),
    ((404, ""), 1, "404"),
    ((401, json.dumps({"error": {"message": "no token."}})), 1, "Set WARPDRIVE_TOKEN"),
    ((301, ""), 1, "redirects elsewhere"),
    ((200, "<html>"), 1, "is it a WarpDrive server?"),
])  # fmt: skip
def test_what_an_old_server_says_in_text_is_one_line(home, go, answer, code, told):
    """The status decides the exit code."""
    go.answers["GET", "/api/v1/usage"] = answer
    said = home.run("usage", "--server", go.url)
    assert (said.code, said.out) == (code, "")
    assert told in said.err
    assert said.err.count("\n") == 1


def test_a_server_that_is_not_there_is_one_line(home, go):
    """Refused connections and names that do not resolve."""
    url = go.url
    go.stop()
    said = home.run("usage", "--server", url)
    assert (said.code, said.out, said.err.count("\n")) == (1, "", 1)
    assert "Connection refused" in said.err


def test_the_token_comes_from_environment_or_config_and_is_never_shown(home, go, monkeypatch):
    """No config is needed to ask a server; a token of the config is used without the variable."""

    def sent():
        return go.requests[-1][2].get("Authorization")

    assert home.run("usage", "--server", go.url).code == 0
    assert sent() is None
    (home.folder / "token").write_text("from-file\n")
    text = home.file.read_text()
    home.file.write_text(text.replace("telemetry: {", "telemetry: {token_file: ./token, "))
    assert home.run("usage", "--server", go.url).code == 0
    assert sent() == "Bearer from-file"
    monkeypatch.setenv("WARPDRIVE_TOKEN", "s3cret")
    assert home.run("usage", "--server", go.url).code == 0
    assert sent() == "Bearer s3cret"
    go.answers["GET", "/api/v1/usage"] = (401, "no")
    assert "s3cret" not in home.run("usage", "--server", go.url).err


def test_a_server_is_asked_without_config_and_engine(home, go, tmp_path):
    """From a machine that has neither: the standard library, click and yaml."""
    script = (
        "import sys, cli\n"
        "try: cli.main()\n"
        "except SystemExit as end: code = end.code\n"
        "heavy = {'polars', 'deltalake', 'pyarrow', 'obstore', 'fsspec', 'yaml'} & set(sys.modules)"
        "\nprint(sorted(heavy), file=sys.stderr)"
    )
    environ = {k: v for k, v in os.environ.items() if k != "WARPDRIVE_CONFIG"}
    bare = tmp_path / "bare"
    bare.mkdir()
    for args in (["usage"], ["stale", "--days", "7"], ["quota", "list"], ["ledger"]):
        go.answers.setdefault(("GET", "/api/v1/ledger"), [])
        done = subprocess.run(
            [sys.executable, "-c", script, *args, "--server", go.url, "--format", "json"],
            cwd=bare, env={**environ, "PYTHONPATH": os.getcwd()},  # noqa: PTH109
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert (done.stdout, done.stderr) == ("[]\n", "[]\n")
