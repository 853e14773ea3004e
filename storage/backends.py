"""What the agent needs of a backend: stat, list a folder, read a byte range, open.

Paths are relative to the backend's root, `/`-separated, without a leading `/`; the root is "".
Failures are OSError with the errno a program should see.
"""

from __future__ import annotations

import os
import stat as modes
from typing import NamedTuple, Protocol

from storage.config import Backend


class Stat(NamedTuple):
    """What a backend says about one file, folder or symlink."""

    mode: int
    """Type and permission bits, as in `st_mode`."""
    size_bytes: int
    modified_ns: int
    """Nanoseconds since 1970, UTC."""
    uid: int
    gid: int
    version: str
    """Changes when the content does: the etag, or inode, size and times of a local file."""
    links: int = 1
    changed_ns: int = 0
    accessed_ns: int = 0
    inode: int = 0
    """Of a local file; 0 where the backend has none."""
    blocks: int = -1
    """Of 512 bytes, on disk: fewer than its size where it has holes; -1 where nobody knows."""

    @property
    def identity(self) -> str:
        """Another one is another file: a local file keeps it while it is written to."""
        return str(self.inode) if self.inode else self.version.strip('"')  # lists leave quotes out

    @property
    def is_folder(self) -> bool:
        """Whether it can be listed."""
        return modes.S_ISDIR(self.mode)

    @property
    def is_file(self) -> bool:
        """Whether it can be read."""
        return modes.S_ISREG(self.mode)


class Entry(NamedTuple):
    """One name in a folder; `stat` is None where it vanished while it was listed."""

    name: str
    stat: Stat | None


class Reader(Protocol):
    """One open file."""

    stat: Stat

    def ready(self, offset: int, into: memoryview) -> int:
        """Read what needs no waiting into `into`; -1 where some of it would have to wait."""
        ...

    def read(self, offset: int, size: int) -> bytes:
        """Exactly `size` bytes, fewer only at the end of the file. May wait."""
        ...

    def stat_now(self) -> Stat:
        """What is known of the open file, whatever is at its path by now. Does not wait."""
        ...

    def close(self) -> None:
        """Let go of it. Never raises; twice is harmless."""
        ...


class Source(Protocol):
    """One backend, for reading."""

    name: str
    slow: bool
    """Whether stat and list may wait for a network."""
    local: bool
    """Whether the bytes are on this machine, so that no block cache is needed."""

    def stat(self, path: str) -> Stat:
        """What is at `path`; symlinks are not followed. Raises FileNotFoundError."""
        ...

    def list(self, path: str) -> list[Entry]:
        """The entries of a folder, sorted by name."""
        ...

    def read(self, path: str, offset: int, size: int) -> bytes:
        """A byte range of a file, shorter only at its end."""
        ...

    def open(self, path: str) -> Reader:
        """A reader of the file at `path`."""
        ...

    def readlink(self, path: str) -> str:
        """The target of a symlink, as the backend has it."""
        ...

    def xattrs(self, path: str) -> dict[str, bytes]:
        """The extended attributes that may be shown."""
        ...

    def space(self) -> os.statvfs_result | None:
        """Size and free room, where the backend can tell."""
        ...

    def close(self) -> None:
        """Let go of the backend; twice is harmless."""
        ...


def open_backend(backend: Backend) -> Source:
    """The source of a backend record; types without a reader of their own go through fsspec.

    Raises WarpdriveError where it cannot be opened.
    """
    if backend.type == "local":
        from storage.localfiles import LocalSource

        return LocalSource(backend.name, backend.root)
    if backend.type in ("s3", "azureblob", "gcs"):
        from storage.objectfiles import ObjectSource

        return ObjectSource(backend)
    from storage.fsspecfiles import FsspecSource

    return FsspecSource(backend)
