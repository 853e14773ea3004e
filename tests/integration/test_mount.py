# System calls are what is tested here, and names are bytes.
# ruff: noqa: PTH101, PTH102, PTH104, PTH106, PTH108, PTH110, PTH114, PTH115
# ruff: noqa: PTH116, PTH118, PTH123, PTH208, PTH211
"""A real mount of local trees, used as programs and other users use it."""

import contextlib
import errno
import hashlib
import mmap
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from mounts import Mount, needs_mount, needs_root, open_to_others, sh, until

pytestmark = needs_mount
NOBODY = 65534
ATTRIBUTES = ("st_mode", "st_uid", "st_gid", "st_mtime_ns", "st_blocks")
BIG = 3 * 1024**2 + 77


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("source")
    rng = random.Random(1)
    (root / "deep" / "er").mkdir(parents=True)
    for name, size in {
        "empty": 0,
        "one": 1,
        "page": 4096,
        "deep/odd": 70_001,
        "deep/er/big": BIG,
    }.items():
        (root / name).write_bytes(rng.randbytes(size))
    (root / "ünï\n code").write_text("x")
    with open(os.fsencode(root) + b"/caf\xe9", "wb") as file:
        file.write(b"latin")
    os.symlink("deep/odd", root / "link")
    os.symlink("/nowhere", root / "broken")
    (root / "mine").write_text("for its owner only")
    os.truncate(root / "mine", 10**6)  # with a hole: what it takes is not its size
    (root / "mine").chmod(0o600)
    open_to_others(root)
    return root


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    root = tmp_path_factory.mktemp("other")
    (root / "file").write_text("other")
    return root


def local(name, root, mount_path=None):
    return (
        f"{{name: {name}, type: local, mount_path: {mount_path or name}, config: {{root: {root}}}}}"
    )


@pytest.fixture(scope="module")
def exact(tmp_path_factory, tree, other):
    """One mount at level exact for the tests that only look at it."""
    folder = tmp_path_factory.mktemp("exact")
    backends = [local("b", tree, "/data"), local("o", other, "/data/deep/other"),
                local("far", other, "/x/y/z")]  # fmt: skip
    open_to_others(folder)
    with Mount(folder, backends, "level: exact", "allow_other: true") as mount:
        yield mount


def digests(root):
    found = {}
    for folder, _, names in os.walk(os.fsencode(root)):
        for name in names:
            path = os.path.join(folder, name)
            if not os.path.islink(path):
                with open(path, "rb") as file:
                    found[os.path.relpath(path, os.fsencode(root))] = hashlib.sha256(
                        file.read()
                    ).digest()
    return found


def test_every_file_is_byte_for_byte_the_source(exact, tree, other):
    found = digests(exact.point / "data")
    assert {k: v for k, v in found.items() if not k.startswith(b"deep/other/")} == digests(tree)
    assert found[b"deep/other/file"] == digests(other)[b"file"]


def test_backends_share_one_tree_and_the_longest_prefix_wins(exact):
    assert sorted(os.listdir(exact.point)) == ["data", "x"]
    assert sorted(os.listdir(exact.point / "data/deep")) == ["er", "odd", "other"]
    assert os.listdir(exact.point / "x/y/z") == ["file"]
    assert (exact.point / "x" / "y").stat().st_mode & 0o777 == 0o555


def test_attributes_are_those_of_the_source(exact, tree):
    for name in ("one", "deep/odd", "deep", "link", "mine"):
        real, seen = os.lstat(tree / name), os.lstat(exact.point / "data" / name)
        assert [getattr(real, f) for f in ATTRIBUTES] == [getattr(seen, f) for f in ATTRIBUTES]
        assert real.st_size == seen.st_size or (tree / name).is_dir()
    assert os.readlink(exact.point / "data/link") == "deep/odd"
    assert (exact.point / "data/link").read_bytes() == (tree / "deep/odd").read_bytes()


def test_random_reads_at_edges_and_the_end(exact, tree):
    rng, data = random.Random(2), (tree / "deep/er/big").read_bytes()
    edges = [0, 1, 4095, 65_536, 131_072, 1024**2, BIG - 1, BIG, BIG + 5]
    fd = os.open(exact.point / "data/deep/er/big", os.O_RDONLY)
    for offset in edges + [rng.randrange(BIG) for _ in range(100)]:
        size = rng.choice([1, 4096, 131_072, 2 * 1024**2])
        assert os.pread(fd, size, offset) == data[offset : offset + size]
    os.close(fd)


