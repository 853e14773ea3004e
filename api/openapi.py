"""The OpenAPI document, made of the same tables as the routes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from api.params import Param
from api.route import Route
from api.schema import ANSWERS, BODIES, ERROR

VERSION = "3.1.0"
_RUNTIME = {400: "a wrong value", 401: "no token, or one that does not hold",
            403: "the token may not", 404: "not there", 408: "too slow", 409: "busy",
            413: "too large", 415: "an encoding that is not understood",
            429: "too many requests", 502: "every backend failed",
            503: "not now: see Retry-After"}  # fmt: skip
_TITLE = "WarpDrive"


def document(
    routes: Sequence[Route], *, auth: bool, names: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """OpenAPI 3.1. `names`: the backends and teams that the asker may know of."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, auth, names)
    found: dict[str, Any] = {
        "openapi": VERSION,
        "info": {
            "title": _TITLE, "version": "1",
            "description": "Who owns what data, what nobody touches, what grows, who is over quota."
            " Every error has the same body. Unknown parameters are refused.",
        },
        "paths": paths,
        "components": {"schemas": {"Error": ERROR}},
    }  # fmt: skip
    if auth:
        found["components"]["securitySchemes"] = {
            "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
        }
    return found


def _operation(route: Route, auth: bool, names: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "description": (route.handler.__doc__ or "").strip(),
        "parameters": [
            *(_path_param(name) for name in route.path_params),
            *(_parameter(param, names) for param in route.params),
            *((IDEMPOTENCY,) if route.name == "ingest" else ()),
        ],
        "responses": _responses(route, auth),
    }  # fmt: skip
    if route.body:
        content = _named(BODIES[route.body], names)
        found["requestBody"] = {
            "required": True, "content": {kind: {"schema": s} for kind, s in content.items()},
        }  # fmt: skip
    if auth and route.right:
        found["security"] = [{"bearer": []}]
    return found


def _named(content: Mapping[str, Any], names: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Bodies whose `backend` must be one that is there name those."""
    found = {}
    for kind, schema in content.items():
        properties = schema.get("properties", {}) if isinstance(schema, dict) else {}
        if "backend" in properties and names.get("backend"):
            named = {**properties, "backend": {"type": "string", "enum": names["backend"]}}
            schema = {**schema, "properties": named}  # noqa: PLW2901 - the same with names in it
        found[kind] = schema
    return found


IDEMPOTENCY = {
    "name": "Idempotency-Key", "in": "header", "required": False,
    "description": "A batch with a key that was sent before changes nothing.",
    "schema": {"type": "string", "maxLength": 500},
}  # fmt: skip


def _parameter(param: Param, names: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    schema = dict(param.schema)
    if param.names in names:
        known = list(names[param.names])
        extra = {"backend": ["", "all"], "team": [""]}[param.names] if not param.required else []
        if known or extra:
            schema["enum"] = [*extra, *known]
    found = {
        "name": param.name, "in": "query", "required": param.required,
        "description": param.doc, "schema": schema,
    }  # fmt: skip
    return found if param.example is None else {**found, "example": param.example}


def _path_param(name: str) -> dict[str, Any]:
    return {
        "name": name, "in": "path", "required": True,
        "schema": {"type": "string", "pattern": "^[^/]+$"},
    }  # fmt: skip


def _responses(route: Route, auth: bool) -> dict[str, Any]:
    statuses = {400, 408, 503, *route.statuses} if route.right else {400, *route.statuses}
    if auth and route.right:
        statuses |= {401, 403, 429}
    if not auth:
        statuses |= {403}
    if route.method != "GET":
        statuses |= {409, 413, 415}
    good = {"schema": ANSWERS[route.answer]} if route.answer else {"schema": {"type": "string"}}
    found: dict[str, Any] = {"200": {"description": "ok", "content": {route.kind: good}}}
    for status in sorted(statuses):
        content = ANSWERS["run"] if status == 202 else {"$ref": "#/components/schemas/Error"}
        found[str(status)] = {
            "description": _RUNTIME.get(status, "accepted"),
            "content": {"application/json": {"schema": content}},
        }  # fmt: skip
    return found
