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
Receive = Callable[[], Any]


async def read_body(scope: Any, receive: Receive, limit: int) -> bytes:
    """The whole body, unpacked. Raises ApiError 413 over `limit`, 408 when it comes too slowly.

    What is declared too large is refused before a byte of it is read.
    """
    headers = dict(scope["headers"])
    declared = headers.get(b"content-length", b"")
    if declared.isdigit() and int(declared) > limit:
        raise too_large(limit)
    encoding = headers.get(b"content-encoding", b"").decode("latin-1").strip().lower()
    unpack = _unpacker(encoding, limit)
    chunks: list[bytes] = []
    size = packed = 0
    clock = asyncio.get_running_loop().time
    started = clock()
    while True:
        message = await _next(receive)
        part = message.get("body", b"")
        packed += len(part)
        if clock() - started > GRACE_SECONDS + packed / SLOWEST_BYTES_A_SECOND:
            raise ApiError(408, "the body came too slowly.", headers={"Connection": "close"})
        more = message.get("more_body", False)
        for chunk in unpack(part, not more):
            size += len(chunk)
            if size > limit:
                raise too_large(limit)
            chunks.append(chunk)
        if not more:
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


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