def test_many_readers_at_once(exact, tree):
    wanted = hashlib.sha256((tree / "deep/er/big").read_bytes()).hexdigest()
    path = exact.point / "data/deep/er/big"
    readers = [subprocess.Popen(["sha256sum", path], stdout=subprocess.PIPE) for _ in range(8)]
    assert {reader.communicate()[0].split()[0].decode() for reader in readers} == {wanted}


MUTATIONS = {
    "write": lambda p: open(p / "one", "r+b"),  # noqa: SIM115
    "create": lambda p: open(p / "new", "wb"),  # noqa: SIM115
    "truncate": lambda p: os.truncate(p / "one", 0),
    "mkdir": lambda p: os.mkdir(p / "new"),
    "rmdir": lambda p: os.rmdir(p / "deep"),
    "unlink": lambda p: os.unlink(p / "one"),
    "rename": lambda p: os.rename(p / "one", p / "two"),
    "link": lambda p: os.link(p / "one", p / "two"),
    "symlink": lambda p: os.symlink("one", p / "two"),
    "mknod": lambda p: os.mkfifo(p / "two"),
    "chmod": lambda p: os.chmod(p / "one", 0o777),
    "utime": lambda p: os.utime(p / "one"),
    "setxattr": lambda p: os.setxattr(p / "one", "user.x", b"1"),
}


def test_a_folder_can_be_mounted_over_itself(tmp_path):
    """Programs keep their paths; asking for the room of it must not ask the mount again."""
    (tmp_path / "mnt").mkdir()
    (tmp_path / "mnt/f").write_text("x")
    with Mount(tmp_path, [local("b", tmp_path / "mnt", "/")]) as mount:
        assert sh(f"timeout -s KILL 5 df --output=size {mount.point} | tail -1").strip().isdigit()
        assert os.listdir(mount.point) == ["f"]


@pytest.mark.parametrize("name", MUTATIONS)
def test_every_mutation_is_erofs(exact, name):
    with pytest.raises(OSError) as caught:
        MUTATIONS[name](exact.point / "data")
    assert caught.value.errno == errno.EROFS


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (lambda p: os.stat(p / "nope"), errno.ENOENT),
        (lambda p: os.stat(p / ("n" * 256)), errno.ENAMETOOLONG),
        (lambda p: os.listdir(p / "one"), errno.ENOTDIR),
        (lambda p: os.stat(p / "one" / "x"), errno.ENOTDIR),
        (lambda p: os.open(p / "broken", os.O_RDONLY), errno.ENOENT),
        (lambda p: os.getxattr(p / "one", "user.none"), errno.ENODATA),
        (lambda p: os.read(os.open(p / "deep", os.O_RDONLY), 1), errno.EISDIR),
    ],
)
def test_failures_have_the_right_errno(exact, call, code):
    with pytest.raises(OSError) as caught:
        call(exact.point / "data")
    assert caught.value.errno == code


def test_the_mount_is_private_and_harmless(exact):
    options = sh(f"grep ' {exact.point} ' /proc/mounts").split()[3].split(",")
    assert {"ro", "nodev", "nosuid", "default_permissions"} <= set(options)


@needs_root
def test_another_user_gets_eacces_where_the_source_says_so(exact):
    as_nobody = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    data = exact.point / "data"
    assert sh(f"cat {data}/one | wc -c", **as_nobody) == "1\n"
    assert "Permission denied" in sh(f"cat {data}/mine 2>&1", **as_nobody)
    assert "Permission denied" in sh(f"ls {exact.folder}/cache 2>&1", **as_nobody)


def test_every_delivered_byte_has_an_event(tmp_path, tree):
    """`exact`: the bytes programs got are the bytes in the events, per user and path."""
    with Mount(tmp_path, [local("b", tree, "/data")], "level: exact", "allow_other: true") as mount:
        data = mount.point / "data"
        before = time.time()
        got = int(sh(f"cat {data}/deep/er/big {data}/one {data}/empty | wc -c"))
        got += int(sh(f"dd if={data}/deep/er/big bs=1000 skip=5 count=77 2>/dev/null | wc -c"))
        got += int(sh(f"dd if={data}/deep/odd bs=1M skip=9 2>/dev/null | wc -c"))
        got += len((data / "deep/odd").read_bytes()) + len((data / "deep/odd").read_bytes())
        sh(f"find {data} -type f; ls -l {data}")
        assert mount.stop() == 0
    reads = mount.events("read")
    assert sum(e.bytes_read for e in reads) == got
    assert all(e.bytes_hit == e.bytes_read and e.cache_hit for e in reads)
    big = [e for e in reads if e.path == "deep/er/big"]
    assert [e.bytes_read for e in big] == [BIG, 77_000]
    assert {(e.user, e.uid, e.backend, e.error) for e in reads} == {
        ("root", 0, "b", "")
    } or os.getuid()
    assert all(0 < e.latency_ms < 1000 and e.latency_ms != int(e.latency_ms) for e in big)
    assert all(before <= e.ts_open.timestamp() <= e.ts.timestamp() <= time.time() for e in reads)
    events = mount.events()
    assert [e.seq for e in events] == list(range(1, len(events) + 1))
    assert len({(e.boot, e.node) for e in events}) == 1
    assert {e.op for e in events} == {"read", "list", "stat", "agent"}
    assert {"", "deep", "deep/er"} <= {e.path for e in events if e.op == "list"}


