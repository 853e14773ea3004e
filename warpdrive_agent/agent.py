"""The agent as a library: open, read, stat and list, every access recorded.

The mount is a thin shell over this class; where there is no FUSE, programs can use it directly.
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from storage.backends import Entry, Reader, Source, Stat, open_backend
from storage.config import Backend, Config, TelemetryConfig
from storage.errors import UnknownNameError, WarpdriveError
from warpdrive_agent.blockfile import ObjectKey
from warpdrive_agent.cache import BlockCache
from warpdrive_agent.counters import CounterPage
from warpdrive_agent.handle import (
    Blocks,
    Handle,
    LocalBlocks,
    Opened,
    RemoteBlocks,
    errno_name,
)
from warpdrive_agent.identity import Identity, Who
from warpdrive_agent.metacache import MetaCache
from warpdrive_agent.metrics import MeteredSource, Metrics
from warpdrive_agent.outlet import DirectOutlet, Outlet, SpoolOutlet
from warpdrive_agent.recorder import NoRecorder, Recorder, new_boot
from warpdrive_agent.shipper import Pace, Shipper
from warpdrive_agent.sinks import NopSink, open_sink
from warpdrive_agent.spool import Spool

DELTA_SECONDS = 60.0
T = TypeVar("T")
log = logging.getLogger("warpdrive.agent")


class Agent:
    """All backends of a config behind one recorder. Close it, or its last events stay spooled."""

    def __init__(self, config: Config, node: str | None = None) -> None:
        self.config = config
        self.node = node or socket.gethostname()
        self.keeps_cache = config.telemetry.level == "fast"
        self.metrics = Metrics()
        self.sources = {b.name: _source_of(b, config, self.metrics) for b in config.backends}
        self.cache = BlockCache(config.cache) if self._is_remote() else None
        self.identity = Identity()
        self._handles: dict[int, Handle] = {}
        self._delivered = 0
        self._cache_fails = False
        self._closed = False
        self.recorder, self._shipper = self._telemetry(config.telemetry)
        self.identity.start()
        self._shipper.before_flush = self.checkpoint
        self._shipper.start()

    def open(self, backend: str, path: str, uid: int | None = None, pid: int = 0) -> Handle:
        """Open a file for reading on behalf of a process. Raises OSError."""
        begin, who = time.perf_counter_ns(), self.identity.of(uid, pid)
        source = self._source(backend)
        try:
            reader = source.open(path)
        except OSError as error:
            self._record_error("read", backend, path, who, begin, error)
            raise
        opened = Opened(backend, path, who, reader.stat, reader.stat_now, self.keeps_cache)
        blocks = self._blocks(source, opened, reader)
        handle = Handle(blocks, self.recorder, opened, self._released)
        self._handles[id(handle)] = handle
        return handle

    def stat(self, backend: str, path: str, uid: int | None = None, pid: int = 0) -> Stat:
        """What is at `path`; symlinks are not followed. Raises OSError."""
        return self._sampled("stat", self._source(backend).stat, backend, path, (uid, pid))

    def stat_open(self, handle: Handle, uid: int | None = None, pid: int = 0) -> Stat:
        """What is known of an open file, though its path may be another's by now."""
        opened = handle.opened
        return self._sampled(
            "stat", lambda _: opened.stat_now(), opened.backend, opened.path, (uid, pid)
        )

    def list(self, backend: str, path: str, uid: int | None = None, pid: int = 0) -> list[Entry]:
        """The entries of a folder, sorted by name. Raises OSError."""
        return self._sampled("list", self._source(backend).list, backend, path, (uid, pid))

    def checkpoint(self) -> None:
        """Record deltas of handles that have been open for a while."""
        due = time.monotonic() - DELTA_SECONDS
        for handle in list(self._handles.values()):
            if handle.event_at <= due:
                handle.checkpoint()

    def flush(self) -> None:
        """Bring everything recorded before this call to the spool."""
        self._shipper.flush()

    def stats(self) -> dict[str, int]:
        """What was recorded and where it went, since the start."""
        return {
            "recorded": self.recorder.recorded,
            "dropped": self._shipper.drops,
            "queued": self.recorder.queued,
            "spooled": self._shipper.outlet.spooled,
            "uploaded_segments": self._shipper.outlet.uploaded,
            "delivered_bytes": self._delivered
            + sum(handle.delivered for handle in list(self._handles.values())),
            "open_handles": len(self._handles),
        }

    def telemetry_problem(self) -> str:
        """Why events are not delivered at the moment; empty where they are."""
        return self._shipper.outlet.problem

    def close(self, seconds: float = 5.0) -> bool:
        """Close what is open, flush, upload; whether all was delivered. Twice is harmless."""
        if self._closed:
            return True
        self._closed = True
        for handle in list(self._handles.values()):
            handle.close()
        delivered = self._shipper.close(seconds)
        self.identity.close()
        if self.cache is not None:
            self.cache.close()
        for source in self.sources.values():
            source.close()
        return delivered

    def _released(self, handle: Handle) -> None:
        if self._handles.pop(id(handle), None) is not None:
            self._delivered += handle.delivered

    def _source(self, backend: str) -> Source:
        if backend not in self.sources:
            raise UnknownNameError("backend", backend, self.sources)
        return self.sources[backend]

    def _is_remote(self) -> bool:
        return any(not source.local for source in self.sources.values())

    def _blocks(self, source: Source, opened: Opened, reader: Reader) -> Blocks:
        """Through the block cache, unless the bytes are here, none, or the cache is broken."""
        if source.local or self.cache is None or not opened.stat.size_bytes:
            return LocalBlocks(reader)
        key = ObjectKey(opened.backend, opened.path, opened.stat.version)
        try:
            blocks = self.cache.open(key, reader)
        except OSError as error:
            if not self._cache_fails:  # once, not for every file
                log.warning(
                    "the block cache cannot be used for %s: %s", opened.path, error.strerror
                )
            self._cache_fails = True
            return RemoteBlocks(reader)
        self._cache_fails = False
        return blocks

    def _sampled(
        self, op: str, call: Callable[[str], T], backend: str, path: str,
        caller: tuple[int | None, int],
    ) -> T:  # fmt: skip
        begin = time.perf_counter_ns()
        failed = ""
        try:
            return call(path)
        except OSError as error:
            failed = errno_name(error)
            raise
        finally:
            if self.recorder.sampled_now:
                latency = time.perf_counter_ns() - begin
                self._record(op, backend, path, self.identity.of(*caller), latency, failed)

    def _record_error(
        self, op: str, backend: str, path: str, who: Who, begin: int, error: OSError
    ) -> None:
        self._record(op, backend, path, who, time.perf_counter_ns() - begin, errno_name(error))

    def _record(self, op: str, backend: str, path: str, who: Who, latency: int, error: str) -> None:
        self.recorder.record((
            op, backend, path, who, time.time_ns(), 0, 0, 1, latency, error, 0, False, None,
        ))  # fmt: skip

    def _telemetry(self, config: TelemetryConfig) -> tuple[Recorder, Shipper]:
        boot = new_boot()
        names = list(self.sources)
        if not config.enabled:
            recorder: Recorder = NoRecorder()
            outlet: Outlet = DirectOutlet(NopSink(), recorder.page)
            return recorder, Shipper(recorder, self.identity, outlet, Pace.of(config), names)
        sink: Any = open_sink(config)
        if hasattr(sink, "emit"):
            page = CounterPage(None, boot)
            outlet = DirectOutlet(sink, page)
        else:
            spool = _open_spool(config, self.node, boot)
            page, outlet = spool.page, SpoolOutlet(spool, sink)
        recorder = Recorder(self.node, boot, page, rate=config.sample_metadata_ops)
        return recorder, Shipper(recorder, self.identity, outlet, Pace.of(config), names)


def _source_of(backend: Backend, config: Config, metrics: Metrics) -> Source:
    source = open_backend(backend)
    if source.local:
        return source
    return MetaCache(MeteredSource(source, metrics), config.cache.stale_ttl.total_seconds())


def _open_spool(config: TelemetryConfig, node: str, boot: str) -> Spool:
    try:
        spool = Spool(
            Path(config.spool_path), node=node, boot=boot, max_bytes=config.spool_max_bytes
        )
    except OSError as error:
        raise WarpdriveError(
            f"telemetry.spool_path {config.spool_path}: {error.strerror}: "
            "name a folder this user may write."
        ) from None
    found = spool.recovered
    if found.lost or found.torn:
        log.warning(
            "the last start (boot %s) was killed: %d events lost, %d torn lines; it is reported",
            found.boot, found.lost, found.torn,
        )  # fmt: skip
    return spool
