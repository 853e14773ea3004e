"""A place for what heavy steps write between two of them; gone when they are done."""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import obstore

from lake.runner import INLINE, Runner
from storage.objectstore import listed, open_store

FOLDER = "_work"


@dataclass(frozen=True)
class Work:
    """Where heavy steps run and leave what passes between them."""

    place: str
    runner: Runner = INLINE
    keep: bool = False
    """Rows of `file_reader` are written for their table too."""


@contextmanager
def workplace(root: str) -> Iterator[str]:
    """A folder below the lake that every worker reaches; the machine's own where that is closed."""
    if "://" in root:
        place = f"{root.rstrip('/')}/{FOLDER}/{uuid.uuid4().hex}"
        try:
            yield place
        finally:
            store = open_store(place)
            names = [info.name for info in listed(store)]
            if names:
                obstore.delete(store, names)
        return
    place = _local(root)
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _local(root: str) -> str:
    try:
        parent = Path(root) / FOLDER
        parent.mkdir(exist_ok=True)
        return tempfile.mkdtemp(dir=parent)
    except OSError:  # a reader that may not write the lake
        return tempfile.mkdtemp(prefix="warpdrive-")
