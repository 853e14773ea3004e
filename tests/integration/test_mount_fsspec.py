"""A real mount of what only fsspec opens: an archive, and a file system that changes."""

import errno
import os
import random
import zipfile

import pytest
from mounts import Mount, needs_mount

pytestmark = needs_mount
BLOCK = 64 * 1024
BIG = random.Random(7).randbytes(5 * BLOCK + 13)
FILES = {"top": b"t", "empty": b"", "a/b/big": BIG, "a/x y+%ü.txt": b"name"}


def tree(root):
    found = {}
    for folder, _, names in os.walk(root):
        for name in names:
            path = os.path.join(folder, name)  # noqa: PTH118
            with open(path, "rb") as file:  # noqa: PTH123
                found[os.path.relpath(path, root)] = file.read()
    return found


@pytest.fixture
def archive(tmp_path):
    path = tmp_path / "data.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in FILES.items():
            file.writestr(name, data)
    return f"{{name: z, type: zip, mount_path: /z, config: {{url: 'zip://::{path}'}}}}"


def test_an_archive_is_a_tree_and_its_reads_are_events(tmp_path, archive):
    with Mount(tmp_path, [archive], "level: exact") as mount:
        assert tree(mount.point / "z") == FILES
        assert (mount.point / "z/a/b/big").read_bytes() == BIG
        fd, rng = os.open(mount.point / "z/a/b/big", os.O_RDONLY), random.Random(8)
        for offset in [0, BLOCK - 1, len(BIG) - 1, len(BIG)] + [
            rng.randrange(len(BIG)) for _ in range(20)
        ]:
            size = rng.choice([1, 4096, 2 * BLOCK + 7])
            assert os.pread(fd, size, offset) == BIG[offset : offset + size]
        os.close(fd)
        with pytest.raises(FileNotFoundError):
            (mount.point / "z/nope").stat()
        with pytest.raises(NotADirectoryError):
            os.listdir(mount.point / "z/top")  # noqa: PTH208
    whole = [e for e in mount.events("read") if e.path == "a/b/big" and e.bytes_read == len(BIG)]
    assert [(e.backend, e.cache_hit) for e in whole] == [("z", False), ("z", True)]


def test_a_file_that_changes_is_an_error_and_then_the_new_bytes(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "file").write_bytes(BIG)
    backend = f"{{name: f, type: file, mount_path: /f, config: {{root: {source}}}}}"
    mount = Mount(tmp_path, [backend], "level: exact")
    text = mount.config.read_text()
    mount.config.write_text(text.replace("64KB", "64KB, readahead_blocks: 0"))
    with mount, open(mount.point / "f/file", "rb", buffering=0) as file:  # noqa: PTH123
        assert file.read(100) == BIG[:100]
        (source / "file").write_bytes(bytes(len(BIG)))
        file.seek(3 * BLOCK)
        with pytest.raises(OSError) as caught:
            file.read(100)
        assert caught.value.errno == errno.ESTALE
        assert (mount.point / "f/file").read_bytes() == bytes(len(BIG))


def test_a_scheme_nobody_knows_is_one_clear_line(tmp_path):
    backend = "{name: x, type: nosuch, config: {root: /x}}"
    with pytest.raises(RuntimeError) as caught:
        Mount(tmp_path, [backend]).start()
    assert str(caught.value).startswith("error: backend 'x' (nosuch:///x) cannot be opened:")
    assert str(caught.value).count("\n") == 1
