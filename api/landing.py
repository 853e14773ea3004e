"""The routes that take events: `POST /ingest` and OTLP; durable before the answer."""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import secrets
import time
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from api import events, otlp
from api.body import read_body
from api.caller import Caller
from api.errors import ApiError, answer, json_response
from api.lander import Identity
from api.route import Asked, Route
from storage import clock

INLINE_BYTES = 1024**2
MAX_AGE = dt.timedelta(days=30)
KEY_NODE = "@http"
MAX_KEY_CHARACTERS = 500


async def ingest(asked: Asked) -> Response:
    """Land the events of the body; answers how many, and how many of them are quarantined.

    A JSON array under any Content-Type, or JSON lines as `application/x-ndjson`; gzip and zstd.
    """
    body = await _body(asked)
    kind = asked.request.headers.get("content-type", "").partition(";")[0].strip().lower()
    read_batch = events.of_lines if kind == "application/x-ndjson" else events.of_array
    batch = await _read(read_batch, body, rules_for(asked.caller))
    await _land(asked, batch)
    return json_response(b'{"accepted":%d,"quarantined":%d}\n' % (batch.count, batch.quarantined))


async def logs(asked: Asked) -> Response:
    """OTLP/HTTP logs, JSON encoding: each record that has `backend` and `op` is an event."""
    kind = asked.request.headers.get("content-type", "application/json").partition(";")[0]
    if kind.strip().lower() != "application/json":
        raise ApiError(415, f"Content-Type '{kind[:100]}' is not understood.",
                       hint="Set the exporter's encoding to json.")  # fmt: skip
    body = await _body(asked)
    try:
        found, rejected = await asyncio.to_thread(otlp.read_logs, body)
    except (ValueError, RecursionError) as error:
        raise ApiError(400, f"invalid OTLP logs: {error}.") from None
    batch, bad = await asyncio.to_thread(otlp.batch_of, found, rules_for(asked.caller))
    await _land(asked, batch)
    if not rejected + bad + batch.quarantined:
        return answer({})
    told = f"{rejected} records have no backend and op, {bad} have values of a wrong type"
    if batch.quarantined:  # they were taken, which the protocol lets a server warn of
        told += f", {batch.quarantined} are in the quarantine"
    return answer({"partialSuccess": {"rejectedLogRecords": str(rejected + bad),
                                      "errorMessage": told}})  # fmt: skip


async def _body(asked: Asked) -> bytes:
    limit = asked.state.server.max_body_bytes
    return await read_body(asked.request.scope, asked.request.receive, limit)


async def _read(read_batch: Any, body: bytes, rules: events.Rules) -> events.Batch:
    try:
        if len(body) <= INLINE_BYTES:
            return _gathered(read_batch(body, rules))
        return await asyncio.to_thread(_in_turns, read_batch, body, rules)
    except events.TooLargeError as error:
        raise ApiError(413, str(error)) from None
    except events.BadBatchError as error:
        raise ApiError(400, f"{error}.", hint="Send a JSON array of events, or JSON lines as "
                       "application/x-ndjson; nothing of this batch is kept."
                       ) from None  # fmt: skip


async def _land(asked: Asked, batch: events.Batch) -> None:
    """Make a batch durable."""
    name = identity(asked.request, asked.caller, batch)
    if not batch.count:
        return
    site = asked.site
    if name is None and batch.count <= events.BLOCK_EVENTS:
        name = site.lander.number(batch.count)
        await site.lander.land(batch.data(name[1], name[2]), name, alone=False)
    else:  # a large one is numbered at leisure, while others have their turn
        name = name or (site.lander.node, secrets.token_hex(8), 1, batch.count)
        data = await asyncio.to_thread(batch.data, name[1], 1)
        await site.lander.land(data, name, alone=True)
    site.runs.landed()
    asked.state.metrics.landed(site.name, batch.count, batch.quarantined)


def rules_for(caller: Caller) -> events.Rules:
    """An agent writes as itself; only an operator may bring what is older than 30 days."""
    now = clock.now()
    node = caller.subject if caller.role == "agent" and caller.authenticated else None
    return events.Rules(now, node, None if caller.may("work") else now - MAX_AGE)


def identity(request: Request, caller: Caller, batch: events.Batch) -> Identity | None:
    """Under which name the batch counts once: its sequence numbers, else the sender's key.

    The numbers say whose events they are, so that what is missing between them is seen.
    """
    key = request.headers.get("idempotency-key", "")
    if len(key) > MAX_KEY_CHARACTERS:
        raise ApiError(400, f"Idempotency-Key is over {MAX_KEY_CHARACTERS} characters.",
                       param="Idempotency-Key")  # fmt: skip
    if not key or batch.identity:
        return batch.identity
    digest = hashlib.sha256(f"{caller.subject}\0{key}".encode()).digest()
    # A boot of its own, of which it is the first object: the ingest counts it once, too, when the
    # retry comes in another hour, and misses none before it.
    return (KEY_NODE, digest[:16].hex(), 1, 1)


def _gathered(blocks: Any) -> events.Batch:
    whole = events.Batch()
    for block in blocks:
        whole.add(block)
    return whole


def _in_turns(read_batch: Any, body: bytes, rules: events.Rules) -> events.Batch:
    """A large body, block by block in a thread, so that others have their turn."""
    whole = events.Batch()
    for block in read_batch(body, rules):
        whole.add(block)
        time.sleep(0)
    return whole


ROUTES = (
    Route(
        "POST",
        "/api/v1/ingest",
        "ingest",
        "Take a batch of events, durable before the answer",
        ingest,
        "ingest",
        body="events",
        answer="ingested",
        opened_by="ingest",
    ),
    Route(
        "POST",
        "/v1/logs",
        "otlp_logs",
        "Take events as OTLP/HTTP logs (JSON)",
        logs,
        "ingest",
        body="otlp_logs",
        answer="exported",
        opened_by="ingest",
    ),
)
