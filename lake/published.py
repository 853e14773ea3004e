"""Read published results: JSON documents, no engine. Standard library only on local disk.

`CURRENT` names the generation and every document in it, so one answer never mixes two refreshes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from storage.errors import LakeError

CURRENT = "CURRENT"
TRIES = 5
Row = dict[str, Any]


@dataclass
class Generation:
    """One published set of results. `documents` maps a name to its place under published/."""

    root: str
    number: int = 0
    as_of: str = ""
    published_at: str = ""
    documents: dict[str, str] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    ingest_lag_seconds: float | None = None

    def rows(self, name: str) -> list[Row]:
        """The rows of a document; none where it was never published. Raises FileNotFoundError."""
        if name not in self.documents:
            return []
        found: list[Row] = json.loads(read_bytes(self.root, self.documents[name]))
        return found


def place(lake_root: str) -> str:
    """Where results of a lake are published."""
    return f"{lake_root.rstrip('/')}/published"


def current(lake_root: str) -> Generation:
    """The current generation; number 0 and no documents where nothing was published yet."""
    root = place(lake_root)
    try:
        found = json.loads(read_bytes(root, CURRENT))
        return Generation(root=root, **found)
    except FileNotFoundError:
        return Generation(root=root)
    except (ValueError, TypeError) as error:
        raise LakeError(
            f"{root}/{CURRENT} is damaged ({error}): run `warpdrive refresh` to publish again."
        ) from None


def rows(lake_root: str, *names: str) -> tuple[Generation, dict[str, list[Row]]]:
    """Documents of one generation; read again when it was tidied away meanwhile."""
    for attempt in range(TRIES):
        generation = current(lake_root)
        try:
            return generation, {name: generation.rows(name) for name in names}
        except FileNotFoundError as error:
            if attempt == TRIES - 1:
                raise LakeError(
                    f"{error}: a published document is gone: run `warpdrive refresh`."
                ) from None
    raise AssertionError(names)


def read_bytes(root: str, name: str) -> bytes:
    """An object below a published root. Raises FileNotFoundError."""
    if "://" not in root:
        return (Path(root) / name).read_bytes()
    from storage.objectstore import get, open_store

    return get(open_store(root), name)
