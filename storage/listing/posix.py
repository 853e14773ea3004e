"""List a local folder or an NFS mount: one stat per entry, no symlink followed.

GNU find walks, several of it side by side, where it is installed (`storage.listing.gnufind`);
our own walker does where it is not. Both give the same rows. No file is opened, so no file's
access time moves (a folder's does, as with `ls`). Of several hard links the smallest path has the
bytes, the others have 0 and `link_of`. What is mounted below the root belongs to it, unless the
backend says `config: {one_file_system: true}`.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterable, Iterator

import pyarrow as pa

from storage.errors import BackendError
from storage.listing import gnufind, links, scandir
from storage.listing.columns import LISTED, Listing


def list_posix(
    root: str, snapshot_at: dt.datetime, *, walker: str = "auto", one_file_system: bool = False
) -> Listing:
    """Every regular file below `root`, read as the batches are used.

    `walker`: find, scandir, or auto (find where GNU find is). Raises BackendError when `root`
    itself cannot be read.
    """
    place = os.fsencode(root)
    try:
        os.scandir(place).close()
        before = os.stat(place)
    except OSError as error:
        raise BackendError(f"{root}: cannot be listed: {error.strerror}.") from None
    use_find = walker == "find" or (walker == "auto" and gnufind.available())
    walk = gnufind.walk if use_find else scandir.walk
    unreadable: list[str] = []
    rows = walk(place, unreadable, one_file_system=one_file_system)
    found = _watched(links.counted_once(rows), place, before, unreadable)
    return Listing(found, unreadable, snapshot_at, "list")


def _watched(
    batches: Iterable[pa.RecordBatch], root: bytes, before: os.stat_result, unreadable: list[str]
) -> Iterator[pa.RecordBatch]:
    """The batches; of a root that went away or was mounted over meanwhile nothing is known."""
    for found in batches:
        yield found.select(LISTED.names)
    try:
        now = os.stat(root)
    except OSError:
        now = None
    moved = now is None or (now.st_dev, now.st_ino) != (before.st_dev, before.st_ino)
    if moved and "" not in unreadable:
        unreadable.append("")
