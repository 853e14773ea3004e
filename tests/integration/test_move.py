"""`move`: any backend to any other, verified before anything goes, resumed after a kill."""

import hashlib
import itertools
import os
import random
import signal
import subprocess
import sys
import time

import pytest

FILES = {"a.bin": 5000, "deep/er/b.bin": 1, "deep/empty": 0, "deep/c d é.bin": 700_000}


def content(name, size):
    """Bytes that depend on the name."""
    return random.Random(name).randbytes(size)


def fill(folder, files=FILES):
    """Write the files below a folder, of 2020."""
    for name, size in files.items():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content(name, size))
        place.chmod(0o640)
        os.utime(place, (1_577_836_800, 1_577_836_800))


def found(folder):
    """Relative path → sha256 of every file below a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink()
    }


def expected(files=FILES):
    """What `found` gives for the files as they were written."""
    return {name: hashlib.sha256(content(name, size)).hexdigest() for name, size in files.items()}


@pytest.fixture
def ends(new_home, moto_server, tmp_path):
    """Two local backends, a bucket, a prefix of another one, and a folder behind fsspec."""
    (tmp_path / "behind").mkdir()
    buckets = [moto_server.bucket() for _ in range(2)]
    home = new_home((
        "one", "two", moto_server.backend(buckets[0], "s3"),
        moto_server.backend(buckets[1], "below", root="pre/fix"),
        f"{{name: spec, type: file, config: {{root: '{tmp_path}/behind'}}}}",
    ))  # fmt: skip
    home.behind = tmp_path / "behind"
    home.s3, home.buckets = moto_server, buckets
    return home


def holds(home, name, path, files=FILES):
    """Whether a backend holds exactly the files, below a path."""
    if name in ("one", "two"):
        return found(home.root(name) / path) == expected(files)
    if name == "spec":
        return found(home.behind / path) == expected(files)
    bucket, prefix = {"s3": (0, ""), "below": (1, "pre/fix/")}[name]
    client, bucket = home.s3.client(), home.buckets[bucket]
    keys = home.s3.keys(bucket, f"{prefix}{path}/")
    bodies = {key: client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}
    told = {
        key.removeprefix(f"{prefix}{path}/"): hashlib.sha256(body).hexdigest()
        for key, body in bodies.items()
    }
    return told == expected(files)


def test_a_folder_goes_round_all_kinds_of_backends(ends):
    """Local → S3 → prefix of another bucket → fsspec → local; nothing is lost on the way."""
    fill(ends.root("one") / "dir")
    stops = [("one", "dir"), ("s3", "in"), ("below", "x/y"), ("spec", "z"), ("two", "back")]
    for (name, path), (to, there) in itertools.pairwise(stops):
        said = ends.run("move", "--src", f"{name}:{path}", "--dst", f"{to}:{there}", "--delete")
        assert said.code == 0, said
        assert said.out == (
            f"Move: {name}:{path} → {to}:{there}\n"
            f"Copied 688.48 KB in 4 files to {to}:{there}\nDeleted source {name}:{path}\n"
        )
        assert holds(ends, to, there)
    assert not (ends.root("one") / "dir").exists()
    assert not any(path.is_file() for path in ends.behind.rglob("*"))
    assert ends.s3.keys(ends.buckets[0]) == ends.s3.keys(ends.buckets[1]) == []


def test_one_file_is_copied_and_stays(ends):
    """With its time and permissions; into a folder under its own name."""
    fill(ends.root("one"))
    said = ends.run("move", "--src", "one:a.bin", "--dst", "two:new/name.bin")
    assert (said.code, said.err) == (0, "")
    assert said.out == "Copy: one:a.bin → two:new/name.bin\nCopied 4.88 KB to two:new/name.bin\n"
    copy = ends.root("two") / "new" / "name.bin"
    assert copy.read_bytes() == (ends.root("one") / "a.bin").read_bytes()
    assert (copy.stat().st_mode & 0o777, copy.stat().st_mtime) == (0o640, 1_577_836_800)
    for dst, there in (("two:", "a.bin"), ("two:new", "new/a.bin"), ("two:other/", "other/a.bin")):
        said = ends.run("move", "--src", "one:a.bin", "--dst", dst)
        assert said.out.endswith(f" to two:{there}\n")
        assert (ends.root("two") / there).stat().st_size == 5000
    assert found(ends.root("one")) == expected()


def test_a_dry_run_changes_nothing(ends):
    """It says what would be done."""
    fill(ends.root("one") / "dir")
    said = ends.run("move", "--src", "one:dir", "--dst", "s3:x", "--delete", "--dry-run")
    assert said.out == (
        "Move: one:dir → s3:x\nWould copy 688.48 KB in 4 files to s3:x\n"
        "Would delete source one:dir\n"
    )
    assert ends.s3.keys(ends.buckets[0]) == []
    assert found(ends.root("one") / "dir") == expected()


@pytest.mark.parametrize(("src", "dst"), [
    ("one:dir", "one:dir"), ("one:dir", "one:dir/deep"), ("one:dir/a.bin", "one:dir/a.bin"),
    ("one:dir/a.bin", "one:dir/"), ("one:dir/a.bin", "one:dir"), ("one:", "one:dir"),
    ("one:dir", "linked:"), ("one:dir/a.bin", "linked:a.bin"), ("linked:", "one:dir/x"),
    ("one:dir", "parent:one/dir"), ("one:dir", "filed:dir/deep"), ("s3:k", "s3:k"),
    ("s3:k", "s3:k/deep"), ("s3:k", "prefixed:"), ("s3:k", "prefixed:deep"), ("prefixed:", "s3:k"),
    ("s3:k", "alias:k"), ("s3:k", "aliased:"), ("aliased:", "s3:k/new"),
])  # fmt: skip
def test_nothing_is_moved_onto_itself(new_home, moto_server, src, dst):
    """By name, through symlinks, overlapping backends and prefixes, other names of one server."""
    bucket = moto_server.bucket({"k/a.bin": b"1", "k/deep/b": b"22"})
    alias = moto_server.at(moto_server.url.replace("127.0.0.1", "localhost"))
    home = new_home(("one",), name="home")
    fill(home.root("one") / "dir")
    (home.folder / "link").symlink_to(home.root("one") / "dir")
    with home.file.open("a") as config:
        for line in (
            f"{{name: linked, type: local, config: {{root: '{home.folder}/link'}}}}",
            f"{{name: parent, type: local, config: {{root: '{home.folder}/roots'}}}}",
            f"{{name: filed, type: file, config: {{root: '{home.root('one')}'}}}}",
            moto_server.backend(bucket, "s3"), moto_server.backend(bucket, "prefixed", root="k"),
            alias.backend(bucket, "alias"), alias.backend(bucket, "aliased", root="k"),
        ):  # fmt: skip
            config.write(f"  - {line}\n")
    said = home.run("move", "--src", src, "--dst", dst, "--delete")
    assert (said.code, said.err.count("\n")) == (2, 1), said
    assert "nothing is moved onto itself" in said.err
    assert found(home.root("one") / "dir") == expected()
    assert moto_server.keys(bucket) == ["k/a.bin", "k/deep/b"]


def test_a_hard_link_of_the_original_is_no_copy(ends):
    """Deleting the original afterwards would leave one name; it is refused, nothing is deleted."""
    fill(ends.root("one") / "dir", {"a": 5})
    (ends.root("two") / "dir").mkdir()
    (ends.root("two") / "dir" / "a").hardlink_to(ends.root("one") / "dir" / "a")
    said = ends.run("move", "--src", "one:dir", "--dst", "two:dir", "--delete")
    assert (said.code, said.err.count("\n")) == (1, 1)
    assert "dir/a is the same file" in said.err
    assert (ends.root("one") / "dir" / "a").exists()


@pytest.mark.parametrize("dst", ["two", "s3", "spec"])
def test_nothing_is_overwritten(ends, dst):
    """Another content under that name, of the same size or not, fails; all originals stay."""
    fill(ends.root("one") / "dir")
    name = next(n for n in FILES if n.endswith("b.bin"))
    other = {"two": ends.root("two"), "spec": ends.behind}.get(dst)
    if other is not None:
        (other / "d" / "deep" / "er").mkdir(parents=True)
        (other / "d" / name).write_bytes(b"!")
    else:
        ends.s3.put(ends.buckets[0], {f"d/{name}": b"!"})
    said = ends.run("move", "--src", "one:dir", "--dst", f"{dst}:d", "--delete")
    assert (said.code, said.err.count("\n")) == (1, 1)
    assert "1 of 4 files failed" in said.err
    assert "another content" in said.err
    assert found(ends.root("one") / "dir") == expected()


def test_a_store_that_minds_no_condition_is_not_overwritten(new_home, moto_server, fault_proxy):
    """Some take `If-None-Match` for nothing: what is there is looked for before."""
    bucket = moto_server.bucket({"d/a": b"theirs"})
    home = new_home(("one", moto_server.at(fault_proxy.url).backend(bucket, "careless")))
    fill(home.root("one") / "d", {"a": 6, "b": 6})
    fault_proxy.fault("careless", n=100)
    said = home.run("move", "--src", "one:d", "--dst", "careless:d", "--delete")
    assert (said.code, "1 of 2 files failed: d/a" in said.err) == (1, True), said
    client = moto_server.client()
    assert client.get_object(Bucket=bucket, Key="d/a")["Body"].read() == b"theirs"
    assert found(home.root("one") / "d") == expected({"a": 6, "b": 6})


def test_what_is_no_file_stays_and_is_named(ends):
    """Symlinks and sockets are not followed, not copied, and keep the original from going."""
    fill(ends.root("one") / "dir")
    (ends.root("one") / "dir" / "link").symlink_to("/etc/passwd")
    os.mkfifo(ends.root("one") / "dir" / "pipe")
    said = ends.run("move", "--src", "one:dir", "--dst", "two:dir", "--delete")
    assert (said.code, said.err.count("\n")) == (1, 1)
    assert "2 entries are no regular files" in said.err
    assert found(ends.root("one") / "dir") == expected()
    assert found(ends.root("two") / "dir") == expected()
    assert ends.run("move", "--src", "one:dir/link", "--dst", "two:x").code == 2


def test_a_symlink_in_the_destination_is_not_followed(ends, tmp_path):
    """A folder of the destination that leads elsewhere is an error, and nothing lands there."""
    fill(ends.root("one") / "dir")
    (tmp_path / "elsewhere").mkdir()
    (ends.root("two") / "dir").symlink_to(tmp_path / "elsewhere")
    said = ends.run("move", "--src", "one:dir", "--dst", "two:dir", "--delete")
    assert said.code == 1
    assert not any((tmp_path / "elsewhere").iterdir())
    assert found(ends.root("one") / "dir") == expected()


@pytest.mark.parametrize(("args", "code", "told"), [
    (("--src", "one:../x", "--dst", "two:y"), 2, "'..'"),
    (("--src", "one:a", "--dst", "two:a/../../x"), 2, "'..'"),
    (("--src", "one:a", "--dst", f"two:{'n' * 256}"), 2, "overlong"),
    (("--src", "one:a//b", "--dst", "two:y"), 2, "refused"),
    (("--src", "one:a\\b", "--dst", "two:y"), 2, "not the text of a path"),
    (("--src", "one", "--dst", "two:y"), 2, "--src 'one'"),
    (("--src", ":a", "--dst", "two:y"), 2, "--src ':a'"),
    (("--src", "one:a", "--dst", "tow:y"), 2, "Did you mean 'two'?"),
    (("--src", "one:a"), 2, "--dst"),
    (("--src", "one:nowhere", "--dst", "two:y"), 1, "one:nowhere: No such file"),
    (("--src", "s3:nowhere", "--dst", "two:y"), 1, "s3:nowhere: No such file"),
])  # fmt: skip
def test_wrong_usage_is_one_line(ends, args, code, told):
    """Hostile names are refused before anything is opened."""
    said = ends.run("move", *args)
    assert (said.code, said.err.count("\n")) == (code, 1), said
    assert told in said.err


@pytest.mark.parametrize("key", [f"k/{'n' * 300}", "k/a/../../evil"])
def test_keys_that_no_file_system_holds_are_refused(ends, key):
    """Before anything is copied; the store keeps them."""
    ends.s3.put(ends.buckets[0], {"k/good": b"1", key: b"2"})
    said = ends.run("move", "--src", "s3:k", "--dst", "two:k", "--delete")
    assert said.code in (1, 2), said
    assert said.err.count("\n") == 1
    assert "no file system can hold" in said.err or "'..'" in said.err or '".."' in said.err
    assert found(ends.root("two")) == {}
    assert len(ends.s3.keys(ends.buckets[0])) == 2


def test_names_that_are_not_utf8_arrive_as_they_are(ends):
    """As bytes, between file systems."""
    (ends.root("one") / "dir").mkdir()
    raw = os.fsencode(ends.root("one")) + b"/dir/caf\xe9\\x"
    with open(raw, "wb") as stream:
        stream.write(b"12345")
    said = ends.run("move", "--src", "one:dir", "--dst", "two:dir", "--delete")
    assert said.code == 0, said
    assert os.listdir(os.fsencode(ends.root("two")) + b"/dir") == [b"caf\xe9\\x"]


def test_a_killed_move_goes_on_and_loses_nothing(ends):
    """SIGKILL in the middle: every file is whole where it is; the next run finishes."""
    files = {f"d{n % 7}/f{n}": 200_000 for n in range(80)}
    fill(ends.root("one") / "dir", files)
    right = expected(files)
    command = [sys.executable, "-c", "import cli; cli.main()", "move", "--src", "one:dir", "--dst",
               "two:dir", "--delete", "--workers", "2", "--config", str(ends.file)]  # fmt: skip
    for enough in (5, 20):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        while process.poll() is None and len(found_names(ends.root("two"))) < enough:
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.wait()
        there, here = found(ends.root("two")), found(ends.root("one"))
        assert all(right[name.removeprefix("dir/")] == told
                   for name, told in {**there, **here}.items())  # fmt: skip
        assert {*there, *here} == {f"dir/{name}" for name in files}
        assert len(here) == len(files)  # nothing is deleted before all of it is verified
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert found(ends.root("two") / "dir") == right
    assert not (ends.root("one") / "dir").exists()


def found_names(folder):
    """Files below a folder, by name only."""
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_copy_that_arrives_wrong_keeps_the_original(ends, monkeypatch):
    """A destination that stores other bytes than it was given is found by reading back."""
    from storage.targets import LocalTarget

    write = LocalTarget.write

    def garbled(self, path, parts, like):
        write(self, path, (bytes(len(part)) for part in parts), like)

    monkeypatch.setattr(LocalTarget, "write", garbled)
    fill(ends.root("one") / "dir")
    said = ends.run("move", "--src", "one:dir", "--dst", "two:dir", "--delete")
    assert said.code == 1
    assert "3 of 4 files failed" in said.err  # the empty one is right
    assert found(ends.root("one") / "dir") == expected()


def test_a_file_that_changes_meanwhile_stays(ends, monkeypatch):
    """Between verification and deletion: the newer content is not lost."""
    from storage import moving

    fill(ends.root("one") / "dir", {"a": 10, "b": 10})
    delete = moving._delete

    def late(*args):
        (ends.root("one") / "dir" / "a").write_bytes(b"newer")
        delete(*args)

    monkeypatch.setattr(moving, "_delete", late)
    said = ends.run("move", "--src", "one:dir", "--dst", "two:dir", "--delete")
    assert said.code == 1
    assert "changed after it was copied" in said.err
    assert (ends.root("one") / "dir" / "a").read_bytes() == b"newer"


def test_large_objects_go_in_parts(ends, monkeypatch):
    """Above one put's size the store gets parts, and memory holds a few of them only."""
    from storage import moving, targets

    monkeypatch.setattr(targets, "SINGLE_PUT_BYTES", 1024)
    monkeypatch.setattr(moving, "CHUNK_BYTES", 6 * 1024**2)
    fill(ends.root("one"), {"big": 20_000_000})
    assert ends.run("move", "--src", "one:big", "--dst", "s3:in/big").code == 0
    assert holds(ends, "s3", "in", {"big": 20_000_000})
    ends.s3.put(ends.buckets[0], {"in/big": b"other"})
    said = ends.run("move", "--src", "one:big", "--dst", "s3:in/big")
    assert (said.code, "5 bytes instead of 20000000" in said.err) == (1, True)


def test_progress_is_shown_on_a_terminal_only(ends):
    """One line that is rewritten, on stderr."""
    fill(ends.root("one") / "dir")
    leader, follower = os.openpty()
    done = subprocess.run(
        [sys.executable, "-c", "import cli; cli.main()", "move", "--src", "one:dir", "--dst",
         "two:dir", "--config", str(ends.file)],
        stdout=subprocess.PIPE, stderr=follower, check=True,
    )  # fmt: skip
    os.close(follower)
    shown = os.read(leader, 65536).decode()
    os.close(leader)
    assert b"\r" not in done.stdout
    assert "4/4 files | 688.48 KB/688.48 KB (100%)" in shown
