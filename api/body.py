"""Request bodies: read up to a limit, unpacked up to the same limit, never slower than a bound."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable
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
"""So many bodies over LARGE_BYTES are read and landed at once; others wait, unread."""
TURN_SECONDS = 60.0
SMALL_BYTES = 256 * 1024**2
"""What all smaller ones may hold together."""
Receive = Callable[[], Any]


async def read_body(scope: Any, receive: Receive, limit: int) -> bytes:
    """The whole body, unpacked. Raises ApiError 413 over `limit`, 408 when it comes too slowly.

    What is declared too large is refused before a byte of it is read. A large body waits for its
    turn unread; raises ApiError 503 where that does not come (`Room`).
    """
    held: Held = scope["warpdrive.held"]
    unpack = await _begun(scope, held, limit)
    chunks: list[bytes] = []
    size = packed = 0
    clock = asyncio.get_running_loop().time
    waited = 0.0
    while True:
        begun = clock()
        message = await _next(receive)
        waited += clock() - begun
        part = message.get("body", b"")
        packed += len(part)
        if waited > GRACE_SECONDS + packed / SLOWEST_BYTES_A_SECOND:
            raise ApiError(408, "the body came too slowly.", headers={"Connection": "close"})
        more = message.get("more_body", False)
        for chunk in unpack(part, not more):
            size += len(chunk)
            if size > limit:
                raise too_large(limit)
            await held.grow(size)
            chunks.append(chunk)
        if not more:
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def _begun(scope: Any, held: Held, limit: int) -> Callable[[bytes, bool], Any]:
    """What unpacks the body whose headers these are; what they tell is refused or waited for."""
    headers = dict(scope["headers"])
    declared = headers.get(b"content-length", b"")
    if declared.isdigit():
        if int(declared) > limit:
            raise too_large(limit)
        await held.grow(int(declared))
    encoding = headers.get(b"content-encoding", b"").decode("latin-1").strip().lower()
    return _unpacker(encoding, limit)


class Room:
    """Memory for bodies: a few large ones at once, and so many bytes of small ones.

    Without it, as many bodies of the greatest size as there are connections were held at once.
    """

    def __init__(self) -> None:
        self.large = asyncio.Semaphore(LARGE_AT_ONCE)
        self.small_bytes = 0

    def holder(self) -> Held:
        """What one request holds; nothing yet."""
        return Held(self)


class Held:
    """What one request holds of the room, until it is answered."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._bytes = 0
        self._large = False

    async def grow(self, size: int) -> None:
        """Hold `size` bytes. Raises ApiError 503 where there is no room for them."""
        if self._large or size <= self._bytes:
            return
        if size > LARGE_BYTES:
            await self._wait()
            return
        if self._room.small_bytes + size - self._bytes > SMALL_BYTES:
            raise crowded()
        self._room.small_bytes += size - self._bytes
        self._bytes = size

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(TURN_SECONDS):
                await self._room.large.acquire()
        except TimeoutError:
            raise crowded() from None
        self._large = True

    def release(self) -> None:
        """Hold nothing any more."""
        self._room.small_bytes -= self._bytes
        self._bytes = 0
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
