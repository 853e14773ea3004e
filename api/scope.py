"""What a caller may see of the rows: everything, or only what belongs to its teams.

A question whose answer cannot be cut by team is refused rather than answered with other teams'
numbers in it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Any

from api.caller import Caller
from api.errors import ApiError
from lake import cursor, published
from lake.read import Reader, carried

Rows = list[dict[str, Any]]
_SUMS = (
    "files", "bytes", "read_count", "write_count", "bytes_read", "bytes_written", "touched_bytes",
)  # fmt: skip


def unfiltered(caller: Caller) -> None:
    """Raise ApiError 403 where the token shows only some teams' rows."""
    if caller.teams is not None:
        raise ApiError(403, "this cannot be answered for single teams.",
                       hint="It needs a token without a `teams` claim.")  # fmt: skip


def usage(
    reader: Reader, caller: Caller, group_by: str, backend: str, attribution: str, depth: int
) -> Rows:  # fmt: skip
    """Usage; by backend it is the sum over the caller's teams."""
    if caller.teams is None:
        return reader.usage(group_by, backend, attribution, depth)
    if group_by == "prefix":
        unfiltered(caller)
    mine = [r for r in reader.usage("team", backend, attribution) if r["group"] in caller.teams]
    if group_by == "team":
        return mine
    if group_by == "backend":
        return _summed(mine)
    users = members(reader, caller)
    owners = users | {f"team:{team}" for team in caller.teams}
    return [r for r in reader.usage("user", backend, attribution) if r["group"] in owners]


def _summed(rows: Rows) -> Rows:
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        name = row["backend"]
        total = found.setdefault(
            name, {**row, "group": name, **dict.fromkeys(_SUMS, 0), "last_access_at": None}
        )
        for key in _SUMS:
            total[key] += row[key]
        times = [t for t in (total["last_access_at"], row["last_access_at"]) if t]
        total["last_access_at"] = max(times, default=None)
    return sorted(found.values(), key=lambda row: (-row["bytes"], row["group"]))


def members(reader: Reader, caller: Caller) -> set[str]:
    """The users whose rows count for the caller's teams: the team joined first decides."""
    first: dict[str, str] = {}
    for row in reader.team():
        first.setdefault(row["user"], row["team"])
    return {user for user, team in first.items() if team in (caller.teams or ())}


def stale(reader: Reader, caller: Caller, root: str, wanted: dict[str, Any]) -> Rows:
    """Stale files, of the caller's teams only; `after`: the cursor of the page before."""
    if caller.teams is None:
        return reader.stale(**wanted)
    from lake import browse
    from lake.ask import rows

    lake, version, asked = _index(reader, caller, root, wanted)
    if version is None:
        return []
    behind = cursor.key(wanted["after"])
    found = rows(browse.page(lake, version, asked, "largest", wanted["limit"], behind))
    cover = {row["name"]: row["coverage"] for row in reader.backends()}
    return [row | {"coverage": cover.get(row["backend"])} for row in found]


def stale_total(reader: Reader, caller: Caller, root: str, wanted: dict[str, Any]) -> int:
    """How many files `stale` has in all."""
    if caller.teams is None:
        asked = {name: wanted[name] for name in ("days", "min_size", "backend")}
        return int(reader.stale_total(**asked)["files"])
    from lake import browse

    lake, version, asked = _index(reader, caller, root, wanted)
    return 0 if version is None else browse.totals(lake, version, asked).files


def _index(reader: Reader, caller: Caller, root: str, wanted: dict[str, Any]) -> Any:
    """The lake, the published version of its stale index (None without one), the question."""
    from lake import browse
    from lake.store import Lake

    reader.known_backend(wanted["backend"])
    version = published.current(root).versions.get("stale_index") if reader.as_of else None
    backend = "" if wanted["backend"] == "all" else wanted["backend"]
    teams = None if caller.teams is None else tuple(sorted(caller.teams))
    as_of = reader.as_of or dt.datetime.now(dt.UTC)
    asked = browse.Wanted(as_of, wanted["days"], wanted["min_size"], backend, teams)
    return Lake(root), version, asked


def growth(
    reader: Reader, caller: Caller, backend: str, period: int, by: str, ahead: int
) -> Rows:  # fmt: skip
    """Growth; summed over the caller's teams where it is not by team."""
    if caller.teams is None:
        return reader.growth(backend, period, by, ahead)
    points = [
        row for row in reader.growth(backend, 0, "team") if row["team"] in caller.teams
    ]  # fmt: skip
    if by == "team":
        return _window(points, reader, period)
    unfiltered(caller) if by or ahead else None
    return carried(points, "", _last(reader), period) if points and reader.as_of else []


def _window(points: Rows, reader: Reader, period: int) -> Rows:
    if not period:
        return points
    start = (_last(reader) - dt.timedelta(days=period)).isoformat()
    return [row for row in points if row["day"] >= start]


def _last(reader: Reader) -> dt.date:
    assert reader.as_of is not None
    return reader.as_of.date()


def quota(reader: Reader, caller: Caller, team: str, backend: str) -> Rows:
    """Quotas of the caller's teams; another team's name is as unknown as any."""
    if caller.teams is not None and team and team not in caller.teams:
        raise ApiError(400, f"no team '{team}'.", param="team")
    if caller.teams is not None and team and team not in _known(reader):
        return []
    return _of(caller, reader.quota(team, backend))


def _known(reader: Reader) -> set[str]:
    return {row["team"] for row in reader.quota()} | {row["team"] for row in reader.team()}


def _of(caller: Caller, rows: Rows) -> Rows:
    return rows if caller.teams is None else [r for r in rows if r["team"] in caller.teams]


def team(reader: Reader, caller: Caller) -> Rows:
    """Members of the caller's teams."""
    return _of(caller, reader.team())


def rules(reader: Reader, caller: Caller) -> Rows:
    """Rules for the caller's teams."""
    return _of(caller, reader.rules())


def backends(reader: Reader, caller: Caller) -> Rows:
    """Every backend; files and bytes are those of the caller's teams."""
    rows = reader.backends()
    if caller.teams is None:
        return rows
    mine = {row["backend"]: row for row in usage(reader, caller, "backend", "", "owner", 1)}
    nothing = {"files": 0, "bytes": 0}
    return [
        row | {key: mine.get(row["name"], nothing)[key] for key in ("files", "bytes")}
        for row in rows
    ]


def user(reader: Reader, caller: Caller, who: str, backend: str, limit: int) -> Rows:
    """What a user touched; nothing for one of another team."""
    if caller.teams is not None and who not in members(reader, caller):
        reader.known_backend(backend)
        return []
    return reader.user(who, backend, limit)


def diff(
    reader: Reader, caller: Caller, span: tuple[dt.date, dt.date], by: str, depth: int
) -> Rows:  # fmt: skip
    """Changes of the caller's teams."""
    if caller.teams is not None and by != "team":
        unfiltered(caller)
    rows = reader.diff(*span, by, depth)
    return rows if caller.teams is None else [r for r in rows if r["group"] in caller.teams]


def own_team(caller: Caller, names: Iterable[str]) -> None:
    """Raise ApiError 403 where the caller would change what is another team's."""
    for name in names:
        if caller.teams is not None and name not in caller.teams:
            raise ApiError(403, f"the token does not cover team '{name}'.", param="team_name")
