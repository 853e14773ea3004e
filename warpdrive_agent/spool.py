"""Events on disk between the recorder and the sink.

`active.jsonl` is appended to; sealing turns it into one compressed segment whose name and bytes
never change again, and which is deleted only after the sink has acknowledged it. A write reaches
the kernel at once (it survives `kill -9`); it is synced to disk at most once a second and at every
seal (a power cut costs at most that second).
"""

from __future__ import annotations

import fcntl
import logging
import os
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from storage import landing
from storage.clock import now
from storage.errors import WarpdriveError
from storage.landing import Event
from warpdrive_agent.counters import CounterPage, is_file
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
LOCK = "lock"
log = logging.getLogger("warpdrive.telemetry")


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

    def stand(self) -> None:
        """Make the folder again where somebody removed it, from the files that are still open.

        Segments that went with it are lost; the uploader counts them. Raises OSError, and
        WarpdriveError where another agent has taken the place.
        """
        folder = self.folder
        known = is_file(folder / ACTIVE, os.fstat(self._fd).st_ino)
        if known and (folder / SEALED).is_dir():
            return
        log.warning("telemetry: the spool %s was removed; it is made again", folder)
        private_folder(folder / SEALED)
        if not is_file(folder / LOCK, os.fstat(self._lock).st_ino):
            before, self._lock = self._lock, _locked(folder)
            os.close(before)
        if not known:
            self._fd = _moved(self._fd, folder / ACTIVE, self.active.size_bytes)
        self.page.flush()

    def append(self, events: Sequence[Event]) -> None:
        """Write events. On an error (disk full) none of them stands in the file."""
        due = time.monotonic() - self._synced_at >= SYNC_SECONDS
        if due:
            self.stand()
        before, active = self.active, replace(self.active)
        try:
            for start in range(0, len(events), ENCODE_EVENTS):
                lines, good = encode(events[start : start + ENCODE_EVENTS])
                if good:
                    _write_all(self._fd, lines)
                    active.add(good, len(lines))
        except OSError:
            os.ftruncate(self._fd, before.size_bytes)
            raise
        self.active = active
        written = active.events - before.events
        self.spooled += written
        self.page.add_refused(len(events) - written)
        if due:
            self._sync()

    def seal(self) -> bool:
        """Turn the append file into a segment; False where there was nothing to seal."""
        active = self.active
        if not active.events:
            return False
        self.stand()
        name = landing.segment_name(
            landing.hour_of(now()), self.node, self.boot, active.first, active.last
        )
        size = write_segment(self.folder, name, os.pread(self._fd, active.size_bytes, 0))
        self.page.add_sealed(active.events, active.last)
        self._sync()  # before it may be uploaded: a power cut must not make it new again
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
        self._segments.pop(name, None)
        (self.folder / SEALED / file_name(name)).unlink(missing_ok=True)

    def miss(self, name: str) -> None:
        """Count a segment whose file somebody removed, unless it was let go of on purpose."""
        landed = landing.parse_name(name)
        if self._segments.pop(name, None) is not None and landed is not None:
            self.page.add_spool_dropped((landed.last or 0) - (landed.first or 0) + 1)

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

    def _sync(self) -> None:
        """Bring it to the disk. Where that fails it is written all the same, never once more."""
        self._synced_at = time.monotonic()
        try:
            os.fdatasync(self._fd)
            self.page.flush()
        except OSError as error:
            log.warning("telemetry: the spool %s cannot be synced: %s", self.folder, error.strerror)

    def _make_room(self) -> None:
        while self.size_bytes > self.max_bytes and self._segments:
            name = next(iter(self._segments))
            segment = self.load(name)
            self.page.add_spool_dropped(0 if segment is None else lines_in(segment.data))
            self.forget(name)


def _moved(old: int, path: Path, size: int) -> int:
    """A new append file with what the old one holds; the old one is closed then."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        _write_all(fd, os.pread(old, size, 0))
    except OSError:
        os.close(fd)
        path.unlink(missing_ok=True)
        raise
    os.close(old)
    return fd


def _write_all(fd: int, lines: bytes) -> None:
    view = memoryview(lines)
    while view:
        view = view[os.write(fd, view) :]


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
    fd = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
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
