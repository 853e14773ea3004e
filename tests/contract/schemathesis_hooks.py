"""What OpenAPI cannot say of the API, for schemathesis: loaded by its command line."""

import re
from typing import Any

import schemathesis

YEAR = re.compile("([0-9]{4})-")
MEMBER = re.compile("^([a-z]+),([a-z]+)$", re.MULTILINE)


def _integral(value: Any) -> Any:
    """JSON Schema takes 5.0 for an integer, the contract does not."""
    if isinstance(value, dict):
        return {key: _integral(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_integral(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _of_this_age(value: Any) -> bool:
    """Whether a time is none, or in the years that the API knows: no format has bounds."""
    year = YEAR.match(str(value))
    return year is None or 1971 <= int(year[1]) <= 2199


@schemathesis.hook
def map_body(context, body):
    """Integers are written as integers; no limit stands above the other."""
    body = _integral(body)
    if isinstance(body, dict) and {"soft_limit", "hard_limit"} <= set(body):
        limits = body["soft_limit"], body["hard_limit"]
        if all(isinstance(limit, int) and limit >= 0 for limit in limits):
            return body | {"soft_limit": min(limits), "hard_limit": max(limits)}
    return body


@schemathesis.hook
def before_call(context, case, **kwargs):
    """Teams that come while the test runs are none that it names elsewhere by chance.

    The document lists those that there were when it was asked for, and what it does not list is
    refused as unknown. For the same reason one member of the team that is listed stays.
    An alias is of another name, and none of those is `unknown` or a circle.
    """
    if isinstance(case.body, str):
        case.body = MEMBER.sub(r"\1,newteam\2", case.body)
    if case.method == "DELETE" and (case.query or {}).get("user") == "ann":
        case.query = case.query | {"user": "bob"}
    if isinstance(case.body, dict):
        for key in ("name", "canonical"):
            name = case.body.get(key)
            if isinstance(name, str) and 0 < len(name) < 180:
                case.body = case.body | {key: f"a {key} {name}"}
        for key in ("team_name", "team"):
            name = case.body.get(key)
            if isinstance(name, str) and 0 < len(name) < 180:
                case.body = case.body | {key: f"new team {name}"}


@schemathesis.hook
def filter_body(context, body):
    """`since` of a member is of this age."""
    return not isinstance(body, dict) or _of_this_age(body.get("since"))


@schemathesis.hook
def filter_query(context, query):
    """A cursor comes from a page; the days of a diff are in order; times are of this age."""
    query = query or {}
    if query.get("cursor"):
        return False
    first, last = str(query.get("day1", "")), str(query.get("day2", ""))
    return first <= last and all(_of_this_age(query.get(name)) for name in ("as_of", "since"))


@schemathesis.serializer("application/x-ndjson", "text/csv")
def as_text(context, value):
    """Lines are a text."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")
