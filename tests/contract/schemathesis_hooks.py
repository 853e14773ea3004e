"""What OpenAPI cannot say of the API, for schemathesis: loaded by its command line."""

from typing import Any

import schemathesis


def _integral(value: Any) -> Any:
    """JSON Schema takes 5.0 for an integer, the contract does not."""
    if isinstance(value, dict):
        return {key: _integral(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_integral(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


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
def filter_query(context, query):
    """A cursor comes from a page; the days of a diff are in order; as-of is in this age."""
    query = query or {}
    if query.get("cursor"):
        return False
    first, last = str(query.get("day1", "")), str(query.get("day2", ""))
    return first <= last and str(query.get("as_of", "2026"))[:2] == "20"


@schemathesis.hook
def map_query(context, query):
    """A crawl is asked for without waiting: what it answers at its end has tests of its own."""
    if query and context.operation.path == "/api/v1/crawl" and query.get("wait") == "true":
        return query | {"wait": "false"}
    return query


@schemathesis.serializer("application/x-ndjson", "text/csv")
def as_text(context, value):
    """Lines are a text."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")
