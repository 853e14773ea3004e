"""Can this machine mount? Asked without importing anything heavy."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import shutil
from pathlib import Path

_SYS_ADMIN = 21


def mount_problem() -> str | None:
    """None if this machine can mount, else one line that says why not and what helps."""
    for module in ("pyfuse3", "trio"):
        if importlib.util.find_spec(module) is None:
            return f"{module} is missing: pip install 'warpdrive[agent]' (needs libfuse3-dev)."
    if not Path("/dev/fuse").exists():
        return "/dev/fuse does not exist: load the kernel module fuse (modprobe fuse)."
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return f"/dev/fuse: {error.strerror}: only users who may open it can mount."
    try:
        ctypes.CDLL("libfuse3.so.3")
    except OSError:
        return "libfuse3 is not installed: apt-get install libfuse3-3 fuse3."
    if may_mount_directly() or shutil.which("fusermount3"):
        return None
    return "fusermount3 is not installed: apt-get install fuse3, or mount as root."


def may_mount_directly() -> bool:
    """Whether this process may mount by itself (root, not in a locked-down container)."""
    if os.geteuid() != 0:
        return False
    try:
        status = Path("/proc/self/status").read_text()
        effective = next(line for line in status.splitlines() if line.startswith("CapEff:"))
        return bool(int(effective.split()[1], 16) >> _SYS_ADMIN & 1)
    except (OSError, StopIteration, ValueError):
        return True


def may_allow_other() -> bool:
    """Whether other users may be let in: root may, others where /etc/fuse.conf says so."""
    if os.geteuid() == 0:
        return True
    try:
        lines = Path("/etc/fuse.conf").read_text().splitlines()
    except OSError:
        return False
    return any(line.strip() == "user_allow_other" for line in lines)
