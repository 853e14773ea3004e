"""Let GNU find walk a folder: child processes side by side, their output parsed in bulk.

Each find writes two streams: numbers, one line per file, and paths, each ended by NUL, in the
same order. Nothing in a name can be taken for anything else.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import queue
import re
import selectors
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Generator, Iterator
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from storage.listing.arrow import Numbers, call, numbers
from storage.listing.links import LAST_SECOND, walked
from storage.paths import path_text

log = logging.getLogger(__name__)
# A dot stands between all numbers, those before and after the point of a time included.
NUMBERS = "%s.%T@.%A@.%U.%G.%m.%i.%n.%b.%D\\n"
_FIELDS = (
    "size_bytes", "modified_s", "modified_ns10", "accessed_s", "accessed_ns10", "uid", "gid",
    "mode", "inode", "links", "blocks", "device",
)  # fmt: skip
# Some network file systems number files with all 64 bits: read as they are, kept as signed.
_TYPES = dict.fromkeys(_FIELDS, pa.int64()) | dict.fromkeys(("inode", "device"), pa.uint64())
_READ = 1 << 20
_PARSE = 2 << 20
_STARTS = 500
_QUEUED = 4
_ERROR = re.compile(rb"^find: '((?:[^'\\]|\\.)*)'(?:: (.*))?$", re.DOTALL)
_GONE = b"No such file or directory"
_LETTERS = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"a": b"\a", b"b": b"\b", b"f": b"\f",
            b"v": b"\v"}  # fmt: skip


@cache
def available() -> bool:
    """Whether `find` on PATH is GNU's, whose -printf is what is read here."""
    if shutil.which("find") is None:
        return False
    told = subprocess.run(["find", "--version"], capture_output=True, check=False)
    return b"GNU findutils" in told.stdout


class Job(NamedTuple):
    """One find: where it starts (relative to the root, with a leading ./) and how deep it goes."""

    starts: tuple[bytes, ...]
    options: tuple[str, ...] = ()


def walk(
    root: bytes, unreadable: list[str], *, one_file_system: bool = False
) -> Generator[pa.RecordBatch]:
    """Batches in the columns WALKED; prefixes that cannot be read are added to `unreadable`."""
    jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
    for job in plan(root, one_file_system=one_file_system):
        jobs.put(job)
    found: queue.Queue[Any] = queue.Queue(_QUEUED)
    stop = threading.Event()
    workers = [
        threading.Thread(target=_work, args=(root, jobs, found, stop), daemon=True)
        for _ in range(workers_wanted())
    ]
    for worker in workers:
        worker.start()
    try:
        for item in _until_all_end(found, len(workers)):
            if isinstance(item, pa.RecordBatch):
                yield item
            elif item or "" not in unreadable:
                unreadable.append(item)
    finally:
        stop.set()
        while any(worker.is_alive() for worker in workers):
            with contextlib.suppress(queue.Empty):
                found.get(timeout=0.05)


def _until_all_end(found: queue.Queue[Any], workers: int) -> Iterator[Any]:
    while workers:
        item = found.get()
        if isinstance(item, BaseException):
            raise item
        if item is None:
            workers -= 1
        else:
            yield item


def workers_wanted() -> int:
    """How many finds at once: a network file system waits more than it works."""
    return max(2, min(8, os.cpu_count() or 1))


