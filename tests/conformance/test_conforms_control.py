"""Behaviours 37-58: quota, team, user, backends, crawl, methods."""

import pytest


def quotas(world):
    return {(row["TeamName"], row["BackendName"]): row for row in world.rows("quota")}


def test_37_39_46_what_was_set_is_listed(world):
    """One entry a team and backend; an empty backend is all of them."""
    rows = quotas(world)
    assert (rows["over", "data"]["SoftLimit"], rows["over", "data"]["HardLimit"]) == (500, 900)
    assert rows["over", ""]["HardLimit"] == 1000
    assert len({row["ID"] for row in rows.values()}) == len(rows)


def test_38_48_a_second_set_updates_and_keeps_the_id(world):
    assert "ok" in world.put_quota("b38", "data", 1, 2).body.decode()
    first = quotas(world)["b38", "data"]
    assert world.put_quota("b38", "data", 3, 4).json["status"] == "ok"
    second = quotas(world)["b38", "data"]
    assert (second["ID"], second["SoftLimit"], second["HardLimit"]) == (first["ID"], 3, 4)


@pytest.mark.parametrize(
    ("body", "text"),
    [({"hard_limit": 5}, "team_name is required"),
     ({"team_name": "t", "hard_limit": -1}, "limits must be non-negative"),
     ({"team_name": "t", "soft_limit": 9, "hard_limit": 5}, "soft_limit must be <= hard_limit"),
     (b'{"team_name":"t","hard_limit":1e3}', "invalid JSON"),
     (b'{"team_name":"t","hard_limit":1.5}', "invalid JSON"),
     (b'{"team_name":"t","hard_limit":9223372036854775808}', "invalid JSON"),
     (b"{", "invalid JSON"), (b"", "invalid JSON"), (b"[]", "invalid JSON")],
)  # fmt: skip
def test_40_41_a_wrong_quota_is_refused_with_a_text(world, body, text):
    answer = world.server.ask("PUT", "quota", body)
    assert answer.status == 400
    assert text in answer.error["message"]
    assert "t" not in {row["TeamName"] for row in world.rows("quota")}


def test_42_43_44_45_47_49_limits_against_what_is_owned(world):
    """Ownership came by HTTP: dan owns 1000 bytes, eve 400, bob's count for red."""
    rows = quotas(world)
    over = rows["over", "data"]
    assert (over["current_usage"], over["exceeded"], over["soft_exceeded"]) == (1000, True, True)
    assert over["usage_percent"] == pytest.approx(1000 / 900 * 100)
    exactly = rows["over", ""]
    assert (exactly["exceeded"], exactly["usage_percent"]) == (True, 100.0)
    under = rows["under", "data"]
    assert (under["current_usage"], under["exceeded"], under["soft_exceeded"]) == (
        400,
        False,
        False,
    )
    assert rows["blue", "data"]["current_usage"] == 0
    no_hard = rows["red", "more"]
    assert (no_hard["usage_percent"], no_hard["exceeded"], no_hard["soft_exceeded"]) == (
        0, False, True,
    )  # fmt: skip


def test_quotas_are_in_order(world):
    names = [(row["TeamName"], row["BackendName"]) for row in world.rows("quota")]
    assert names == sorted(names)


def test_50_a_mapping_is_idempotent_and_two_teams_are_allowed(world):
    for team in ("b50-a", "b50-b", "b50-a"):
        answer = world.server.post("team", {"user_id": "b50", "team_name": team})
        assert (answer.status, answer.json["status"]) == (200, "ok")
    mine = [row["team_name"] for row in world.rows("team") if row["user_id"] == "b50"]
    assert mine == ["b50-a", "b50-b"]


@pytest.mark.parametrize(
    ("body", "text"),
    [({"user_id": "", "team_name": "x"}, "user_id and team_name are required"),
     ({"user_id": "x"}, "user_id and team_name are required"), (b"nope", "invalid JSON"),
     ({"user_id": 5, "team_name": "x"}, "invalid JSON")],
)  # fmt: skip
def test_51_empty_fields_and_bad_json_are_refused(world, body, text):
    answer = world.server.post("team", body)
    assert answer.status == 400
    assert text in answer.error["message"]


def test_52_a_user_sees_his_own_records_newest_first(world):
    rows = world.rows("user/newest")
    assert [row["Path"] for row in rows] == ["f1", "f2", "f3"]
    assert {row["UserID"] for row in rows} == {"newest"}
    assert set(rows[0]) >= {
        "BackendName", "Path", "UserID", "Date", "ReadCount", "BytesRead", "LastAccess",
    }  # fmt: skip


def test_53_a_percent_encoded_id_and_an_unknown_one(world):
    (row,) = world.rows("user/uid%3A1000")
    assert (row["UserID"], row["BytesRead"]) == ("uid:1000", 3)
    assert world.rows("user/stranger") == []


def test_54_backends_are_sorted_and_summed(world):
    rows = {row["name"]: row for row in world.rows("backends")}
    assert list(rows) == ["data", "gone", "more", "reports"]
    assert (rows["more"]["type"], rows["more"]["file_count"]) == ("local", 1006)
    assert rows["more"]["total_bytes"] == sum(100 + i for i in range(1005)) + 700
    assert (rows["reports"]["file_count"], rows["reports"]["total_bytes"]) == (2, 150)
    assert (rows["gone"]["file_count"], rows["gone"]["total_bytes"]) == (0, 0)


def test_55_a_path_that_grows_changes_the_size_not_the_count(later):
    rows = {row["name"]: row for row in later.rows("backends")}
    before = later.before["backends"]["data"]
    assert rows["data"]["file_count"] == before["file_count"] - 2
    assert rows["data"]["total_bytes"] == before["total_bytes"] - 89 + 4990


def test_57_nested_files_stay_apart_and_a_failed_backend_is_named(world):
    assert world.first_crawl["status"] == "partial"
    assert set(world.first_crawl["failed"]) == {"gone"}
    rows = world.rows("usage", group_by="prefix", backend="data", depth=3)
    named = {row["group_name"]: row["total_bytes"] for row in rows}
    assert (named["nested/x/same.txt"], named["nested/y/same.txt"]) == (11, 22)
    assert named["a/a"] == 1


def test_57_a_removed_file_leaves(later):
    rows = later.rows("usage", group_by="prefix", backend="data")
    assert "later" not in {row["group_name"] for row in rows if row["file_count"]}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("DELETE", "/api/v1/usage", 405), ("GET", "/api/v1/ingest", 405),
     ("POST", "/api/v1/quota", 405), ("PATCH", "/api/v1/team", 405), ("GET", "/api/v1/nope", 404),
     ("GET", "/", 404), ("GET", "/api/v1/usage/", 404), ("GET", "/api/v1/user/", 404),
     ("GET", "/api/v1/user/a/b", 404), ("POST", "/api/v2/ingest", 404)],
)  # fmt: skip
def test_58_wrong_methods_and_unknown_paths(world, method, path, status):
    answer = world.server.ask(method, path, b"[]" if method == "POST" else None)
    assert answer.status == status
    assert answer.error["status"] == status
    assert (status == 405) == ("allow" in answer.headers)


def test_60_the_whole_sequence_answers_200(later):
    """Team, quota, ingest, usage, stale, quota, user, backends, crawl."""
    assert later.answers["b60"] == [200] * 9
