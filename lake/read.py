"""The read model: each question a reader may ask, answered from the published results.

Usage, growth, quota, teams, backends and the usual stale list come from published documents, with
the standard library only: a cold start of 0.1 s, below 5 ms in a process that has read them
before. Questions that no document answers (another stale window, a deeper prefix, one user, what
changed, another as-of) are SQL (`lake.query`, `lake.past`) or the metrics' own code (`lake.ask`),
imported only then; in a server each is answered from memory from the second time on, until the next
generation. The ledger and the audit log are read
anew each time. Rows have the columns of the result tables; instants and days are texts. Callers
leave them as they are: rows are shared.
"""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import suppress
from typing import Any

from lake import published, windows
from lake.cursor import key as key_of
from lake.names import names_of, resolved
from lake.windows import STALE_LIMIT
from storage import clock
from storage.config import Config
from storage.errors import UnknownNameError, UsageError
from storage.units import format_instant, parse_instant

GROUPS = ("user", "team", "backend", "prefix")
ATTRIBUTIONS = ("owner", "access")
STALE_DAYS = 90
Row = dict[str, Any]


class Reader:
    """Answers for one config at one as-of (None: that of the last refresh).

    All answers of one reader come from one published generation.
    """

    def __init__(self, config: Config, as_of: dt.datetime | None = None) -> None:
        self._config = config
        self._generation = published.current(config.lake.root)
        told = self._generation.as_of
        self._elsewhen = as_of is not None and format_instant(as_of) != told
        self.as_of: dt.datetime | None = as_of or (parse_instant(told) if told else None)
        self._computed: dict[str, list[Row]] = {}
        self._engine: Any = None
        self._sql: Any = None

    @property
    def has_results(self) -> bool:
        """Whether a refresh has ever published, or the answers are computed."""
        return self._elsewhen or "backends" in self._generation.documents

    @property
    def published_at(self) -> dt.datetime | None:
        """When the answers were published; None where nothing was, or for another as-of."""
        told = self._generation.published_at
        return parse_instant(told) if told and not self._elsewhen else None

    @property
    def elsewhen(self) -> bool:
        """Whether the answers are of another as-of than the published ones."""
        return self._elsewhen

    @property
    def versions(self) -> dict[str, int]:
        """The versions of the tables that the answers are of; empty where nothing is published."""
        return self._generation.versions

    def usage(
        self, group_by: str = "user", backend: str = "", attribution: str = "owner", depth: int = 1
    ) -> list[Row]:
        """Per group and backend, largest first. Raises UnknownNameError."""
        self._check(group_by, GROUPS, "group")
        self._check(attribution, ATTRIBUTIONS, "attribution")
        if group_by == "prefix" and depth != 1:
            rows = self._asked("prefixes", attribution, depth)
        else:
            rows = self._document(f"usage-{group_by}-{attribution}")
        return self._of_backend(rows, backend)

    def stale(
        self, days: int = STALE_DAYS, min_size: int = 0, backend: str = "",
        limit: int = STALE_LIMIT, after: str = "",
    ) -> list[Row]:  # fmt: skip
        """Files not touched for `days`, largest first, ties by backend and path.

        `limit` 0 is no limit. `after`: `lake.cursor.cursor` of the last row of the page before.
        The tops of most windows are published; any other question reads a few thousand rows of
        the index. Raises UsageError for a cursor that is none.
        """
        self.known_backend(backend)
        behind = key_of(after)
        if behind is None and 0 < limit <= STALE_LIMIT:
            top = self._top(days)
            found = None if top is None else windows.cut(top, min_size, backend, limit)
            if found is not None:
                return found
        return self._asked("stale", days, min_size, backend, limit, behind)

    def _top(self, days: int) -> list[Row] | None:
        """The STALE_LIMIT largest files of a window with `coverage`; None where not published."""
        if self._elsewhen:
            return None
        if days == STALE_DAYS and "stale" in self._generation.documents:
            return self._kept("usual", make=self._usual)
        return windows.top(self._generation, days)

    def stale_frame(
        self, days: int = STALE_DAYS, min_size: int = 0, backend: str = "",
        limit: int = STALE_LIMIT, after: str = "",
    ) -> Any:  # fmt: skip
        """The rows of `stale` as a polars frame, not kept; None where they do not come as one."""
        default = (days, min_size, backend, after) == (STALE_DAYS, 0, "", "")
        if (default and 0 < limit <= STALE_LIMIT) or not self._loaded():
            return None
        self.known_backend(backend)
        return self._ask().stale_frame(days, min_size, backend, limit, key_of(after))

    def _usual(self) -> list[Row]:
        cover = {row["name"]: row["coverage"] for row in self._document("backends")}
        return [row | {"coverage": cover.get(row["backend"])} for row in self._document("stale")]

    def stale_total(self, days: int = STALE_DAYS, min_size: int = 0, backend: str = "") -> Row:
        """How many files `stale` has in all, and their bytes: `files`, `bytes`.

        From the rollup where `days` is one of its ages; for others two numbers of every file that
        is as large are read the first time, then it is answered from memory.
        """
        self.known_backend(backend)
        asked = (days, min_size, backend)
        return self._kept("total", *asked, make=lambda: [self._ask().stale_total(*asked)])[0]

    def growth(
        self, backend: str = "", period_days: int = 30, by: str = "", forecast_days: int = 0
    ) -> list[Row]:
        """One row a day up to as-of, days without a listing carried forward.

        `by`: backend, team, or empty for one row a day over all. `forecast_days` more rows of
        each series follow, with `low_bytes` and `high_bytes`.
        """
        asked = (backend, period_days, by, forecast_days)
        return self._kept("growth", *asked, make=lambda: self._growth(*asked))

    def _growth(self, backend: str, period_days: int, by: str, forecast_days: int) -> list[Row]:
        name = "growth-team" if by == "team" else "growth-backend"
        points = self._of_backend(self._document(name), backend)
        if self.as_of is None or not points:
            return []
        rows = carried(points, by, self.as_of.date(), period_days)
        if forecast_days:
            from lake.forecast import extended

            history = carried(points, by, self.as_of.date(), 0)
            rows += extended(history, forecast_days)
        return rows

    def quota(self, team: str = "", backend: str = "") -> list[Row]:
        """Every quota with what its team owns."""
        rows = self._document("quota")
        if team:
            known = {row["team"] for row in rows} | {row["team"] for row in self.team()}
            self._check(team, known, "team")
        self.known_backend(backend)
        return [
            row
            for row in rows
            if team in ("", row["team"]) and (backend in ("", "all", row["backend"]))
        ]

    def team(self) -> list[Row]:
        """Who is in which team."""
        return self._document("team")

    def backends(self) -> list[Row]:
        """Every backend of the config and of the lake."""
        rows = {row["name"]: row for row in self._document("backends")}
        nothing = {
            "files": 0, "bytes": 0, "state": "never crawled", "crawled_at": None, "coverage": None,
            "verified_at": None, "checked": None, "agree": None, "agreement_low": None,
            "agreement_high": None,
        }  # fmt: skip
        for backend in self._config.backends:
            rows.setdefault(backend.name, {"name": backend.name, "type": backend.type, **nothing})
        return [nothing | rows[name] for name in sorted(rows)]

    def audits(self, backend: str = "") -> list[str]:
        """A line for each backend that was audited: how well its index agrees with the store."""
        return [
            f"Index of {row['name']} and its store agree in {row['agree'] / row['checked']:.2%} of "
            f"{row['checked']} (95 %: {row['agreement_low']:.2%} to {row['agreement_high']:.2%}), "
            f"audited {row['verified_at'][:16].replace('T', ' ')} UTC."
            for row in self._of_backend(
                [r | {"backend": r["name"]} for r in self.backends()], backend
            )
            if row["checked"]
        ]

    def user(self, user: str, backend: str = "", limit: int = 0) -> list[Row]:
        """What a user touched under any of his names, newest first. An unknown user has no rows."""
        self.known_backend(backend)
        return self._asked("user", names_of(user, self._people()), backend, limit)

    def aliases(self) -> list[Row]:
        """Names that count as another one of the same person: name, canonical, since_at."""
        return self._document("alias")

    def person(self, user: str) -> str:
        """The name that counts for a user."""
        return self._people().get(user, user)

    def _people(self) -> dict[str, str]:
        return resolved((row["name"], row["canonical"]) for row in self.aliases())

    def ledger(self, node: str = "", hours: int = 24) -> list[Row]:
        """Per node and landing hour: events, objects, gaps, duplicates, lateness, drops."""
        return self._made("ledger", (node, hours))

    def diff(self, first: dt.date, last: dt.date, by: str = "team", depth: int = 1) -> list[Row]:
        """What changed from the end of one day to the end of another, and whose it is."""
        self._check(by, ("team", "prefix", "backend"), "group")
        if first > last:
            raise UsageError(f"the first day {first} is after the second, {last}: swap them.")
        return self._asked("diff", first, last, by, depth)

    def rules(self) -> list[Row]:
        """Every ownership rule with the files and bytes it decides about."""
        return self._made("rules", ())

    def rule_preview(self, backend: str, prefix: str, team: str) -> Row:
        """What a rule would take from other owners, before it is saved."""
        self.known_backend(backend)
        mine = tuple(p for where, p, _ in self._config.ownership.rules if where == backend)
        return self._made("rule_preview", (backend, prefix, team, mine))[0]

    def audit_log(self, limit: int = 100) -> list[Row]:
        """Changes of quotas, teams and rules, newest first; `limit` 0 is no limit."""
        return self._made("audit_log", (limit,))

    def verify(self, backend: str = "") -> list[Row]:
        """The last audit of each backend that was audited, whatever the as-of."""
        self.known_backend(backend)
        return self._of_backend(self._made("verify", ()), backend)

    def known_user(self, user: str) -> bool:
        """Whether telemetry, a team, an alias or an owned file names the user."""
        user = self.person(user)
        owned = any(row["group"] == user for row in self._document("usage-user-owner"))
        return owned or any(row["user"] == user for row in self.team())

    def known_backend(self, name: str) -> None:
        """Raise UnknownNameError unless `name` is empty, all, or a backend."""
        if name not in ("", "all"):
            self._check(name, [row["name"] for row in self.backends()], "backend")

    def _of_backend(self, rows: list[Row], backend: str) -> list[Row]:
        self.known_backend(backend)
        return rows if backend in ("", "all") else [r for r in rows if r["backend"] == backend]

    @staticmethod
    def _check(name: str, known: Iterable[str], kind: str) -> None:
        if name not in known:
            raise UnknownNameError(kind, name, known)

    def _document(self, name: str) -> list[Row]:
        if not self._elsewhen:
            return self._generation.rows(name)
        if name not in self._computed:
            self._computed |= self._documents(name)
        return self._computed[name]

    def _documents(self, name: str) -> dict[str, list[Row]]:
        """A document of another as-of; with all others where they come at once."""
        from lake.query import NoTableError

        with suppress(NoTableError):
            return {name: self._past().document(name)}
        return {name: []} | self._ask().documents()

    def _asked(self, question: str, *args: Any) -> list[Row]:
        """The answer of the engine, from memory where this generation was asked the same."""
        return self._kept(question, *args, make=lambda: self._made(question, args))

    def _kept(self, *asked: Hashable, make: Callable[[], list[Row]]) -> list[Row]:
        if self._elsewhen:
            return make()
        return self._generation.answers.of(asked, make)

    def _made(self, question: str, args: tuple[Any, ...]) -> list[Row]:
        """Straight from the tables: rules, the ledger and the audit log change between generations.

        As SQL, where that can; by the metrics' own code else.
        """
        for query in self._queries(question):
            from lake.query import NoTableError

            with suppress(NoTableError):
                found: list[Row] = getattr(query, question)(*args)
                return found
        answer: list[Row] = getattr(self._ask(), question)(*args)
        return answer

    def _queries(self, question: str) -> Iterator[Any]:
        """What may answer as SQL.

        Where the metrics' own code is loaded already, as in a server, that finds the top of the
        index faster, and what changed.
        """
        if self.as_of is None:
            return
        if self._elsewhen:
            yield self._past()
        elif self._indexed() and not (question in ("stale", "diff") and self._loaded()):
            from lake.query import Query

            yield Query(self._config.lake.root, self._generation, self.as_of)
            if question == "diff":  # the index does not tell whose a file was that is gone
                yield self._past()

    def _past(self) -> Any:
        from lake.past import Past

        if self._sql is None:
            versions = {} if self._elsewhen else self._generation.versions
            self._sql = Past(self._config, self.as_of or clock.now(), versions)
        return self._sql

    def _indexed(self) -> bool:
        """Whether the tables of the published generation answer."""
        return not self._elsewhen and "stale_index" in self._generation.versions

    def _loaded(self) -> bool:
        """Whether they do, and the metrics' own code is loaded already."""
        return self._indexed() and self.as_of is not None and "polars" in sys.modules

    def _ask(self) -> Any:
        from lake.ask import Ask

        if self._engine is None:
            versions = {} if self._elsewhen else self._generation.versions
            self._engine = Ask(self._config, self.as_of or clock.now(), versions)
        return self._engine


