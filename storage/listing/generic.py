"""List anything that fsspec opens: the fallback for backends that have no lister of their own."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

import fsspec
import pyarrow as pa

from storage.config import Backend
from storage.errors import BackendError
from storage.listing.columns import Listing, batch
from storage.objectstore import first_line
from storage.options import url_of
from storage.paths import path_text

ROWS = 50_000
_OURS = ("root", "url")
_MODIFIED = ("mtime", "modified", "last_modified", "LastModified", "updated")
_ETAGS = ("ETag", "etag", "checksum", "sha256")


def list_generic(backend: Backend, snapshot_at: dt.datetime) -> Listing:
    """Every file below the backend's URL; `config:` but for root and url goes to fsspec.

    Raises BackendError when it cannot be listed.
    """
    return Listing(_batches(backend), [], snapshot_at, "list")


def _batches(backend: Backend) -> Iterator[pa.RecordBatch]:
    given = {k: v for k, v in backend.options.items() if k not in _OURS}
    try:
        system, root = fsspec.core.url_to_fs(url_of(backend), **given)
        found = system.find(root, detail=True)
        there = bool(found) or system.exists(root)
    # What a plug-in raises is its own affair: fsspec has no family of errors.
    except Exception as error:
        raise BackendError(
            f"backend '{backend.name}' ({url_of(backend)}) cannot be listed: {first_line(error)}."
        ) from error
    if not there:
        raise BackendError(f"backend '{backend.name}' ({url_of(backend)}) does not exist.")
    entries = [(_relative(name, root), info) for name, info in sorted(found.items())]
    for start in range(0, len(entries), ROWS):
        yield _batch(entries[start : start + ROWS])


def _relative(name: str, root: str) -> str:
    return path_text(name.removeprefix(root.rstrip("/")).lstrip("/"))


def _batch(entries: list[tuple[str, dict[str, Any]]]) -> pa.RecordBatch:
    return batch(
        {
            "path": [path for path, _ in entries],
            "size_bytes": [int(info.get("size") or 0) for _, info in entries],
            "etag": [_text(_first(info, _ETAGS)) for _, info in entries],
            "modified_at": [_instant(_first(info, _MODIFIED)) for _, info in entries],
        },
        len(entries),
    )


def _first(info: dict[str, Any], names: tuple[str, ...]) -> Any:
    return next((info[name] for name in names if info.get(name) is not None), None)


def _text(value: Any) -> str | None:
    return None if value is None else str(value).strip('"')


def _instant(value: Any) -> dt.datetime | None:
    """Plug-ins give seconds since 1970, texts or datetimes; those without a zone are UTC."""
    if value is None:
        return None
    if isinstance(value, (int, float)):
        return dt.datetime.fromtimestamp(value, dt.UTC)
    found = dt.datetime.fromisoformat(value) if isinstance(value, str) else value
    return found.replace(tzinfo=dt.UTC) if found.tzinfo is None else found.astimezone(dt.UTC)
