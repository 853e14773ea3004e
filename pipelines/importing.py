"""Files of events into the landing zone: `warpdrive ingest FILE…`.

A file is cut at line ends into objects named after the sha256 of everything up to their end, so
the same file, under any name, is the same objects, and a log that grew goes on where it ended.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from storage.errors import BackendError, UsageError
from storage.landing import SUFFIXES, compress, import_name, unpacked, unzstd
from storage.objectstore import get, put_if_absent

PART_BYTES = 32 * 1024**2
CHUNK_BYTES = 1024**2
MAX_PART_BYTES = 1024**3
PACKED_CHUNK_BYTES = 4096


@dataclass(frozen=True)
class Imported:
    """What became of one file."""

    path: Path
    objects: int
    new_bytes: int
    known_bytes: int


@dataclass(frozen=True)
class Imports:
    """What was imported before."""

    prefixes: Mapping[int, set[str]]
    """End offset → sha256 of every prefix of a file that landed."""
    parts: Mapping[int, set[str]]
    """Start offset → objects that hold what follows."""


def event_files(paths: Iterable[str]) -> list[Path]:
    """The event files named, and those below folders named, sorted within a folder.

    Raises UsageError for a path that is not there, is no event file, or a folder without any.
    """
    found: list[Path] = []
    for name in paths:
        if not name:
            raise UsageError("'' names no file: name one, or '.' for this folder.")
        path = Path(name)
        inside = [p for p in sorted(path.rglob("*")) if p.is_file() and p.name.endswith(SUFFIXES)]
        if path.is_dir() and not inside:
            raise UsageError(f"{path}: no event files in it: {', '.join(SUFFIXES)} are read.")
        if path.is_file() and not path.name.endswith(SUFFIXES):
            raise UsageError(f"{path}: not an event file: {', '.join(SUFFIXES)} are read.")
        if not path.exists():
            raise UsageError(f"{path}: no such file or folder.")
        if not path.is_dir() and not path.is_file():
            raise UsageError(f"{path}: is a pipe or a device: write it to a file first.")
        found += inside if path.is_dir() else [path]
    return found


def import_file(store: Any, path: Path, hour: str, before: Imports) -> Imported:
    """Land what is new of a file: what follows the longest prefix of it that landed before.

    Raises UsageError when the file cannot be read or unpacked; nothing of it has landed then
    but whole parts, which count once however often they come.
    """
    try:
        with open_events(path) as stream:
            start = _start(stream, before.prefixes)
        if _is_begun(store, path, start, before):
            return Imported(path, 0, 0, start)
        with open_events(path) as stream:
            digest = hashlib.sha256()
            _skip(stream, start, digest)
            landed = [_land(store, hour, part, digest, end) for part, end in _parts(stream, start)]
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise UsageError(f"{path}: cannot be read: {error}.") from None
    return Imported(path, len(landed), sum(landed), start)


def _is_begun(store: Any, path: Path, start: int, before: Imports) -> bool:
    """Whether what follows `start` begins a part that landed: a copy of the first part of a log.

    Where two logs have that very offset in common, it is not told whose part it is: then it counts.
    """
    if start and len(before.prefixes.get(start, ())) != 1:
        return False
    return any(_begins(store, name, path, start) for name in sorted(before.parts.get(start, ())))


def _begins(store: Any, name: str, path: Path, start: int) -> bool:
    """Whether the bytes of a file from `start` on begin the part; False where that is not there."""
    try:
        landed = list(unpacked(name, [get(store, name)], MAX_PART_BYTES))
    except (BackendError, FileNotFoundError, ValueError):
        return False
    with open_events(path) as stream:
        _skip(stream, start, hashlib.sha256())
        for piece in landed:
            own = stream.read(len(piece))
            if not piece.startswith(own):
                return False
            if len(own) < len(piece):
                return True
        return not stream.read(1)


def new_parts(path: Path, known: Mapping[int, set[str]]) -> Iterator[tuple[bytes, str, int, int]]:
    """What follows the longest known prefix of a file, in whole lines.

    Yields bytes, sha256 of everything up to their end, start and end offset. Raises UsageError
    when the file cannot be read or unpacked.
    """
    try:
        with open_events(path) as stream:
            start = _start(stream, known)
        with open_events(path) as stream:
            digest = hashlib.sha256()
            _skip(stream, start, digest)
            for part, end in _parts(stream, start):
                digest.update(part)
                yield part, digest.hexdigest(), end - len(part), end
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise UsageError(f"{path}: cannot be read: {error}.") from None


def open_events(path: Path) -> IO[bytes]:
    """The uncompressed bytes of an event file."""
    if path.name.endswith(".gz"):
        return cast("IO[bytes]", gzip.open(path, "rb"))
    if path.name.endswith(".zst"):
        return io.BufferedReader(_Unzstd(path))
    return path.open("rb")


class _Unzstd(io.RawIOBase):
    """A zstd file as a stream of what is in it."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._parts = unzstd(iter(lambda: self._file.read(PACKED_CHUNK_BYTES), b""))
        self._left = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._left:
            part = next(self._parts, None)
            if part is None:
                return 0
            self._left = memoryview(part)
        count = min(len(buffer), len(self._left))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


def _start(stream: Any, known: Mapping[int, set[str]]) -> int:
    """Where to begin: after the longest prefix that landed before.

    A prefix that ended inside a line, which has grown since, is taken up again at that line's
    start: the torn piece of it was quarantined.
    """
    digest, offset, line_start, start = hashlib.sha256(), 0, 0, 0
    for end in sorted(known):
        while offset < end:
            chunk = stream.read(min(CHUNK_BYTES, end - offset))
            if not chunk:
                return start
            digest.update(chunk)
            cut = chunk.rfind(b"\n")
            line_start = offset + cut + 1 if cut >= 0 else line_start
            offset += len(chunk)
        if digest.hexdigest() in known[end]:
            following = stream.peek(1)[:1]
            whole = line_start == offset or not following
            start = offset if whole else offset + 1 if following in (b"\n", b"\r") else line_start
    return start


def _skip(stream: IO[bytes], count: int, digest: Any) -> None:
    while count > 0:
        chunk = stream.read(min(CHUNK_BYTES, count))
        digest.update(chunk)
        count -= len(chunk) or count


def _parts(stream: IO[bytes], start: int) -> Iterator[tuple[bytes, int]]:
    """Blocks of whole lines of about PART_BYTES, with the offset each ends at."""
    end = start
    while block := stream.read(PART_BYTES):
        block += stream.readline()
        end += len(block)
        yield block, end


def _land(store: Any, hour: str, part: bytes, digest: Any, end: int) -> int:
    digest.update(part)
    name = import_name(hour, digest.hexdigest(), end - len(part), end)
    put_if_absent(store, name, compress([part]))
    return len(part)
