"""The mount point: is it usable, is it ours, what may be tuned once it is mounted."""

from __future__ import annotations

import ctypes
import errno
import logging
import os
import re
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import NamedTuple

from storage.errors import WarpdriveError
from warpdrive_agent.capability import may_mount_directly

FS_TYPE = "fuse.warpdrive"
READ_AHEAD_KIB = 1024
MAX_BACKGROUND = 128
CONGESTION = 96
ANSWER_SECONDS = 2.0
_DETACH = 2
_OCTAL = re.compile(rb"\\([0-7]{3})")
"""How mountinfo writes spaces, tabs, newlines and backslashes of a path."""
log = logging.getLogger("warpdrive.mount")


class Mounted(NamedTuple):
    """One line of /proc/self/mountinfo."""

    device: str
    path: str
    kind: str


def mounted_at(path: str) -> Mounted | None:
    """What is mounted exactly at `path`; the last one, if several are."""
    wanted, found = os.fsencode(real_path(path)), None
    for line in Path("/proc/self/mountinfo").read_bytes().split(b"\n"):
        left, _, right = line.partition(b" - ")
        fields = left.split(b" ")
        if len(fields) > 4 and _OCTAL.sub(_byte, fields[4]) == wanted:
            found = Mounted(fields[2].decode(), os.fsdecode(wanted), right.split(b" ")[0].decode())
    return found


def real_path(path: str) -> str:
    """The path without symlinks, as the kernel names mounts; a mount that is there is not asked."""
    path = os.path.abspath(path)
    try:
        return os.path.realpath(os.path.join(os.path.dirname(path), os.readlink(path)))
    except OSError:  # no symlink: nothing of what is mounted on it was looked at
        return os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))


def _byte(escape: re.Match[bytes]) -> bytes:
    return bytes([int(escape.group(1), 8)])


def prepare(path: str) -> None:
    """Make the mount point usable. Raises WarpdriveError with the way out."""
    try:
        if not os.path.isdir(path):
            _inspect(path)
            os.mkdir(path, 0o755)
    except OSError as error:
        if error.errno == errno.ENOTCONN:
            _clean_dead(path)
            return
        raise WarpdriveError(f"mount point {path}: {error.strerror}: {_way_out(error)}") from None
    there = mounted_at(path)
    if there is not None and there.kind.startswith("fuse"):
        if _is_dead(path):
            _clean_dead(path)
            return
        raise WarpdriveError(
            f"mount point {path} is mounted already ({there.kind}): "
            f"unmount it first (fusermount3 -u {path}) or choose another mount_point."
        )


def unmount(path: str) -> None:
    """Take the mount away even if programs still use it; nothing happens if there is none."""
    if mounted_at(path) is None:
        return
    if may_mount_directly():
        ctypes.CDLL(None, use_errno=True).umount2(os.fsencode(path), _DETACH)
    elif (program := shutil.which("fusermount3")) is not None:
        subprocess.run([program, "-u", "-z", path], check=False, capture_output=True)


def tune(path: str) -> str | None:
    """Wider read-ahead and more requests in flight; None, or what an administrator can set."""
    there = mounted_at(path)
    if there is None:
        return None
    read_ahead = Path(f"/sys/class/bdi/{there.device}/read_ahead_kb")
    minor = there.device.partition(":")[2]
    try:
        read_ahead.write_text(str(READ_AHEAD_KIB))
        _tune_connection(minor)
    except OSError:
        return (
            f"the mount would be faster with, as root: echo {READ_AHEAD_KIB} > {read_ahead}; "
            f"echo {MAX_BACKGROUND} > /sys/fs/fuse/connections/{minor}/max_background"
        )
    return None


def _tune_connection(minor: str) -> None:
    folder = Path("/sys/fs/fuse/connections") / minor
    if folder.is_dir():
        _set_background(folder)
        return
    # fusectl is not mounted on this machine: look at it for a moment, somewhere private
    place = tempfile.mkdtemp(prefix="warpdrive-fusectl-")
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        if libc.mount(b"none", os.fsencode(place), b"fusectl", 0, None):
            raise OSError(ctypes.get_errno(), "mount fusectl")
        try:
            _set_background(Path(place) / minor)
        finally:
            libc.umount2(os.fsencode(place), _DETACH)
    finally:
        os.rmdir(place)


def _set_background(folder: Path) -> None:
    (folder / "max_background").write_text(str(MAX_BACKGROUND))
    (folder / "congestion_threshold").write_text(str(CONGESTION))


def _inspect(path: str) -> None:
    """Raise what is wrong with a path that is no folder; return if it can be made."""
    try:
        os.lstat(path)
    except FileNotFoundError:
        os.stat(os.path.dirname(os.path.abspath(path)))
        return
    os.stat(path)
    raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)


def _way_out(error: OSError) -> str:
    if error.errno == errno.ENOENT:
        return "make its parent folder, or choose another mount_point."
    if error.errno == errno.ENOTDIR:
        return "name a folder in mount_point."
    return "choose a mount_point that this user may make and enter."


def _is_dead(path: str) -> bool:
    """Whether nobody answers: attributes may be cached, the file system's size is not."""
    answers: list[int] = []

    def ask() -> None:
        try:
            os.statvfs(path)
        except OSError as error:
            answers.append(error.errno or 0)

    thread = threading.Thread(target=ask, daemon=True)  # a mount that hangs must not hang us
    thread.start()
    thread.join(ANSWER_SECONDS)
    return answers == [errno.ENOTCONN]


def _clean_dead(path: str) -> None:
    there = mounted_at(path)
    if there is not None and there.kind == FS_TYPE:
        unmount(path)
        if mounted_at(path) is None:
            log.warning("%s was the mount of an agent that died; it was cleaned up", path)
            return
    raise WarpdriveError(
        f"mount point {path} is the mount of a process that died: fusermount3 -u {path}"
    )
