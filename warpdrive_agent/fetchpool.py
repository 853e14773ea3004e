"""Daemon threads that fetch: what a program waits for goes before what is only guessed."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable
from itertools import count

DEMAND, GUESS, STOP = 0, 1, 2


class FetchPool:
    """A bounded number of fetches at a time. Its threads never keep the process alive."""

    def __init__(self, threads: int) -> None:
        self._todo: queue.PriorityQueue[tuple[int, int, Callable[[], None] | None]] = (
            queue.PriorityQueue()
        )
        self._order = count()
        self._size = threads
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()

    def submit(self, job: Callable[[], None], priority: int = DEMAND) -> None:
        """Run `job` in a thread, soon."""
        self._todo.put((priority, next(self._order), job))
        if len(self._threads) < self._size:
            self._grow()

    def close(self) -> None:
        """Let the threads end when they have nothing to do; twice is harmless."""
        for _ in self._threads:
            self._todo.put((STOP, next(self._order), None))

    def _grow(self) -> None:
        with self._lock:
            if len(self._threads) < self._size:
                name = f"fetch-{len(self._threads)}"
                self._threads.append(threading.Thread(target=self._run, name=name, daemon=True))
                self._threads[-1].start()

    def _run(self) -> None:
        while (job := self._todo.get()[2]) is not None:
            with contextlib.suppress(Exception):  # a job reports its own failure
                job()
