"""Behaviours 1-14. What is posted stands in `telling.py`; one crawl brings all of it in."""

import datetime as dt

import pytest

from tests.conformance.telling import DAY, NO_ARRAYS, NOW, QUARANTINED, WRONG_TYPES, z


def records(world, user):
    return world.rows(f"user/{user}")


def test_1_an_array_of_one_event_is_one_record(world):
    assert world.answers["b1"]["accepted"] == 1
    (row,) = records(world, "b1")
    assert (row["ReadCount"], row["BytesRead"], row["Path"]) == (1, 4, "f")


def test_2_an_event_without_a_time_is_stamped(world):
    assert world.answers["b2"]["accepted"] == 3
    rows = {row["Path"]: row for row in records(world, "b2")}
    assert set(rows) == {"x", "y", "empty"}
    stamped = dt.datetime.fromisoformat(rows["empty"]["LastAccess"])
    assert NOW - DAY / 24 <= stamped <= dt.datetime.now(dt.UTC)


@pytest.mark.parametrize("body", [b"[]", b"null", b" [] and more"])
def test_3_no_events_are_none(world, body):
    assert world.server.post("ingest", body).json["accepted"] == 0


@pytest.mark.parametrize("i", range(len(NO_ARRAYS)), ids=[body.decode() for body in NO_ARRAYS])
def test_4_no_array_is_refused_whole(world, i):
    answer = world.answers["b4"][i]
    assert answer.status == 400
    assert "invalid JSON" in answer.error["message"]


@pytest.mark.parametrize("i", range(len(WRONG_TYPES)), ids=map(str, WRONG_TYPES))
def test_5_a_wrong_type_is_refused_whole(world, i):
    assert world.answers["b5"][i].status == 400


def test_4_5_nothing_of_what_is_refused_is_stored(world):
    assert records(world, "b4") == records(world, "b5") == []


def test_6_unknown_keys_are_ignored_and_keys_match_in_any_case(world):
    assert world.answers["b6"]["accepted"] == 1
    assert [row["BytesRead"] for row in records(world, "b6")] == [7]


def test_7_the_same_file_user_and_day_is_one_record_and_equal_bodies_count_twice(world):
    (row,) = records(world, "b7")
    assert (row["ReadCount"], row["BytesRead"]) == (4, 20)
    at = (NOW - 2 * DAY).replace(hour=15, minute=0, second=0)
    assert (row["LastAccess"], row["Date"]) == (z(at), f"{at:%Y-%m-%d}")


def test_7_with_an_idempotency_key_they_count_once(world):
    (row,) = records(world, "b7-key")
    assert (row["ReadCount"], row["BytesRead"]) == (2, 10)


def test_8_out_of_order_the_later_access_stays(world):
    (row,) = records(world, "b8")
    assert row["LastAccess"] == z((NOW - 2 * DAY).replace(hour=15, minute=0, second=0))


def test_9_offsets_and_nanoseconds_are_the_same_instant_in_utc(world):
    (row,) = records(world, "b9")
    assert (row["LastAccess"], row["Date"]) == ("2026-02-28T23:30:00.123456Z", "2026-02-28")


# No time in the names: the workers of a run, each started in its own second, must agree on them.
@pytest.mark.parametrize("i", range(len(QUARANTINED)), ids=[
    "no time", "the year 1", "in two days", "negative bytes"])  # fmt: skip
def test_10_11_a_wrong_time_or_negative_bytes_are_taken_and_counted(world, i):
    said = world.answers["b10"][i]
    assert (said["accepted"], said["quarantined"]) == (2, 1)


def test_10_11_they_are_in_no_report_and_spoil_nothing(world):
    assert records(world, "b10-bad") == []
    assert "b10-bad" not in {row["group_name"] for row in world.rows("usage")}
    assert len(records(world, "b10-good")) == len(QUARANTINED)


def test_12_a_colon_never_merges_two_keys(world):
    (first,), (second,) = records(world, "a%3Ab"), records(world, "b")
    assert (first["Path"], first["BytesRead"]) == ("x:y", 1)
    assert (second["Path"], second["BytesRead"]) == ("x:y:a", 1000)


def test_13_a_senders_batch_shows_as_reads_not_as_storage(world):
    (row,) = [row for row in world.rows("usage") if row["group_name"] == "b13"]
    assert (row["read_count"], row["bytes_read"], row["total_bytes"]) == (5, 50, 0)


def test_14_a_stalled_batch_of_100000_events_is_taken_in_time(world):
    """A sender gives up after ten seconds."""
    assert world.answers["b14"]["accepted"] == 100_000
    assert world.answers["b14-seconds"] < 10
    rows = records(world, "b14")
    assert (len(rows), sum(row["ReadCount"] for row in rows)) == (100, 100_000)
