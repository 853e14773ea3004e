"""The priority of a process among those of its machine."""

from __future__ import annotations

import ctypes
import os
import platform
from contextlib import suppress
from pathlib import Path

_AUTOGROUP = Path("/proc/self/autogroup")
_SCHED_SETATTR = {("Linux", "x86_64"): 314, ("Linux", "aarch64"): 274}.get(
    (platform.system(), platform.machine())
)
"""sched_setattr(2): neither Python nor the C library of many systems has a name for it."""
SHORT_NS = 100_000


class _SchedAttr(ctypes.Structure):
    """`struct sched_attr` as it was first, 48 bytes."""

    _fields_ = (
        ("size", ctypes.c_uint32), ("policy", ctypes.c_uint32), ("flags", ctypes.c_uint64),
        ("nice", ctypes.c_int32), ("priority", ctypes.c_uint32), ("runtime", ctypes.c_uint64),
        ("deadline", ctypes.c_uint64), ("period", ctypes.c_uint64),
    )  # fmt: skip


def run_in_turns(slice_ns: int = SHORT_NS) -> None:
    """Ask for short slices of a core, for this thread and those that it starts; 0: the usual ones.

    The share of the core stays the same. Since Linux 6.12 whoever asks for shorter slices than the
    one who runs takes its core when it wakes, rather than at the end of the other's slice of
    milliseconds; older kernels take no notice.
    """
    if _SCHED_SETATTR is None or os.sched_getscheduler(0) != os.SCHED_OTHER:
        return
    wanted = _SchedAttr(
        size=ctypes.sizeof(_SchedAttr), policy=os.SCHED_OTHER,
        nice=os.getpriority(os.PRIO_PROCESS, 0), runtime=slice_ns,
    )  # fmt: skip
    ctypes.CDLL(None).syscall(_SCHED_SETATTR, 0, ctypes.byref(wanted), 0)  # a wish


def give_way(nice: int) -> None:
    """Make this process, the first of its session, give way to others by `nice` steps (0 to 19).

    Where Linux schedules sessions as groups (sched(7), "The autogroup feature"), the nice value of
    a process counts within its session only: the session's own is set too. Slices that the parent
    asked for are the usual ones again.
    """
    os.nice(nice)
    run_in_turns(0)
    with suppress(OSError):  # no such groups here, or the session belongs to somebody else
        _AUTOGROUP.write_text(str(nice))
