"""What the agent counts about itself, and its text form for Prometheus.

Names are the Go version's, so that dashboards and alert rules go on working; the
`warpdrive_telemetry_*` ones are new, because loss must be visible.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from storage.backends import Entry, Reader, Source, Stat

BACKEND_SECONDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30)
FUSE_SECONDS = (0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1)


HELP = {
    "warpdrive_cache_size_bytes": "Bytes in the block cache.",
    "warpdrive_cache_utilization_ratio": "Share of the block cache's size that is used.",
    "warpdrive_cache_hit_total": "Blocks found in the cache.",
    "warpdrive_cache_miss_total": "Blocks that a backend was asked for.",
    "warpdrive_cache_evictions_total": "Blocks that made room for others.",
    "warpdrive_readahead_hit_total": "Blocks read ahead that were used.",
    "warpdrive_readahead_wasted_total": "Blocks read ahead that nobody used.",
    "warpdrive_open_handles": "Files that are open through the mount.",
    "warpdrive_delivered_bytes_total": "Bytes given to programs.",
    "warpdrive_telemetry_queue_events": "Events that wait in memory.",
    "warpdrive_telemetry_recorded_total": "Events recorded.",
    "warpdrive_telemetry_dropped_total": "Events lost: memory or spool was full.",
    "warpdrive_telemetry_spooled_total": "Events written to the spool.",
    "warpdrive_telemetry_uploaded_segments_total": "Segments that have landed.",
    "warpdrive_fuse_operations_total": "File operations of programs.",
    "warpdrive_fuse_operation_duration_seconds": "How long file operations took.",
    "warpdrive_backend_request_duration_seconds": "How long requests to backends took.",
    "warpdrive_backend_errors_total": "Requests to backends that failed.",
    "warpdrive_backend_bytes_read_total": "Bytes read from backends.",
    "warpdrive_auth_refresh_total": "Credentials renewed.",
}


def head(name: str, kind: str) -> Iterator[str]:
    """The lines before a family's samples."""
    yield f"# HELP {name} {HELP.get(name, name)}"
    yield f"# TYPE {name} {kind}"


class Histogram:
    """Counts of durations by upper bound. Increments may race by one; nobody waits."""

    __slots__ = ("bounds", "counts", "seconds")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.seconds = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.seconds += seconds

    def lines(self, name: str, labels: str) -> Iterator[str]:
        """Its sample lines."""
        total = 0
        for bound, count in zip((*self.bounds, "+Inf"), self.counts, strict=True):
            total += count
            yield f'{name}_bucket{{{labels},le="{bound}"}} {total}'
        yield f"{name}_sum{{{labels}}} {self.seconds:.6f}"
        yield f"{name}_count{{{labels}}} {total}"


class Metrics:
    """Durations of file system operations and backend requests, errors, bytes."""

    def __init__(self) -> None:
        self.fuse: dict[str, Histogram] = {}
        self.requests: dict[tuple[str, str], Histogram] = {}
        self.errors: Counter[tuple[str, str]] = Counter()
        self.bytes_read: Counter[str] = Counter()
        self.failing: dict[str, str] = {}
        """Backends whose last request failed, and how."""

    def fuse_operation(self, operation: str) -> Histogram:
        """The histogram of one file system operation."""
        return self.fuse.setdefault(operation, Histogram(FUSE_SECONDS))

    def request(self, backend: str, operation: str, begin: float, error: OSError | None) -> None:
        """Count one request to a backend."""
        histogram = self.requests.setdefault((backend, operation), Histogram(BACKEND_SECONDS))
        histogram.observe(time.perf_counter() - begin)
        if error is None or isinstance(error, FileNotFoundError):
            self.failing.pop(backend, None)
        else:
            self.errors[backend, type(error).__name__] += 1
            self.failing[backend] = error.strerror or str(error)

    def lines(self, gauges: Mapping[str, float], counters: Mapping[str, float]) -> Iterator[str]:
        """The exposition text, line by line."""
        for kind, values in (("gauge", gauges), ("counter", counters)):
            for name, value in values.items():
                yield from head(name, kind)
                yield f"{name} {value}"
        yield from head("warpdrive_fuse_operations_total", "counter")
        for operation, histogram in sorted(self.fuse.items()):
            count = sum(histogram.counts)
            yield f'warpdrive_fuse_operations_total{{operation="{operation}"}} {count}'
        yield from head("warpdrive_fuse_operation_duration_seconds", "histogram")
        for operation, histogram in sorted(self.fuse.items()):
            labels = f'operation="{operation}"'
            yield from histogram.lines("warpdrive_fuse_operation_duration_seconds", labels)
        yield from head("warpdrive_backend_request_duration_seconds", "histogram")
        for (backend, operation), histogram in sorted(self.requests.items()):
            labels = f'backend="{_label(backend)}",operation="{operation}"'
            yield from histogram.lines("warpdrive_backend_request_duration_seconds", labels)
        yield from head("warpdrive_backend_errors_total", "counter")
        for (backend, kind), count in sorted(self.errors.items()):
            labels = f'backend="{_label(backend)}",error_type="{kind}"'
            yield f"warpdrive_backend_errors_total{{{labels}}} {count}"
        yield from head("warpdrive_backend_bytes_read_total", "counter")
        for backend, count in sorted(self.bytes_read.items()):
            yield f'warpdrive_backend_bytes_read_total{{backend="{_label(backend)}"}} {count}'
        yield from head("warpdrive_auth_refresh_total", "counter")


class MeteredSource:
    """A remote source whose requests are counted and timed."""

    def __init__(self, source: Source, metrics: Metrics) -> None:
        self.name = source.name
        self.slow = source.slow
        self.local = source.local
        self.readlink = source.readlink
        self.xattrs = source.xattrs
        self.space = source.space
        self.close = source.close
        self._source = source
        self._metrics = metrics

    def stat(self, path: str) -> Stat:
        """What is at `path`."""
        return self._timed("stat", self._source.stat, path)

    def list(self, path: str) -> list[Entry]:
        """The entries of a folder."""
        return self._timed("list", self._source.list, path)

    def open(self, path: str) -> Reader:
        """A reader of the file at `path`."""
        return MeteredReader(self._timed("open", self._source.open, path), self)

    def read(self, path: str, offset: int, size: int) -> bytes:
        """A byte range of a file."""
        return self.timed_read(self._source.read, path, offset, size)

    def timed_read(self, call: Any, *args: Any) -> bytes:
        """Count one read and its bytes."""
        data = self._timed("read", call, *args)
        self._metrics.bytes_read[self.name] += len(data)
        return data

    def _timed(self, operation: str, call: Any, *args: Any) -> Any:
        begin = time.perf_counter()
        try:
            found = call(*args)
        except OSError as error:
            self._metrics.request(self.name, operation, begin, error)
            raise
        self._metrics.request(self.name, operation, begin, None)
        return found


class MeteredReader:
    """A reader whose fetches are counted and timed."""

    def __init__(self, reader: Reader, source: MeteredSource) -> None:
        self.stat = reader.stat
        self.ready = reader.ready
        self.close = reader.close
        self.stat_now = reader.stat_now
        self._reader = reader
        self._source = source

    def read(self, offset: int, size: int) -> bytes:
        """Exactly `size` bytes, fewer only at the end."""
        return self._source.timed_read(self._reader.read, offset, size)


def _label(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
