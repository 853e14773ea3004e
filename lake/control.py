"""Control tables: teams, quotas, rules and aliases. Append-only, latest wins, who and when."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from typing import Any

import polars as pl

from lake.lease import held
from lake.metrics.ownership import NOBODY, UNASSIGNED, person
from lake.names import names_of, resolved
from lake.schemas import AUDIT_LOG, OWNERSHIP_RULES, QUOTAS, TEAMS, USER_ALIASES, Table
from lake.store import Lake
from storage.errors import UsageError
from storage.units import MAX_DAYS

LEASE_WAIT_SECONDS = 30.0
Row = dict[str, Any]


def latest(frame: pl.LazyFrame, key: Sequence[str]) -> pl.DataFrame:
    """The latest row of each key that was not removed, in order of first change."""
    return (
        frame.sort("number")
        .group_by(key, maintain_order=True)
        .agg(pl.all().exclude(key).last(), first=pl.col("number").first())
        .filter(~pl.col("action").is_in(["remove", "delete"]))
        .sort("first")
        .drop("first")
        .collect()
    )


def memberships(lake: Lake, as_of: dt.datetime) -> pl.DataFrame:
    """Who is in which team at `as_of`: user, team, since_at, rank (0 = the first joined).

    A member under several names is one, by the name that counts, since the first of them joined.
    """
    members = latest(_valid(lake.scan(TEAMS), as_of), ["user", "team"])
    return ranked(members.with_columns(person("user", people(lake, as_of))))


def ranked(members: pl.DataFrame) -> pl.DataFrame:
    """Members with `rank` within the user: by since_at (beginning first), then file order."""
    return (
        members.select("user", "team", "since_at", "number")
        .sort("user", "since_at", "number", nulls_last=False)
        .unique(["user", "team"], keep="first", maintain_order=True)
        .with_columns(rank=pl.int_range(pl.len()).over("user"))
        .drop("number")
    )


def aliases(lake: Lake, as_of: dt.datetime) -> pl.DataFrame:
    """Aliases in force at `as_of`, as they were set: name, canonical, since_at; by name."""
    found = latest(_valid(lake.scan(USER_ALIASES), as_of), ["name"])
    return found.select("name", "canonical", "since_at").sort("name")


def people(lake: Lake, as_of: dt.datetime) -> dict[str, str]:
    """Name → the name that counts, of every name that has an alias at `as_of`."""
    return resolved(aliases(lake, as_of).select("name", "canonical").iter_rows())


def _valid(rows: pl.LazyFrame, as_of: dt.datetime) -> pl.LazyFrame:
    return rows.filter(pl.col("since_at").is_null() | (pl.col("since_at") <= as_of))


def quotas(lake: Lake) -> pl.DataFrame:
    """Quotas in force: quota_id, team, backend (empty = all), limits, grace_seconds."""
    return latest(lake.scan(QUOTAS), ["team", "backend"]).select(
        "quota_id", "team", "backend", "soft_bytes", "hard_bytes", "grace_seconds"
    )


def rules(lake: Lake) -> pl.DataFrame:
    """Ownership rules in force: backend, prefix, team, at."""
    return latest(lake.scan(OWNERSHIP_RULES), ["backend", "prefix"]).select(
        "backend", "prefix", "team", "at"
    )


def set_quota(lake: Lake, new: Row, who: str, at: dt.datetime) -> Row | None:
    """Set a team's limits; the row before, or None. Raises UsageError for wrong limits."""
    check_quota(new)
    with held(lake.root, "control", LEASE_WAIT_SECONDS):
        before = _quota(lake, new["team"], new["backend"])
        ids = lake.scan(QUOTAS).select(pl.col("quota_id").max()).collect().item() or 0
        row = {**new, "quota_id": before["quota_id"] if before else ids + 1}
        _change(lake, QUOTAS, [row], ("set", who, at))
        audit(lake, (at, who, "quota set"), _name(new), before, row)
    return before


