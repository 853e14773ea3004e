"""A real mount of an object store that is slow, broken, short, or changes under the reader."""

import errno
import hashlib
import os
import random
import subprocess
import threading
import time

import pytest
from mounts import Mount, needs_mount, needs_root, open_to_others, sh, until
from objectserver import ObjectServer

pytestmark = needs_mount
BLOCK = 64 * 1024
BIG = random.Random(3).randbytes(20 * BLOCK + 13)


@pytest.fixture
def server():
    found = ObjectServer()
    found.put("top", b"t")
    found.put("empty", b"")
    found.put("a/b/big", BIG)
    found.put("a/x y+%ü.txt", b"name")
    found.put(r"a/back\slash", b"bs")
    yield found
    found.stop()


@pytest.fixture
def make(tmp_path, server):
    made = []

    def start(level="exact", cache="", **changes):
        mount = Mount(tmp_path, [server.backend(**changes)], f"level: {level}", "allow_other: true")
        text = mount.config.read_text()
        mount.config.write_text(text.replace("block_size: 64KB", f"block_size: 64KB{cache}"))
        made.append(mount)
        return mount.start()

    yield start
    for mount in made:
        mount.__exit__()


def code_of(call, *args):
    with pytest.raises(OSError) as caught:
        call(*args)
    return caught.value.errno


def test_the_whole_tree_is_byte_for_byte_the_store(make, server):
    mount = make()
    found = {}
    for folder, _, names in os.walk(mount.point / "s3"):
        for name in names:
            path = os.path.join(folder, name)  # noqa: PTH118
            with open(path, "rb") as file:  # noqa: PTH123
                found[os.path.relpath(path, mount.point / "s3")] = file.read()
    assert found == {key: data for key, (data, _, _) in server.objects.items()}
    stat = (mount.point / "s3/a/b/big").stat()
    assert (stat.st_mode, stat.st_size, stat.st_mtime) == (0o100640, len(BIG), 1_700_000_000)
    assert (mount.point / "s3/a").stat().st_mode == 0o40750
    assert code_of(os.stat, mount.point / "s3/nope") == errno.ENOENT
    assert os.getxattr(mount.point / "s3/top", "user.etag") == server.objects["top"][1].encode()


def test_reads_at_block_edges_and_the_end(make):
    mount, rng = make(), random.Random(4)
    fd = os.open(mount.point / "s3/a/b/big", os.O_RDONLY)
    edges = [0, BLOCK - 1, BLOCK, 2 * BLOCK - 4096, len(BIG) - 1, len(BIG), len(BIG) + 9]
    for offset in edges + [rng.randrange(len(BIG)) for _ in range(60)]:
        size = rng.choice([1, 4096, BLOCK, 5 * BLOCK + 7])
        assert os.pread(fd, size, offset) == BIG[offset : offset + size]
    os.close(fd)


def test_a_block_is_fetched_once_for_many_readers_and_survives_a_restart(make, server):
    mount = make()
    server.delay = 0.02
    readers = [
        subprocess.Popen(["sha256sum", mount.point / "s3/a/b/big"], stdout=subprocess.PIPE)
        for _ in range(6)
    ]
    wanted = hashlib.sha256(BIG).hexdigest()
    assert {reader.communicate()[0].split()[0].decode() for reader in readers} == {wanted}
    assert len(server.gets()) == len(set(server.gets())) == 21
    mount.stop()
    reads = mount.events("read")
    assert sum(e.bytes_read for e in reads) == 6 * len(BIG)
    assert all(e.bytes_read == e.bytes_hit + e.bytes_miss for e in reads)
    assert sum(e.bytes_miss for e in reads) >= 21 * 13, "each block was new to somebody"
    again = make()
    assert (again.point / "s3/a/b/big").read_bytes() == BIG
    assert len(server.gets()) == 21
    again.stop()
    (last,) = [e for e in again.events("read") if e not in reads]
    assert (last.cache_hit, last.bytes_hit, last.bytes_miss) == (True, len(BIG), 0)


def test_a_changed_object_never_gives_old_bytes(make, server):
    mount = make("fast")
    path = mount.point / "s3/a/b/big"
    assert path.read_bytes() == BIG
    for data in (b"shorter", BIG[::-1] + b"longer"):
        server.put("a/b/big", data)
        assert path.read_bytes() == data


