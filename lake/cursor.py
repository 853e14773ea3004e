"""Where a page of stale files ended, as a text that a client hands back. Standard library only."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any, NamedTuple

from storage.errors import UsageError


class Key(NamedTuple):
    """Where a page ended: the next one begins behind it, though rows came or went meanwhile."""

    size_bytes: int
    backend: str
    path: str


def cursor(row: dict[str, Any]) -> str:
    """The cursor of the page whose last row this is."""
    text = json.dumps([row["size_bytes"], row["backend"], row["path"]], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def key(text: str) -> Key | None:
    """The key in a cursor; None for an empty one. Raises UsageError for anything else."""
    if not text:
        return None
    try:
        body = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        size, backend, path = json.loads(body)
    except (ValueError, TypeError, RecursionError, binascii.Error):
        size, backend, path = None, None, None
    if type(size) is not int or not isinstance(backend, str) or not isinstance(path, str):
        raise UsageError(f"cursor '{text[:80]}' is not one that a page ended with: start without.")
    return Key(min(max(size, -1), 2**63 - 1), backend, path)
