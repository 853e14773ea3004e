"""Questions as data: what a route puts to the read model, here or in a process of its own.

A question is called with a reader and gives the answer's body and headers. It is picklable, and
so is its order, which says whose lake it is put to, at which as-of, and by whom.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlencode

from api import scope
from api.caller import Caller
from api.errors import ApiError
from lake import cursor
from lake.read import Reader
from lake.text import render
from storage import locations
from storage.config import Config

Answer = tuple[bytes, dict[str, str]]


class Question(Protocol):
    """Called with `lake.read.Reader`, or with one narrowed to the caller's teams."""

    def __call__(self, reader: Any, /) -> Any:
        """The answer. Raises ApiError, WarpdriveError."""


@dataclass(frozen=True, eq=False)
class Order:
    """One question with everything that its answer depends on."""

    config: Config
    caller: Caller
    as_of: dt.datetime | None
    question: Question
    records: locations.Known = field(default_factory=locations.known, repr=False)
    """How stores are reached: the engine's process reads no config file."""

    def answer(self) -> Any:
        """Put it."""
        locations.learn(self.records)
        reader = Reader(self.config, self.as_of)
        return self.question(scope.narrowed(reader, self.caller, self.config.lake.root))


@dataclass(frozen=True)
class Rows:
    """A report: the rows that one method of the reader gives, as JSON."""

    report: str
    method: str
    args: tuple[Any, ...]
    max_rows: int

    def __call__(self, reader: Any, /) -> Answer:
        """The body. Raises ApiError 400 where there are too many rows."""
        found = getattr(reader, self.method)(*self.args)
        rows = found if isinstance(found, list) else [found]
        check_count(len(rows), self.max_rows)
        return render(self.report, rows, "json").encode(), {}


@dataclass(frozen=True)
class StalePage:
    """One page of the stale list, straight from its columns where the reader has them."""

    days: int
    min_size: int
    backend: str
    limit: int
    after: str
    total: bool
    max_rows: int
    query: dict[str, str]
    """The parameters as they were given, for the link to the next page."""

    def __call__(self, reader: Any, /) -> Answer:
        """The body, and the headers that name the next page and count all files."""
        which = {"days": self.days, "min_size": self.min_size, "backend": self.backend}
        # One row more than a page may have: whoever asked for all learns that it is too much.
        how = {"limit": self.limit or self.max_rows + 1, "after": self.after, **which}
        frame = reader.stale_frame(**how) if isinstance(reader, Reader) else None
        if frame is None:
            rows = reader.stale(**how)
            check_count(len(rows), self.max_rows)
            body, count, last = render("stale", rows, "json").encode(), len(rows), rows[-1:]
        else:
            from lake import stalebody

            check_count(frame.height, self.max_rows)
            body, count = stalebody.body(frame), frame.height
            last = [frame.row(-1, named=True)] if count else []
        headers = {}
        if count and count == self.limit:
            headers["X-Next-Cursor"] = end = cursor.cursor(last[0])
            query = urlencode({**self.query, "cursor": end})
            headers["Link"] = f'</api/v1/stale?{query}>; rel="next"'
        if self.total:
            headers["X-Total-Count"] = str(reader.stale_total(**which)["files"])
        return body, headers


@dataclass(frozen=True)
class Names:
    """The backends and teams that the caller may know of."""

    def __call__(self, reader: Any, /) -> dict[str, list[str]]:
        """Sorted, under `backend` and `team`."""
        teams = {row["team"] for row in (*reader.team(), *reader.quota())}
        return {"backend": [row["name"] for row in reader.backends()], "team": sorted(teams)}


def check_count(rows: int, most: int) -> None:
    """Raise ApiError 400 for more rows than an answer may have."""
    if rows > most:
        raise ApiError(400, f"the answer has more than {most} rows.",
                       hint="Ask for less with `limit`.", param="limit")  # fmt: skip
