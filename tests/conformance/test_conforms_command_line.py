"""Behaviours 72-75."""

import json

import pytest

HEADERS = {
    "usage": "group,backend,files,bytes,last_access",
    "stale": "backend,path,size_bytes,last_modified,last_access",
}


@pytest.mark.parametrize("name", ["usage", "stale", "quota", "status", "move", "serve"])
def test_72_help_names_the_command(world, name):
    said = world.run(name, "--help")
    assert said.code == 0
    assert name in said.out


@pytest.mark.parametrize("name", HEADERS)
def test_73_csv_begins_with_the_contracts_columns(world, name):
    said = world.run(name, "--format", "csv")
    assert said.code == 0
    assert said.out.split("\n")[0].startswith(HEADERS[name])
    assert "\r" not in said.out
    assert said.out.endswith("\n")
    assert all(len(row["last_access"]) in (0, 19) for row in said.rows)


@pytest.mark.parametrize(
    ("args", "code"),
    [((), 2), (("nope",), 2), (("usage", "--nope"), 2), (("usage", "--group-by", "x"), 2),
     (("stale", "--min-size", "x"), 2), (("stale", "--days", "x"), 2),
     (("quota", "set", "--hard", "5"), 2), (("quota", "set", "--team", "t", "--hard", "10XB"), 2),
     (("usage", "--format", "xml"), 2), (("help",), 0), (("usage", "--config", "/nowhere"), 1)],
)  # fmt: skip
def test_74_exit_codes(world, args, code):
    said = world.run(*args)
    assert said.code == code
    assert code == 0 or said.out == ""


def test_75_a_quota_is_seen_by_the_command_line_and_the_server(world):
    said = world.run("quota", "set", "--team", "b75", "--soft", "1GB", "--hard", "2GB")
    assert (said.code, said.out) == (
        0, 'Quota set for team "b75" (backend=all, soft=1.00 GB, hard=2.00 GB)\n',
    )  # fmt: skip
    (row,) = [row for row in world.rows("quota") if row["TeamName"] == "b75"]
    assert (row["SoftLimit"], row["HardLimit"]) == (1024**3, 2 * 1024**3)
    assert world.put_quota("b75", "", 0, 5).status == 200
    listed = json.loads(world.run("quota", "list", "--team", "b75", "--format", "json").out)
    assert [row["HardLimit"] for row in listed] == [5]


@pytest.mark.parametrize(
    ("args", "question"),
    [(("usage", "--group-by", "team"), "usage?group_by=team"), (("usage",), "usage"),
     (("stale", "--days", "30", "--min-size", "1KB"), "stale?days=30&min_size=1KB"),
     (("growth", "--backend", "data"), "growth?backend=data"), (("quota", "list"), "quota"),
     (("backends",), "backends"), (("user", "newest"), "user/newest"), (("team", "list"), "team")],
)  # fmt: skip
def test_json_of_the_command_line_is_the_servers_body(world, args, question):
    """Invariant 5: byte for byte."""
    assert world.run(*args, "--format", "json").out.encode() == world.server.get(question).body
