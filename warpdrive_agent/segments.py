"""Files of the spool: names, and segments that are written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from storage import landing

ACTIVE = "active.jsonl"
SEALED = "sealed"
REFUSED = "refused"
COUNTERS = "counters"
MAX_SEGMENT_BYTES = 256 * 1024**2
_FRESH = "sealing"


def write_segment(folder: Path, name: str, lines: bytes) -> int:
    """Compress lines into a sealed segment, whole or not at all; its size in bytes."""
    data = landing.compress([lines])
    fresh = folder / _FRESH
    path = folder / SEALED / file_name(name)
    try:
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
    return len(data)


def discard_unfinished(folder: Path) -> None:
    """Remove a segment that was being written when the agent died."""
    (folder / _FRESH).unlink(missing_ok=True)


def sealed_files(folder: Path) -> list[Path]:
    """The sealed segments, oldest first."""
    return sorted((folder / SEALED).iterdir(), key=lambda p: (p.stat().st_mtime_ns, p.name))


def lines_in(data: bytes) -> int:
    """Events in the bytes of a segment; 0 where it is damaged."""
    try:
        return landing.decompress("x.zst", data, MAX_SEGMENT_BYTES).count(b"\n")
    except ValueError:
        return 0


def private_folder(folder: Path) -> None:
    """Make a folder, and those above it that are missing, for this user only."""
    if not folder.exists():
        private_folder(folder.parent)
        folder.mkdir(exist_ok=True, mode=0o700)


def sync_folder(folder: Path) -> None:
    """Make renames in a folder survive a power cut."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def file_name(object_name: str) -> str:
    """The name of a segment's file: `,` for `/`, as a percent-encoded node holds no comma."""
    return object_name.replace("/", ",")


def object_name(file_name: str) -> str:
    """The object name of a segment's file."""
    return file_name.replace(",", "/")
