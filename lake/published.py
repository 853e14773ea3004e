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
        """The rows of a document; none where it was never published.

        Raises LakeError where it was tidied away: ten generations have been published since.
        """
        if name not in self.documents:
            return []
        try:
            found: list[Row] = json.loads(read_bytes(self.root, self.documents[name]))
        except FileNotFoundError as error:
            raise LakeError(f"{error}: newer results are published: ask again.") from None
        except ValueError as error:
            raise LakeError(
                f"{self.root}/{self.documents[name]} is damaged ({error}): "
                "run `warpdrive refresh` to publish again."
            ) from None
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


def read_bytes(root: str, name: str) -> bytes:
    """An object below a published root. Raises FileNotFoundError, LakeError."""
    if "://" not in root:
        try:
            return (Path(root) / name).read_bytes()
        except FileNotFoundError:
            raise
        except OSError as error:
            raise LakeError(f"{root}/{name}: cannot be read: {error.strerror}.") from None
    from storage.objectstore import get, open_store

    return get(open_store(root), name)
