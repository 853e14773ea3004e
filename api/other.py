"""The routes beside the reports: health, metrics, the API's own description."""

from __future__ import annotations

import html
import json
from typing import Any

from starlette.responses import Response

from api import openapi
from api.errors import answer
from api.lakemetrics import lake_text
from api.metrics import CONTENT_TYPE
from api.questions import Names
from api.route import Asked, Route


async def healthz(_asked: Asked) -> Response:
    """Whether the server answers. Says nothing about anybody's data."""
    return answer({"status": "ok", "checks": {"server": "ok"}})


async def metrics(asked: Asked) -> Response:
    """Counters of the server and of the caller's lake, in Prometheus' text format."""
    site, teams = asked.site, asked.caller.teams
    text = await site.call(
        lambda: asked.state.metrics.text(site.name) + lake_text(site.config.lake.root, teams),
        heavy=False,
    )
    return Response(text, headers={"Content-Type": CONTENT_TYPE})


async def openapi_json(asked: Asked) -> Response:
    """The OpenAPI document; names of backends and teams are those that the caller may see."""
    return answer(await described(asked))


async def docs(asked: Asked) -> Response:
    """The same as a page to read; it loads nothing from anywhere."""
    return Response(page(await described(asked)), media_type="text/html; charset=utf-8")


async def described(asked: Asked) -> dict[str, Any]:
    """The document for this caller."""
    from api.app import ROUTES

    names: dict[str, list[str]] = {}
    caller = asked.caller
    if caller.may("read") and caller.subject != "anonymous":
        names = await asked.site.ask(Names(), caller, heavy=caller.teams is not None)
    return openapi.document(ROUTES, auth=asked.state.server.jwt is not None, names=names)


_HEAD = (
    "<!doctype html><html lang=en><meta charset=utf-8><title>WarpDrive API</title>"
    "<meta name=viewport content='width=device-width'>"
    "<style>body{font:16px/1.5 system-ui;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "code,pre{background:#f3f3f3;padding:.1em .3em}pre{overflow:auto;padding:.6em}"
    "td,th{text-align:left;vertical-align:top;padding:.1em .8em .1em 0}"
    "h2{margin-top:2em;border-top:1px solid #ccc;padding-top:1em}</style><h1>WarpDrive API</h1>"
)
_LINKS = "<a href=openapi.json>openapi.json</a></p><ul>"


def page(document: dict[str, Any]) -> str:
    """OpenAPI as plain HTML."""
    parts = [_HEAD, f"<p>{_text(document['info']['description'])} ", _LINKS]
    told = [
        (method.upper(), path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    for method, path, operation in told:
        parts.append(
            f"<li><a href='#{operation['operationId']}'><code>{method} {_text(path)}</code></a> "
            f"{_text(operation['summary'])}"
        )
    parts.append("</ul>")
    parts += [_operation(*one) for one in told]
    return "".join(parts)


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><td><code>{_text(p['name'])}</code>"
        f"<td>{p['in']}{', required' if p['required'] else ''}"
        f"<td>{_text(p.get('description', ''))}<td><code>{_text(_brief(p['schema']))}</code>"
        for p in operation["parameters"]
    )
    table = f"<table><tr><th>name<th>where<th>what<th>values{rows}</table>" if rows else ""
    body = "".join(
        f"<p>Body, <code>{kind}</code>:</p><pre>{_text(json.dumps(c['schema'], indent=1))}</pre>"
        for kind, c in operation.get("requestBody", {}).get("content", {}).items()
    )
    told = operation["responses"]
    answers = ", ".join(f"{status} ({_text(one['description'])})" for status, one in told.items())
    good = next(iter(told["200"]["content"].values()))["schema"]
    return (
        f"<h2 id='{operation['operationId']}'><code>{method} {_text(path)}</code></h2>"
        f"<p>{_text(operation['description'])}</p>{table}{body}<p>Answers: {answers}. 200:</p>"
        f"<pre>{_text(json.dumps(good, indent=1))}</pre>"
    )


def _brief(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return " | ".join(schema["enum"])
    shown = schema.get("format") or str(schema.get("type", ""))
    return shown + (f" = {schema['default']}" if "default" in schema else "")


def _text(text: str) -> str:
    return html.escape(text)


ROUTES = (
    Route("GET", "/healthz", "healthz", "Whether the server answers", healthz, "", answer="health"),
    Route(
        "GET",
        "/metrics",
        "metrics",
        "Counters, for Prometheus",
        metrics,
        "read",
        opened_by="metrics",
        kind="text/plain",
    ),
    Route(
        "GET", "/openapi.json", "openapi", "This description", openapi_json, "", answer="document"
    ),
    Route("GET", "/docs", "docs", "This description as a page", docs, "", kind="text/html"),
)