def delete_quota(lake: Lake, team: str, backend: str, who: str, at: dt.datetime) -> Row:
    """Remove a quota; the row before. Raises UsageError where there is none."""
    with held(lake.root, "control", LEASE_WAIT_SECONDS):
        before = _quota(lake, team, backend)
        if before is None:
            raise UsageError(
                f"no quota for team '{team}' on {backend or 'all backends'}: "
                "`warpdrive quota list` shows what there is."
            )
        _change(lake, QUOTAS, [before], ("delete", who, at))
        audit(lake, (at, who, "quota delete"), _name(before), before, None)
    return before


def check_quota(new: Row) -> None:
    """Raise UsageError for a quota without team, negative, or with soft above hard."""
    if not new["team"]:
        raise UsageError("team_name is required: name the team with --team.")
    if new["soft_bytes"] < 0 or new["hard_bytes"] < 0:
        raise UsageError("limits must be non-negative.")
    if new["grace_seconds"] > MAX_DAYS * 86_400:
        raise UsageError(f"--grace is longer than {MAX_DAYS} days: leave it away for no end.")
    if new["hard_bytes"] and new["soft_bytes"] > new["hard_bytes"]:
        raise UsageError(
            f"soft_limit must be <= hard_limit: {new['soft_bytes']} > {new['hard_bytes']} bytes."
        )


def add_members(
    lake: Lake, pairs: Sequence[tuple[str, str]], since: dt.datetime | None, who: str,
    at: dt.datetime,
) -> int:  # fmt: skip
    """Put users into teams; how many were new. What is there already stays as it is."""
    with held(lake.root, "control", LEASE_WAIT_SECONDS):
        known = {(r["user"], r["team"]): r["since_at"] for r in _members(lake)}
        new: dict[tuple[str, str], Row] = {}
        for user, team in pairs:
            if (user, team) not in known or (since and known[user, team] != since):
                new.setdefault((user, team), {"user": user, "team": team, "since_at": since})
        if new:
            _change(lake, TEAMS, list(new.values()), ("add", who, at))
            teams = sorted({team for _, team in new})
            audit(lake, (at, who, "team add"), ", ".join(teams), None, {"members": len(new)})
    return len(new)


def remove_member(
    lake: Lake, user: str, team: str, since: dt.datetime | None, who: str, at: dt.datetime
) -> None:
    """Take a user out of a team, whichever of his names joined it.

    Raises UsageError if the user is not in it.
    """
    with held(lake.root, "control", LEASE_WAIT_SECONDS):
        names = names_of(user, people(lake, at))
        joined = [r["user"] for r in _members(lake) if r["team"] == team and r["user"] in names]
        if not joined:
            raise UsageError(
                f"user '{user}' is not in team '{team}': `warpdrive team list` shows who is."
            )
        rows = [{"user": name, "team": team, "since_at": since} for name in joined]
        _change(lake, TEAMS, rows, ("remove", who, at))
        for row in rows:
            audit(lake, (at, who, "team remove"), f"{row['user']} {team}", row, None)


def add_rule(lake: Lake, rule: Row, who: str, at: dt.datetime) -> None:
    """Let a prefix of a backend belong to a team; replaces the rule of that prefix."""
    with held(lake.root, "control", LEASE_WAIT_SECONDS):
        before = _rule(lake, rule["backend"], rule["prefix"])
        _change(lake, OWNERSHIP_RULES, [rule], ("add", who, at))
        audit(lake, (at, who, "rule add"), f"{rule['backend']}:{rule['prefix']}", before, rule)


def remove_rule(lake: Lake, backend: str, prefix: str, who: str, at: dt.datetime) -> None:
    """Remove the rule of a prefix. Raises UsageError where there is none."""
    with held(lake.root, "control", LEASE_WAIT_SECONDS):
        before = _rule(lake, backend, prefix)
        if before is None:
            raise UsageError(
                f"no rule for '{backend}:{prefix}': `warpdrive rule list` shows what there is."
            )
        _change(lake, OWNERSHIP_RULES, [before], ("remove", who, at))
        audit(lake, (at, who, "rule remove"), f"{backend}:{prefix}", before, None)


