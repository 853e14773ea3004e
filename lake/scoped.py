"""The read model for a person who may see some teams only: same questions, own rows.

What adds up over teams (a backend's bytes, its growth) is the sum of the teams one may see.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Any

from lake import detail
from lake.forecast import extended
from lake.read import Reader, Row
from lake.schemas import STALE_INDEX
from lake.store import Lake

SUMMED = ("files", "bytes", "read_count", "write_count", "bytes_read", "bytes_written")
MAX_PREFIXES = 10_000


class ScopedReader:
    """`Reader`, for rows of `teams` only."""

    def __init__(self, reader: Reader, lake: Lake, teams: tuple[str, ...]) -> None:
        self._reader = reader
        self._lake = lake
        self._teams = frozenset(teams)
        self.as_of: dt.datetime | None = reader.as_of
        self.published_at = reader.published_at
        self.has_results = reader.has_results

    def usage(
        self, group_by: str = "user", backend: str = "", attribution: str = "owner", depth: int = 1
    ) -> list[Row]:
        """Rows of one's teams, of the users who count for them, and sums over them."""
        rows = self._reader.usage("team", backend, attribution)
        mine = [row for row in rows if row["group"] in self._teams]
        if group_by == "team":
            return mine
        if group_by == "user":
            shown = self._users() | {f"team:{team}" for team in self._teams}
            rows = self._reader.usage("user", backend, attribution)
            return [row for row in rows if row["group"] in shown]
        if group_by == "backend":
            return _summed(mine)
        part = detail.Part(self._lake.version(STALE_INDEX), backend, tuple(self._teams))
        found = detail.prefixes(self._lake, part, depth, MAX_PREFIXES).to_dicts()
        nothing = dict.fromkeys((*SUMMED[2:], "touched_bytes"), 0) | {"last_access_at": None}
        return [{"group": row.pop("prefix"), **row, **nothing} for row in found]

    def growth(
        self, backend: str = "", period_days: int = 30, by: str = "", forecast_days: int = 0
    ) -> list[Row]:
        """One row a day; with `by` backend or empty the sum over one's teams."""
        if by == "team":
            rows = self._reader.growth(backend, period_days, "team", forecast_days)
            return [row for row in rows if row["team"] in self._teams]
        named = [backend] if backend else [row["name"] for row in self._reader.backends()]
        found: list[Row] = []
        for name in named if by == "backend" or backend else [""]:
            rows = self._reader.growth(name, period_days, "team")
            mine = [row for row in rows if row["team"] in self._teams]
            found += _summed_days(mine, name if by == "backend" else "")
        found.sort(key=lambda row: (row["day"], row["backend"]))
        return [*found, *extended(found, forecast_days)] if forecast_days and found else found

    def quota(self, team: str = "", backend: str = "") -> list[Row]:
        """Quotas of one's teams."""
        rows = self._reader.quota("", backend)
        return [r for r in rows if r["team"] in self._teams and team in ("", r["team"])]

    def team(self) -> list[Row]:
        """Members of one's teams."""
        return [row for row in self._reader.team() if row["team"] in self._teams]

    def backends(self) -> list[Row]:
        """Every backend, with the files and bytes of one's teams."""
        sums = {row["backend"]: row for row in _summed(self.usage("team"))}
        none = {"files": 0, "bytes": 0}
        return [
            row | {n: sums.get(row["name"], none)[n] for n in none}
            for row in self._reader.backends()
        ]

    def user(self, user: str, backend: str = "", limit: int = 0) -> list[Row]:
        """What a user of one's teams touched; of others nothing."""
        return self._reader.user(user, backend, limit) if user in self._users() else []

    def ledger(self, node: str = "", hours: int = 24) -> list[Row]:
        """Nothing: nodes serve all teams."""
        del node, hours
        return []

    def rules(self) -> list[Row]:
        """Ownership rules of one's teams."""
        return [row for row in self._reader.rules() if row["team"] in self._teams]

    def known_backend(self, name: str) -> None:
        """Raise UnknownNameError unless `name` is empty, all, or a backend."""
        self._reader.known_backend(name)

    def _users(self) -> set[str]:
        """The users who count for one of the teams: those who joined it first."""
        rows = self._reader.team()
        return {r["user"] for r in rows if r["rank"] == 0 and r["team"] in self._teams}


def reader_of(reader: Reader, lake: Lake, teams: tuple[str, ...] | None) -> Reader | ScopedReader:
    """The reader itself for somebody who may see all teams, else one narrowed to `teams`."""
    return reader if teams is None else ScopedReader(reader, lake, teams)


def _summed_days(rows: Iterable[Row], backend: str) -> list[Row]:
    """Daily rows of teams as one row a day."""
    found: dict[str, Row] = {}
    names = ("files", "bytes", "added_bytes", "removed_bytes")
    for row in rows:
        nothing = {"day": row["day"], "backend": backend, "team": "", **dict.fromkeys(names, 0)}
        total = found.setdefault(row["day"], nothing)
        for name in names:
            total[name] += row[name]
    return [found[day] for day in sorted(found)]


def _summed(rows: Iterable[Row]) -> list[Row]:
    """Rows of usage by team as rows by backend, largest first."""
    found: dict[str, Any] = {}
    for row in rows:
        name = row["backend"]
        total = found.setdefault(
            name, row | dict.fromkeys(SUMMED, 0) | {"group": name, "touched_bytes": 0}
        )
        for column in (*SUMMED, "touched_bytes"):
            total[column] += row[column]
        total["last_access_at"] = max(
            (at for at in (total["last_access_at"], row["last_access_at"]) if at), default=None
        )
    return sorted(found.values(), key=lambda row: (-row["bytes"], row["group"]))
