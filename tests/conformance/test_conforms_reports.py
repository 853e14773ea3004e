"""Behaviours 15-36: usage, stale, growth."""

import datetime as dt
import threading
import time

import pytest

from tests.conformance.telling import DAY, GIB, NOW, event


def by_group(rows):
    return {(row["group_name"], row["backend_name"]): row for row in rows}


def test_15_21_usage_is_by_user_and_backend(world):
    rows = by_group(world.rows("usage"))
    assert rows == by_group(world.rows("usage", group_by="user"))
    assert rows["ann", "data"]["total_bytes"] == 3000
    assert rows["ann", "more"]["total_bytes"] == 700
    assert (rows["bob", "data"]["file_count"], rows["bob", "data"]["total_bytes"]) == (1, 2000)
    assert set(rows["ann", "data"]) >= {
        "group_name", "backend_name", "file_count", "total_bytes", "last_access", "bytes_read",
        "read_count",
    }  # fmt: skip


def test_16_17_usage_by_team_adds_up_to_the_total(world):
    rows = world.rows("usage", group_by="team")
    named = by_group(rows)
    assert named["red", "data"]["total_bytes"] == 5000  # bob joined red first
    assert ("blue", "data") not in named or named["blue", "data"]["total_bytes"] == 0
    assert named["unassigned", "data"]["file_count"] > 0
    for backend in world.rows("backends"):
        mine = [row for row in rows if row["backend_name"] == backend["name"]]
        assert sum(row["total_bytes"] for row in mine) == backend["total_bytes"]
        assert sum(row["file_count"] for row in mine) == backend["file_count"]


def test_18_usage_of_one_backend(world):
    rows = world.rows("usage", backend="more")
    assert {row["backend_name"] for row in rows} == {"more"}
    everything = world.rows("usage")
    assert world.rows("usage", backend="all") == everything == world.rows("usage", backend="")
    answer = world.get("usage", backend="moer")
    assert answer.status == 400
    assert "more" in answer.error["message"]


@pytest.mark.parametrize("group_by", ["user", "team", "backend", "prefix"])
def test_19_usage_is_descending_with_a_fixed_order_of_equals(world, group_by):
    rows = world.rows("usage", group_by=group_by)
    keys = [(-row["total_bytes"], row["group_name"], row["backend_name"]) for row in rows]
    assert keys == sorted(keys)
    assert len(rows) > 1


def test_20_29_35_an_empty_store_answers_empty_lists(blank):
    for question, answer in blank.answers["blank"].items():
        assert answer.status == 200, question
        if question != "backends":
            assert answer.json == [], question


def test_22_file_count_counts_distinct_files(world):
    rows = by_group(world.rows("usage", attribution="access"))
    assert rows["distinct", "data"]["file_count"] == 1
    assert (rows["distinct", "data"]["total_bytes"], rows["distinct", "data"]["read_count"]) == (
        500, 3,
    )  # fmt: skip


def stale_paths(world, **query):
    return [row["path"] for row in world.rows("stale", backend="data", **query)]


def test_23_24_what_is_old_and_unread_is_stale(world):
    found = stale_paths(world)
    assert "stale/old.bin" in found
    assert "stale/new.bin" not in found
    assert "stale/read.bin" not in found
    assert "stale/read.bin" not in stale_paths(world, days=2)
    assert "stale/old.bin" not in stale_paths(world, days=201)


