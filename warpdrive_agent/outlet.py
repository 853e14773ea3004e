"""Where the flusher writes: the spool and its uploader, or a direct sink."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Protocol

from storage.landing import Event
from warpdrive_agent.counters import CounterPage
from warpdrive_agent.sinks import DirectSink, SpooledSink
from warpdrive_agent.spool import ENCODE_EVENTS, Spool, encode
from warpdrive_agent.uploader import Uploader

log = logging.getLogger("warpdrive.telemetry")


class Outlet(Protocol):
    """What the flusher needs to know of where events go."""

    @property
    def prompt(self) -> bool:
        """Whether every flush is to be sealed."""
        ...

    @property
    def spooled(self) -> int:
        """Events that were written since the start."""
        ...

    @property
    def waiting_bytes(self) -> int:
        """Bytes that were written and not sealed yet."""
        ...

    @property
    def uploaded(self) -> int:
        """Segments that the sink has acknowledged."""
        ...

    @property
    def problem(self) -> str:
        """Why nothing is delivered at the moment; empty where it is."""
        ...

    def start(self) -> None:
        """Start what runs beside the flusher."""
        ...

    def write(self, events: Sequence[Event]) -> None:
        """Take events, all or (OSError) none."""
        ...

    def seal(self) -> None:
        """Close what was written and hand it to the uploader."""
        ...

    def close(self, seconds: float, *, clean: bool) -> bool:
        """Deliver what can be delivered in that time; whether all of it was."""
        ...


class SpoolOutlet:
    """Events to the spool, segments to the sink: at least once."""

    def __init__(self, spool: Spool, sink: SpooledSink) -> None:
        self.spool = spool
        self.prompt = sink.prompt
        self._uploader = Uploader(spool, sink)

    @property
    def spooled(self) -> int:
        """Events written to the spool since the start."""
        return self.spool.spooled

    @property
    def waiting_bytes(self) -> int:
        """Bytes in the append file."""
        return self.spool.active.size_bytes

    @property
    def uploaded(self) -> int:
        """Segments that the sink has acknowledged."""
        return self._uploader.uploaded

    @property
    def problem(self) -> str:
        """Why the sink does not take segments; empty where it does."""
        return self._uploader.problem

    def start(self) -> None:
        """Start the uploader."""
        self._uploader.start()

    def write(self, events: Sequence[Event]) -> None:
        """Append to the spool."""
        self.spool.append(events)

    def seal(self) -> None:
        """Seal the append file and wake the uploader."""
        if self.spool.seal():
            self._uploader.wake()

    def close(self, seconds: float, *, clean: bool) -> bool:
        """Upload what is sealed; what is left stays in the spool for the next start."""
        delivered = self._uploader.close(seconds)
        self.spool.close(clean=clean)
        return delivered


class DirectOutlet:
    """Lines to a sink that keeps nothing: what it does not take is lost, and counted."""

    prompt = True
    waiting_bytes = 0
    uploaded = 0
    problem = ""

    def __init__(self, sink: DirectSink, page: CounterPage) -> None:
        self._sink = sink
        self._page = page
        self.spooled = 0

    def start(self) -> None:
        """Nothing runs beside the flusher."""

    def write(self, events: Sequence[Event]) -> None:
        """Give the lines to the sink."""
        for start in range(0, len(events), ENCODE_EVENTS):
            part = events[start : start + ENCODE_EVENTS]
            lines, good = encode(part)
            taken = len(good) if self._emit(lines) else 0
            self.spooled += taken
            self._page.add_refused(len(part) - taken)

    def seal(self) -> None:
        """There is nothing to close."""

    def close(self, seconds: float, *, clean: bool) -> bool:
        """Close the sink."""
        del seconds
        self._sink.close()
        return clean

    def _emit(self, lines: bytes) -> bool:
        try:
            self._sink.emit(lines)
        except (OSError, ValueError) as error:
            log.warning("telemetry: the sink takes nothing: %s; the events are lost", error)
            return False
        return True
