"""The way of an event off the hot path: queue → spool → sink, in two threads.

The flusher empties the queue into the spool every `batch_size` events or `flush_interval`, and
seals it every `upload_interval` (± 20 %) or `upload_size`. The uploader delivers sealed segments,
oldest first, and deletes each after the sink has acknowledged it. A sink that is down stops only
the uploader; a disk that is full stops the flusher, and then the bounded queue drops and counts.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from storage.config import TelemetryConfig
from storage.landing import Event
from warpdrive_agent.events import to_event
from warpdrive_agent.identity import Identity
from warpdrive_agent.outlet import Outlet
from warpdrive_agent.recorder import Raw, Recorder

POLL_SECONDS = 0.1
HEARTBEAT_SECONDS = 60.0
TAKE_EVENTS = 10_000
JITTER = 0.2
log = logging.getLogger("warpdrive.telemetry")


@dataclass(frozen=True)
class Pace:
    """When the flusher acts."""

    batch_events: int
    flush_seconds: float
    upload_seconds: float
    upload_bytes: int

    @classmethod
    def of(cls, config: TelemetryConfig) -> Pace:
        """The pace that the config asks for."""
        return cls(
            config.batch_size,
            config.flush_interval.total_seconds(),
            config.upload_interval.total_seconds(),
            config.upload_size_bytes,
        )


class Shipper:
    """Owns both threads. `close` empties everything it can within its time."""

    def __init__(
        self, recorder: Recorder, identity: Identity, outlet: Outlet, pace: Pace,
        backends: list[str],
    ) -> None:  # fmt: skip
        self.recorder = recorder
        self.outlet = outlet
        self.pace = pace
        self.before_flush: Callable[[], None] = lambda: None
        """Called on every round: long handles hand in their deltas here."""
        self._identity = identity
        self._backends = backends
        self._held: list[tuple[int, Raw]] = []
        self._batch: list[Event] = []
        self._last = 0
        self._drops = self._seen_drops = self._told_drops = 0
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="flusher", daemon=True)
        self._closed = False

    def start(self) -> None:
        """Start both threads."""
        self._thread.start()
        self.outlet.start()

    def flush(self) -> None:
        """Bring everything recorded before this call to the spool (or the direct sink)."""
        with self._lock:
            self._identity.settle()
            while self._round(final=True):
                pass

    def close(self, seconds: float = 5.0) -> bool:
        """Flush, seal, upload; whether all of it was delivered. Twice is harmless."""
        if self._closed:
            return True
        self._closed = True
        deadline = time.monotonic() + seconds
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(seconds / 2)
        self.recorder.close()
        clean = self._last_flush()
        delivered = self.outlet.close(deadline - time.monotonic(), clean=clean)
        return clean and delivered

    def _last_flush(self) -> bool:
        try:
            self.flush()
            self._farewell()
        except OSError as error:
            log.warning("telemetry: the spool cannot be written at shutdown: %s", error)
            return False
        return True

    def _run(self) -> None:
        flush_at, seal_at = self._next_flush(), self._next_seal()
        beat_at = time.monotonic() + HEARTBEAT_SECONDS
        self._heartbeat()
        while not self._stop.wait(POLL_SECONDS):
            try:
                clock = time.monotonic()
                self._count_drops()
                if clock >= beat_at or (self.drops > self._told_drops and clock >= flush_at):
                    self._heartbeat()
                    beat_at = clock + HEARTBEAT_SECONDS
                if clock >= flush_at or self.recorder.queued >= self.pace.batch_events:
                    flush_at = self._next_flush()
                    self._flush_once()
                if clock >= seal_at or self.outlet.waiting_bytes >= self.pace.upload_bytes:
                    seal_at = self._next_seal()
                    self._flush_once()
                    self._seal()
            except Exception as error:  # noqa: BLE001 - a thread that dies is telemetry that ends
                log.warning("telemetry: %s: %s; trying again", type(error).__name__, error)
                self._stop.wait(min(1.0, self.pace.flush_seconds))

    def _next_flush(self) -> float:
        return time.monotonic() + self.pace.flush_seconds

    def _next_seal(self) -> float:
        prompt = self.outlet.prompt
        seconds = self.pace.flush_seconds if prompt else self.pace.upload_seconds
        return time.monotonic() + seconds * random.uniform(1 - JITTER, 1 + JITTER)

    def _flush_once(self) -> None:
        with self._lock:
            while self._round(final=False):
                pass

    def _seal(self) -> None:
        with self._lock:
            self.outlet.seal()

    def _round(self, *, final: bool) -> bool:
        """Take, translate and write one batch; whether more may be waiting."""
        if not self._batch:
            self.before_flush()
            self._batch = [self._event(seq, raw) for seq, raw in self._take(final=final)]
        if not self._batch:
            return False
        full = len(self._batch) >= TAKE_EVENTS
        self.recorder.page.set_dropped(self._drops)
        self.outlet.write(self._batch)  # if it fails the batch stays for the next round
        self._batch = []
        return full

    def _take(self, *, final: bool) -> list[tuple[int, Raw]]:
        """Events in order. Those behind a gap wait one round: a thread may be between two steps."""
        found = self._held + self.recorder.take(TAKE_EVENTS)
        found.sort(key=lambda item: item[0])
        if final or self._held:
            self._held = []
        else:
            cut = _first_gap(found, self._last)
            found, self._held = found[:cut], found[cut:]
        if found:
            self._last = found[-1][0]
        return found

    def _event(self, seq: int, raw: Raw) -> Event:
        event = to_event(seq, raw, self.recorder, self._identity)
        if event.op == "agent":
            event.backends = self._backends
            event.drops = self._told_drops = self.drops
        return event

    @property
    def drops(self) -> int:
        """Events lost on this node since the recorder started, wherever they were lost."""
        page = self.recorder.page
        return self._drops + page.spool_dropped + page.refused

    def _heartbeat(self) -> None:
        self._count_drops()
        at = time.time_ns()
        self.recorder.record(("agent", "", "", None, at, 0, 0, 1, 0, "", 0, False, None))

    def _farewell(self) -> None:
        """A last heartbeat, after which nothing is recorded: its drops are final."""
        for _ in range(2):  # sealing it may push the oldest segment out of a full spool
            self._count_drops()
            self._count_drops()
            raw: Raw = ("agent", "", "", None, time.time_ns(), 0, 0, 1, 0, "", 0, False, None)
            with self._lock:
                self._batch.append(self._event(self.recorder.number(), raw))
                self._round(final=True)
                self.outlet.seal()
            if self.drops == self._told_drops:
                return

    def _count_drops(self) -> None:
        """Drops that were seen twice: an event between numbering and queueing looks like one."""
        seen = self.recorder.dropped
        self._drops = max(self._drops, min(seen, self._seen_drops))
        self._seen_drops = seen


def _first_gap(items: list[tuple[int, Raw]], last: int) -> int:
    for index, (seq, _) in enumerate(items):
        if seq != last + 1 + index:
            return index
    return len(items)
