"""A folder of this machine as a backend.

Every path is resolved by the kernel below the root (`openat2`, RESOLVE_BENEATH and
RESOLVE_NO_SYMLINKS): neither `..` nor a symlink leads out. Reading does not touch atime where
that is permitted, so that atime stays independent evidence of use.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from pathlib import Path

from storage.backends import Entry, Stat
from storage.errors import BackendError
from storage.paths import path_bytes, path_text

_NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "ceph", "lustre", "9p", "afs", "beegfs"})
_OPENAT2 = 437  # the same number on every architecture since Linux 5.6
_BENEATH = 0x08 | 0x04 | 0x02  # RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, RESOLVE_NO_MAGICLINKS
_PATH_ONLY = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_syscall = ctypes.CDLL(None, use_errno=True).syscall
_syscall.restype = ctypes.c_long


class LocalSource:
    """Files below `root`, each with its own owner and permissions."""

    local = True

    def __init__(self, name: str, root: str) -> None:
        self.name = name
        self.root = root
        try:
            self._root = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise BackendError(
                f"backend '{name}': config.root {root}: {error.strerror}: "
                "name a folder that exists and that this user may read."
            ) from None
        self.slow = filesystem_type(root) in _NETWORK

    def stat(self, path: str) -> Stat:
        """What is at `path`; symlinks are not followed."""
        fd = self._open(path, _PATH_ONLY)
        try:
            return _stat(os.fstat(fd))
        finally:
            os.close(fd)

    def list(self, path: str) -> list[Entry]:
        """The entries of a folder, sorted by name; types of all kinds are shown."""
        fd = self._open_without_atime(path, _FOLDER)
        try:
            with os.scandir(fd) as entries:
                found = [Entry(path_text(os.fsencode(e.name)), _stat_entry(e)) for e in entries]
        finally:
            os.close(fd)
        return sorted(found, key=lambda entry: entry.name)

    def read(self, path: str, offset: int, size: int) -> bytes:
        """A byte range of a file, shorter only at its end."""
        reader = self.open(path)
        try:
            return reader.read(offset, size)
        finally:
            reader.close()

    def open(self, path: str) -> LocalReader:
        """A reader of a regular file; EINVAL for anything else, EISDIR for a folder."""
        fd = self._open_without_atime(path, _FILE)
        found = _stat(os.fstat(fd))
        if found.is_file:
            return LocalReader(fd, found, waits=self.slow)
        os.close(fd)
        raise _os_error(errno.EISDIR if found.is_folder else errno.EINVAL, path)

    def readlink(self, path: str) -> str:
        """The target of a symlink, as the text of its bytes."""
        fd = self._open(path, _PATH_ONLY)
        try:
            return path_text(os.readlink(b"", dir_fd=fd))
        finally:
            os.close(fd)

    def xattrs(self, path: str) -> dict[str, bytes]:
        """The `user.` attributes of a file or folder; the other name spaces are the host's."""
        fd = self._open(path, _PATH_ONLY)
        try:
            place = f"/proc/self/fd/{fd}"
            names = [name for name in os.listxattr(place) if name.startswith("user.")]
            return {name: os.getxattr(place, name) for name in names}
        finally:
            os.close(fd)

    def space(self) -> os.statvfs_result:
        """Size and free room of the file system below the root."""
        return os.fstatvfs(self._root)  # by its path it may be below the agent's own mount

    def close(self) -> None:
        """Let go of the root; twice is harmless."""
        if self._root >= 0:
            os.close(self._root)
        self._root = -1

    def _open_without_atime(self, path: str, flags: int) -> int:
        try:
            return self._open(path, flags | os.O_NOATIME)
        except PermissionError:  # only the owner and root may ask for it
            return self._open(path, flags)

    def _open(self, path: str, flags: int) -> int:
        try:
            raw = path_bytes(path) or b"."
        except ValueError:
            raise _os_error(errno.ENOENT, path) from None
        if b"\0" in raw or raw.startswith(b"/"):
            raise _os_error(errno.ENOENT, path)
        how = struct.pack("QQQ", flags, 0, _BENEATH)
        while True:
            fd = _syscall(_OPENAT2, self._root, raw, how, len(how))
            if fd >= 0:
                return fd
            code = ctypes.get_errno()
            if code == errno.ENOSYS or (code == errno.EPERM and not flags & os.O_NOATIME):
                return _walk(self._root, raw, flags)
            if code not in (errno.EINTR, errno.EAGAIN):
                raise _os_error(errno.ENOENT if code == errno.EXDEV else code, path)


