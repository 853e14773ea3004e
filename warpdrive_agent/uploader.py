"""The thread that delivers sealed segments, oldest first, with backoff."""

from __future__ import annotations

import logging
import random
import threading
import time

from warpdrive_agent.sinkerrors import RefusedError, SendError
from warpdrive_agent.sinks import SpooledSink
from warpdrive_agent.spool import Spool

FIRST_WAIT_SECONDS = 1.0
LONGEST_WAIT_SECONDS = 60.0
log = logging.getLogger("warpdrive.telemetry")


class Uploader:
    """A segment is deleted after the sink has acknowledged it, never before."""

    def __init__(self, spool: Spool, sink: SpooledSink) -> None:
        self.uploaded = 0
        self.failures = 0
        self.problem = ""
        self._spool = spool
        self._sink = sink
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._wait = FIRST_WAIT_SECONDS
        self._thread = threading.Thread(target=self._run, name="uploader", daemon=True)

    def start(self) -> None:
        """Start delivering; what an earlier start left goes first."""
        self._wake.set()
        self._thread.start()

    def wake(self) -> None:
        """There is something to deliver."""
        self._wake.set()

    def close(self, seconds: float) -> bool:
        """One last try within `seconds`; whether nothing is left."""
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(max(0.0, seconds))
        if not self._thread.is_alive():
            self._sink.close()
        return not self._spool.pending()

    def _run(self) -> None:
        retry_at: float | None = None
        while True:
            waits = None if retry_at is None else max(0.0, retry_at - time.monotonic())
            self._wake.wait(waits)
            self._wake.clear()
            stopping = self._stop.is_set()
            if retry_at is None or stopping or time.monotonic() >= retry_at:
                retry_at = self._retry_time(delivered=self._delivered())
            if stopping:
                return

    def _retry_time(self, *, delivered: bool) -> float | None:
        if delivered:
            self._wait = FIRST_WAIT_SECONDS
            return None
        wait, self._wait = self._wait, min(self._wait * 2, LONGEST_WAIT_SECONDS)
        return time.monotonic() + wait * random.uniform(0.5, 1.5)

    def _delivered(self) -> bool:
        try:
            return self._deliver()
        except Exception as error:  # noqa: BLE001 - the spool's disk may fail: the thread must live
            return self._failed(f"{type(error).__name__}: {error}")

    def _deliver(self) -> bool:
        for name in self._spool.pending():
            segment = self._spool.load(name)
            if segment is None:
                self._spool.miss(name)
                continue
            try:
                self._sink.send(segment.name, segment.data)
            except RefusedError as error:
                log.warning("telemetry: %s; the segment is kept in the spool's refused/", error)
                self._spool.set_aside(name)
            except SendError as error:
                return self._failed(str(error))
            except Exception as error:  # noqa: BLE001 - the thread must live
                return self._failed(f"{type(error).__name__}: {error}")
            else:
                self._spool.forget(name)
                self.uploaded += 1
        self.failures = 0
        self.problem = ""
        return True

    def _failed(self, why: str) -> bool:
        self.failures += 1
        self.problem = why
        if self.failures in (1, 10) or self.failures % 100 == 0:
            log.warning("telemetry: a segment waits in the spool: %s", why)
        return False
