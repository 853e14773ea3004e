"""The routes that change what people decide: quotas, teams, aliases, rules.

Every change is audited.
"""

from __future__ import annotations

import csv
import io
from typing import Any

import msgspec
from starlette.responses import Response

from api import scope
from api.body import read_body
from api.errors import ApiError, answer
from api.jsonbody import AliasBody, MemberBody, QuotaBody, RuleBody, read_json
from api.params import SINCE, text
from api.route import Asked, Route
from lake import change
from storage.errors import UsageError
from storage.units import parse_duration, parse_instant

MAX_IMPORT_BYTES = 64 * 1024**2


async def _removed(asked: Asked, work: Any) -> Response:
    """Remove something; what is not there is 404."""
    try:
        return await _done(asked, work)
    except UsageError as error:
        raise ApiError(404, str(error)) from None


async def _done(asked: Asked, work: Any, **more: Any) -> Response:
    """Carry out a change in a thread; what was answered before is forgotten."""
    found = await asked.site.call(work)
    asked.site.forget()
    told = {} if found is None else {"new": found}
    return answer({"status": "ok", **told, **{k: v for k, v in more.items() if v != ""}})


async def set_quota(asked: Asked) -> Response:
    """Set the limits of a team; the same team and backend again changes them."""
    body = await read_json(asked, QuotaBody)
    scope.own_team(asked.caller, [body.team_name] if body.team_name else [])
    where = "" if body.backend_name == "all" else body.backend_name
    limits = {
        "team": body.team_name, "backend": where,
        "soft_bytes": body.soft_limit, "hard_bytes": body.hard_limit,
        "grace_seconds": _seconds(body.grace),
    }  # fmt: skip
    config = asked.site.config
    known = not where or where in {backend.name for backend in config.backends}
    note = "" if known else f"backend '{where}' is not in the config (yet)."
    who = asked.caller.subject
    return await _done(asked, lambda: change.set_quota(config, limits, who), note=note)


def _seconds(grace: str) -> int:
    return int(parse_duration(grace, "grace").total_seconds()) if grace else 0


async def delete_quota(asked: Asked) -> Response:
    """Remove the limits of a team."""
    team, backend = asked["team"], asked["backend"]
    scope.own_team(asked.caller, [team])
    where = "" if backend == "all" else backend
    config, who = asked.site.config, asked.caller.subject
    return await _removed(asked, lambda: change.delete_quota(config, team, where, who))


async def add_member(asked: Asked) -> Response:
    """Put a user into a team; again is no change."""
    body = await read_json(asked, MemberBody)
    if not body.user_id or not body.team_name:
        raise ApiError(400, "user_id and team_name are required.",
                       param="team_name" if body.user_id else "user_id")  # fmt: skip
    scope.own_team(asked.caller, [body.team_name])
    since = None if body.since is msgspec.UNSET else parse_instant(body.since, "since")
    config, who = asked.site.config, asked.caller.subject
    pair = (body.user_id, body.team_name)
    return await _done(asked, lambda: change.add_members(config, [pair], since, who))


async def remove_member(asked: Asked) -> Response:
    """Take a user out of a team."""
    scope.own_team(asked.caller, [asked["team"]])
    since = asked["since"]
    config, who = asked.site.config, asked.caller.subject
    pair = (asked["user"], asked["team"])
    return await _removed(asked, lambda: change.remove_member(config, pair, since, who))


async def import_members(asked: Asked) -> Response:
    """Add the members that a CSV with user_id,team_name lists; removes nobody."""
    data = await read_body(asked.request.scope, asked.request.receive, MAX_IMPORT_BYTES)
    pairs = _members(data)
    scope.own_team(asked.caller, {team for _, team in pairs})
    since = asked["since"]
    config, who = asked.site.config, asked.caller.subject
    return await _done(asked, lambda: change.add_members(config, pairs, since, who),
                       members=len(pairs))  # fmt: skip


def _members(data: bytes) -> list[tuple[str, str]]:
    """(user, team) of each line, in order. Raises UsageError naming the line."""
    try:
        rows = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
        missing = [name for name in change.COLUMNS if name not in (rows.fieldnames or [])]
        if missing:
            raise UsageError(f"no column {', '.join(missing)}: the first line must name "
                             f"{' and '.join(change.COLUMNS)}.")  # fmt: skip
        found = []
        for row in rows:
            user, team = ((row[name] or "").strip() for name in change.COLUMNS)
            if not user or not team:
                raise UsageError(
                    f"line {rows.line_num}: user_id and team_name are required; "
                    "nothing is imported."
                )
            found.append((user, team))
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"the body cannot be read as CSV: {error}.") from None
    return found


