"""How far a listing is: objects and objects a second, on stderr, only where a person looks."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterable, Iterator
from typing import TextIO

import pyarrow as pa

EVERY_SECONDS = 0.2


class Progress:
    """A line that is written over; nothing where the stream is no terminal."""

    def __init__(self, name: str, stream: TextIO | None = None) -> None:
        self._name = name
        self._stream = sys.stderr if stream is None else stream
        self._shown = self._stream.isatty()
        self._began = time.monotonic()
        self._next = self._began
        self._lock = threading.Lock()
        self.count = 0

    def add(self, count: int) -> None:
        """So many objects more; from any thread."""
        with self._lock:
            self.count += count
            now = time.monotonic()
            if self._shown and now >= self._next:
                self._next = now + EVERY_SECONDS
                self._write(now)

    def over(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Pass batches on, counting their rows; the line is cleared at the end."""
        try:
            for batch in batches:
                self.add(batch.num_rows)
                yield batch
        finally:
            self.close()

    def close(self) -> None:
        """Clear the line."""
        with self._lock:
            if self._shown:
                self._stream.write("\r\x1b[K")
                self._stream.flush()

    def _write(self, now: float) -> None:
        rate = self.count / max(now - self._began, 0.001)
        self._stream.write(f"\r\x1b[K{self._name}: {self.count:,} objects, {rate:,.0f} objects/s")
        self._stream.flush()
