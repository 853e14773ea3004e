"""One worker at a time per lake and activity: a lease with an expiry, on any store.

A lease is a chain of objects `_leases/<name>/<n>.json`, each created only if absent, so that
exactly one contender gets the next number. The highest number says who holds it and until when.
The holder renews by adding a number. A holder that died on this machine is seen at once.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import obstore

from storage import clock
from storage.errors import LakeError
from storage.objectstore import get, listed, open_store

log = logging.getLogger(__name__)
TERM = dt.timedelta(seconds=60)
_DIGITS = 12


class LeaseBusyError(LakeError):
    """Someone else holds the lease."""

    http_status = 409
    code = "busy"


class Lease:
    """Held from `acquire` to `release`; renewed by a thread at a third of its term."""

    def __init__(self, root: str, name: str, now: Callable[[], dt.datetime] = clock.now) -> None:
        self._store = open_store(f"{root.rstrip('/')}/_leases/{name}")
        self._name = name
        self._now = now
        self._number = 0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.lost = False

    @property
    def number(self) -> int:
        """Grows with everyone who has held the lease: tells the order of holders."""
        return self._number

    def try_acquire(self) -> str:
        """Take the lease; an empty text when it is ours, else who holds it."""
        number, state = self._latest()
        if state and not state["released"] and self._alive(state):
            return f"process {state['pid']} on {state['host']}, until {state['until']}"
        if not self._put(number + 1, released=False):
            return "another process, just now"
        self._thread = threading.Thread(target=self._renew, daemon=True, name=self._name)
        self._thread.start()
        return ""

    def release(self) -> None:
        """Give it back; the chain behind it is removed."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        if not self.lost:
            self._put(self._number + 1, released=True)
            old = [o.name for o in listed(self._store) if _number(o.name) < self._number]
            obstore.delete(self._store, old)

    def _renew(self) -> None:
        while not self._stop.wait(TERM.total_seconds() / 3):
            try:
                self.lost = not self._put(self._number + 1, released=False)
            except obstore.exceptions.BaseError as error:
                # The store is away for a moment; the term has two more tries.
                log.warning("lease %s could not be renewed yet: %s", self._name, error)
                continue
            if self.lost:
                return

    def _put(self, number: int, *, released: bool) -> bool:
        state = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started": _process_start(os.getpid()),
            "until": (self._now() + TERM).isoformat(),
            "released": released,
        }
        name = f"{number:0{_DIGITS}d}.json"
        try:
            obstore.put(self._store, name, json.dumps(state).encode(), mode="create")
        except obstore.exceptions.AlreadyExistsError:
            return False
        self._number = number
        return True

    def _latest(self) -> tuple[int, dict[str, Any] | None]:
        number = 0
        for _ in range(3):
            number = max((_number(o.name) for o in listed(self._store)), default=0)
            if number == 0:
                return 0, None
            try:
                return number, json.loads(get(self._store, f"{number:0{_DIGITS}d}.json"))
            except FileNotFoundError:
                continue  # released and tidied between the two calls
        return number, None

    def _alive(self, state: dict[str, Any]) -> bool:
        if dt.datetime.fromisoformat(state["until"]) < self._now():
            return False
        if state["host"] != socket.gethostname():
            return True
        return bool(_process_start(state["pid"]) == state["started"])


@contextmanager
def held(root: str, name: str, wait_seconds: float = 0.0) -> Iterator[Lease]:
    """The lease for the time of a block. Raises LeaseBusyError when it cannot be had."""
    lease = Lease(root, name)
    deadline = time.monotonic() + wait_seconds
    while holder := lease.try_acquire():
        if time.monotonic() >= deadline:
            raise LeaseBusyError(
                f"{name} of the lake {root} is busy: held by {holder}. "
                "Wait for it to end, then try again."
            )
        time.sleep(0.1)
    try:
        yield lease
    finally:
        lease.release()


def _number(name: str) -> int:
    stem = name.rsplit("/", 1)[-1].removesuffix(".json")
    return int(stem) if stem.isdigit() else 0


def _process_start(pid: int) -> str:
    """Start time of a process in clock ticks since boot; empty when there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""
