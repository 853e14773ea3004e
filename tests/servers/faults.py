"""A proxy that breaks: it passes requests on and, where told to, fails them in a named way.

Signatures survive, because the Host header is passed on as it came. Modes:

500, 503, 429   the server's answer is an error; it never saw the request
slow            the answer comes after `delay` seconds
hang            no answer ever; it never saw the request
reset           the connection is reset; it never saw the request
truncate        the announced length is right, half of the body comes, then the connection ends
half            half of the body comes, and the announced length says so
careless        the server is not told If-None-Match: it overwrites what is there
403             refused
after           the server did it, then the connection is reset: the answer is lost
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import struct
import threading
from dataclasses import dataclass, field
from urllib.parse import urlsplit

MODES = (
    "500",
    "503",
    "429",
    "slow",
    "hang",
    "reset",
    "truncate",
    "half",
    "after",
    "careless",
    "403",
)
_REASONS = {
    "403": "AccessDenied",
    "500": "InternalError",
    "503": "SlowDown",
    "429": "TooManyRequests",
}
Headers = list[tuple[str, str]]


@dataclass
class Request:
    """One request that came: what was asked, how it was answered (0: not at all), which fault."""

    method: str
    path: str
    status: int = 0
    fault: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    """By their names in lower case."""


@dataclass
class _Fault:
    mode: str
    left: int
    match: re.Pattern[str]
    delay: float


@dataclass
class _Answer:
    status: int
    reason: str
    headers: Headers
    body: bytes
    length: int
    """The Content-Length to announce; of a HEAD it is not the length of the body."""


class FaultProxy:
    """A proxy on a free loopback port, in a thread of its own."""

    def __init__(self, upstream: str) -> None:
        parts = urlsplit(upstream)
        self._upstream = (parts.hostname or "127.0.0.1", parts.port or 80)
        self._faults: list[_Fault] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.log: list[Request] = []
        self._came = threading.Condition()
        self._loop = asyncio.new_event_loop()
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), daemon=True)
        self._thread.start()
        ready.wait()
        self.url = f"http://127.0.0.1:{self._port}"

    def fault(self, mode: str, n: int = 1, match: str = "", delay: float = 0.5) -> None:
        """Fail the next `n` requests (-1: all) whose `METHOD /path?query` matches `match`."""
        if mode not in MODES:
            raise ValueError(mode)
        self._faults.append(_Fault(mode, n, re.compile(match), delay))

    def heal(self) -> None:
        """No more faults."""
        self._faults.clear()

    def asked(self, match: str = "") -> list[Request]:
        """The requests so far whose `METHOD /path?query` matches."""
        return [r for r in self.log if re.search(match, f"{r.method} {r.path}")]

    def wait(self, match: str, seconds: float = 60.0) -> None:
        """Wait until a request came that matches. Raises TimeoutError."""
        with self._came:
            if not self._came.wait_for(lambda: self.asked(match), seconds):
                raise TimeoutError(f"nobody asked for {match} in {seconds} s")

    def stop(self) -> None:
        """Cut every connection and end the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self, ready: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(
            asyncio.start_server(self._connected, "127.0.0.1", 0, limit=2**20)
        )
        self._port = server.sockets[0].getsockname()[1]
        ready.set()
        self._loop.run_forever()
        server.close()
        for task in self._tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*self._tasks, return_exceptions=True))
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        try:
            while await self._one(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client is gone
        except asyncio.CancelledError:
            pass  # the proxy is stopped
        finally:
            self._tasks.discard(task)
            with contextlib.suppress(OSError):
                writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; whether the connection goes on."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, path, _ = head[0].split(" ", 2)
        headers = _headers(head[1:])
        if _value(headers, "expect").lower() == "100-continue":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await _body(reader, headers)
        request = Request(method, path, headers={k.lower(): v for k, v in headers})
        with self._came:
            self.log.append(request)
            self._came.notify_all()
        fault = self._next_fault(f"{method} {path}")
        request.fault = fault.mode if fault else ""
        if fault and fault.mode in _REASONS:
            return await _send(writer, _refusal(fault.mode, method), request)
        if fault and fault.mode == "hang":
            await reader.read()  # until the client gives up
            return False
        if fault and fault.mode == "reset":
            return _reset(writer)
        if fault and fault.mode == "careless":
            headers = [(k, v) for k, v in headers if k.lower() != "if-none-match"]
            fault = None
        answer = await self._ask(method, path, headers, body)
        return await _pass_on(writer, answer, request, fault)

    def _next_fault(self, asked: str) -> _Fault | None:
        for fault in self._faults:
            if fault.left != 0 and fault.match.search(asked):
                fault.left -= 1
                return fault
        return None

    async def _ask(self, method: str, path: str, headers: Headers, body: bytes) -> _Answer:
        try:
            reader, writer = await asyncio.open_connection(*self._upstream, limit=2**20)
        except OSError:
            return _Answer(502, "Bad Gateway", [], b"", 0)
        skipped = ("connection", "transfer-encoding", "content-length", "expect")
        kept = [(k, v) for k, v in headers if k.lower() not in skipped]
        kept += [("Connection", "close")]
        if body or method in ("PUT", "POST"):
            kept += [("Content-Length", str(len(body)))]
        lines = [f"{method} {path} HTTP/1.1", *(f"{k}: {v}" for k, v in kept), "", ""]
        try:
            writer.write("\r\n".join(lines).encode("latin-1") + body)
            return await _answer(reader, method)
        finally:
            writer.close()


async def _answer(reader: asyncio.StreamReader, method: str) -> _Answer:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    while head[0].split(" ")[1] == "100":
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    _, status, reason = [*head[0].split(" ", 2), ""][:3]
    headers = _headers(head[1:])
    length = int(_value(headers, "content-length") or 0)
    if method == "HEAD" or status in ("204", "304"):
        body = b""
    elif _value(headers, "content-length") or _value(headers, "transfer-encoding"):
        body = await _body(reader, headers)
        length = len(body)
    else:
        body = await reader.read()
        length = len(body)
    skipped = ("connection", "transfer-encoding", "content-length", "keep-alive")
    kept = [(k, v) for k, v in headers if k.lower() not in skipped]
    return _Answer(int(status), reason, kept, body, length)


async def _body(reader: asyncio.StreamReader, headers: Headers) -> bytes:
    if _value(headers, "transfer-encoding").lower() != "chunked":
        return await reader.readexactly(int(_value(headers, "content-length") or 0))
    parts = []
    while size := int((await reader.readline()).split(b";")[0], 16):
        parts.append(await reader.readexactly(size))
        await reader.readline()
    while (await reader.readline()).strip():
        pass
    return b"".join(parts)


async def _send(writer: asyncio.StreamWriter, answer: _Answer, request: Request) -> bool:
    request.status = answer.status
    lines = [f"HTTP/1.1 {answer.status} {answer.reason}"]
    lines += [f"{name}: {value}" for name, value in answer.headers]
    if answer.status not in (204, 304):
        lines.append(f"Content-Length: {answer.length}")
    writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + answer.body)
    await writer.drain()
    return True