async def add_alias(asked: Asked) -> Response:
    """Let a name count as another one of the same person."""
    body = await read_json(asked, AliasBody)
    if not body.name or not body.canonical:
        raise ApiError(400, "name and canonical are required.",
                       param="canonical" if body.name else "name")  # fmt: skip
    scope.unfiltered(asked.caller)
    since = None if body.since is msgspec.UNSET else parse_instant(body.since, "since")
    config, who = asked.site.config, asked.caller.subject
    pair = (body.name, body.canonical)
    return await _done(asked, lambda: change.add_alias(config, pair, since, who))


async def remove_alias(asked: Asked) -> Response:
    """Let a name count for itself again."""
    scope.unfiltered(asked.caller)
    name, since = asked["name"], asked["since"]
    config, who = asked.site.config, asked.caller.subject
    return await _removed(asked, lambda: change.remove_alias(config, name, since, who))


async def add_rule(asked: Asked) -> Response:
    """Let a prefix belong to a team; the longest prefix decides."""
    body = await read_json(asked, RuleBody)
    if not body.backend or not body.team:
        raise ApiError(400, "backend and team are required.",
                       param="team" if body.backend else "backend")  # fmt: skip
    scope.unfiltered(asked.caller)
    rule = {"backend": body.backend, "prefix": body.prefix.strip("/"), "team": body.team}
    config, who = asked.site.config, asked.caller.subject
    return await _done(asked, lambda: change.add_rule(config, rule, who))


async def remove_rule(asked: Asked) -> Response:
    """Remove the rule of a prefix."""
    scope.unfiltered(asked.caller)
    config, who = asked.site.config, asked.caller.subject
    backend, prefix = asked["backend"], asked["prefix"].strip("/")
    return await _removed(asked, lambda: change.remove_rule(config, backend, prefix, who))


ROUTES = (
    Route(
        "PUT",
        "/api/v1/quota",
        "set_quota",
        "Set the limits of a team",
        set_quota,
        "change",
        body="quota_body",
        answer="done",
    ),
    Route(
        "DELETE",
        "/api/v1/quota",
        "delete_quota",
        "Remove the limits of a team",
        delete_quota,
        "change",
        statuses=(404,),
        params=(
            text("team", "The team.", names="team", required=True),
            text("backend", "Where; empty or `all`: the quota over all."),
        ),
        answer="done",
    ),
    Route(
        "POST",
        "/api/v1/team",
        "add_member",
        "Put a user into a team",
        add_member,
        "change",
        body="member_body",
        answer="done",
    ),
    Route(
        "DELETE",
        "/api/v1/team",
        "remove_member",
        "Take a user out of a team",
        remove_member,
        "change",
        statuses=(404,),
        params=(
            text("user", "The user.", required=True),
            text("team", "The team.", names="team", required=True),
            SINCE,
        ),
        answer="done",
    ),
    Route(
        "POST",
        "/api/v1/team/import",
        "import_members",
        "Add the members that a CSV lists",
        import_members,
        "change",
        params=(SINCE,),
        body="members_csv",
        answer="done",
        statuses=(413,),
    ),
    Route(
        "POST",
        "/api/v1/aliases",
        "add_alias",
        "Let a name count as another one of the same person",
        add_alias,
        "change",
        body="alias_body",
        answer="done",
    ),
    Route(
        "DELETE",
        "/api/v1/aliases",
        "remove_alias",
        "Let a name count for itself again",
        remove_alias,
        "change",
        statuses=(404,),
        params=(text("name", "The name that is an alias.", required=True), SINCE),
        answer="done",
    ),
    Route(
        "POST",
        "/api/v1/rules",
        "add_rule",
        "Let a prefix belong to a team",
        add_rule,
        "change",
        body="rule_body",
        answer="done",
    ),
    Route(
        "DELETE",
        "/api/v1/rules",
        "remove_rule",
        "Remove the rule of a prefix",
        remove_rule,
        "change",
        statuses=(404,),
        params=(
            text("backend", "The backend.", names="backend", required=True),
            text("prefix", "Whole path segments; empty: the whole backend."),
        ),
        answer="done",
    ),
)