def carried(points: list[Row], by: str, last_day: dt.date, period_days: int) -> list[Row]:
    """Points made daily: each series goes on from its last point; with no `by`, summed.

    From `period_days` before `last_day` up to and with it; 0 = from the first point.
    """
    if period_days < 0:
        raise UsageError(f"period '{period_days}' is negative: write days, 0 = whole history.")
    series: dict[tuple[str, str], dict[str, Row]] = {}
    for row in points:
        series.setdefault((row["backend"], row["team"]), {})[row["day"]] = row
    first = dt.date.fromisoformat(min(row["day"] for row in points))
    start = last_day - dt.timedelta(days=period_days) if period_days else first
    found: dict[tuple[str, str], Row] = {}
    state: dict[tuple[str, str], Row] = {}
    day = min(first, start)
    while day <= last_day:
        for key, days in series.items():
            if day.isoformat() in days:
                state[key] = days[day.isoformat()]
        if day >= start:
            _add_day(found, state, day.isoformat(), by)
        day += dt.timedelta(days=1)
    return list(found.values())


def _add_day(found: dict[Any, Row], state: dict[tuple[str, str], Row], day: str, by: str) -> None:
    for (backend, team), row in sorted(state.items()):
        name = {"backend": backend, "team": team}.get(by, "")
        new = row["day"] == day
        total = found.setdefault(
            (day, name),
            {
                "day": day, "backend": backend if by == "backend" else "",
                "team": team if by == "team" else "",
                "files": 0, "bytes": 0, "added_bytes": 0, "removed_bytes": 0,
            },
        )  # fmt: skip
        total["files"] += row["files"]
        total["bytes"] += row["bytes"]
        total["added_bytes"] += row["added_bytes"] if new else 0
        total["removed_bytes"] += row["removed_bytes"] if new else 0