async def _pass_on(
    writer: asyncio.StreamWriter, answer: _Answer, request: Request, fault: _Fault | None
) -> bool:
    """Send what the server said, or what the fault makes of it."""
    if fault is None:
        return await _send(writer, answer, request)
    if fault.mode == "after":
        return _reset(writer)
    if fault.mode == "slow":
        await asyncio.sleep(fault.delay)
        return await _send(writer, answer, request)
    answer.body = answer.body[: len(answer.body) // 2]
    if fault.mode == "half":
        answer.length = len(answer.body)
    await _send(writer, answer, request)
    return fault.mode == "half"


def _refusal(mode: str, method: str) -> _Answer:
    code = _REASONS[mode]
    body = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>told to</Message></Error>'
    data = b"" if method == "HEAD" else body.encode()
    return _Answer(int(mode), code, [("Content-Type", "application/xml")], data, len(data))


def _reset(writer: asyncio.StreamWriter) -> bool:
    """Close with RST instead of FIN."""
    writer.get_extra_info("socket").setsockopt(
        socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
    )
    writer.transport.abort()
    return False


def _headers(lines: list[str]) -> Headers:
    return [(k.strip(), v.strip()) for k, _, v in (x.partition(":") for x in lines) if k]


def _value(headers: Headers, name: str) -> str:
    return next((value for key, value in headers if key.lower() == name), "")
