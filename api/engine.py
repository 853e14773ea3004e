"""Processes that answer what the engine must compute: the server's own threads only wait.

Sums over millions of rows hold the interpreter and the cores; in a process of lower priority they
hold up neither the events that come in nor the reports that are published.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
from contextlib import suppress
from queue import LifoQueue
from typing import Any

from api.errors import ApiError
from api.questions import Order

PIPE_BYTES = 1024**2
"""A page of the stale list comes in one piece."""


class EngineError(Exception):
    """Our own bug, in the engine's process: its traceback."""


class Engines:
    """Some engines; each is started when it is first needed, the one used last is asked first."""

    def __init__(self, count: int) -> None:
        self._all = [_Engine() for _ in range(count)]
        self._idle: LifoQueue[_Engine] = LifoQueue()
        for engine in self._all:
            self._idle.put(engine)

    def answer(self, order: Order) -> Any:
        """The answer to an order; blocks. Raises ApiError, EngineError."""
        engine = self._idle.get()
        try:
            return engine.answer(order)
        finally:
            self._idle.put(engine)

    def stop(self, order: Order) -> None:
        """Nobody waits for the answer any more: whoever computes it is ended."""
        for engine in self._all:
            engine.stop(order)

    def close(self) -> None:
        """End them all, whatever they do."""
        for engine in self._all:
            engine.close()


class _Engine:
    """One process, of `api.answering`; a new one where the last has ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._order: Order | None = None
        self._closed = False

    def answer(self, order: Order) -> Any:
        process = self._begun(order)
        try:
            assert process.stdin
            assert process.stdout
            process.stdin.write(pickle.dumps(order))
            process.stdin.flush()
            kind, told = pickle.load(process.stdout)  # noqa: S301 - our own child
        except (OSError, EOFError, pickle.UnpicklingError):
            self._ended()
            raise ApiError(
                503, "the process that computes the answer has ended.",
                hint="Ask for less, or again later.", headers={"Retry-After": "10"},
            ) from None  # fmt: skip
        finally:
            with self._lock:
                self._order = None
        if kind == "error":
            raise ApiError(**told)
        if kind == "bug":
            raise EngineError(told)
        return told

    def stop(self, order: Order) -> None:
        with self._lock:
            if self._order is order and self._process is not None:
                self._process.kill()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._process is None:
                return
            if self._order is None:
                self._ended()
            else:  # the thread that reads from it does the rest
                self._process.kill()

    def _ended(self) -> None:
        """Reap it and close its pipes; whoever calls this is the only one who uses them."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            with suppress(BrokenPipeError):  # an order that nobody took
                process.communicate()

    def _begun(self, order: Order) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._closed:
                raise ApiError(503, "the server stops.")
            if self._process is not None and self._process.poll() is not None:
                self._ended()
            self._process = self._process or _started()
            self._order = order
            return self._process


def _started() -> subprocess.Popen[bytes]:
    """A process that knows nothing of the terminal's signals; it ends when its stdin does."""
    half = max(1, (os.cpu_count() or 1) // 2)
    return subprocess.Popen(
        [sys.executable, "-m", "api.answering"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env={"POLARS_MAX_THREADS": str(half), **os.environ}, pipesize=PIPE_BYTES,
        start_new_session=True,
    )  # fmt: skip
