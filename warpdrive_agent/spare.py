"""Blocks that found no room in the cache, kept in memory for the reads that follow.

A program takes a block in many small reads: without these each of them would fetch all of it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import NamedTuple

from warpdrive_agent.blockfile import ObjectKey

MOST_BYTES = 64 * 1024**2


class _Kept(NamedTuple):
    data: bytes
    used: bool


class Spare:
    """The last few of such blocks, of all objects."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[ObjectKey, int], _Kept] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def put(self, key: ObjectKey, block: int, data: bytes, *, used: bool) -> None:
        """Keep a block; `used` where a program waits for it, not where it is a guess."""
        with self._lock:
            before = self._kept.pop((key, block), None)
            self._size += len(data) - (len(before.data) if before else 0)
            self._kept[key, block] = _Kept(data, used)
            while self._size > MOST_BYTES and len(self._kept) > 1:
                self._size -= len(self._kept.popitem(last=False)[1].data)

    def get(self, key: ObjectKey, block: int, *, used: bool) -> tuple[bytes, bool] | None:
        """A block, and whether it is used for the first time; None where it is not here."""
        if not self._kept:
            return None
        with self._lock:
            found = self._kept.get((key, block))
            if found is None:
                return None
            self._kept[key, block] = _Kept(found.data, found.used or used)
            self._kept.move_to_end((key, block))
            return found.data, used and not found.used
