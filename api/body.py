"""Request bodies: read up to a limit, unpacked up to the same limit, never slower than a bound.

A large one waits in a temporary file until it is whole, and only then for its turn in memory: who
sends slowly holds up nobody.
"""

from __future__ import annotations

import asyncio
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import zstandard

from api.errors import ApiError
from storage.landing import MAX_ZSTD_WINDOW_BYTES

CHUNK_SECONDS = 10.0
SLOWEST_BYTES_A_SECOND = 10_000
GRACE_SECONDS = 30.0
_STEP_BYTES = 4096
LARGE_BYTES = 1024**2
LARGE_AT_ONCE = 2
"""So many bodies over LARGE_BYTES are in memory and landed at once; others wait on disk."""
TURN_SECONDS = 60.0
SMALL_BYTES = 256 * 1024**2
"""What all smaller ones may hold together."""
SPOOLED_BYTES = 4 * 1024**3
"""What all larger ones may take on disk together."""
Receive = Callable[[], Any]


async def read_body(scope: Any, receive: Receive, limit: int) -> bytes:
    """The whole body, unpacked. Raises ApiError 413 over `limit`, 408 when it comes too slowly.

    What is declared too large is refused before a byte of it is read. A large body that is whole
    waits for its turn; raises ApiError 503 where that does not come, or no room is left (`Room`).
    """
    held: Held = scope["warpdrive.held"]
    unpack = _begun(scope, held, limit)
    parts, size, last = _Parts(receive), 0, False
    with _disk_told(), tempfile.SpooledTemporaryFile(max_size=LARGE_BYTES) as kept:
        while not last:
            part, last = await parts.next()
            for chunk in unpack(part, last):
                size += len(chunk)
                if size > limit:
                    raise too_large(limit)
                held.grow(size)
                if size > LARGE_BYTES:
                    await asyncio.to_thread(kept.write, chunk)
                else:
                    kept.write(chunk)
        kept.seek(0)
        if size <= LARGE_BYTES:
            return kept.read()
        await held.turn()
        return await asyncio.to_thread(kept.read)


class _Parts:
    """The pieces of a body as they come."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._bytes, self._waited = 0, 0.0

    async def next(self) -> tuple[bytes, bool]:
        """The next piece, and whether it is the last. Raises ApiError 408."""
        clock = asyncio.get_running_loop().time
        begun = clock()
        message = await _next(self._receive)
        self._waited += clock() - begun
        part = message.get("body", b"")
        self._bytes += len(part)
        if self._waited > GRACE_SECONDS + self._bytes / SLOWEST_BYTES_A_SECOND:
            raise ApiError(408, "the body came too slowly.", headers={"Connection": "close"})
        return part, not message.get("more_body", False)


@contextmanager
def _disk_told() -> Iterator[None]:
    """What the server's disk refuses is told to the sender."""
    try:
        yield
    except OSError as error:
        raise ApiError(
            503, f"no room for the body on the server's disk: {error.strerror}.",
            hint="Send it in parts, or again later.",
            headers={"Retry-After": "60", "Connection": "close"},
        ) from None  # fmt: skip


def _begun(scope: Any, held: Held, limit: int) -> Callable[[bytes, bool], Any]:
    """What unpacks the body whose headers these are; what they tell is refused already."""
    headers = dict(scope["headers"])
    declared = headers.get(b"content-length", b"")
    if declared.isdigit():
        if int(declared) > limit:
            raise too_large(limit)
        held.grow(min(int(declared), LARGE_BYTES))  # the rest once it is there
    encoding = headers.get(b"content-encoding", b"").decode("latin-1").strip().lower()
    return _unpacker(encoding, limit)


class Room:
    """Room for bodies: a few large ones in memory, and so many bytes of small ones and on disk.

    Without it, as many bodies of the greatest size as there are connections were held at once.
    """

    def __init__(self) -> None:
        self.large = asyncio.Semaphore(LARGE_AT_ONCE)
        self.small_bytes = 0
        self.spooled_bytes = 0

    def holder(self) -> Held:
        """What one request holds; nothing yet."""
        return Held(self)


