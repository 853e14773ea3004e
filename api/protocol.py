"""uvicorn's HTTP protocol, which here gives up on clients that never get to the point."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.errors import ApiError

HEADER_SECONDS = 10.0
WRITE_SECONDS = 30.0
LEAST_BYTES = 100_000
"""Whoever fetches less of an answer in WRITE_SECONDS is given up."""
MAX_HEADER_BYTES = 64 * 1024


class Protocol(HttpToolsProtocol):
    """Headers within ten seconds and 64 KiB; an answer that nobody fetches is cut off."""

    _deadline: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None
    _header_bytes = 0
    _in_headers = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A connection that says nothing is closed."""
        super().connection_made(transport)
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        """No timer outlives its connection."""
        self._disarm()
        if self._stalled is not None:
            self._stalled.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes of headers are counted until the headers are whole."""
        if self._in_headers:
            if self._deadline is None:
                self._arm()
            self._header_bytes += len(data)
        super().data_received(data)
        if self._in_headers and self._header_bytes > MAX_HEADER_BYTES:
            self.transport.abort()

    def on_headers_complete(self) -> None:
        """The request is whole but for its body, whose time the application counts."""
        self._in_headers = False
        self._disarm()
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """The next request on this connection begins with its headers."""
        self._in_headers, self._header_bytes = True, 0
        super().on_response_complete()

    def pause_writing(self) -> None:
        """The client does not read as fast as it is answered: see whether it reads at all."""
        super().pause_writing()
        self._watch()

    def _watch(self) -> None:
        left = self.transport.get_write_buffer_size()
        self._stalled = self.loop.call_later(WRITE_SECONDS, self._look, left)

    def _look(self, before: int) -> None:
        """An answer of which next to nothing was fetched is cut off."""
        if before - self.transport.get_write_buffer_size() < LEAST_BYTES:
            self.transport.abort()
        else:
            self._watch()

    def resume_writing(self) -> None:
        """It reads again."""
        super().resume_writing()
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP gets the one error body too."""
        answer = ApiError(400, msg).response()
        lines = [b"HTTP/1.1 400 Bad Request"]
        lines += [name + b": " + value for name, value in answer.raw_headers]
        lines += [b"connection: close", b"", bytes(answer.body)]
        self.transport.write(b"\r\n".join(lines))
        self.transport.close()

    def _arm(self) -> None:
        self._disarm()
        self._deadline = self.loop.call_later(HEADER_SECONDS, self._too_late)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_late(self) -> None:
        if self._in_headers and not self.transport.is_closing():
            self.transport.abort()
