"""`move`: folders that are empty, closed, there already, or objects of a store."""

import os

import pytest

from tests.integration import test_move

expected, fill, found = test_move.expected, test_move.fill, test_move.found
ends = test_move.ends


def test_a_dry_run_tells_what_will_stay(ends):
    """So that the move itself holds no surprise."""
    fill(ends.root("one") / "dir")
    (ends.root("one") / "dir" / "link").symlink_to("a.bin")
    said = ends.run("move", "--src", "one:dir", "--dst", "two:x", "--delete", "--dry-run")
    assert said.code == 0
    assert said.out.endswith(
        "Would delete nothing: 1 entries are no regular files and stay where they are: dir/link\n"
    )


@pytest.mark.parametrize("dst", ["two", "spec"])
def test_empty_folders_go_too(ends, dst):
    """A tree of folders is moved, not only deleted; closed folders stay closed."""
    top = ends.root("one") / "dir"
    for name in ("empty/deep", "only/here", "open"):
        (top / name).mkdir(parents=True)
    (top / "only").chmod(0o700)
    (top / "open").chmod(0o755)
    (top / "only" / "f").write_bytes(b"f")
    said = ends.run("move", "--src", "one:dir", "--dst", f"{dst}:new/dir", "--delete")
    assert (said.code, said.err) == (0, ""), said
    there = (ends.behind if dst == "spec" else ends.root(dst)) / "new" / "dir"
    assert sorted(str(path.relative_to(there)) for path in there.rglob("*")) == [
        "empty", "empty/deep", "only", "only/f", "only/here", "open",
    ]  # fmt: skip
    assert not top.exists()
    if dst == "two":
        modes = [(there / name).stat().st_mode & 0o777 for name in ("only", "open")]
        assert modes == [0o700, 0o755]


def test_folders_of_the_destination_stay_as_they_are(ends):
    """What is there keeps its permissions; a file in the place of a folder is named."""
    fill(ends.root("one") / "dir")
    (ends.root("two") / "dir" / "deep").mkdir(parents=True)
    (ends.root("two") / "dir" / "deep").chmod(0o711)
    assert ends.run("move", "--src", "one:dir", "--dst", "two:dir").code == 0
    assert (ends.root("two") / "dir" / "deep").stat().st_mode & 0o777 == 0o711
    (ends.root("two") / "file").write_bytes(b"!")
    said = ends.run("move", "--src", "one:dir", "--dst", "two:file", "--delete")
    assert (said.code, said.err) == (
        1, "error: two:file: the folder cannot be made: Not a directory.\n")  # fmt: skip
    assert found(ends.root("one") / "dir") == expected()


def test_names_that_a_store_does_not_take_are_one_line(ends):
    """A new line, bytes that are not UTF-8: the others are copied, nothing is deleted."""
    top = ends.root("one") / "dir"
    fill(top, {"a.bin": 5})
    (top / "new\nline").write_bytes(b"1")
    (top / os.fsdecode(b"caf\xe9")).write_bytes(b"2")
    said = ends.run("move", "--src", "one:dir", "--dst", "s3:x", "--delete")
    assert (said.code, said.err.count("\n")) == (1, 1)
    assert "2 of 3 files failed: dir/caf\\xe9: its name cannot be written there" in said.err
    assert ends.s3.keys(ends.buckets[0]) == ["x/a.bin"]
    assert len(list(top.iterdir())) == 3


def test_marker_objects_of_folders_are_no_files(ends):
    """Keys that end with a slash, as consoles make them: at the top, deeper, of empty folders."""
    keys = {"dir/": b"", "dir/a": b"1", "dir/deep/": b"", "dir/deep/b": b"2", "dir/none/": b""}
    ends.s3.put(ends.buckets[0], keys)
    said = ends.run("move", "--src", "s3:dir", "--dst", "two:dir", "--delete")
    assert (said.code, said.err) == (0, ""), said
    there = ends.root("two") / "dir"
    assert sorted(str(path.relative_to(there)) for path in there.rglob("*")) == [
        "a", "deep", "deep/b", "none",
    ]  # fmt: skip
    assert {"dir/a", "dir/deep/b"}.isdisjoint(ends.s3.keys(ends.buckets[0]))