def plan(root: bytes, *, one_file_system: bool = False) -> list[Job]:
    """Cut the tree into jobs: single folders near the root, subtrees below them."""
    fixed = ("-xdev",) if one_file_system else ()
    if _mounts_below(root):
        # A loop that mounts make is seen by the find that walks all of it.
        return [Job((b".",), fixed)]
    wanted = 8 * workers_wanted()
    level, single = [b"."], []
    for _ in range(3):
        below = [(folder, _folders(root, folder)) for folder in level]
        if not any(inner for _, inner in below):
            break
        single += [folder for folder, inner in below if inner]
        level = [f for folder, inner in below for f in (inner or [folder])]
        if len(level) >= wanted:
            break
    size = min(_STARTS, max(1, len(level) // wanted))
    deep = [Job(tuple(level[i : i + size]), fixed) for i in range(0, len(level), size)]
    shallow = [
        Job(tuple(single[i : i + _STARTS]), ("-maxdepth", "1"))
        for i in range(0, len(single), _STARTS)
    ]
    return [*shallow, *deep]


def _mounts_below(root: bytes) -> bool:
    """Whether anything is mounted below the root; assumed where the kernel does not tell."""
    below = os.path.realpath(root).rstrip(b"/") + b"/"
    try:
        with open("/proc/self/mountinfo", "rb") as lines:
            mounts = [_plain(line.split()[4]) for line in lines]
    except OSError:
        return True
    return any(mount.startswith(below) and mount != below for mount in mounts)


def _folders(root: bytes, folder: bytes) -> list[bytes]:
    try:
        with os.scandir(os.path.join(root, folder)) as entries:
            return [
                folder + b"/" + e.name for e in entries if e.is_dir(follow_symlinks=False)
            ]  # fmt: skip
    except OSError:  # find meets it too, and says so
        return []


def _work(
    root: bytes, jobs: queue.SimpleQueue[Job], found: queue.Queue[Any], stop: threading.Event
) -> None:
    try:
        while not stop.is_set():
            try:
                job = jobs.get_nowait()
            except queue.Empty:
                break
            for item in _run(root, job, stop):
                found.put(item)
    except BaseException as error:  # noqa: BLE001 - the thread that reads the queue raises it
        found.put(error)
    finally:
        found.put(None)


def _run(root: bytes, job: Job, stop: threading.Event) -> Iterator[pa.RecordBatch | str]:
    """One find: its batches, and the paths it could not read."""
    read_end, write_end = os.pipe()
    with tempfile.TemporaryFile() as said, os.fdopen(read_end, "rb", buffering=0) as paths:
        try:
            command = [
                "find", "-P", *job.starts, *job.options, "-ignore_readdir_race", "-type", "f",
                "-printf", NUMBERS, "-fprintf", f"/dev/fd/{write_end}", "%p\\0",
            ]  # fmt: skip
            process = subprocess.Popen(
                command, cwd=root, stdout=subprocess.PIPE, stderr=said, stdin=subprocess.DEVNULL,
                pass_fds=(write_end,), bufsize=0, env={**os.environ, "LC_ALL": "C", "TZ": "UTC"},
            )  # fmt: skip
        except OSError as error:
            log.info("find at %r: %s", root, error)
            yield ""
            return
        finally:
            os.close(write_end)
        with process:
            assert process.stdout
            try:
                yield from _parsed(process.stdout, paths, stop)
            except BaseException:
                process.kill()
                raise
            if stop.is_set():
                process.kill()
        said.seek(0)
        yield from _complaints(said.read(), process.returncode)


def _parsed(lines: Any, paths: Any, stop: threading.Event) -> Iterator[pa.RecordBatch]:
    """Read both streams as they come; a batch whenever enough of both is there."""
    read = {lines: bytearray(), paths: bytearray()}
    with selectors.DefaultSelector() as ready:
        for stream in read:
            with contextlib.suppress(OSError):
                fcntl.fcntl(stream, fcntl.F_SETPIPE_SZ, _READ)
            ready.register(stream, selectors.EVENT_READ)
        while ready.get_map() and not stop.is_set():
            for key, _ in ready.select(timeout=1):
                data = os.read(key.fd, _READ)
                read[key.fileobj] += data  # pyright: ignore[reportArgumentType]
                if not data:
                    ready.unregister(key.fileobj)
            if len(read[lines]) > _PARSE:
                yield from _take(read[lines], read[paths])
    if not stop.is_set():
        yield from _take(read[lines], read[paths])


def _take(lines: bytearray, paths: bytearray) -> Iterator[pa.RecordBatch]:
    """A batch of what both streams have whole; it is removed from them."""
    text = np.frombuffer(bytes(paths), np.uint8)
    ends = np.flatnonzero(text == 0)
    breaks = np.flatnonzero(np.frombuffer(bytes(lines), np.uint8) == ord("\n"))
    count = min(len(ends), len(breaks))
    if not count:
        return
    ends = ends[:count]
    used, whole = int(breaks[count - 1]) + 1, int(ends[-1]) + 1
    raw = _numbers(bytes(lines[:used]))
    offsets = np.concatenate(([0], ends + 1)).astype(np.int32)
    joined = pa.Array.from_buffers(
        pa.binary(), count, [None, pa.py_buffer(offsets), pa.py_buffer(text[:whole])]
    )
    del lines[:used], paths[:whole]
    yield walked(_paths(joined), raw)


def _paths(names: pa.Array) -> pa.Array:
    """`./path` and NUL as text, the way of `storage.paths`."""
    inner = call("binary_slice", names, options=pc.SliceOptions(2, -1))
    escape = pc.MatchSubstringOptions("\\")
    if not call("any", call("match_substring", inner, options=escape)).as_py():
        with contextlib.suppress(pa.ArrowInvalid):  # not UTF-8: one by one, below
            return inner.cast(pa.string())
    return pa.array([path_text(name) for name in inner.to_pylist()], pa.string())


def _numbers(text: bytes) -> dict[str, Numbers]:
    table = csv.read_csv(
        pa.BufferReader(text),
        read_options=csv.ReadOptions(column_names=_FIELDS, use_threads=False, block_size=_READ),
        parse_options=csv.ParseOptions(delimiter=".", quote_char=False),
        convert_options=csv.ConvertOptions(column_types=_TYPES),
    )
    columns = table.combine_chunks().to_batches()[0]
    raw = {name: numbers(columns[name]) for name in _FIELDS}
    digits = [raw["mode"] // 10**place % 10 for place in range(4)]
    raw["mode"] = digits[0] + 8 * digits[1] + 64 * digits[2] + 512 * digits[3]
    for name in ("modified", "accessed"):
        seconds = raw[f"{name}_s"].clip(-LAST_SECOND, LAST_SECOND)
        raw[f"{name}_ns"] = seconds * 10**9 + raw[f"{name}_ns10"] // 10
    return raw


def _complaints(said: bytes, code: int) -> Iterator[str]:
    """The prefixes that find could not read: "" (everything) where it does not say which."""
    if code not in (0, 1):
        log.info("find ended with %d: %r", code, said[-200:])
        yield ""
    for line in said.splitlines():
        told = _ERROR.match(line)
        if told is None:
            if b"File system loop detected" not in line:
                log.info("find said: %r", line)
                yield ""
        elif told[2] != _GONE:
            path = _plain(told[1])
            yield "" if path in (b".", b"") else path_text(path.removeprefix(b"./"))


def _plain(escaped: bytes) -> bytes:
    """A name out of C escapes, as find's messages and mountinfo write them."""
    return re.sub(rb"\\([0-7]{3}|.)", _unescaped, escaped, flags=re.DOTALL)


def _unescaped(match: re.Match[bytes]) -> bytes:
    code = match[1]
    return bytes([int(code, 8)]) if len(code) == 3 else _LETTERS.get(code, code)