def add_alias(
    lake: Lake, pair: tuple[str, str], since: dt.datetime | None, who: str, at: dt.datetime
) -> None:
    """Let a name count as another one of the same person; replaces the alias of that name.

    `pair`: name, canonical. Raises UsageError for names that are nobody's, or a circle.
    """
    name, canonical = pair
    for one in pair:
        if one in (*NOBODY, UNASSIGNED) or one.startswith("team:"):
            raise UsageError(f"alias '{name}' of '{canonical}': '{one}' is no person's name.")
    with held(lake.root, "control", LEASE_WAIT_SECONDS):
        known = _aliases(lake)
        told = {r["name"]: r["canonical"] for r in known.values() if r["name"] != name}
        if resolved(told.items()).get(canonical, canonical) == name:
            raise UsageError(
                f"alias '{name}' of '{canonical}': that would be an alias of itself: "
                "`warpdrive alias list` shows what there is."
            )
        row = {"name": name, "canonical": canonical, "since_at": since}
        _change(lake, USER_ALIASES, [row], ("add", who, at))
        audit(lake, (at, who, "alias add"), name, known.get(name), row)


def remove_alias(
    lake: Lake, name: str, since: dt.datetime | None, who: str, at: dt.datetime
) -> None:
    """Let a name count for itself again. Raises UsageError where it is no alias."""
    with held(lake.root, "control", LEASE_WAIT_SECONDS):
        before = _aliases(lake).get(name)
        if before is None:
            raise UsageError(f"'{name}' is no alias: `warpdrive alias list` shows what there is.")
        _change(lake, USER_ALIASES, [before | {"since_at": since}], ("remove", who, at))
        audit(lake, (at, who, "alias remove"), name, before, None)


def _aliases(lake: Lake) -> dict[str, Row]:
    """The alias of each name that has one, whenever it begins."""
    rows = latest(lake.scan(USER_ALIASES), ["name"]).select("name", "canonical", "since_at")
    return {row["name"]: row for row in rows.to_dicts()}


def _rule(lake: Lake, backend: str, prefix: str) -> Row | None:
    here = (pl.col("backend") == backend) & (pl.col("prefix") == prefix)
    found = rules(lake).filter(here).drop("at")
    return found.row(0, named=True) if found.height else None


def _members(lake: Lake) -> list[Row]:
    return latest(lake.scan(TEAMS), ["user", "team"]).to_dicts()


def _quota(lake: Lake, team: str, backend: str) -> Row | None:
    found = quotas(lake).filter(pl.col("team") == team, pl.col("backend") == backend)
    return found.row(0, named=True) if found.height else None


def _name(quota: Row) -> str:
    return f"{quota['team']} on {quota['backend'] or 'all'}"


def _change(
    lake: Lake, table: Table, rows: list[Row], change: tuple[str, str, dt.datetime]
) -> None:
    action, who, at = change
    last = lake.scan(table).select(pl.col("number").max()).collect().item() or 0
    stamped = [
        {**row, "at": at, "who": who, "number": last + i, "action": action}
        for i, row in enumerate(rows, 1)
    ]
    frame = pl.DataFrame(stamped, schema=table.schema)
    lake.append(table, frame, (f"control:{table.name}", last + len(rows)))


def audit(
    lake: Lake, what: tuple[dt.datetime, str, str], name: str, before: Row | None, after: Row | None
) -> None:
    """Log a change of a control table. `what`: when, who, action."""
    at, who, action = what
    texts = [json.dumps(row, default=str, sort_keys=True) if row else "" for row in (before, after)]
    row = {"at": at, "who": who, "action": action, "object": name}
    lake.append(
        AUDIT_LOG,
        pl.DataFrame([{**row, "before": texts[0], "after": texts[1]}], schema=AUDIT_LOG.schema),
    )
