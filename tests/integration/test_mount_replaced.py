# pyright: reportOptionalSubscript=false
# ruff: noqa: PTH208 - the folder is an open one
"""Files that are replaced or removed while programs read them: the old one whole, or an error."""

import errno
import mmap
import os

import pytest
from mounts import Mount, needs_mount, until
from objectserver import ObjectServer

pytestmark = needs_mount
OLD, SHORT, LONG = b"1" * 1_000_000, b"2" * 300_000, b"3" * 1_500_000
STEP = 65_536


@pytest.fixture(params=["fast", "exact"])
def local(request, tmp_path):
    """A mounted folder, and its source."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "f").write_bytes(OLD)
    backend = f"{{name: b, type: local, mount_path: /b, config: {{root: {source}}}}}"
    with Mount(tmp_path, [backend], f"level: {request.param}") as mount:
        mount.source = source  # type: ignore[attr-defined]
        yield mount


def rest(fd):
    """All bytes from where the file is."""
    return b"".join(iter(lambda: os.read(fd, STEP), b""))


def replace(source, data):
    (source / "new").write_bytes(data)
    (source / "new").replace(source / "f")


@pytest.mark.parametrize("waits", [False, True])
def test_who_has_a_replaced_file_open_reads_it_to_its_end(local, waits):
    """Whether the kernel looks the name up again or still remembers the file that it was."""
    path, before = local.point / "b/f", [OLD]
    fds = [os.open(path, os.O_RDONLY)]
    for data in (SHORT, LONG):
        assert os.read(fds[-1], STEP) == before[-1][:STEP]
        replace(local.source, data)
        if waits:
            wanted = len(data)
            until(lambda: path.stat().st_size == wanted)  # noqa: B023 - it is called here
        fds.append(os.open(path, os.O_RDONLY))
        before.append(data)
        assert path.read_bytes() == data
    for fd, data in zip(fds, before, strict=True):
        assert os.fstat(fd).st_size == len(data)
        os.lseek(fd, 0, os.SEEK_SET)
        assert rest(fd) == data
        os.close(fd)
    local.stop()
    read = local.events("read")
    assert len(read) == 5, "an open that the kernel had to repeat is one event"
    assert {e.error for e in read} == {""}


def test_a_removed_file_is_read_on_and_can_be_asked_for(local):
    path = local.point / "b/f"
    fd = os.open(path, os.O_RDONLY)
    assert os.read(fd, STEP) == OLD[:STEP]
    (local.source / "f").unlink()
    until(lambda: not path.exists())
    assert rest(fd) == OLD[STEP:]
    assert (os.fstat(fd).st_size, os.fstat(fd).st_nlink) == (len(OLD), 0)
    os.close(fd)


def test_a_map_keeps_the_bytes_it_was_made_of(local):
    path = local.point / "b/f"
    with path.open("rb") as file:
        seen = mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ)
    replace(local.source, SHORT)
    until(lambda: path.stat().st_size == len(SHORT))
    assert path.read_bytes() == SHORT
    assert seen[:] == OLD
    seen.close()


def test_a_file_that_grows_is_seen_by_who_has_it_open(local):
    """Written to, not replaced: the same file, as everywhere else."""
    fd = os.open(local.point / "b/f", os.O_RDONLY)
    assert rest(fd) == OLD
    with (local.source / "f").open("ab") as file:
        file.write(b"more")
    until(lambda: os.fstat(fd).st_size == len(OLD) + 4)
    assert rest(fd) == b"more"
    os.close(fd)


def test_a_folder_that_is_listed_again_shows_what_came_meanwhile(local):
    """Through one open folder, as by `rewinddir`."""
    fd = os.open(local.point / "b", os.O_RDONLY)
    assert os.listdir(fd) == ["f"]
    (local.source / "g").write_bytes(b"")
    assert sorted(os.listdir(fd)) == ["f", "g"]
    os.close(fd)


@pytest.mark.parametrize("change", [SHORT, LONG, None])
def test_an_object_that_changed_is_an_error_to_who_has_it_open_never_its_end(tmp_path, change):
    """Nothing of the old version is to be had any more, and nothing of the new one is mixed in."""
    server = ObjectServer()
    server.put("f", OLD)
    mount = Mount(tmp_path, [server.backend()], "level: fast")
    text = mount.config.read_text()
    mount.config.write_text(text.replace("64KB", "64KB, stale_ttl: 100ms, readahead_blocks: 0"))
    with mount:
        path = mount.point / "s3/f"
        fd = os.open(path, os.O_RDONLY)
        assert os.read(fd, STEP) == OLD[:STEP]
        if change is None:
            del server.objects["f"]
            until(lambda: not path.exists())
        else:
            server.put("f", change)
            assert path.read_bytes() == change
        found, code = b"", 0
        try:
            while data := os.read(fd, STEP):
                found += data
        except OSError as error:
            code = error.errno
        assert code == (errno.ENOENT if change is None else errno.ESTALE)
        assert found == OLD[STEP : STEP + len(found)]
        assert os.fstat(fd).st_size == len(OLD)
        os.close(fd)
    server.stop()
