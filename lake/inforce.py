"""What the control tables say at an instant, from plain rows: `lake.control` without polars."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Row = dict[str, Any]


def latest(rows: Iterable[Row], key: Sequence[str]) -> list[Row]:
    """The latest row of each key that was not removed, in order of first change."""
    found: dict[tuple[Any, ...], Row] = {}
    for row in sorted(rows, key=lambda r: r["number"]):
        found[tuple(row[name] for name in key)] = row  # stays at the place of the first one
    return [row for row in found.values() if row["action"] not in ("remove", "delete")]


def members(rows: Iterable[Row], people: Mapping[str, str]) -> list[Row]:
    """Who is in which team: user, team, since, rank (0 = the first joined), from rows of teams.

    `since`: microseconds, None = from the beginning. `people`: name → the name that counts.
    """
    known = [r | {"user": people.get(r["user"], r["user"])} for r in latest(rows, ("user", "team"))]
    known.sort(key=lambda r: (r["user"], r["since"] is not None, r["since"] or 0, r["number"]))
    first = {(r["user"], r["team"]): r for r in reversed(known)}
    ranks: dict[str, int] = {}
    found = []
    for row in known:
        if first[row["user"], row["team"]] is row:
            rank = ranks[row["user"]] = ranks.get(row["user"], -1) + 1
            found.append({n: row[n] for n in ("user", "team", "since")} | {"rank": rank})
    return found


def limits(rows: Iterable[Row], used: Mapping[tuple[str, str], int]) -> list[Row]:
    """Rows of `quota_status` but for instants, from rows of quotas, as if crossed just now.

    `used`: bytes by team and backend, of all backends together under the empty one. `crossed`
    tells whether a soft limit is: its grace, if it has one, begins.
    """
    found = []
    for row in sorted(latest(rows, ("team", "backend")), key=lambda r: (r["team"], r["backend"])):
        soft, hard = row["soft_bytes"], row["hard_bytes"]
        usage = used.get((row["team"], row["backend"]), 0)
        crossed = soft > 0 and usage >= soft
        status = "EXCEEDED" if 0 < hard <= usage else "WARNING" if crossed else "OK"
        found.append(row | {"usage_bytes": usage, "status": status, "crossed": crossed})
    return found