def test_25_26_sizes(world):
    assert stale_paths(world, min_size="1GB") == ["stale/big.bin"]
    for size, bound in (("1024", 1024), ("1KB", 1024), ("1MB", 1024**2), ("1GB", GIB),
                        ("1TB", 1024**4), ("2.5GB", 5 * GIB // 2), ("11B", 11),
                        ("1PB", 1024**5), ("", 0)):  # fmt: skip
        rows = world.rows("stale", min_size=size, limit=0)
        assert all(row["size_bytes"] >= bound for row in rows), size
        assert len(rows) == sum(r["size_bytes"] >= bound for r in world.rows("stale", limit=0))


@pytest.mark.parametrize(
    ("question", "name"),
    [("stale?min_size=potato", "min_size"), ("stale?min_size=-1", "min_size"),
     ("stale?min_size=NaNKB", "min_size"), ("stale?min_size=1e30TB", "min_size"),
     ("stale?days=abc", "days"), ("stale?days=-1", "days"), ("stale?days=1.5", "days"),
     ("stale?limit=x", "limit"), ("growth?period=x", "period"), ("growth?period=-5", "period"),
     ("growth?by=user", "by"), ("usage?group_by=file", "group_by"),
     ("usage?attribution=x", "attribution"), ("usage?groupby=team", "groupby"),
     ("quota?backend=nope", "backend"), ("user/ann?limit=x", "limit")],
)  # fmt: skip
def test_26_27_what_does_not_parse_is_refused_by_name(world, question, name):
    answer = world.server.get(question)
    assert answer.status == 400
    assert name in answer.error["message"] or name == answer.error["param"]


def test_27_ninety_days_are_the_default(world):
    assert world.rows("stale") == world.rows("stale", days=90)


def test_28_the_biggest_come_first_a_thousand_by_default(world):
    rows = world.rows("stale")
    assert len(rows) == 1000
    keys = [(-row["size_bytes"], row["backend_name"], row["path"]) for row in rows]
    assert keys == sorted(keys)
    assert rows[0]["path"] == "stale/big.bin"
    assert len(world.rows("stale", limit=0)) == 1005 + len(stale_paths(world, limit=0))
    assert world.rows("stale", limit=7) == rows[:7]


def test_30_a_removed_file_is_not_stale(later):
    assert "stale/gone.bin" in later.before["stale"]
    assert "stale/gone.bin" not in stale_paths(later)


def test_31_a_report_does_not_hold_up_ingestion(world):
    """Twelve reports are asked for while batches are posted."""
    threads = [
        threading.Thread(target=world.rows, args=("stale",), kwargs={"days": days, "limit": 0})
        for days in range(60, 72)
    ]
    for thread in threads:
        thread.start()
    slowest = 0.0
    for _ in range(10):
        started = time.monotonic()
        world.post(event("b31", "f"))
        slowest = max(slowest, time.monotonic() - started)
    for thread in threads:
        thread.join()
    assert slowest < 5


def test_32_growth_has_a_row_a_day_carried_forward(world):
    rows = world.rows("growth", backend="reports")
    first = (NOW - 5 * DAY).date()
    assert [row["date"] for row in rows] == [
        (first + dt.timedelta(days=i)).isoformat() for i in range(6)
    ]
    assert [row["total_bytes"] for row in rows] == [100, 100, 150, 150, 150, 150]
    assert [row["file_count"] for row in rows] == [1, 1, 2, 2, 2, 2]


def test_33_growth_sums_over_backends_or_shows_each(world):
    whole = world.rows("growth")
    each = world.rows("growth", by="backend")
    today = whole[-1]["date"]
    last = [row for row in each if row["date"] == today]
    assert sum(row["total_bytes"] for row in last) == whole[-1]["total_bytes"]
    assert whole[-1]["total_bytes"] == sum(row["total_bytes"] for row in world.rows("backends"))
    assert {row["backend_name"] for row in last} == {"data", "more", "reports"}
    assert len({row["date"] for row in whole}) == len(whole)


def test_34_the_first_row_carries_what_was_before_the_window(world):
    rows = world.rows("growth", backend="reports", period=2)
    assert [row["total_bytes"] for row in rows] == [150, 150, 150]
    assert rows == world.rows("growth", backend="reports", period="2d")
    assert len(world.rows("growth", backend="reports", period=0)) == 6


def test_36_a_deletion_lowers_the_line(later):
    last = later.rows("growth", backend="data")[-1]
    before = later.before["growth"]
    assert last["total_bytes"] == before["total_bytes"] - 12 - 77 + 4990
    assert last["file_count"] == before["file_count"] - 2
