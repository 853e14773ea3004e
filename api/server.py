"""The process around the application: the socket, the signals, a stop within five seconds."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import uvicorn

from api.app import make_app
from api.protocol import Protocol
from storage.config import Config
from storage.errors import ConfigError
from storage.priority import run_in_turns

STOP_SECONDS = 3
LAST_SECONDS = 4.5
KEEP_ALIVE_SECONDS = 75
BACKLOG = 2048
SWITCH_SECONDS = 0.0001
"""So long one thread waits for another that computes, rather than fifty times as long: the loop and
the lander, which asks for the interpreter some ten times for each object."""
log = logging.getLogger("warpdrive.api")


class _Server(uvicorn.Server):
    """uvicorn, whose signals end the loop and not the process."""

    def __init__(
        self, config: uvicorn.Config, ready: Callable[[], Any], done: Callable[[], Any]
    ) -> None:
        super().__init__(config)
        self._ready = ready
        self._done = done

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Begin to stop; a question that still runs in a thread does not hold the end up.

        Who asks again gets no other stop: what was taken must land, and that takes seconds.
        """
        if self.should_exit:
            return
        super().handle_exit(sig, frame)
        last = threading.Timer(LAST_SECONDS, self._leave)
        last.daemon = True
        last.start()

    def _leave(self) -> None:
        self._done()
        os._exit(0)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Say that requests are answered, once they are."""
        await super().startup(sockets)
        if self.started:
            self._ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop on SIGTERM and SIGINT; the exit code is the command's."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises ConfigError where the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        found = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"cannot listen on {host}:{port}: {reason}: name another address "
                          "with --addr.") from None  # fmt: skip
    found.setblocking(False)
    return found


def run(
    configs: Mapping[str, Config], sock: socket.socket, ready: Callable[[], Any],
    done: Callable[[], Any],
) -> None:  # fmt: skip
    """Serve until a signal; `ready` is called when requests are answered, `done` at the end."""
    settings = uvicorn.Config(
        make_app(configs, crawls=True), http=Protocol, ws="none", lifespan="on", log_config=None,
        access_log=False, server_header=False, timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=STOP_SECONDS, proxy_headers=False,
    )  # fmt: skip
    server = _Server(settings, ready, done)
    sys.setswitchinterval(SWITCH_SECONDS)
    run_in_turns()  # rather than at the end of what the engine's process computes
    with asyncio.Runner(loop_factory=settings.get_loop_factory()) as runner:
        runner.run(server.serve(sockets=[sock]))
    if not server.started:
        raise ConfigError("the server did not start: the log says why.")
    done()
