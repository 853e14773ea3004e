"""Which files below a folder are opened, as the kernel tells it (inotify)."""

import ctypes
import os
import struct
from pathlib import Path

IN_OPEN, IN_ISDIR, IN_Q_OVERFLOW = 0x20, 0x40000000, 0x4000
HEAD = struct.Struct("iIII")
_libc = ctypes.CDLL(None, use_errno=True)


class Opened:
    """Watches the folders that are there now. Close it."""

    def __init__(self, root: Path) -> None:
        self._queue = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        assert self._queue >= 0, os.strerror(ctypes.get_errno())
        self._folders: dict[int, Path] = {}
        for folder in (root, *(path for path in root.rglob("*") if path.is_dir())):
            number = _libc.inotify_add_watch(self._queue, os.fsencode(folder), IN_OPEN)
            assert number >= 0, os.strerror(ctypes.get_errno())
            self._folders[number] = folder

    def files(self) -> set[Path]:
        """The files that were opened since the last call."""
        found = set()
        while told := self._read():
            place = 0
            while place < len(told):
                number, what, _, length = HEAD.unpack_from(told, place)
                assert not what & IN_Q_OVERFLOW, "more was opened than the kernel remembers"
                place += HEAD.size + length
                name = told[place - length : place].rstrip(b"\0")
                if name and not what & IN_ISDIR:
                    found.add(self._folders[number] / os.fsdecode(name))
        return found

    def _read(self) -> bytes:
        try:
            return os.read(self._queue, 1 << 20)
        except BlockingIOError:
            return b""

    def close(self) -> None:
        """End watching."""
        os.close(self._queue)