class LocalReader:
    """One open local file."""

    def __init__(self, fd: int, stat: Stat, *, waits: bool) -> None:
        self.stat = stat
        self._fd = fd
        self._flags = os.RWF_NOWAIT
        self._waits = waits

    def ready(self, offset: int, into: memoryview) -> int:
        """Read what the page cache holds; -1 where the disk would have to be asked."""
        try:
            count = os.preadv(self._fd, (into,), offset, self._flags)
        except BlockingIOError:
            return -1
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP or self._waits:
                return -1
            self._flags = 0  # this file system cannot tell; it is local, so it is asked at once
            return self.ready(offset, into)
        if count < len(into) and offset + count < os.fstat(self._fd).st_size:
            return -1
        return count

    def read(self, offset: int, size: int) -> bytes:
        """Exactly `size` bytes, fewer only at the end of the file."""
        data = os.pread(self._fd, size, offset)
        if len(data) == size or not data:
            return data
        parts, count = [data], len(data)
        while count < size and (data := os.pread(self._fd, size - count, offset + count)):
            parts.append(data)
            count += len(data)
        return b"".join(parts)

    def stat_now(self) -> Stat:
        """The open file as it is now, also where it was renamed or removed."""
        return _stat(os.fstat(self._fd))

    def close(self) -> None:
        """Close the file; twice is harmless."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def filesystem_type(path: str) -> str:
    """The type of the file system that holds `path`, as in /proc/mounts; "" if unknown."""
    try:
        device = os.stat(path).st_dev
        wanted = f"{os.major(device)}:{os.minor(device)}"
        for line in Path("/proc/self/mountinfo").read_text(errors="replace").splitlines():
            left, _, right = line.partition(" - ")
            if left.split(" ")[2] == wanted:
                return right.split(" ")[0]
    except (OSError, IndexError):
        pass
    return ""


def _walk(root: int, raw: bytes, flags: int) -> int:
    """Open `raw` one component at a time, where the kernel has no openat2."""
    parts = [part for part in raw.split(b"/") if part not in (b"", b".")] or [b"."]
    if b".." in parts:
        raise _os_error(errno.ENOENT, path_text(raw))
    folder = os.dup(root)
    try:
        for part in parts[:-1]:
            inner = os.open(part, _PATH_ONLY | os.O_DIRECTORY, dir_fd=folder)
            os.close(folder)
            folder = inner
        return os.open(parts[-1], flags, dir_fd=folder)
    finally:
        os.close(folder)


def _stat_entry(entry: os.DirEntry[str]) -> Stat | None:
    try:
        return _stat(entry.stat(follow_symlinks=False))
    except OSError:
        return None


def _stat(found: os.stat_result) -> Stat:
    return Stat(
        mode=found.st_mode,
        size_bytes=found.st_size,
        modified_ns=found.st_mtime_ns,
        uid=found.st_uid,
        gid=found.st_gid,
        version=f"{found.st_ino}-{found.st_size}-{found.st_mtime_ns}-{found.st_ctime_ns}",
        links=found.st_nlink,
        changed_ns=found.st_ctime_ns,
        accessed_ns=found.st_atime_ns,
        inode=found.st_ino,
        blocks=found.st_blocks,
    )


def _os_error(code: int, path: str) -> OSError:
    return OSError(code, os.strerror(code), path)
