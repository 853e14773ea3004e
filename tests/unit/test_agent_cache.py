"""The block cache: one fetch per block, right bytes or an error, never more than its size."""

import datetime as dt
import errno
import os
import resource
import shutil
import stat
import threading

import pytest

from storage.backends import Stat
from storage.config import CacheConfig
from warpdrive_agent.blockfile import ObjectKey
from warpdrive_agent.cache import BlockCache
from warpdrive_agent.warm import WarmOrder, warm

BLOCK = 4096
DATA = os.urandom(10 * BLOCK + 100)


class Remote:
    """A remote object that counts what is asked of it."""

    def __init__(self, data=DATA):
        self.data = data
        self.stat = Stat(stat.S_IFREG | 0o640, len(data), 0, 0, 0, "v1")
        self.asked = []
        self.gate = threading.Event()
        self.gate.set()
        self.wrong = None

    def ready(self, offset, into):
        return -1

    def read(self, offset, size):
        self.asked.append(offset // BLOCK)
        self.gate.wait(5)
        if isinstance(self.wrong, Exception):
            raise self.wrong
        return self.data[offset : offset + size][: self.wrong]

    def close(self):
        pass


@pytest.fixture
def make(tmp_path):
    made = []

    def open_cache(**changes):
        settings = {
            "path": str(tmp_path / "cache"), "max_size_bytes": 10**9, "block_size_bytes": BLOCK,
            "readahead_blocks": 0, "max_parallel_fetch": 4, "stale_ttl": dt.timedelta(60),
            "evict_high_water": 0.9, "evict_low_water": 0.8,
        } | changes  # fmt: skip
        made.append(BlockCache(CacheConfig(**settings)))
        return made[-1]

    yield open_cache
    for cache in made:
        cache.close()


def opened(cache, remote, path="p", version="v1"):
    return cache.open(ObjectKey("b", path, version), remote)


def test_bytes_are_exact_and_each_block_is_fetched_once(make):
    remote = Remote()
    blocks = opened(make(), remote)
    assert blocks.fetch(BLOCK - 1, 2) == (DATA[BLOCK - 1 : BLOCK + 1], 0)
    assert blocks.fetch(BLOCK - 1, 2) == (DATA[BLOCK - 1 : BLOCK + 1], 2)
    assert blocks.fetch(BLOCK, 2 * BLOCK) == (DATA[BLOCK : 3 * BLOCK], BLOCK)
    assert blocks.fetch(10 * BLOCK, 10**6) == (DATA[10 * BLOCK :], 0)
    assert blocks.fetch(len(DATA), 10) == (b"", 0)
    assert remote.asked == [0, 1, 2, 10]
    room = memoryview(bytearray(2 * BLOCK))
    assert (blocks.ready(BLOCK, room), bytes(room)) == (2 * BLOCK, DATA[BLOCK : 3 * BLOCK])
    assert blocks.ready(3 * BLOCK, room) == -1
    blocks.close()
    blocks.close()


def test_many_readers_wait_for_one_fetch(make):
    remote, found = Remote(), []
    remote.gate.clear()
    blocks = opened(make(), remote)
    threads = [
        threading.Thread(target=lambda: found.append(blocks.fetch(0, 100)[0])) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    remote.gate.set()
    for thread in threads:
        thread.join()
    assert found == [DATA[:100]] * 8
    assert remote.asked == [0]
    blocks.close()


@pytest.mark.parametrize(
    ("wrong", "code"),
    [(-1, errno.EIO), (OSError(errno.ESTALE, "changed"), errno.ESTALE), (ValueError(), errno.EIO)],
)
def test_a_failed_or_short_fetch_is_an_error_and_is_not_cached(make, wrong, code):
    remote = Remote()
    remote.wrong = wrong
    blocks = opened(make(), remote)
    with pytest.raises(OSError) as caught:
        blocks.fetch(0, 10)
    assert caught.value.errno == code
    remote.wrong = None
    assert blocks.fetch(0, 10) == (DATA[:10], 0)
    blocks.close()


def test_another_version_has_its_own_bytes(make):
    cache, new = make(), DATA[::-1]
    first, second = opened(cache, Remote()), opened(cache, Remote(new), version="v2")
    assert first.fetch(0, 100)[0] == DATA[:100]
    assert second.fetch(0, 100)[0] == new[:100]
    first.close()
    second.close()


def test_what_is_cached_survives_a_restart_and_damage_does_not(make, tmp_path):
    blocks = opened(make(), Remote())
    blocks.fetch(0, len(DATA))
    blocks.close()
    (data,) = (tmp_path / "cache").rglob("*.data")
    with data.open("r+b") as file:
        file.seek(3 * BLOCK)
        file.write(b"damage")
    remote = Remote()
    blocks = opened(make(), remote)
    assert blocks.fetch(0, len(DATA)) == (DATA, len(DATA) - BLOCK)
    assert remote.asked == [3]
    blocks.close()


def test_another_block_size_starts_afresh(make):
    blocks = opened(make(), Remote())
    blocks.fetch(0, len(DATA))
    blocks.close()
    remote = Remote()
    blocks = opened(make(block_size_bytes=2 * BLOCK), remote)
    assert blocks.fetch(0, len(DATA)) == (DATA, 0)
    blocks.close()


def test_the_least_recently_opened_goes_first_and_what_is_open_stays(make):
    cache = make(max_size_bytes=6 * len(DATA))
    held = opened(cache, Remote(), "held")
    held.fetch(0, len(DATA))
    for index in range(12):
        blocks = opened(cache, Remote(), f"p{index}")
        blocks.fetch(0, len(DATA))
        blocks.close()
        assert cache.room.size_bytes <= 6 * len(DATA)
    assert cache.room.evictions >= 6
    assert held.fetch(0, len(DATA)) == (DATA, len(DATA))
    for path, cached in (("p11", True), ("p0", False)):
        remote = Remote()
        blocks = opened(cache, remote, path)
        blocks.fetch(0, 10)
        assert (remote.asked == []) is cached
        blocks.close()
    held.close()


def test_a_cache_that_is_too_small_passes_bytes_on(make):
    remote = Remote()
    blocks = opened(make(max_size_bytes=2 * BLOCK), remote)
    assert blocks.fetch(0, len(DATA)) == (DATA, 0)
    blocks.close()


def test_a_full_disk_passes_bytes_on(make, monkeypatch):
    cache = make()
    blocks = opened(cache, Remote())

    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("warpdrive_agent.blockfile.BlockFile.store", full)
    assert blocks.fetch(5, 3 * BLOCK) == (DATA[5 : 5 + 3 * BLOCK], 0)
    assert cache.room.size_bytes == 4096, "its map"
    blocks.close()


def test_a_block_that_finds_no_room_is_fetched_once_for_all_its_reads(make, monkeypatch):
    """Programs read 128 KiB at a time, blocks have 4 MiB: each read must not fetch all of it."""
    remote = Remote()
    blocks = opened(make(max_size_bytes=2 * BLOCK), remote)
    found = [blocks.fetch(offset, 1000) for offset in range(0, len(DATA), 1000)]
    assert b"".join(data for data, _ in found) == DATA
    assert remote.asked == list(range(11))
    assert sum(len(data) - hit for data, hit in found) < len(DATA)
    blocks.close()
    monkeypatch.setattr("warpdrive_agent.spare.MOST_BYTES", 3 * BLOCK)
    for block in range(11):
        blocks = opened(make(max_size_bytes=2 * BLOCK), Remote(), f"p{block}")
        blocks.fetch(0, len(DATA))
        kept = blocks._cache.spare
        assert sum(len(data) for data, _ in kept._kept.values()) == kept._size <= 3 * BLOCK
        blocks.close()


def test_small_objects_take_their_room_on_disk_and_stay_within_the_size(make, tmp_path):
    """A file of 100 bytes takes a page of the disk, and its map another one."""
    cache = make(max_size_bytes=100 * BLOCK)
    for index in range(400):
        blocks = opened(cache, Remote(DATA[:100]), f"p{index}")
        assert blocks.fetch(0, 100)[0] == DATA[:100]
        blocks.close()
    used = sum(p.stat().st_blocks * 512 for p in (tmp_path / "cache").rglob("*") if p.is_file())
    assert 50 * BLOCK < used <= 100 * BLOCK
    assert cache.room.size_bytes == used


def test_a_cache_folder_that_was_removed_is_made_again(make, tmp_path):
    """By hand, or by another agent's eviction: what is open is read on, the next open caches."""
    cache, remote = make(), Remote()
    held = opened(cache, remote)
    held.fetch(0, BLOCK)
    shutil.rmtree(tmp_path / "cache")
    assert held.fetch(0, BLOCK) == (DATA[:BLOCK], BLOCK)
    for _ in range(2):
        blocks = opened(cache, remote)
        assert blocks.fetch(0, 2 * BLOCK)[0] == DATA[: 2 * BLOCK]
        blocks.close()
    assert remote.asked == [0, 0, 1]
    held.close()
    assert cache.in_use() == set()
    assert len(list((tmp_path / "cache").rglob("*.data"))) == 1


def test_blocks_whose_file_was_cut_are_fetched_again_and_none_is_zeros(make):
    """A file that was cut and written to behind the cut has a hole where cached blocks were."""
    remote = Remote()
    blocks = opened(make(), remote)
    blocks.fetch(0, 5 * BLOCK)
    os.truncate(blocks._file.data_path, BLOCK)
    assert blocks.fetch(5 * BLOCK, 1) == (DATA[5 * BLOCK : 5 * BLOCK + 1], 0)
    assert blocks.fetch(2 * BLOCK, BLOCK) == (DATA[2 * BLOCK : 3 * BLOCK], 0)
    assert blocks.fetch(0, len(DATA))[0] == DATA
    assert remote.asked[:7] == [0, 1, 2, 3, 4, 5, 2]
    assert sorted(remote.asked[7:]) == [1, 3, 4, 6, 7, 8, 9, 10]
    blocks.close()


def test_another_block_size_does_not_pull_the_map_away_from_who_uses_it(make):
    """Two agents, or a warm beside one, with one folder: the longer map ends in another page."""
    first = opened(make(block_size_bytes=64), Remote())
    second = opened(make(block_size_bytes=2 * BLOCK), Remote())
    assert first.fetch(len(DATA) - 100, 100)[0] == DATA[-100:], "a shared map would be a SIGBUS"
    assert second.fetch(0, len(DATA))[0] == DATA
    first.close()
    second.close()


def test_files_that_nobody_uses_leave_open_files_for_others(make):
    """Each object has two: a process that may have 1,024 must not spend them on idle ones."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        cache = make()
        for index in range(50):
            opened(cache, Remote(b"1"), f"p{index}").close()
        assert len(cache._idle) == 32
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_plug_in_that_breaks_is_a_failed_file_not_a_forgotten_one(make):
    """Not only OSError: whatever a plug-in raises, the file was not warmed."""

    class Broken:
        stat = staticmethod(lambda _: Remote().stat)
        open = staticmethod(lambda _: (_ for _ in ()).throw(RuntimeError("plug-in")))

    *_, last = warm(Broken(), make(), WarmOrder("b", "p"))  # type: ignore[arg-type]
    assert (last.files, last.files_done, last.failed) == (1, 0, 1)
    assert last.errors == ["p: RuntimeError: plug-in"]


def test_only_a_sequential_reader_is_read_ahead_for(make):
    remote = Remote()
    blocks = opened(make(readahead_blocks=3), remote)
    blocks.fetch(5 * BLOCK, 10)
    assert remote.asked == [5]
    blocks.close()
    front = Remote()
    blocks = opened(make(readahead_blocks=3), front, "other")
    blocks.fetch(0, BLOCK)
    blocks.fetch(BLOCK, BLOCK)
    for block in range(5):
        blocks.fetch(block * BLOCK, 1)
    assert sorted(front.asked) == [0, 1, 2, 3, 4]
    blocks.close()
