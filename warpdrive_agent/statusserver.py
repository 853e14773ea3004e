"""The agent's own small HTTP server: `/metrics` and `/healthz` on TCP, all of it on a socket file.

The socket lies in the cache folder, which only the agent's user may enter; `warpdrive stats`,
`status` and `warm` speak through it.
"""

from __future__ import annotations

import contextlib
import errno
import http.server
import json
import logging
import os
import socket
import socketserver
import threading
from collections.abc import Generator
from pathlib import Path
from typing import Any

import msgspec

from storage.config import Config
from storage.errors import WarpdriveError
from warpdrive_agent.agent import Agent
from warpdrive_agent.report import cache_stats, health, metrics_text, status
from warpdrive_agent.segments import private_folder
from warpdrive_agent.warm import WarmOrder, WarmProgress, warm

HEADER_SECONDS = 10
SOCKET = "agent.sock"
log = logging.getLogger("warpdrive.agent")


class StatusServer:
    """Both listeners of one agent. A port that is taken is a warning, not the end."""

    def __init__(self, agent: Agent) -> None:
        self._servers: list[socketserver.BaseServer] = []
        config = agent.config
        self._start(_open_socket(socket_path(config), agent))
        if config.metrics_enabled:
            try:
                self._start(TcpServer(listen_address(config.metrics_addr), agent))
            except OSError as error:
                log.warning(
                    "metrics.addr %s: %s: no /metrics there", config.metrics_addr, error.strerror
                )

    def close(self) -> None:
        """Stop listening; twice is harmless."""
        servers, self._servers = self._servers, []
        for server in servers:
            server.shutdown()
            server.server_close()

    def _start(self, server: socketserver.BaseServer) -> None:
        self._servers.append(server)
        threading.Thread(
            target=server.serve_forever, args=(0.1,), name="status", daemon=True
        ).start()


def socket_path(config: Config) -> Path:
    """Where the running agent listens."""
    return Path(config.cache.path) / SOCKET


def listen_address(text: str) -> tuple[str, int]:
    """Host and port of `metrics.addr`; without a host it is loopback, with a warning."""
    host, _, port = text.rpartition(":")
    if not port.isdigit() or int(port) > 65535:
        raise WarpdriveError(f"metrics.addr '{text}' is not an address: write 127.0.0.1:9090.")
    if not host:
        log.warning("metrics.addr '%s' has no host: 127.0.0.1 is used", text)
    return host.strip("[]") or "127.0.0.1", int(port)


class TcpServer(http.server.ThreadingHTTPServer):
    """`/metrics` and `/healthz` for scrapers and probes."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], agent: Agent) -> None:
        self.agent = agent
        self.local = False
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, Handler)


class SocketServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Everything, for the agent's own user."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, path: str, agent: Agent) -> None:
        self.agent = agent
        self.local = True
        super().__init__(path, Handler)


class Handler(http.server.BaseHTTPRequestHandler):
    """One request."""

    timeout = HEADER_SECONDS
    server_version = "warpdrive-agent"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer a question."""
        server: Any = self.server
        agent = server.agent
        if self.path == "/metrics":
            kind = "text/plain; version=0.0.4; charset=utf-8"
            self._send(200, metrics_text(agent).encode(), kind)
        elif self.path == "/healthz":
            well, body = health(agent)
            self._json(body, 200 if well else 503)
        elif server.local and self.path == "/stats":
            self._json(cache_stats(agent))
        elif server.local and self.path == "/status":
            self._json(status(agent))
        else:
            self._json({"error": "not found"}, 404)

    do_HEAD = do_GET  # noqa: N815 - the base looks for this name

    def do_POST(self) -> None:
        """Warm the cache; progress comes as JSON lines until it is done or the asker leaves."""
        server: Any = self.server
        if not server.local or self.path != "/warm":
            self._json({"error": "not found"}, 404)
            return
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        order = msgspec.json.decode(body, type=WarmOrder)
        self.send_response(200)
        self.end_headers()
        try:
            with contextlib.closing(_warmed(server.agent, order)) as steps:
                for progress in steps:
                    self.wfile.write(json.dumps(progress.as_dict()).encode() + b"\n")
        except OSError as error:
            failed = {"error": error.strerror or str(error), "errno": error.errno}
            self._try_write(json.dumps(failed).encode() + b"\n")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base names it so
        """Not a line per scrape."""

    def _json(self, body: Any, code: int = 200) -> None:
        self._send(code, json.dumps(body).encode() + b"\n", "application/json")

    def _send(self, code: int, body: bytes, kind: str) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self._try_write(body)

    def _try_write(self, body: bytes) -> None:
        with contextlib.suppress(OSError):  # nobody listens any more
            self.wfile.write(body)


def _warmed(agent: Agent, order: WarmOrder) -> Generator[WarmProgress]:
    source = agent.sources.get(order.backend)
    if source is None or agent.cache is None:
        raise OSError(
            errno.ENOENT, "the running agent was started without this backend: start it again"
        )
    yield from warm(source, agent.cache, order)


def short_path(folder: int) -> str:
    """A socket path the kernel accepts (it takes 107 bytes) through an open folder."""
    return f"/proc/self/fd/{folder}/{SOCKET}"


def _answers(socket_file: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(socket_file)
        except OSError:
            return False
    return True


def _open_socket(path: Path, agent: Agent) -> SocketServer:
    private_folder(path.parent)
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    before = os.umask(0o177)
    try:
        if _answers(short_path(folder)):
            raise WarpdriveError(
                f"cache.path {path.parent} is in use by another agent: stop that agent, "
                "or give this one its own cache.path."
            )
        path.unlink(missing_ok=True)
        return SocketServer(short_path(folder), agent)
    finally:
        os.umask(before)
        os.close(folder)
