"""Events on disk between the recorder and the sink.

`active.jsonl` is appended to; sealing turns it into one compressed segment whose name and bytes
never change again, and which is deleted only after the sink has acknowledged it. A write reaches
the kernel at once (it survives `kill -9`); it is synced to disk at most once a second and at every
seal (a power cut costs at most that second).
"""

from __future__ import annotations

import fcntl
import os
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from storage import landing
from storage.clock import now
from storage.errors import WarpdriveError
from storage.landing import Event
from warpdrive_agent.counters import CounterPage
from warpdrive_agent.recovery import Recovered, recover
from warpdrive_agent.segments import (
    ACTIVE,
    COUNTERS,
    REFUSED,
    SEALED,
    file_name,
    lines_in,
    object_name,
    private_folder,
    sealed_files,
    write_segment,
)

SYNC_SECONDS = 1.0
ENCODE_EVENTS = 2_000


class Segment(NamedTuple):
    """One sealed segment: the object's name and its exact bytes."""

    name: str
    data: bytes


@dataclass
class Active:
    """What stands in the append file."""

    first: int = 0
    last: int = 0
    events: int = 0
    size_bytes: int = 0

    def add(self, events: Sequence[Event], size_bytes: int) -> None:
        """Count events that were written."""
        seqs = [event.seq or 0 for event in events]
        self.first = min(self.first, *seqs) if self.events else min(seqs)
        self.last = max(self.last, *seqs)
        self.events += len(seqs)
        self.size_bytes += size_bytes


class Spool:
    """The spool folder of one agent. One thread writes; sealed segments may be read by another."""

    def __init__(self, folder: Path, *, node: str, boot: str, max_bytes: int) -> None:
        self.folder = folder
        self.node = node
        self.boot = boot
        self.max_bytes = max_bytes
        self.active = Active()
        self.spooled = 0
        self._segments: OrderedDict[str, int] = OrderedDict()
        self._synced_at = 0.0
        private_folder(folder / SEALED)
        folder.chmod(0o700)
        self._lock = _locked(folder)
        self.recovered: Recovered = recover(folder, node)
        for path in sealed_files(folder):
            self._segments[object_name(path.name)] = path.stat().st_size
        self.page = CounterPage(folder / COUNTERS, boot)
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._fd = os.open(folder / ACTIVE, flags, 0o600)

    def append(self, events: Sequence[Event]) -> None:
        """Write events. On an error (disk full) none of them stands in the file."""
        for start in range(0, len(events), ENCODE_EVENTS):
            part = events[start : start + ENCODE_EVENTS]
            lines, good = encode(part)
            self.page.add_refused(len(part) - len(good))
            if good:
                self._write(lines)
                self.active.add(good, len(lines))
                self.spooled += len(good)
        if time.monotonic() - self._synced_at >= SYNC_SECONDS:
            os.fdatasync(self._fd)
            self.page.flush()
            self._synced_at = time.monotonic()

    def seal(self) -> bool:
        """Turn the append file into a segment; False where there was nothing to seal."""
        active = self.active
        if not active.events:
            return False
        name = landing.segment_name(
            landing.hour_of(now()), self.node, self.boot, active.first, active.last
        )
        size = write_segment(self.folder, name, os.pread(self._fd, active.size_bytes, 0))
        self.page.add_sealed(active.events, active.last)
        self.page.flush()  # before it may be uploaded: a power cut must not make it new again
        self._segments[name] = size
        os.ftruncate(self._fd, 0)
        self.active = Active()
        self._make_room()
        return True

    def pending(self) -> list[str]:
        """Names of the sealed segments, oldest first."""
        return list(self._segments)

    def load(self, name: str) -> Segment | None:
        """A sealed segment, or None if it was dropped meanwhile."""
        try:
            return Segment(name, (self.folder / SEALED / file_name(name)).read_bytes())
        except FileNotFoundError:
            return None

    def forget(self, name: str) -> None:
        """Delete a segment that the sink has acknowledged."""
        (self.folder / SEALED / file_name(name)).unlink(missing_ok=True)
        self._segments.pop(name, None)

    def set_aside(self, name: str) -> None:
        """Keep a segment that the sink refuses for good out of the way, for people to look at."""
        (self.folder / REFUSED).mkdir(exist_ok=True, mode=0o700)
        file = file_name(name)
        os.replace(self.folder / SEALED / file, self.folder / REFUSED / file)
        self._segments.pop(name, None)

    @property
    def size_bytes(self) -> int:
        """Bytes in the spool."""
        return self.active.size_bytes + sum(list(self._segments.values()))

    def close(self, *, clean: bool) -> None:
        """Let go of the folder; `clean` where nothing recorded is missing from it."""
        if self._fd < 0:
            return
        if clean:
            self.page.set_clean()
        self.page.flush()
        os.close(self._fd)
        os.close(self._lock)
        self._fd = self._lock = -1

    def _write(self, lines: bytes) -> None:
        view = memoryview(lines)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError:
            os.ftruncate(self._fd, self.active.size_bytes)
            raise

    def _make_room(self) -> None:
        while self.size_bytes > self.max_bytes and self._segments:
            name = next(iter(self._segments))
            segment = self.load(name)
            self.page.add_spool_dropped(0 if segment is None else lines_in(segment.data))
            self.forget(name)


def encode(events: Sequence[Event]) -> tuple[bytes, Sequence[Event]]:
    """The lines of `events` and the events they hold; one that cannot be written is left out."""
    try:
        return landing.encode(events), events
    except (ValueError, TypeError, UnicodeError):
        good = [event for event in events if _encodes(event)]
        return landing.encode(good), good


def _encodes(event: Event) -> bool:
    try:
        landing.encode([event])
    except (ValueError, TypeError, UnicodeError):
        return False
    return True


def _locked(folder: Path) -> int:
    fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = os.read(fd, 20).decode(errors="replace").strip() or "?"
        os.close(fd)
        raise WarpdriveError(
            f"the spool {folder} is in use by process {holder}: stop that agent, or give this one "
            "its own telemetry.spool_path."
        ) from None
    os.ftruncate(fd, 0)
    os.pwrite(fd, str(os.getpid()).encode(), 0)
    return fd
