"""The routes that read: the rows of the read model, rendered as the command line renders them."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from api import scope
from api.errors import ApiError, json_response
from api.params import (
    AS_OF,
    BACKEND,
    CURSOR,
    MAX_ROWS,
    SIZE,
    choice,
    day,
    days,
    limit,
    number,
    text,
    whole_days,
)
from api.questions import Question, Rows, StalePage
from api.route import Asked, Route
from lake.read import ATTRIBUTIONS, GROUPS, STALE_DAYS
from lake.windows import STALE_LIMIT


async def _rows(
    asked: Asked, report: str, method: str, *args: Any, heavy: bool = False
) -> Response:
    """Answer with the rows that a method of `lake.read.Reader` gives for the caller."""
    return await _answered(asked, report, Rows(report, method, args, MAX_ROWS), heavy=heavy)


async def _answered(asked: Asked, report: str, question: Question, *, heavy: bool) -> Response:
    """Answer with what a question gives, from memory where asked since the last refresh."""
    site, as_of = asked.site, asked.params.get("as_of")
    key = (report, asked.caller.teams, *(f"{k}={v}" for k, v in asked.params.items()))
    kept = site.recall(key)
    if kept is None:
        since = site.seen
        # Engines are needed for single teams: never where probes wait.
        slow = heavy or as_of is not None or asked.caller.teams is not None
        kept = await site.ask(question, asked.caller, heavy=slow, as_of=as_of)
        if report in CACHED:
            site.remember(key, since, kept)
    return json_response(kept[0], headers=kept[1])


CACHED = ("usage", "stale", "growth", "quota", "backends", "team")
"""Reports that change only when results are published."""


async def usage(asked: Asked) -> Response:
    """Stored files and bytes per group and backend."""
    group, how, depth = asked["group_by"], asked["attribution"], asked["depth"]
    if group == "prefix":
        scope.unfiltered(asked.caller)
    return await _rows(
        asked, "usage", "usage", group, asked["backend"], how, depth,
        heavy=group == "prefix" and depth != 1,
    )  # fmt: skip


async def stale(asked: Asked) -> Response:
    """Files that nobody has touched, largest first, ties by backend and path.

    A full page names the next one in the headers `X-Next-Cursor` and `Link`; with `total=true`
    `X-Total-Count` says how many files there are in all.
    """
    page = StalePage(
        asked["days"], asked["min_size"], asked["backend"], asked["limit"], asked["cursor"],
        asked["total"] == "true", MAX_ROWS, dict(asked.request.query_params),
    )  # fmt: skip
    return await _answered(asked, "stale", page, heavy=True)


async def growth(asked: Asked) -> Response:
    """Files and bytes per day."""
    how = asked["backend"], asked["period"], asked["by"], asked["forecast"]
    return await _rows(asked, "growth", "growth", *how)


async def quota(asked: Asked) -> Response:
    """Quotas with what their teams own."""
    return await _rows(asked, "quota", "quota", asked["team"], asked["backend"])


async def backends(asked: Asked) -> Response:
    """Every backend. Answers on a cold lake too: probes ask it."""
    return await _rows(asked, "backends", "backends")


async def team(asked: Asked) -> Response:
    """Who is in which team."""
    return await _rows(asked, "team", "team")


async def user(asked: Asked) -> Response:
    """What a user touched."""
    who, most = asked.segment("user_id"), asked["limit"] or MAX_ROWS + 1
    return await _rows(asked, "user", "user", who, asked["backend"], most, heavy=True)


async def ledger(asked: Asked) -> Response:
    """What arrived per node and hour."""
    scope.unfiltered(asked.caller)
    return await _rows(asked, "ledger", "ledger", asked["node"], asked["hours"], heavy=True)


async def diff(asked: Asked) -> Response:
    """What changed between the ends of two days."""
    if asked["day1"] > asked["day2"]:
        raise ApiError(400, f"day1 {asked['day1']} is after day2 {asked['day2']}.",
                       hint="Swap them.", param="day1")  # fmt: skip
    how = asked["day1"], asked["day2"], asked["by"], asked["depth"]
    return await _rows(asked, "diff", "diff", *how, heavy=True)


async def aliases(asked: Asked) -> Response:
    """Names that count as another one of the same person."""
    return await _rows(asked, "alias", "aliases")


async def rules(asked: Asked) -> Response:
    """Ownership rules with what they decide about."""
    return await _rows(asked, "rule", "rules", heavy=True)


async def rule_preview(asked: Asked) -> Response:
    """What a rule would take from other owners."""
    rule = asked["backend"], asked["prefix"].strip("/"), asked["team"]
    return await _rows(asked, "rule", "rule_preview", *rule, heavy=True)


async def audit_log(asked: Asked) -> Response:
    """Who changed what."""
    most = asked["limit"] or MAX_ROWS + 1
    return await _rows(asked, "audit-log", "audit_log", most, heavy=True)


async def verify(asked: Asked) -> Response:
    """How well each index agreed with its store when it was last audited, with a 95 % interval."""
    return await _rows(asked, "verify", "verify", asked["backend"], heavy=True)


_DEPTH = number("depth", 1, "Path segments of a prefix.", low=1, high=64)
ROUTES = (
    Route(
        "GET",
        "/api/v1/usage",
        "usage",
        "Stored files and bytes per group and backend, largest first",
        usage,
        params=(
            choice("group_by", "user", GROUPS, "What a row is about."),
            BACKEND,
            choice(
                "attribution",
                "owner",
                ATTRIBUTIONS,
                "owner: what is stored, by owner. access: what the group ever touched.",
            ),
            _DEPTH,
            AS_OF,
        ),
        answer="usage",
    ),
    Route(
        "GET",
        "/api/v1/stale",
        "stale",
        "Files that nobody has touched, largest first",
        stale,
        params=(
            whole_days("days", STALE_DAYS, "Not touched for so many days."),
            SIZE,
            BACKEND,
            limit(STALE_LIMIT),
            CURSOR,
            choice("total", "false", ("true", "false"), "true: count all files in a header."),
            AS_OF,
        ),
        answer="stale",
    ),
    Route(
        "GET",
        "/api/v1/growth",
        "growth",
        "Files and bytes at the end of each day",
        growth,
        params=(
            BACKEND,
            days("period", 30, "So many days back, `30` or `30d`; 0 = whole history."),
            choice("by", "", ("", "backend", "team"), "One row a day and backend, or team."),
            days("forecast", 0, "Go on for so many days."),
            AS_OF,
        ),
        answer="growth",
    ),
    Route(
        "GET",
        "/api/v1/quota",
        "quota",
        "Quotas with what their teams own",
        quota,
        params=(
            text("team", "Only this team.", names="team"),
            BACKEND,
            AS_OF,
        ),
        answer="quota",
    ),
    Route(
        "GET",
        "/api/v1/user/{user_id}",
        "user",
        "What one user touched, newest first",
        user,
        params=(
            BACKEND,
            limit(0),
            AS_OF,
        ),
        answer="user",
        path_params=("user_id",),
    ),
    Route(
        "GET",
        "/api/v1/backends",
        "backends",
        "Every backend: size, state of its crawl, coverage",
        backends,
        params=(AS_OF,),
        answer="backends",
        opened_by="backends",
    ),
    Route(
        "GET",
        "/api/v1/team",
        "team",
        "Who is in which team",
        team,
        params=(AS_OF,),
        answer="team",
    ),
    Route(
        "GET",
        "/api/v1/ledger",
        "ledger",
        "What arrived per node and landing hour, and what is missing",
        ledger,
        params=(
            text("node", "Only this node."),
            number("hours", 24, "So many landing hours back.", low=1, high=876_000),
            AS_OF,
        ),
        answer="ledger",
    ),
    Route(
        "GET",
        "/api/v1/diff",
        "diff",
        "What changed from the end of one day to the end of another",
        diff,
        params=(
            day("day1", "The first day, YYYY-MM-DD."),
            day("day2", "The last day, YYYY-MM-DD."),
            choice("by", "team", ("team", "prefix", "backend"), "What a row is about."),
            _DEPTH,
            AS_OF,
        ),
        answer="diff",
    ),
    Route(
        "GET",
        "/api/v1/aliases",
        "aliases",
        "Names that are one person",
        aliases,
        params=(AS_OF,),
        answer="alias",
    ),
    Route(
        "GET",
        "/api/v1/rules",
        "rules",
        "Ownership rules with what they decide about",
        rules,
        params=(AS_OF,),
        answer="rule",
    ),
    Route(
        "GET",
        "/api/v1/rules/preview",
        "rule_preview",
        "What a rule would take from other owners",
        rule_preview,
        params=(
            text("backend", "The backend.", names="backend", required=True),
            text("prefix", "Whole path segments."),
            text("team", "The team it would belong to.", required=True),
        ),
        answer="rule",
    ),
    Route(
        "GET",
        "/api/v1/verify",
        "verify",
        "The last audit of each index against its store",
        verify,
        params=(BACKEND,),
        answer="verify",
    ),
    Route(
        "GET",
        "/api/v1/audit_log",
        "audit_log",
        "Changes of quotas, teams, aliases and rules, newest first",
        audit_log,
        right="work",
        params=(limit(100),),
        answer="audit_log",
    ),
)
