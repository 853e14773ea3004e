"""The read model for a person who may see some teams only: same questions, own rows.

The one implementation for every door: REST and dashboard. What adds up over teams (a backend's
bytes, its growth) is the sum of the teams one may see. A question whose answer cannot be cut by
team is refused rather than answered with other teams' numbers in it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Any, NoReturn

from lake import browse, detail
from lake.ask import rows
from lake.coverage import covered
from lake.cursor import key as key_of
from lake.forecast import extended
from lake.read import STALE_DAYS, Reader, Row
from lake.schemas import STALE_INDEX
from lake.scope import ForbiddenError
from lake.store import Lake
from lake.windows import STALE_LIMIT
from storage import clock
from storage.errors import UnknownNameError

ALL_ROWS = 1_000_000
SUMMED = ("files", "bytes", "read_count", "write_count", "bytes_read", "bytes_written")
AUDITED = ("verified_at", "checked", "agree", "agreement_low", "agreement_high")
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
        """Rows of one's teams, of the users who count for them, and sums over them.

        By prefix only what is stored is known: activity is 0, and `access` is refused.
        """
        if group_by == "prefix":
            return self._prefixes(backend, attribution, depth)
        team = self._reader.usage("team", backend, attribution)
        mine = [row for row in team if row["group"] in self._teams]
        if group_by == "team":
            return mine
        if group_by == "backend":
            return _summed(mine)
        shown = self._users() | {f"team:{team}" for team in self._teams}
        found = self._reader.usage(group_by, backend, attribution)
        return [row for row in found if row["group"] in shown]

    def _prefixes(self, backend: str, attribution: str, depth: int) -> list[Row]:
        if attribution != "owner":
            _refuse()
        self.known_backend(backend)
        version = self._reader.versions.get(STALE_INDEX.name)
        part = detail.Part(version, _named(backend), tuple(self._teams))
        found = detail.prefixes(self._lake, part, depth, MAX_PREFIXES).to_dicts()
        nothing = dict.fromkeys((*SUMMED[2:], "touched_bytes"), 0) | {"last_access_at": None}
        return [{"group": row.pop("prefix"), **row, **nothing} for row in found]

    def stale(
        self, days: int = STALE_DAYS, min_size: int = 0, backend: str = "",
        limit: int = STALE_LIMIT, after: str = "",
    ) -> list[Row]:  # fmt: skip
        """Stale files of one's teams, largest first."""
        version, wanted = self._wanted(days, min_size, backend)
        if version is None:
            return []
        found = browse.page(
            self._lake, version, wanted, "largest", limit or ALL_ROWS, key_of(after)
        )
        cover = covered(self._lake.root, self._reader.versions, wanted.as_of, days)
        return rows(found.join(cover, on="backend", how="left", maintain_order="left"))

    def stale_total(self, days: int = STALE_DAYS, min_size: int = 0, backend: str = "") -> Row:
        """How many files `stale` has in all, and their bytes."""
        version, wanted = self._wanted(days, min_size, backend)
        if version is None:
            return {"files": 0, "bytes": 0}
        return browse.totals(self._lake, version, wanted)._asdict()

    def _wanted(self, days: int, min_size: int, backend: str) -> tuple[int | None, browse.Wanted]:
        self.known_backend(backend)
        if self._reader.elsewhen:
            _refuse()
        as_of = self.as_of or clock.now()
        teams = tuple(sorted(self._teams))
        wanted = browse.Wanted(as_of, days, min_size, _named(backend), teams)
        return self._reader.versions.get(STALE_INDEX.name), wanted

    def growth(
        self, backend: str = "", period_days: int = 30, by: str = "", forecast_days: int = 0
    ) -> list[Row]:
        """One row a day; with `by` backend or empty the sum over one's teams."""
        if by == "team":
            found = self._reader.growth(backend, period_days, "team", forecast_days)
            return [row for row in found if row["team"] in self._teams]
        self._reader.growth(backend, 1, by)  # refuses what is wrong as for everyone
        one = _named(backend)
        named = [one] if one else [row["name"] for row in self._reader.backends()]
        whole: list[Row] = []
        for name in named if by == "backend" else [one]:
            daily = self._reader.growth(name, 0, "team")
            mine = [row for row in daily if row["team"] in self._teams]
            whole += _summed_days(mine, name if by == "backend" else "")
        whole.sort(key=lambda row: (row["day"], row["backend"]))
        if not whole or self.as_of is None:
            return []
        start = (self.as_of.date() - dt.timedelta(days=period_days)).isoformat()
        shown = [row for row in whole if not period_days or row["day"] >= start]
        return [*shown, *extended(whole, forecast_days)] if forecast_days else shown

    def quota(self, team: str = "", backend: str = "") -> list[Row]:
        """Quotas of one's teams; any other team's name is as unknown as one that is nowhere."""
        if team and team not in self._teams:
            raise UnknownNameError("team", team, sorted(self._teams))
        found = self._reader.quota("", backend)
        return [r for r in found if r["team"] in self._teams and team in ("", r["team"])]

    def team(self) -> list[Row]:
        """Members of one's teams."""
        return [row for row in self._reader.team() if row["team"] in self._teams]

    def backends(self) -> list[Row]:
        """Every backend, with the files and bytes of one's teams.

        Without its audit: a sample of a small backend is as many rows as all teams have there.
        """
        sums = {row["backend"]: row for row in _summed(self.usage("team"))}
        none = {"files": 0, "bytes": 0}
        return [
            row
            | dict.fromkeys(AUDITED)
            | {name: sums.get(row["name"], none)[name] for name in none}
            for row in self._reader.backends()
        ]

    def user(self, user: str, backend: str = "", limit: int = 0) -> list[Row]:
        """What a user of one's teams touched; of others nothing."""
        self.known_backend(backend)
        mine = self._reader.person(user) in self._users()
        return self._reader.user(user, backend, limit) if mine else []

    def aliases(self) -> list[Row]:
        """Aliases of the users who count for one of the teams."""
        mine = self._users()
        return [row for row in self._reader.aliases() if self._reader.person(row["name"]) in mine]

    def diff(self, first: dt.date, last: dt.date, by: str = "team", depth: int = 1) -> list[Row]:
        """Changes of one's teams; by prefix and backend it is refused."""
        if by in ("prefix", "backend"):
            _refuse()
        found = self._reader.diff(first, last, by, depth)
        return [row for row in found if row["group"] in self._teams]

    def ledger(self, node: str = "", hours: int = 24) -> list[Row]:
        """Nothing: nodes serve all teams."""
        del node, hours
        return []

    def rules(self) -> list[Row]:
        """Ownership rules of one's teams."""
        return [row for row in self._reader.rules() if row["team"] in self._teams]

    def rule_preview(self, backend: str, prefix: str, team: str) -> Row:
        """Refused: it counts what a rule takes from other teams."""
        del backend, prefix, team
        _refuse()

    def audit_log(self, limit: int = 100) -> list[Row]:
        """Refused: changes are of all teams."""
        del limit
        _refuse()

    def verify(self, backend: str = "") -> list[Row]:
        """Refused: audits are of whole backends."""
        del backend
        _refuse()

    def known_backend(self, name: str) -> None:
        """Raise UnknownNameError unless `name` is empty, all, or a backend."""
        self._reader.known_backend(name)

    def _users(self) -> set[str]:
        """The users who count for one of the teams: those who joined it first."""
        members = self._reader.team()
        return {r["user"] for r in members if r["rank"] == 0 and r["team"] in self._teams}


def reader_of(reader: Reader, lake: Lake, teams: tuple[str, ...] | None) -> Reader | ScopedReader:
    """The reader itself for somebody who may see all teams, else one narrowed to `teams`."""
    return reader if teams is None else ScopedReader(reader, lake, teams)


def _refuse() -> NoReturn:
    raise ForbiddenError("this cannot be answered for single teams.")


def _named(backend: str) -> str:
    return "" if backend == "all" else backend


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
