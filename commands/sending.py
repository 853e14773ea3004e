"""`warpdrive ingest --server URL FILE…`: event files to a server, each line once.

A file goes in parts that are named after the sha256 of everything up to their end, so a part that
comes twice counts once. What a server acknowledged is remembered on this machine, so that a log
that grew goes on where it ended.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipelines.importing import event_files, new_parts
from storage.errors import UsageError
from storage.landing import compress
from storage.units import format_size

PART_SECONDS = 600.0


def send(server: Any, paths: Sequence[str]) -> str:
    """Send event files; a line that says what became of them. Raises UsageError, ServerError."""
    files = event_files(paths)
    memory = Memory(server.url)
    accepted = quarantined = sent_bytes = 0
    for file in files:
        for part, digest, start, end in new_parts(file, memory.known):
            told = server.send(
                "POST", "/ingest", body=compress([part]), seconds=PART_SECONDS,
                headers={
                    "Content-Type": "application/x-ndjson", "Content-Encoding": "zstd",
                    "Idempotency-Key": f"import {digest} {start}-{end}",
                },
            )  # fmt: skip
            memory.add(end, digest)
            accepted += told["accepted"]
            quarantined += told.get("quarantined", 0)
            sent_bytes += len(part)
    return (
        f"Sent {format_size(sent_bytes)} new of {len(files)} files: {accepted} events accepted, "
        f"{quarantined} of them for the quarantine. Reports follow at the server's next refresh."
    )


class Memory:
    """End offset → sha256 of the prefixes that a server has."""

    def __init__(self, url: str) -> None:
        state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
        self._file = state / "warpdrive" / f"sent-{hashlib.sha256(url.encode()).hexdigest()}.json"
        try:
            found = json.loads(self._file.read_bytes())
            self.known = {int(end): set(digests) for end, digests in found.items()}
        except FileNotFoundError:
            self.known = {}
        except (OSError, ValueError, AttributeError, TypeError) as error:
            raise UsageError(
                f"{self._file}: cannot be read: {error}: remove it; what was sent then counts "
                "once all the same, but for the last part of logs that grew."
            ) from None

    def add(self, end: int, digest: str) -> None:
        """Remember a prefix, on disk before the next part goes."""
        self.known.setdefault(end, set()).add(digest)
        self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = self._file.with_suffix(f".{os.getpid()}")
        fresh.write_text(json.dumps({end: sorted(d) for end, d in self.known.items()}))
        fresh.replace(self._file)