class Held:
    """What one request holds of the room, until it is answered."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._small = self._spooled = 0
        self._large = False

    def grow(self, size: int) -> None:
        """Hold `size` bytes: in memory, or on disk once they are many. Raises ApiError 503."""
        if size <= max(self._small, self._spooled):
            return
        if size > LARGE_BYTES:
            self._hold(0, size)
        else:
            self._hold(size, 0)

    def _hold(self, small: int, spooled: int) -> None:
        room = self._room
        in_memory = room.small_bytes + small - self._small
        on_disk = room.spooled_bytes + spooled - self._spooled
        if (small and in_memory > SMALL_BYTES) or (spooled and on_disk > SPOOLED_BYTES):
            raise crowded()
        room.small_bytes, room.spooled_bytes = in_memory, on_disk
        self._small, self._spooled = small, spooled

    async def turn(self) -> None:
        """Wait until there is memory for a large body. Raises ApiError 503."""
        try:
            async with asyncio.timeout(TURN_SECONDS):
                await self._room.large.acquire()
        except TimeoutError:
            raise crowded() from None
        self._large = True

    def release(self) -> None:
        """Hold nothing any more."""
        self._hold(0, 0)
        if self._large:
            self._large = False
            self._room.large.release()


def crowded() -> ApiError:
    """503: other bodies take all the room."""
    return ApiError(503, "too many bodies at once.", hint="Send it again later, or in parts.",
                    headers={"Retry-After": "5", "Connection": "close"})  # fmt: skip


async def _next(receive: Receive) -> Any:
    try:
        async with asyncio.timeout(CHUNK_SECONDS):
            message = await receive()
    except TimeoutError:
        raise ApiError(408, "the body stopped coming.", headers={"Connection": "close"}) from None
    if message["type"] == "http.disconnect":
        raise ClientLeftError
    return message


class ClientLeftError(Exception):
    """Nobody is there to answer any more."""


def too_large(limit: int) -> ApiError:
    """413: the limit counts unpacked bytes."""
    return ApiError(
        413, f"the body is over {limit} bytes uncompressed.",
        hint="Send smaller batches, or raise control_plane.max_body.",
        headers={"Connection": "close"},
    )  # fmt: skip


def _unpacker(encoding: str, limit: int) -> Callable[[bytes, bool], Any]:
    if encoding in ("", "identity"):
        return lambda part, _last: (part,) if part else ()
    if encoding in ("gzip", "x-gzip"):
        return _Gzip(limit).feed
    if encoding == "zstd":
        return _Zstd().feed
    raise ApiError(415, f"Content-Encoding '{encoding[:50]}' is not understood.",
                   hint="Send gzip, zstd or none.",
                   headers={"Accept-Encoding": "gzip, zstd"})  # fmt: skip


class _Gzip:
    """gzip members, one after the other."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._member = zlib.decompressobj(wbits=31)
        self._begun = False

    def feed(self, part: bytes, last: bool) -> Any:
        """Unpacked chunks; each is bounded, whatever the input claims."""
        while part:
            if self._member.eof:
                self._member = zlib.decompressobj(wbits=31)
            self._begun = True
            try:
                yield self._member.decompress(part, 1024**2)
            except zlib.error as error:
                raise ApiError(400, f"invalid gzip: {error}.") from None
            part = self._member.unconsumed_tail or self._member.unused_data
        if last and self._begun and not self._member.eof:
            raise ApiError(400, "invalid gzip: it ends before its end.")


class _Zstd:
    """zstd frames, one after the other, with a window of at most 8 MiB."""

    def __init__(self) -> None:
        self._decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_ZSTD_WINDOW_BYTES)
        self._frame = self._decompressor.decompressobj()
        self._begun = False

    def feed(self, part: bytes, last: bool) -> Any:
        """Unpacked chunks. What comes of one step is bounded by its length only: small steps."""
        for start in range(0, len(part), _STEP_BYTES):
            rest = part[start : start + _STEP_BYTES]
            while rest:
                if self._frame.eof:
                    self._frame = self._decompressor.decompressobj()
                self._begun = True
                try:
                    yield self._frame.decompress(rest)
                except zstandard.ZstdError as error:
                    raise ApiError(400, f"invalid zstd: {error}.") from None
                rest = self._frame.unused_data
        if last and self._begun and not self._frame.eof:
            raise ApiError(400, "invalid zstd: it ends before its end.")
