"""List anything that fsspec opens: the fallback for backends that have no lister of their own."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
from fsspec.asyn import AsyncFileSystem
from fsspec.spec import AbstractFileSystem

from storage.config import Backend
from storage.credentials import without_secrets
from storage.errors import BackendError
from storage.fsspecinfo import etag_of, modified_of, open_fsspec
from storage.listing.columns import Listing, batch
from storage.objectstore import first_line
from storage.options import url_of
from storage.paths import path_text

ROWS = 50_000


def list_generic(backend: Backend, snapshot_at: dt.datetime) -> Listing:
    """Every file below the backend's URL; `config:` but for root and url goes to fsspec.

    Raises BackendError when it cannot be listed.
    """
    return Listing(_batches(backend), [], snapshot_at, "list")


def _batches(backend: Backend) -> Iterator[pa.RecordBatch]:
    system, root = open_fsspec(backend)
    try:
        there = system.exists(root)
        found = _found(system, root) if there else {}
    # What a plug-in raises is its own affair: fsspec has no family of errors.
    except Exception as error:  # noqa: BLE001
        said = f"({url_of(backend)}) cannot be listed: {first_line(error)}."
        raise BackendError(f"backend '{backend.name}' {without_secrets(said, backend)}") from None
    if not there:
        raise BackendError(f"backend '{backend.name}' ({url_of(backend)}) does not exist.")
    entries = [(_relative(name, root), info) for name, info in sorted(found.items())]
    for start in range(0, len(entries), ROWS):
        yield _batch(entries[start : start + ROWS])


def _found(system: Any, root: str) -> dict[str, dict[str, Any]]:
    """Every file below a root by its name.

    Fsspec's own `find` leaves out folders below the root that cannot be read, whatever `on_error`
    says: they are walked here, so that such a listing fails. A plug-in's own `find` is trusted.
    """
    kind = type(system)
    own = getattr(kind, "find", None) is AbstractFileSystem.find
    walked = getattr(kind, "_find", None) is AsyncFileSystem._find  # noqa: SLF001
    return _walked(system, root) if own or walked else system.find(root, detail=True)


def _walked(system: Any, root: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    todo, seen = [root], set[str]()
    while todo:
        folder = todo.pop()
        try:
            entries = system.ls(folder, detail=True)
        except FileNotFoundError:
            if folder == root:
                raise
            continue  # it vanished since its parent was listed
        seen.add(folder.rstrip("/"))
        for info in entries:
            name = info["name"].rstrip("/")
            if info["type"] != "directory":
                found[info["name"]] = info
            elif name not in seen:
                todo.append(name)
    return found


def _relative(name: str, root: str) -> str:
    return path_text(name.removeprefix(root.rstrip("/")).lstrip("/"))


def _batch(entries: list[tuple[str, dict[str, Any]]]) -> pa.RecordBatch:
    return batch(
        {
            "path": [path for path, _ in entries],
            "size_bytes": [int(info.get("size") or 0) for _, info in entries],
            "etag": [etag_of(info) for _, info in entries],
            "modified_at": [modified_of(info) for _, info in entries],
        },
        len(entries),
    )
