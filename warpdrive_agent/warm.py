"""Filling the block cache ahead of use. What is cached already is skipped, so a rerun resumes."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Generator, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from storage.backends import Source
from warpdrive_agent.blockfile import ObjectKey
from warpdrive_agent.cache import BlockCache

log = logging.getLogger("warpdrive.agent")


@dataclass(frozen=True)
class WarmOrder:
    """What to warm."""

    backend: str
    prefix: str = ""
    recursive: bool = True
    max_bytes: int = 0
    """Warm at most this much; 0 = all."""
    workers: int = 32


@dataclass
class WarmProgress:
    """How far it is."""

    files: int = 0
    files_done: int = 0
    bytes: int = 0
    bytes_done: int = 0
    failed: int = 0
    errors: list[str] = field(default_factory=list)
    """The first few failures."""
    done: bool = False

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def warm(source: Source, cache: BlockCache, order: WarmOrder) -> Generator[WarmProgress]:
    """Fetch what is missing; yields its progress now and then, and at the end.

    Closing the generator stops it: what is cached stays cached.
    """
    progress, todo = WarmProgress(), queue.SimpleQueue[str | None]()
    for path, size in _chosen(source, order):
        progress.files += 1
        progress.bytes += size
        todo.put(path)
    stop, lock = threading.Event(), threading.Lock()

    def work() -> None:
        while not stop.is_set() and (path := todo.get()) is not None:
            _warm_one(source, cache, ObjectKey(order.backend, path, ""), progress, lock, stop)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(max(1, order.workers))]
    for thread in threads:
        todo.put(None)
        thread.start()
    try:
        for thread in threads:
            while thread.is_alive():
                yield progress
                thread.join(0.2)
        progress.done = True
        yield progress
    finally:
        stop.set()


def _chosen(source: Source, order: WarmOrder) -> Iterator[tuple[str, int]]:
    total = 0
    for path, size in _files(source, order.prefix.strip("/"), recursive=order.recursive):
        if order.max_bytes and total + size > order.max_bytes:
            continue
        total += size
        yield path, size


def _files(source: Source, prefix: str, *, recursive: bool) -> Iterator[tuple[str, int]]:
    found = source.stat(prefix)
    if found.is_file:
        yield prefix, found.size_bytes
        return
    folders = [prefix]
    while folders:
        folder = folders.pop()
        for entry in source.list(folder):
            path = f"{folder}/{entry.name}" if folder else entry.name
            if entry.stat is not None and entry.stat.is_folder and recursive:
                folders.append(path)
            elif entry.stat is not None and entry.stat.is_file:
                yield path, entry.stat.size_bytes


def _warm_one(
    source: Source, cache: BlockCache, key: ObjectKey, progress: WarmProgress,
    lock: threading.Lock, stop: threading.Event,
) -> None:  # fmt: skip
    try:
        reader = source.open(key.path)
        size = reader.stat.size_bytes
        if size:
            blocks = cache.open(key._replace(version=reader.stat.version), reader)
            try:
                for length in blocks.fill(stop):
                    with lock:
                        progress.bytes_done += length
            finally:
                blocks.close()
        with lock:
            progress.files_done += 1
    except Exception as error:
        if not isinstance(error, OSError):
            log.exception("warming %s failed", key.path)
        with lock:
            progress.failed += 1
            if len(progress.errors) < 10:
                why = getattr(error, "strerror", "") or f"{type(error).__name__}: {error}"
                progress.errors.append(f"{key.path}: {why}")