@needs_root
def test_events_name_the_user_who_read(tmp_path, tree):
    open_to_others(tmp_path)
    with Mount(tmp_path, [local("b", tree)], "level: exact", "allow_other: true") as mount:
        sh(f"cat {mount.point}/b/one", user=NOBODY, group=NOBODY, extra_groups=[])
        sh(f"cat {mount.point}/b/page", user=54321, group=54321, extra_groups=[])
        mount.stop()
    assert {(e.path, e.user, e.uid, e.bytes_read) for e in mount.events("read")} == {
        ("one", "nobody", NOBODY, 1), ("page", "uid:54321", 54321, 4096),
    }  # fmt: skip


def test_fast_says_when_the_kernel_served_an_open(tmp_path, tree):
    with Mount(tmp_path, [local("b", tree)], "level: fast") as mount:
        for _ in range(3):
            assert len((mount.point / "b/deep/odd").read_bytes()) == 70_001
        with open(mount.point / "b/deep/er/big", "rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
            assert mapped[BIG - 1 :] == (tree / "deep/er/big").read_bytes()[-1:]
            mapped.close()
        mount.stop()
    odd = [e for e in mount.events("read") if e.path == "deep/odd"]
    assert [(e.bytes_read, e.kernel_cached) for e in odd] == [(70_001, False), (0, True), (0, True)]


def test_per_open_reads_again_at_every_open(tmp_path, tree):
    with Mount(tmp_path, [local("b", tree)], "level: per-open") as mount:
        for _ in range(2):
            (mount.point / "b/deep/odd").read_bytes()
        mount.stop()
    assert [e.bytes_read for e in mount.events("read")] == [70_001, 70_001]


@pytest.mark.parametrize("level", ["fast", "exact"])
def test_a_changed_file_is_never_served_from_old_pages(tmp_path, level):
    source = tmp_path / "source"
    source.mkdir()
    (source / "f").write_bytes(b"old" * 1000)
    with Mount(tmp_path, [local("b", source)], f"level: {level}") as mount:
        assert (mount.point / "b/f").read_bytes() == b"old" * 1000
        (source / "f").write_bytes(b"newer" * 1000)
        until(lambda: (mount.point / "b/f").stat().st_size == 5000)
        assert (mount.point / "b/f").read_bytes() == b"newer" * 1000


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_flushes_and_unmounts_though_a_file_is_open(tmp_path, tree, number):
    with Mount(tmp_path, [local("b", tree)], "level: exact") as mount:
        file = open(mount.point / "b/page", "rb", buffering=0)  # noqa: SIM115
        file.read(100)
        begin = time.monotonic()
        assert mount.stop(number) == 0
        assert time.monotonic() - begin < 6
        assert not mount.is_mounted
        assert "failed to unmount" not in mount.errors, "it is unmounted once, not twice"
        with pytest.raises(OSError):
            file.close()  # the kernel says that nobody is there any more
    assert [e.bytes_read for e in mount.events("read")] == [100]


def test_a_busy_mount_still_hears_signals_and_other_readers(tmp_path, tree):
    hammer = (
        "import os, sys\nfd = os.open(sys.argv[1], os.O_RDONLY)\n"
        "try:\n    while True: os.pread(fd, 4096, 4096)\nexcept OSError: pass"
    )
    with Mount(tmp_path, [local("b", tree)], "level: exact") as mount:
        path = mount.point / "b/deep/er/big"
        readers = [subprocess.Popen([sys.executable, "-c", hammer, str(path)]) for _ in range(2)]
        time.sleep(0.5)
        begin = time.monotonic()
        assert len((mount.point / "b/deep/odd").read_bytes()) == 70_001
        assert time.monotonic() - begin < 2
        assert mount.stop() == 0
        assert time.monotonic() - begin < 6
        for reader in readers:
            assert reader.wait(10) == 0


def test_an_unmount_from_outside_ends_the_agent_cleanly(tmp_path, tree):
    with Mount(tmp_path, [local("b", tree)], "level: exact") as mount:
        (mount.point / "b/one").read_bytes()
        subprocess.run(["fusermount3", "-u", str(mount.point)], check=True)
        assert mount.wait() == 0
    assert len(mount.events("read")) == 1


def test_after_kill_9_the_next_start_cleans_up_and_reports_the_loss(tmp_path, tree):
    mount = Mount(tmp_path, [local("b", tree)], "level: exact").start()
    (mount.point / "b/one").read_bytes()
    active = mount.folder / "cache/spool/active.jsonl"
    until(lambda: b'"path":"one"' in active.read_bytes())
    mount.process.kill()
    mount.process.communicate()
    with mount:
        (mount.point / "b/page").read_bytes()
        mount.stop()
    boots = {e.boot for e in mount.events()}
    assert len(boots) == 2
    for boot in boots:
        events = [e for e in mount.events() if e.boot == boot]
        assert events[-1].op == "agent"
        assert events[-1].seq == len(events) + events[-1].drops
    assert {e.path for e in mount.events("read")} == {"one", "page"}


def test_daemon_returns_when_usable_and_writes_its_pid(tmp_path, tree):
    mount = Mount(tmp_path, [local("b", tree)], "level: exact")
    mount.start("--daemon")
    assert mount.wait() == 0
    assert (mount.point / "b/one").stat().st_size == 1
    pid = int((mount.folder / "cache/agent.pid").read_text())
    (mount.point / "b/one").read_bytes()
    os.kill(pid, signal.SIGTERM)
    until(lambda: not os.path.exists(f"/proc/{pid}") or "Z" in sh(f"ps -o stat= -p {pid}"))
    assert not mount.is_mounted
    assert not (mount.folder / "cache/agent.pid").exists()
    assert [e.path for e in mount.events("read")] == ["one"]


def refused(mount, match):
    with pytest.raises(RuntimeError, match=match) as caught:
        mount.start()
    text = str(caught.value)
    assert text.count("\n") == 1
    assert "Traceback" not in text


def test_it_can_be_used_in_less_than_a_second_of_work(tmp_path, tree):
    """CPU time of the whole process, as other work on the machine stretches the clock."""
    with Mount(tmp_path, [local("b", tree)]) as mount:
        fields = Path(f"/proc/{mount.process.pid}/stat").read_text().rpartition(")")[2].split()
        ticks = int(fields[11]) + int(fields[12])
    assert ticks / os.sysconf("SC_CLK_TCK") < 1.0


def test_a_bad_mount_point_is_one_clear_line(tmp_path, tree):
    mount = Mount(tmp_path, [local("b", tree)])
    mount.point.write_text("a file")
    refused(mount, "mount point .*mnt: Not a directory: name a folder")
    mount.point.unlink()
    with mount:
        again = Mount(tmp_path, [local("b", tree)])
        refused(again, r"mounted already \(fuse\.warpdrive\): unmount it first")
    lost = Mount(tmp_path, [local("b", tree)])
    lost.config.write_text(lost.config.read_text().replace("./mnt", "./no/such/mnt"))
    refused(lost, "No such file or directory: make its parent folder")
    gone = Mount(tmp_path, [local("b", tmp_path / "gone")])
    refused(gone, "backend 'b': config.root .*gone: No such file")
    inside = Mount(tmp_path, [local("b", tree)])
    inside.config.write_text(inside.config.read_text().replace("./cache", "./mnt/cache"))
    refused(inside, "cache.path .*mnt/cache lies in the mount point .*: name a folder outside")
    assert not mount.is_mounted


def test_a_handler_that_breaks_does_not_kill_the_mount(tmp_path, other):
    """A source folder that is replaced under the mount gives errors, never a dead mount."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "f").write_text("x" * 5000)
    with Mount(tmp_path, [local("b", source)], "level: exact") as mount:
        stop = threading.Event()

        def churn():
            while not stop.is_set():
                (source / "f").unlink(missing_ok=True)
                (source / "f").write_text("y")
                os.truncate(source / "f", 0)

        thread = threading.Thread(target=churn)
        thread.start()
        for _ in range(200):
            for call in (os.listdir, lambda p: (p / "f").read_bytes(), os.stat):
                with contextlib.suppress(FileNotFoundError):
                    call(mount.point / "b")
        stop.set()
        thread.join()
        assert mount.stop() == 0
