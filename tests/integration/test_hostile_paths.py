"""Hostile paths, from the crawl to the CSV and back, for each kind of backend."""

import os
from pathlib import Path

import pytest

from storage.paths import path_bytes
from tests.hostile import HOSTILE, taken_by

# What a local disk holds: any bytes but NUL and `/` in a name of at most 255.
LOCAL = [
    b"new\nline", b"quote\"'", b"per%20cent", b"plus+and space", b"comma,semi;", b"tab\there",
    "é/😀.bin".encode(), b"not-utf8-\xff\xfe", b"caf\xe9", b"back\\slash", b"a\\x41", b"a/a/x",
    b"one/same.bin", b"two/same.bin", b"k" * 255, b"/".join([b"d" * 100] * 10), b" lead", b"trail ",
    b"-rf", b"=1+1", b"\r\n", b"...", b"\x01",
]  # fmt: skip


def stale(home):
    """Sizes by the bytes of each path, as the CSV tells them."""
    for command in ("crawl", "refresh"):
        said = home.run(command)
        assert said.code == 0, said.err
    said = home.run("stale", "--days", "0", "--limit", "0", "--format", "csv")
    assert said.code == 0, said.err
    assert len({row["path"] for row in said.rows}) == len(said.rows)
    assert {row["backend"] for row in said.rows} == {"data"}
    return {path_bytes(row["path"]): int(row["size_bytes"]) for row in said.rows}


def agrees(home, count):
    """The audit asks the store for each of them, both ways."""
    said = home.run("verify", "--format", "csv")
    assert said.code == 0, said.err
    assert [(r["checked"], r["agree"]) for r in said.rows] == [(str(2 * count), str(2 * count))]


def test_every_key_of_a_store_comes_back_from_the_csv(new_home, store_server):
    """Keys with //, a leading or trailing /, .., and 1,024 bytes long, among others."""
    sizes = {key.encode(): i + 1 for i, key in enumerate(taken_by(store_server))}
    bucket = store_server.bucket({key.decode(): b"x" * size for key, size in sizes.items()})
    home = new_home(backends=[store_server.backend(bucket, name="data")])
    assert stale(home) == sizes
    agrees(home, len(sizes))


def test_every_name_of_a_disk_comes_back_from_the_csv(home):
    """Bytes that are not UTF-8 and new lines among others."""
    root = os.fsencode(home.root())
    sizes = {name: i + 1 for i, name in enumerate(LOCAL)}
    for name, size in sizes.items():
        file = Path(os.fsdecode(root + b"/" + name))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x" * size)
    assert stale(home) == sizes
    agrees(home, len(sizes))


@pytest.mark.parametrize(
    "needed", ["a//b", "/lead", "trail/", "../up", "a/a", "é/😀.bin", "k" * 1024]
)
def test_the_keys_that_are_promised_are_among_them(needed):
    """So that the list above is not cut short one day."""
    assert needed in HOSTILE