def test_a_change_in_the_middle_of_a_read_is_an_error_not_a_mix(make, server):
    mount = make(cache=", readahead_blocks: 0")
    with open(mount.point / "s3/a/b/big", "rb", buffering=0) as file:  # noqa: PTH123
        assert file.read(100) == BIG[:100]
        server.put("a/b/big", bytes(len(BIG)))
        file.seek(10 * BLOCK)
        assert code_of(file.read, 100) == errno.ESTALE
    assert (mount.point / "s3/a/b/big").read_bytes() == bytes(len(BIG))
    mount.stop()
    assert {(e.error, e.bytes_read) for e in mount.events("read")} == {
        ("", 100), ("ESTALE", 0), ("", len(BIG)),
    }  # fmt: skip


def test_a_short_body_is_an_io_error_and_never_cached(make, server):
    mount = make()
    server.truncate = 5
    assert code_of((mount.point / "s3/a/b/big").read_bytes) == errno.EIO
    server.truncate = 0
    assert (mount.point / "s3/a/b/big").read_bytes() == BIG


def test_a_refusing_backend_is_an_errno_and_the_mount_lives_on(make, server):
    mount = make()
    server.fail = 1000
    assert code_of((mount.point / "s3/a/b/big").read_bytes) == errno.EACCES
    server.fail = 0
    assert (mount.point / "s3/top").read_bytes() == b"t"
    assert (mount.point / "s3/a/b/big").read_bytes() == BIG


def test_a_slow_backend_does_not_hold_up_what_is_cached(make, server):
    mount = make()
    assert (mount.point / "s3/top").read_bytes() == b"t"
    cached = os.open(mount.point / "s3/top", os.O_RDONLY)
    server.delay = 1.0
    slow = threading.Thread(target=(mount.point / "s3/a/b/big").read_bytes)
    slow.start()
    time.sleep(0.1)
    begin = time.monotonic()
    assert os.pread(cached, 10, 0) == b"t"
    assert time.monotonic() - begin < 0.5
    os.close(cached)
    server.delay = 0
    slow.join()


def test_a_sequential_reader_finds_the_next_blocks_there(make, server):
    mount = make()
    with open(mount.point / "s3/a/b/big", "rb", buffering=0) as file:  # noqa: PTH123
        file.read(1000)
        until(lambda: len(server.gets()) == 5)
        time.sleep(0.1)
    assert len(server.gets()) == 5, "the block that was read and four more"


def test_the_cache_stays_within_its_size(make, server):
    for index in range(10):
        server.put(f"many/{index}", bytes([index]) * (4 * BLOCK))
    mount = make(cache=", max_size: 1MB, readahead_blocks: 0")
    for index in range(10):
        assert (mount.point / f"s3/many/{index}").read_bytes() == bytes([index]) * (4 * BLOCK)
    used = int(sh(f"du -sk {mount.folder}/cache/blocks").split()[0])
    assert used <= 1024 + 100
    assert (mount.point / "s3/many/9").read_bytes() == b"\x09" * (4 * BLOCK)
    count = len(server.gets())
    assert (mount.point / "s3/many/9").read_bytes() == b"\x09" * (4 * BLOCK)
    assert len(server.gets()) == count, "the newest is still cached"


def test_damaged_blocks_are_fetched_again_not_served(make, server):
    mount = make()
    assert (mount.point / "s3/a/b/big").read_bytes() == BIG
    mount.stop()
    for path in (mount.folder / "cache/blocks").rglob("*.data"):
        with path.open("r+b") as file:
            file.write(b"damage by a power cut")
    again = make()
    assert (again.point / "s3/a/b/big").read_bytes() == BIG


@needs_root
def test_another_user_can_read_neither_the_objects_nor_the_cache(make, tmp_path):
    open_to_others(tmp_path)
    mount = make(more="uid: 0, gid: 0,")
    as_nobody = {"user": 65534, "group": 65534, "extra_groups": []}
    assert (mount.point / "s3/top").read_bytes() == b"t"
    assert "Permission denied" in sh(f"cat {mount.point}/s3/top 2>&1", **as_nobody)
    assert "Permission denied" in sh(f"ls {mount.folder}/cache/blocks 2>&1", **as_nobody)
    modes = {p.stat().st_mode & 0o777 for p in (mount.folder / "cache/blocks").rglob("*")}
    assert modes == {0o700, 0o600}
