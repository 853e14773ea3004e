# System calls are what is tested here, and names are bytes.
# ruff: noqa: PTH101, PTH116, PTH118, PTH211
"""A local folder as a backend, and names as text."""

import os
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage import localfiles
from storage.backends import Stat
from storage.config import load_config
from storage.errors import BackendError, ConfigError
from storage.localfiles import LocalSource
from storage.paths import path_bytes, path_text


@given(st.binary())
def test_every_name_has_one_text_and_comes_back(raw):
    text = path_text(raw)
    text.encode()
    assert path_bytes(text) == raw


@given(st.text())
def test_a_text_is_of_one_name_or_of_none(text):
    try:
        raw = path_bytes(text)
    except ValueError:
        return
    assert path_text(raw) == text


@pytest.mark.parametrize(
    ("raw", "text"),
    [(b"a/b", "a/b"), ("ü".encode(), "ü"), (b"caf\xe9", r"caf\xe9"), (b"a\\b", r"a\\b"),
     (b"\\xe9", r"\\xe9"), (b"\xff\xfe", r"\xff\xfe")],
)  # fmt: skip
def test_bytes_that_are_not_utf8_are_written_as_escapes(raw, text):
    assert path_text(raw) == path_text(os.fsdecode(raw)) == text


@pytest.fixture(params=["openat2", "walk"])
def source(tmp_path, request, monkeypatch):
    if request.param == "walk":

        def absent(*args):
            localfiles.ctypes.set_errno(38)
            return -1

        monkeypatch.setattr(localfiles, "_syscall", absent)
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (root / "sub" / "file").write_bytes(bytes(range(256)) * 100)
    (tmp_path / "secret").write_text("secret")
    os.symlink("..", root / "up")
    os.symlink("sub/file", root / "link")
    os.mkfifo(root / "pipe")
    found = LocalSource("b", str(root))
    yield found
    found.close()
    found.close()


@pytest.mark.parametrize(
    "path",
    ["../secret", "sub/../../secret", "up/secret", "/etc/passwd", "..", "sub/\0", "link/x", "nope",
     "sub/file/x", r"a\b"],
)  # fmt: skip
def test_nothing_outside_the_root_can_be_reached(source, path):
    for call in (source.stat, source.open, source.list):
        with pytest.raises(OSError):
            call(path)


def test_symlinks_are_shown_as_symlinks(source):
    assert stat.S_ISLNK(source.stat("link").mode)
    assert source.readlink("link") == "sub/file"
    assert [entry.name for entry in source.list("")] == ["link", "pipe", "sub", "up"]
    with pytest.raises(OSError, match="symbolic"):
        source.open("link")


def test_a_file_has_its_own_owner_and_mode(source):
    path = os.path.join(source.root, "sub/file")
    os.chmod(path, 0o604)
    found, real = source.stat("sub/file"), os.stat(path)
    assert (found.mode, found.size_bytes, found.uid, found.gid, found.modified_ns) == (
        real.st_mode, real.st_size, real.st_uid, real.st_gid, real.st_mtime_ns
    )  # fmt: skip
    assert source.list("sub")[0].stat == found
    version = found.version
    os.utime(path, (1, 1))
    assert source.stat("sub/file").version != version


def test_reading_gives_exact_ranges_and_leaves_atime_alone(source):
    path = os.path.join(source.root, "sub/file")
    os.utime(path, (1, 10**9))
    reader = source.open("sub/file")
    data, room = bytes(range(256)) * 100, memoryview(bytearray(4096))
    assert reader.read(0, 10**6) == data
    assert (reader.ready(1000, room), bytes(room)) == (4096, data[1000:5096])
    assert (reader.ready(25_500, room), bytes(room[:100])) == (100, data[-100:])
    assert reader.ready(10**9, room) == 0
    assert (reader.read(25_500, 4096), reader.read(10**9, 5)) == (data[-100:], b"")
    reader.close()
    reader.close()
    assert source.read("sub/file", 3, 4) == data[3:7]
    assert os.stat(path).st_atime == 1


def test_only_regular_files_can_be_read(source):
    with pytest.raises(IsADirectoryError):
        source.open("sub")
    with pytest.raises(OSError, match="Invalid"):
        source.open("pipe")


def test_a_root_that_is_missing_is_one_clear_line(tmp_path):
    with pytest.raises(BackendError, match=r"backend 'b'.*nope.*No such file"):
        LocalSource("b", str(tmp_path / "nope"))


@pytest.mark.parametrize("place", ["/../x", "a/./b", "n" * 256, "a\\0b", "ü" * 128])
def test_a_mount_path_that_no_folder_can_have_is_one_line(tmp_path, place):
    """The backend was mounted where nobody could see it."""
    file = tmp_path / "w.yaml"
    backend = '{name: b, type: local, mount_path: "%s", config: {root: .}}'
    file.write_text(f"backends:\n  - {backend % place}\n")
    with pytest.raises(ConfigError, match=r"w\.yaml:2: backends\[0\]\.mount_path: '.*' cannot be"):
        load_config(str(file))
    file.write_text(f"backends:\n  - {backend % '//x//y/'}\n")
    assert load_config(str(file)).backends[0].mount_path == "/x/y"


def test_an_etag_is_the_same_file_with_and_without_its_quotes(tmp_path):
    """Azure writes them in the answer to HEAD and not in a listing; a local file has its inode."""
    listed, opened, other = (Stat(stat.S_IFREG, 1, 0, 0, 0, v) for v in ("0x8D", '"0x8D"', "0x8E"))
    assert listed.identity == opened.identity != other.identity
    (tmp_path / "f").write_text("x")
    source = LocalSource("b", str(tmp_path))
    before = source.stat("f")
    (tmp_path / "f").write_text("xy")
    assert source.stat("f").identity == before.identity
    assert source.stat("f").version != before.version
