"""Ask a store again until it answers: back-off with jitter, a rate limit, one pause for all.

A server that throttles pauses every worker of its backend, not only the one that it told.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from storage.errors import BackendError

TRIES = 10
TIMEOUT_SECONDS = 30.0
FIRST_PAUSE_SECONDS = 0.1
MAX_PAUSE_SECONDS = 15.0
AGAIN = (408, 429, 500, 502, 503, 504)
THROTTLED = (429, 503)


class Reply(NamedTuple):
    """What a server said; status 0 and the reason where it said nothing."""

    status: int
    body: bytes
    reason: str = ""
    retry_after_seconds: float = 0.0


class Fetcher:
    """Requests of one backend, from any number of threads."""

    def __init__(self, requests_per_second: float = 0.0, tries: int = 0) -> None:
        self._gap = 1 / requests_per_second if requests_per_second else 0.0
        self._tries = tries or TRIES
        self._next = time.monotonic()
        self._lock = threading.Lock()
        self.requests = 0

    def get(self, ask: Callable[[], Reply], whole: Callable[[bytes], bool]) -> bytes:
        """The body of an answer 200 that is `whole`. Raises BackendError when there is none.

        Refusals that asking again does not change (401, 403, 404) are raised at once.
        """
        reply = Reply(0, b"")
        for attempt in range(self._tries):
            self.turn()
            reply = ask()
            if reply.status == 200 and whole(reply.body):
                return reply.body
            if reply.status not in (0, 200, *AGAIN):
                break
            if attempt < self._tries - 1:
                self._back_off(attempt, reply)
        raise RefusedError(reply)

    def turn(self) -> None:
        """Wait until it is this request's turn."""
        with self._lock:
            self.requests += 1
            now = time.monotonic()
            turn = max(self._next, now)
            self._next = turn + self._gap
        if turn > now:
            time.sleep(turn - now)

    def _back_off(self, attempt: int, reply: Reply) -> None:
        limit = min(FIRST_PAUSE_SECONDS * 2**attempt, MAX_PAUSE_SECONDS)
        pause = max(random.uniform(limit / 2, limit), min(reply.retry_after_seconds, 60.0))
        if reply.status in THROTTLED:
            with self._lock:
                self._next = max(self._next, time.monotonic() + pause)
        else:
            time.sleep(pause)


class RefusedError(BackendError):
    """No usable answer came; `reply` is the last one."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.reason or f"status {reply.status}")
        self.reply = reply
