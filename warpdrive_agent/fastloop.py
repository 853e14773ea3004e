"""Ask for the next request before waiting for it.

pyfuse3 goes through the event loop twice before every request, once for a lock among its idle
tasks and once for the device: half of the cost of a 4 KiB read. Under load the next request is
there already, and one poll tells; and a lock that is free can be taken without a turn of the
loop. Every 64th request goes the long way, so that other tasks get their turn.
"""

from __future__ import annotations

import select
from typing import Any

import pyfuse3
import trio

TURNS = 64


class _Instead:
    """A module with one name replaced."""

    def __init__(self, module: Any, **names: Any) -> None:
        self.__dict__.update(names)
        self._module = module

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


class _Lock:
    """A lock that is taken at once where it is free.

    Who releases it may take it again first: the task that was woken then waits on, and comes to
    its turn when the first one has to wait.
    """

    def __init__(self) -> None:
        self._held = False
        self._waiting = trio.lowlevel.ParkingLot()

    async def __aenter__(self) -> None:
        while self._held:
            await self._waiting.park()
        self._held = True

    async def __aexit__(self, *exc: object) -> None:
        self._held = False
        if self._waiting:
            self._waiting.unpark()


def ask_first() -> None:
    """Make pyfuse3's loop poll before it waits. Only pyfuse3's own view of trio is changed."""
    if not hasattr(pyfuse3, "trio"):
        return  # another version: it works as it is, only slower
    poll, known, turn = select.poll(), set[int](), 0
    wait = trio.lowlevel.wait_readable

    async def wait_readable(fd: int) -> None:
        nonlocal turn
        turn += 1
        if fd not in known:
            known.add(fd)
            poll.register(fd, select.POLLIN)
        if turn % TURNS and poll.poll(0):
            return
        await wait(fd)

    lowlevel = _Instead(trio.lowlevel, wait_readable=wait_readable)
    setattr(pyfuse3, "trio", _Instead(trio, lowlevel=lowlevel, Lock=_Lock))  # noqa: B010 - not in its stub
