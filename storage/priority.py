"""The priority of a process among those of its machine."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_AUTOGROUP = Path("/proc/self/autogroup")


def give_way(nice: int) -> None:
    """Make this process, the first of its session, give way to others by `nice` steps (0 to 19).

    Where Linux schedules sessions as groups (sched(7), "The autogroup feature"), the nice value of
    a process counts within its session only: the session's own is set too.
    """
    os.nice(nice)
    with suppress(OSError):  # no such groups here, or the session belongs to somebody else
        _AUTOGROUP.write_text(str(nice))
