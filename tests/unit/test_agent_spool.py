# pyright: reportOptionalMemberAccess=false
# pyright: reportArgumentType=false
# pyright: reportOptionalOperand=false
"""Spool: what is on disk after a kill, a full disk, a full spool, a second agent."""

import datetime as dt
import errno
import os
import shutil

import pytest

from storage import landing
from storage.errors import WarpdriveError
from storage.landing import Event
from warpdrive_agent import spool as spool_module
from warpdrive_agent.recorder import new_boot
from warpdrive_agent.recovery import recover
from warpdrive_agent.segments import ACTIVE, lines_in
from warpdrive_agent.spool import Spool

AT = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)


def events(first, last, boot="0" * 16, path="p"):
    return [
        Event(AT, "u", "b", path, "read", 1, True, "n", 0.1, seq=seq, boot=boot)
        for seq in range(first, last + 1)
    ]


@pytest.fixture
def make(tmp_path):
    opened = []

    def open_spool(**changes):
        settings = {"node": "n", "boot": new_boot(), "max_bytes": 10**9} | changes
        opened.append(Spool(tmp_path / "spool", **settings))
        return opened[-1]

    yield open_spool
    for spool in opened:
        spool.close(clean=True)


def test_sealing_fixes_name_and_bytes(make):
    spool = make(boot="ab" * 8)
    spool.append(events(1, 3))
    spool.append(events(4, 5))
    assert spool.seal()
    (name,) = spool.pending()
    landed = landing.parse_name(name)
    assert (landed.node, landed.boot, landed.first, landed.last) == ("n", "ab" * 8, 1, 5)
    segment = spool.load(name)
    assert lines_in(segment.data) == 5
    assert spool.load(name) == segment
    assert spool.active.events == spool.active.size_bytes == 0
    assert not spool.seal()


def test_folder_and_files_are_for_their_owner_only(make):
    spool = make()
    spool.append(events(1, 1))
    spool.seal()
    modes = {p.name: p.stat().st_mode & 0o777 for p in spool.folder.rglob("*")}
    assert spool.folder.stat().st_mode & 0o777 == 0o700
    assert all(mode in (0o600, 0o700) for mode in modes.values()), modes


def test_a_torn_last_line_is_repaired_and_counted(make):
    spool = make()
    for seq in (1, 2, 3):
        spool.page.slots[seq] = seq
    spool.append(events(1, 3, spool.boot))
    active = spool.folder / ACTIVE
    os.truncate(active, active.stat().st_size - 5)
    spool.close(clean=False)
    found = make().recovered
    assert (found.boot, found.events, found.lost, found.torn) == (spool.boot, 2, 1, 1)


def test_a_clean_stop_leaves_nothing_to_recover(make):
    spool = make()
    spool.page.slots[1] = 1
    spool.append(events(1, 1))
    spool.seal()
    spool.close(clean=True)
    after = make()
    assert (after.recovered.events, after.recovered.lost) == (0, 0)
    assert len(after.pending()) == 1


@pytest.mark.parametrize("step", ["before it is counted", "before the file is emptied"])
def test_a_kill_while_sealing_neither_doubles_nor_loses(make, monkeypatch, step):
    spool = make()
    spool.page.slots[2] = 2
    spool.append(events(1, 2, spool.boot))

    def die(*args):
        raise KeyboardInterrupt

    if step == "before it is counted":
        monkeypatch.setattr(spool.page, "add_sealed", die)
    else:
        monkeypatch.setattr(os, "ftruncate", die)
    with pytest.raises(KeyboardInterrupt):
        spool.seal()
    monkeypatch.undo()
    spool.close(clean=False)
    after = make()
    assert after.recovered.lost == 0
    assert sum(lines_in(after.load(name).data) for name in after.pending()) == 2


