"""Landed objects as blocks of whole lines, in bounded memory however large they are."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore

from pipelines.transforms.lines import BLOCK_BYTES
from pipelines.transforms.parse import MAX_LINE_BYTES, MAX_TEXT_CHARACTERS
from storage.errors import BackendError
from storage.landing import unpacked
from storage.objectstore import ObjectInfo, first_line, get

READERS = 16
AHEAD_BYTES = 16 * 1024**2
WHOLE_BYTES = 8 * 1024**2
CHUNK_BYTES = 1024**2
_NEWLINE = ord("\n")
MAX_OBJECT_BYTES = 64 * 1024**3


class DamagedError(Exception):
    """What is stored is not what was written: it cannot be unpacked."""


class UnreadableError(Exception):
    """What is stored cannot be read now."""


class Block(NamedTuple):
    """Whole lines of an object: the number of the first (from 1), and the bytes."""

    first: int
    data: bytes


class LongLine(NamedTuple):
    """A line too long to be held: its number, its size and how it begins."""

    number: int
    size_bytes: int
    begin: bytes


def bodies(store: Any, infos: Iterable[ObjectInfo]) -> Iterator[Iterator[bytes]]:
    """The stored bytes of each object, in pieces. Reading them may raise BackendError, OSError.

    Small objects of a remote store are fetched ahead, many at a time; large ones come in pieces
    while they are read. The pieces of one object are to be read before the next is asked for.
    """
    if isinstance(store, LocalStore):
        root = Path(str(store.prefix))
        yield from (_local(root / info.name) for info in infos)
        return
    left = iter(infos)
    waiting: deque[tuple[ObjectInfo, Future[bytes] | None]] = deque()
    held = 0
    with ThreadPoolExecutor(READERS) as pool:
        while True:
            while held < AHEAD_BYTES and len(waiting) < 4 * READERS:
                info = next(left, None)
                if info is None:
                    break
                small = info.size_bytes <= WHOLE_BYTES
                held += info.size_bytes if small else 0
                waiting.append((info, pool.submit(get, store, info.name) if small else None))
            if not waiting:
                return
            info, future = waiting.popleft()
            held -= info.size_bytes if future else 0
            yield _fetched(future) if future else _streamed(store, info.name)


def _fetched(future: Future[bytes]) -> Iterator[bytes]:
    yield future.result()


def _local(path: Path) -> Iterator[bytes]:
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def _streamed(store: Any, name: str) -> Iterator[bytes]:
    try:
        for chunk in obstore.get(store, name).stream(min_chunk_size=CHUNK_BYTES):
            yield bytes(chunk)
    except BaseError as error:
        raise BackendError(f"{name}: cannot be read: {first_line(error)}.") from None


def blocks(pieces: Iterable[bytes], block_bytes: int = BLOCK_BYTES) -> Iterator[Block | LongLine]:
    """Cut a stream at line ends into blocks of about `block_bytes`.

    A line that is far longer than a line may be is not held: it comes as a LongLine.
    """
    held: list[bytes] = []
    size, number, lines = 0, 1, 0
    stream = iter(pieces)
    for piece in stream:
        held.append(piece)
        size += len(piece)
        lines += _lines(piece)
        if size < block_bytes:
            continue
        if lines:
            left = _cut(held)
            yield Block(number, b"".join(held))
            number, lines = number + lines, 0
        elif size > MAX_LINE_BYTES:
            skipped, left = _skip_line(b"".join(held), stream)
            yield skipped._replace(number=number)
            number, lines = number + 1, _lines(left)
        else:
            continue
        held, size = [left], len(left)
    if size:
        yield Block(number, b"".join(held))


def _lines(data: bytes) -> int:
    # Four times as fast as bytes.count.
    return int(np.count_nonzero(np.frombuffer(data, np.uint8) == _NEWLINE))


def _cut(held: list[bytes]) -> bytes:
    """Take what follows the last newline off the end of pieces that hold one."""
    left: list[bytes] = []
    while True:
        piece = held.pop()
        end = piece.rfind(b"\n") + 1
        left.append(piece[end:])
        if end:
            held.append(piece[:end])
            return b"".join(reversed(left))


def _skip_line(begin: bytes, stream: Iterator[bytes]) -> tuple[LongLine, bytes]:
    """Read over the rest of a line; what follows it."""
    size = len(begin)
    for piece in stream:
        end = piece.find(b"\n")
        if end >= 0:
            return LongLine(0, size + end, begin[:MAX_TEXT_CHARACTERS]), piece[end + 1 :]
        size += len(piece)
    return LongLine(0, size, begin[:MAX_TEXT_CHARACTERS]), b""


def opened(name: str, chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The lines of a stored object, piece by piece. Raises DamagedError, UnreadableError."""
    try:
        yield from unpacked(name, chunks, MAX_OBJECT_BYTES)
    except ValueError as error:
        raise DamagedError(str(error)) from None
    except (BackendError, OSError) as error:
        raise UnreadableError(str(error)) from None


def whole(pieces: Iterator[bytes], limit_bytes: int) -> tuple[list[bytes], bool]:
    """The pieces up to a limit; whether that was all of them."""
    held: list[bytes] = []
    size = 0
    for piece in pieces:
        held.append(piece)
        size += len(piece)
        if size > limit_bytes:
            return held, False
    return held, True


def chained(held: list[bytes], left: Iterator[bytes]) -> Iterator[bytes]:
    """What was read, then what is left. `held` is emptied: pieces are let go one by one."""
    waiting = deque(held)
    held.clear()
    while waiting:
        yield waiting.popleft()
    yield from left
