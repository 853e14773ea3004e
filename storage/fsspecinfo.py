"""Opening what only fsspec opens, and reading what its plug-ins say of a file: no two agree."""

from __future__ import annotations

import datetime as dt
from typing import Any

import fsspec

from storage.config import Backend
from storage.credentials import without_secrets
from storage.errors import BackendError
from storage.objectstore import first_line
from storage.options import fsspec_options, url_of

_MODIFIED = ("mtime", "modified", "last_modified", "LastModified", "updated")
_ETAGS = ("ETag", "etag", "checksum", "sha256")


def open_fsspec(backend: Backend, **more: Any) -> tuple[Any, str]:
    """The file system of a backend's URL, and its root there.

    `config:` but for root and url goes to fsspec. Raises BackendError where it cannot be opened.
    """
    given = fsspec_options(backend)
    url = url_of(backend)
    try:
        return fsspec.core.url_to_fs(url, **given, **more)
    # What a plug-in raises is its own affair: fsspec has no family of errors.
    except Exception as error:  # noqa: BLE001
        said = without_secrets(f"({url}) cannot be opened: {first_line(error)}.", backend)
        raise BackendError(f"backend '{backend.name}' {said}") from None


def etag_of(info: dict[str, Any]) -> str | None:
    """What changes with the content, where the plug-in says it."""
    value = _first(info, _ETAGS)
    return None if value is None else str(value).strip('"')


def modified_of(info: dict[str, Any]) -> dt.datetime | None:
    """The last modification: plug-ins give seconds since 1970, texts, tuples or datetimes.

    Those without a zone are UTC; None where there is none.
    """
    value = _first(info, _MODIFIED)
    if value is None:
        value = info.get("date_time")  # zip: a tuple, local time of whoever made the archive
    if value is None:
        return None
    if isinstance(value, (int, float)):
        return dt.datetime.fromtimestamp(value, dt.UTC)
    if isinstance(value, (tuple, list)):
        return dt.datetime(*value, tzinfo=dt.UTC)
    found = dt.datetime.fromisoformat(value) if isinstance(value, str) else value
    return found.replace(tzinfo=dt.UTC) if found.tzinfo is None else found.astimezone(dt.UTC)


def _first(info: dict[str, Any], names: tuple[str, ...]) -> Any:
    return next((info[name] for name in names if info.get(name) is not None), None)
