"""Batches into the landing zone, durable before they are acknowledged.

One thread writes. What came while it wrote is one object the next time: concurrent senders share
the cost of a sync. Objects whose name says what they hold (a sender's sequence numbers, an
idempotency key) stand alone, and exist once.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import queue
import secrets
import socket
import threading
from dataclasses import dataclass

import zstandard
from obstore.exceptions import BaseError

from api.errors import ApiError
from storage import clock
from storage.errors import WarpdriveError, first_line
from storage.landing import hour_of, segment_name
from storage.objectstore import open_store, put_if_absent

log = logging.getLogger("warpdrive.api")
ZSTD_LEVEL = 1
MAX_OBJECT_BYTES = 8 * 1024**2
MAX_WAITING_BYTES = 512 * 1024**2
Identity = tuple[str, str, int, int]


@dataclass
class _Waiting:
    data: bytes
    identity: Identity
    alone: bool
    done: asyncio.Future[None]


class Lander:
    """The server's own producer: its node, and a boot and sequence numbers of its own."""

    def __init__(self, landing: str) -> None:
        self._store = open_store(landing)
        self._landing = landing
        self.node = f"{socket.gethostname()}/api"
        self._boot, self._next = secrets.token_hex(8), 1
        self._broken: set[str] = set()
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._waiting_bytes = 0
        self._thread = threading.Thread(target=self._work, name="lander", daemon=True)
        self._thread.start()

    def number(self, count: int) -> Identity:
        """The next `count` numbers of this server; land what gets them before asking again."""
        if self._boot in self._broken:  # numbers that never landed must not look like a gap
            self._boot, self._next = secrets.token_hex(8), 1
        first = self._next
        self._next += count
        return (self.node, self._boot, first, self._next - 1)

    async def land(self, data: bytes, identity: Identity, *, alone: bool) -> None:
        """Return once the lines are durable. Raises ApiError 503 when they cannot be.

        `alone`: in an object of its own, which exists once.
        """
        if self._waiting_bytes > MAX_WAITING_BYTES:
            self._broken.add(self._boot)
            raise ApiError(503, "the landing zone does not keep up.", hint="Send it again later.",
                           headers={"Retry-After": "5"})  # fmt: skip
        done: asyncio.Future[None] = self._loop.create_future()
        self._waiting_bytes += len(data)
        self._queue.put(_Waiting(data, identity, alone, done))
        try:
            # A sender who leaves does not stop what the others in the object wait for.
            await asyncio.shield(done)
        finally:
            self._waiting_bytes -= len(data)

    def close(self) -> None:
        """Write what waits, then stop."""
        self._queue.put(None)
        self._thread.join(timeout=3)

    def _work(self) -> None:
        while (one := self._queue.get()) is not None:
            group, size, last = [one], len(one.data), False
            while size < MAX_OBJECT_BYTES and not last:
                try:
                    more = self._queue.get_nowait()
                except queue.Empty:
                    break
                if more is None:
                    last = True
                else:
                    group.append(more)
                    size += len(more.data)
            self._write(group)
            if last:
                return

    def _write(self, group: list[_Waiting]) -> None:
        for one in group:
            if one.alone:
                self._put([one])
        shared = [one for one in group if not one.alone]
        for _, some in itertools.groupby(shared, key=lambda one: one.identity[:2]):
            self._put(list(some))

    def _check(self, boot: str) -> None:
        """Raise OSError for numbers that follow some which never landed."""
        if boot in self._broken:
            raise OSError("a batch before this one could not be written")

    def _put(self, group: list[_Waiting]) -> None:
        """One object; of batches that share it, the numbers follow each other."""
        error: Exception | None = None
        node, boot, first, _ = group[0].identity
        try:
            self._check(boot)
            name = segment_name(hour_of(clock.now()), node, boot, first, group[-1].identity[3])
            put_if_absent(self._store, name, packed([one.data for one in group]))
        except (WarpdriveError, BaseError, OSError) as failed:
            log.warning("landing zone %s: %s", self._landing, first_line(failed))
            error = ApiError(
                503, "the landing zone cannot be written.", hint="Nothing of this batch is kept: "
                "send it again.", headers={"Retry-After": "5"},
            )  # fmt: skip
            if not group[0].alone:
                self._broken.add(boot)
        except Exception as failed:
            log.exception("landing failed")
            error = failed
        futures = [one.done for one in group]
        self._loop.call_soon_threadsafe(_resolve, futures, error)


def packed(parts: list[bytes]) -> bytes:
    """One zstd frame. Level 1: half the CPU of the agents' level, and no larger on events."""
    packer = zstandard.ZstdCompressor(level=ZSTD_LEVEL).compressobj()
    return b"".join([*map(packer.compress, parts), packer.flush()])


def _resolve(futures: list[asyncio.Future[None]], error: Exception | None) -> None:
    for future in futures:
        if future.done():
            continue
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)
            future.exception()  # whoever asked may have left


def server_id() -> str:
    """Which process this is, for rows about what it asked for."""
    return f"{socket.gethostname()}:{os.getpid()}"
