"""A real mount over real object stores, with and without a network that breaks."""

import errno
import hashlib
import os
import random
import subprocess

import msgspec
import pytest
from mounts import Mount, needs_mount
from objectserver import ObjectServer

from storage import landing
from storage.landing import Event

pytestmark = needs_mount
BLOCK = 64 * 1024
BIG = random.Random(11).randbytes(6 * BLOCK + 13)
OBJECTS = {
    "top": b"t",
    "empty": b"",
    "deep/er/big": BIG,
    "deep/x y+%ü'.txt": b"name",
    **{f"many/{index:03}": bytes([index]) * 1000 for index in range(150)},
}
READS = "GET .*/deep/er/big"
BUCKETS = {}


@pytest.fixture
def bucket(store_server):
    """One bucket a server: nobody changes it."""
    if store_server not in BUCKETS:
        BUCKETS[store_server] = store_server.bucket(OBJECTS)
    return BUCKETS[store_server]


def mounted(folder, server, bucket, cache="", telemetry="level: exact"):
    mount = Mount(folder, [server.backend(bucket, more="mount_path: /s3")], telemetry)
    text = mount.config.read_text()
    mount.config.write_text(text.replace("64KB", f"64KB{cache}"))
    return mount


def tree(root):
    found = {}
    for folder, _, names in os.walk(root):
        for name in names:
            path = os.path.join(folder, name)  # noqa: PTH118
            with open(path, "rb") as file:  # noqa: PTH123
                found[os.path.relpath(path, root)] = hashlib.sha256(file.read()).hexdigest()
    return found


def test_the_tree_is_the_bucket(tmp_path, store_server, bucket):
    with mounted(tmp_path, store_server, bucket) as mount:
        wanted = {key: hashlib.sha256(data).hexdigest() for key, data in OBJECTS.items()}
        assert tree(mount.point / "s3") == wanted
        fd, rng = os.open(mount.point / "s3/deep/er/big", os.O_RDONLY), random.Random(12)
        edges = [0, BLOCK - 1, BLOCK, len(BIG) - 1, len(BIG), len(BIG) + 9]
        for offset in edges + [rng.randrange(len(BIG)) for _ in range(40)]:
            size = rng.choice([1, 4096, BLOCK, 3 * BLOCK + 7])
            assert os.pread(fd, size, offset) == BIG[offset : offset + size]
        os.close(fd)
        readers = [
            subprocess.Popen(["sha256sum", mount.point / f"s3/{key}"], stdout=subprocess.PIPE)
            for key in ["deep/er/big"] * 4 + ["many/007"] * 4
        ]
        found = [reader.communicate()[0].split()[0].decode() for reader in readers]
        assert found == [wanted["deep/er/big"]] * 4 + [wanted["many/007"]] * 4


@pytest.mark.parametrize("mode", ["500", "503", "429", "slow", "reset", "truncate"])
def test_a_fault_that_passes_is_never_seen(tmp_path, store_server, bucket, store_proxy, mode):
    with mounted(tmp_path, store_server.at(store_proxy.url), bucket) as mount:
        store_proxy.fault(mode, n=2, match=READS, delay=0.2)
        assert (mount.point / "s3/deep/er/big").read_bytes() == BIG
        assert [r.fault for r in store_proxy.asked(READS) if r.fault] == [mode] * 2


def test_half_a_body_is_an_io_error_and_never_cached(tmp_path, store_server, bucket, store_proxy):
    """The announced length is that of the half: only the size of the block tells."""
    server = store_server.at(store_proxy.url)
    with mounted(tmp_path, server, bucket, ", readahead_blocks: 0") as mount:
        store_proxy.fault("half", n=1, match=READS)
        with pytest.raises(OSError) as caught:
            (mount.point / "s3/deep/er/big").read_bytes()
        assert caught.value.errno == errno.EIO
        assert (mount.point / "s3/deep/er/big").read_bytes() == BIG
        (mount.point / "s3/top").read_bytes()
    assert [(e.error, e.bytes_read) for e in mount.events("read") if e.error] == [("EIO", 0)]


def test_an_etag_that_changes_in_the_middle_is_an_error(tmp_path, store_server):
    own = store_server.bucket({"file": BIG})
    with mounted(tmp_path, store_server, own, ", readahead_blocks: 0") as mount:
        with open(mount.point / "s3/file", "rb", buffering=0) as file:  # noqa: PTH123
            assert file.read(100) == BIG[:100]
            store_server.put(own, {"file": BIG[::-1]})
            file.seek(4 * BLOCK)
            with pytest.raises(OSError) as caught:
                file.read(100)
        assert caught.value.errno == errno.ESTALE
        assert (mount.point / "s3/file").read_bytes() == BIG[::-1]


def test_a_wrong_key_is_permission_denied_and_no_secret_is_told(tmp_path):
    """On the small server, as moto takes any key."""
    server = ObjectServer()
    server.put("file", b"x")
    server.fail = 1000
    line = server.backend().replace(
        "{method: anonymous}",
        "{method: static, access_key_id: AKIDX, secret_access_key: s3cr3t-s3cr3t}",
    )
    try:
        with Mount(tmp_path, [line], "level: exact") as mount, pytest.raises(PermissionError):
            (mount.point / "s3/file").read_bytes()
    finally:
        server.stop()
    assert "s3cr3t" not in mount.errors + mount.output


def test_telemetry_lands_on_s3_once_though_answers_are_lost(
    tmp_path, moto_server, fault_proxy, monkeypatch
):
    """The proxy passes the PUT of a segment on and cuts the answer: it is there, once."""
    for name, value in moto_server.at(fault_proxy.url).environ().items():
        monkeypatch.setenv(name, value)
    own, bucket = moto_server.bucket(), moto_server.bucket(OBJECTS)
    mount = mounted(tmp_path, moto_server, bucket)
    text = mount.config.read_text()
    mount.config.write_text(text.replace("landing: ./landing", f"landing: 's3://{own}/landing'"))
    with mount:
        fault_proxy.fault("after", n=1, match="PUT .*jsonl.zst")
        for index in range(20):
            (mount.point / f"s3/many/{index:03}").read_bytes()
        mount.stop()
    names = moto_server.keys(own)
    client, events = moto_server.client(), []
    for name in names:
        body = client.get_object(Bucket=own, Key=name)["Body"].read()
        lines = landing.decompress(name, body, 10**9).splitlines()
        events += [msgspec.json.decode(line, type=Event) for line in lines]
    reads = [event for event in events if event.op == "read"]
    assert sorted(event.path for event in reads) == [f"many/{index:03}" for index in range(20)]
    assert len({(event.boot, event.seq) for event in events}) == len(events)
    assert fault_proxy.asked("PUT .*jsonl.zst")[0].fault == "after"