@pytest.mark.parametrize("tear", [0, 5, 200])
@pytest.mark.parametrize("books", ["kept", "lost"])
def test_what_was_sealed_is_not_sealed_again_from_a_torn_file(make, monkeypatch, tear, books):
    """Killed between the segment and the emptied file; then the power cut took more."""
    spool = make()
    for seq in (1, 2, 3):
        spool.page.slots[seq] = seq
    spool.append(events(1, 3, spool.boot))

    def die(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(spool.page, "add_sealed", die)
    with pytest.raises(KeyboardInterrupt):
        spool.seal()
    monkeypatch.undo()
    active = spool.folder / ACTIVE
    os.truncate(active, active.stat().st_size - tear)
    if books == "lost":
        spool.page.slots[:] = memoryview(bytes(8 * len(spool.page.slots))).cast("Q")
    spool.close(clean=False)
    after = make()
    assert after.recovered.lost == 0
    lines = b"".join(
        landing.decompress(name, after.load(name).data, 10**6) for name in after.pending()
    )
    assert lines.count(b'"op":"read"') == 3


def test_a_kill_during_recovery_reports_the_loss_once(make, monkeypatch):
    spool = make()
    spool.page.slots[3] = 3
    spool.append(events(1, 2, spool.boot))
    spool.close(clean=False)

    def die(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("warpdrive_agent.recovery.mark_clean", die)
    with pytest.raises(KeyboardInterrupt):
        recover(spool.folder, "n")
    monkeypatch.undo()
    after = make()
    lines = b"".join(
        landing.decompress(name, after.load(name).data, 10**6) for name in after.pending()
    )
    assert lines.count(b'"op":"read"') == 2
    assert lines.count(b'"op":"agent"') == lines.count(b'"drops":1') == 1


def test_a_full_disk_leaves_no_half_batch(make, monkeypatch):
    spool = make()
    spool.append(events(1, 2))
    size = spool.active.size_bytes
    write = os.write

    def short(fd, data):
        if len(data) > 10:
            return write(fd, data[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(spool_module.os, "write", short)
    with pytest.raises(OSError, match="No space"):
        spool.append(events(3, 4))
    monkeypatch.undo()
    assert (spool.folder / ACTIVE).stat().st_size == size == spool.active.size_bytes
    monkeypatch.setattr(spool_module, "ENCODE_EVENTS", 1)
    calls = iter([write])

    def second(fd, data):
        return next(calls, short)(fd, data)

    monkeypatch.setattr(spool_module.os, "write", second)
    with pytest.raises(OSError, match="No space"):
        spool.append(events(3, 4))  # the first part fits, the second does not
    monkeypatch.undo()
    assert (spool.folder / ACTIVE).stat().st_size == size == spool.active.size_bytes
    spool.append(events(3, 4))
    spool.seal()
    assert lines_in(spool.load(spool.pending()[0]).data) == 4
    assert spool.spooled == 4


def test_a_full_spool_drops_the_oldest_and_counts(make):
    spool = make(max_bytes=1200)
    for start in range(1, 100, 10):
        spool.append(events(start, start + 9, path=os.urandom(30).hex()))
        spool.seal()
    firsts = [landing.parse_name(name).first for name in spool.pending()]
    assert firsts == list(range(firsts[0], 100, 10))
    assert spool.size_bytes <= 1200
    assert spool.page.spool_dropped == firsts[0] - 1 > 0


def test_an_event_that_cannot_be_written_does_not_spoil_its_batch(make):
    spool = make()
    bad = events(2, 2, path="\ud800")
    spool.append(events(1, 1) + bad + events(3, 3))
    assert spool.page.refused == 1
    spool.seal()
    assert lines_in(spool.load(spool.pending()[0]).data) == 2


def test_a_spool_that_was_removed_is_made_again_and_its_loss_is_counted(make, tmp_path):
    """`rm -r` of the cache folder: what is open is not lost, what was sealed is, and is told."""
    spool = make()
    spool.append(events(1, 3, spool.boot))
    spool.seal()
    (gone,) = spool.pending()
    spool.append(events(4, 5, spool.boot))
    shutil.rmtree(tmp_path / "spool")
    assert spool.load(gone) is None
    spool.miss(gone)
    spool.miss(gone)
    assert spool.page.spool_dropped == 3
    assert spool.seal()
    spool.append(events(6, 6, spool.boot))
    (name,) = spool.pending()
    assert lines_in(spool.load(name).data) == 2
    with pytest.raises(WarpdriveError, match="in use by process"):
        make()
    os.close(spool._fd)
    os.close(spool._lock)
    spool._fd = -1
    after = make()
    assert (after.recovered.boot, after.recovered.events) == (spool.boot, 1)
    assert after.recovered.lost == 0


def test_a_disk_that_cannot_sync_has_nothing_written_twice(make, monkeypatch):
    spool = make()

    def broken(fd):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(spool_module, "SYNC_SECONDS", 0)
    monkeypatch.setattr(os, "fdatasync", broken)
    spool.append(events(1, 3))
    spool.append(events(4, 4))
    assert spool.seal()
    assert lines_in(spool.load(spool.pending()[0]).data) == 4


def test_two_agents_cannot_share_a_spool(make):
    make()
    with pytest.raises(WarpdriveError, match=f"in use by process {os.getpid()}"):
        make()
