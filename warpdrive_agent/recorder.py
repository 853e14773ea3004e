"""The bounded queue between the file system and the spool.

Invariant: every recorded event is queued, taken or counted as dropped. `record` never blocks,
raises, logs, looks anything up or grows without bound.
"""

from __future__ import annotations

import math
import random
import secrets
from collections import deque
from collections.abc import Callable
from itertools import count

from storage.errors import UsageError
from warpdrive_agent.counters import SLOTS, CounterPage
from warpdrive_agent.identity import Who

QUEUE_EVENTS = 50_000

Raw = tuple[str, str, str, Who | None, int, int, int, int, int, str, int, bool, int | None]
"""op, backend, path, who, at (ns since 1970), bytes, bytes_hit, count, latency (ns, summed),
error, opened at (ns, 0 = none), kernel_cached, size. A plain tuple: it costs 50 ns to make."""


def new_boot() -> str:
    """The random 64-bit id of one recorder start, 16 hex digits."""
    return f"{secrets.randbits(64):016x}"


class Recorder:
    """Takes events from any thread; one thread takes them out.

    Sequence numbers start at 1 and are given after sampling and before the bound check, so a
    dropped event leaves a gap that can be seen downstream.
    """

    __slots__ = ("_cells", "_limit", "_next", "_queue", "_random", "boot", "node", "page",
                 "rate", "record", "taken")  # fmt: skip

    record: Callable[[Raw], None]
    """Queue one event, or drop it where the queue is full."""

    def __init__(
        self, node: str, boot: str, page: CounterPage, *, rate: float = 0.1,
        queue_events: int = QUEUE_EVENTS,
    ) -> None:  # fmt: skip
        if math.isnan(rate) or not 0 <= rate <= 1:
            raise UsageError(f"telemetry.sample_metadata_ops '{rate}' is not a number from 0 to 1.")
        self.node = node
        self.boot = boot
        self.page = page
        self.rate = rate
        self.taken = 0
        self._queue: deque[tuple[int, Raw]] = deque()
        self._limit = queue_events
        self._next = count(1)
        self._cells = page.slots
        self._random = random.Random().random
        self.record = self._recorder()

    def _recorder(self) -> Callable[[Raw], None]:
        """`record` as a closure: it finds its names faster than a method does."""
        number, cells, queue = self._next.__next__, self._cells, self._queue
        append, mask = queue.append, SLOTS - 1

        def record(raw: Raw) -> None:
            seq = number()
            cells[seq & mask] = seq
            if len(queue) < self._limit:
                append((seq, raw))

        return record

    def number(self) -> int:
        """The next sequence number, for an event that goes past the queue."""
        seq = next(self._next)
        self._cells[seq % SLOTS] = seq
        self.taken += 1
        return seq

    def sample(self, raw: Raw) -> None:
        """Record a `stat` or `list`, at the sampling rate."""
        if self._random() < self.rate:
            self.record(raw)

    @property
    def sampled_now(self) -> bool:
        """One throw of the sampling dice, for callers that save the work of a `sample`."""
        return self._random() < self.rate

    def take(self, most: int) -> list[tuple[int, Raw]]:
        """Up to `most` queued events, oldest first. Only the flusher calls this."""
        queue = self._queue
        found = [queue.popleft() for _ in range(min(most, len(queue)))]
        self.taken += len(found)
        return found

    def close(self) -> None:
        """Accept nothing more: what still comes is counted as dropped."""
        self._limit = 0

    @property
    def recorded(self) -> int:
        """Events recorded so far, dropped ones included."""
        return self.page.assigned

    @property
    def queued(self) -> int:
        """Events that wait for the flusher."""
        return len(self._queue)

    @property
    def dropped(self) -> int:
        """Events that found the queue full (or closed)."""
        return max(0, self.recorded - self.taken - len(self._queue))


class NoRecorder(Recorder):
    """What telemetry that is switched off records: nothing."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__("", new_boot(), CounterPage(None, "0"), rate=0.0)

    def _recorder(self) -> Callable[[Raw], None]:
        return lambda _: None

    def sample(self, raw: Raw) -> None:
        """Nothing."""
