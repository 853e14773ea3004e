"""One cached object on disk: a sparse data file, and a map with a checksum per block.

A block counts as cached when its checksum stands in the map. Blocks found at a later start are
checked before they are served: a power cut may have kept the map and lost the data.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import mmap
import os
import struct
import tempfile
from pathlib import Path
from typing import NamedTuple

import xxhash

from warpdrive_agent.segments import private_folder

MAGIC = b"WDBLOCK1"
ABSENT, UNCHECKED, GOOD, GUESSED = range(4)
"""State of a block: GUESSED is good, prefetched, and not used yet."""
_HEAD = struct.Struct("=8sQQQ")  # magic, block size, object size, bytes of names


class ObjectKey(NamedTuple):
    """One version of one object."""

    backend: str
    path: str
    version: str

    @property
    def stem(self) -> str:
        """The name of its files."""
        text = "\0".join(self).encode("utf-8", "surrogatepass")
        return hashlib.blake2b(text, digest_size=16).hexdigest()


class BlockFile:
    """The files of one object. Writing a block and reading blocks may happen in any thread."""

    def __init__(self, folder: Path, key: ObjectKey, size_bytes: int, block_bytes: int) -> None:
        self.key = key
        self.size_bytes = size_bytes
        self.block_bytes = block_bytes
        self.blocks = -(-size_bytes // block_bytes)
        stem = key.stem
        self.data_path = folder / stem[:2] / f"{stem}.data"
        self.map_path = self.data_path.with_suffix(".map")
        private_folder(self.data_path.parent)
        self.made_bytes = 0
        """How much the map takes on disk, where it was made now."""
        self._map, start = self._open_map()
        self._sums = memoryview(self._map)[start : start + 8 * self.blocks].cast("Q")
        self.states = bytearray(UNCHECKED if total else ABSENT for total in self._sums)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        self.fd = os.open(self.data_path, flags, 0o600)
        os.ftruncate(self.fd, size_bytes)

    def length(self, block: int) -> int:
        """Bytes of a block: the last one is shorter."""
        return min(self.block_bytes, self.size_bytes - block * self.block_bytes)

    def check(self, block: int) -> bool:
        """Whether a block that an earlier start left is whole."""
        try:
            data = os.pread(self.fd, self.length(block), block * self.block_bytes)
        except OSError:  # a bad sector: the backend has the bytes
            data = b""
        good = len(data) == self.length(block) and _sum(data) == self._sums[block]
        self.states[block] = GOOD if good else ABSENT
        return good

    def store(self, block: int, data: bytes, state: int) -> None:
        """Write a block. Raises OSError; then nothing of it counts."""
        if os.fstat(self.fd).st_size != self.size_bytes:
            self.doubt()  # written behind a cut, it would turn what was cut into zeros
        _write_all(self.fd, data, block * self.block_bytes)
        self._sums[block] = _sum(data)
        self.states[block] = state

    def doubt(self) -> None:
        """Something changed the data behind us: every block is checked before it is served."""
        for block, total in enumerate(self._sums):
            self.states[block] = UNCHECKED if total else ABSENT
        with contextlib.suppress(OSError):
            os.ftruncate(self.fd, self.size_bytes)

    def touch(self) -> bool:
        """Note that it was used: eviction goes by the map's time. False where it was removed."""
        try:
            os.utime(self.map_path)
        except FileNotFoundError:
            return False
        except OSError:  # it can be read all the same
            pass
        return True

    def close(self) -> None:
        """Close both files; what is cached stays."""
        self._sums.release()
        self._map.close()
        os.close(self.fd)

    def _open_map(self) -> tuple[mmap.mmap, int]:
        names = json.dumps(self.key).encode()
        head = _HEAD.pack(MAGIC, self.block_bytes, self.size_bytes, len(names)) + names
        start = -(-len(head) // 8) * 8
        head += bytes(start - len(head))
        length = start + 8 * max(1, self.blocks)
        fd = os.open(self.map_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.pread(fd, start, 0) == head and os.fstat(fd).st_size == length:
                return mmap.mmap(fd, length), start
        finally:
            os.close(fd)
        return self._fresh_map(head + bytes(length - start)), start

    def _fresh_map(self, content: bytes) -> mmap.mmap:
        """A new file in place of another: who has mapped the other must not get a SIGBUS."""
        fd, fresh = tempfile.mkstemp(dir=self.map_path.parent, suffix=".new")
        try:
            # written, not only sized: a mapped hole on a full disk would be a SIGBUS, too
            _write_all(fd, content, 0)
            mapped = mmap.mmap(fd, len(content))
            os.replace(fresh, self.map_path)
            self.made_bytes = os.fstat(fd).st_blocks * 512
        except OSError:
            Path(fresh).unlink(missing_ok=True)
            raise
        finally:
            os.close(fd)
        return mapped


def _write_all(fd: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written


def _sum(data: bytes) -> int:
    return xxhash.xxh3_64_intdigest(data) or 1
