"""The process behind `warpdrive serve`: orders on stdin, one JSON line each, answers on stdout.

It stays for the next order: importing the orchestrator takes longer than most runs. It ends when
the server does, and after a while without orders.
"""

from __future__ import annotations

import json
import logging
import os
import select
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from lake.reports import body
from pipelines import commands
from storage.config import Config
from storage.errors import WarpdriveError, of_the_world
from storage.priority import give_way

IDLE_SECONDS = 300
MAX_RUNS = 500
NICE = 10
log = logging.getLogger("warpdrive.worker")
Row = dict[str, Any]


def work(config: Config) -> None:
    """Carry out orders until stdin ends."""
    # Whatever a library prints must not be taken for an answer.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    orders = os.fdopen(os.dup(0), "rb", buffering=0)
    for _ in range(MAX_RUNS):
        ready, _, _ = select.select([orders], [], [], IDLE_SECONDS)
        line = orders.readline() if ready else b""
        if not line:
            return
        answers.write(json.dumps(carry_out(config, json.loads(line))) + "\n")
        answers.flush()


def carry_out(config: Config, order: Row) -> Row:
    """One order: `{"state", "detail"}`. What is our own bug is in the log with its traceback."""
    try:
        return _WORK[order["kind"]](config, order)
    except WarpdriveError as error:
        return {"state": "error", "detail": {"error": str(error)}}
    except Exception as error:
        if known := of_the_world(error):
            return {"state": "error", "detail": {"error": str(known)}}
        log.exception("%s failed", order["kind"])
        return {"state": "error", "detail": {"error": f"internal error: {type(error).__name__}"}}


def _ingest(config: Config, _order: Row) -> Row:
    commands.ingest(config, ())
    commands.refresh(config, None, rebuild=False)
    return {"state": "ok", "detail": {}}


def _crawl(config: Config, order: Row) -> Row:
    """Ingest, crawl, publish: afterwards the reports have everything that had landed."""
    commands.ingest(config, ())
    removal = order.get("allow_removal", False)
    rows = [
        row
        for name in order.get("backends") or [""]
        for row in commands.crawl(config, name, None, allow_removal=removal)
    ]
    commands.refresh(config, None, rebuild=False)
    failed = {row["backend"]: row["error"] for row in rows if row["state"] == "failed"}
    detail: Row = {"backends": rows}
    state = _state(len(rows) - len(failed), failed)
    return {"state": state, "detail": detail | _told("crawl", failed)}


def _verify(config: Config, order: Row) -> Row:
    """Audit indexes against their stores."""
    rows, failed = commands.verify(
        config, order.get("backend", ""), order["sample"], order.get("seed", 0)
    )
    detail: Row = {"audits": body("verify", rows)}
    return {"state": _state(len(rows), failed), "detail": detail | _told("verify", failed)}


def _state(well: int, failed: Row) -> str:
    return "ok" if not failed else "partial" if well else "error"


def _told(work: str, failed: Row) -> Row:
    """The backends that failed, with their errors; nothing where none did."""
    named = "; ".join(f"{name}: {error}" for name, error in failed.items())
    return {"failed": failed, "error": f"{work} failed for {named}"} if failed else {}


_WORK: dict[str, Callable[[Config, Row], Row]] = {
    "crawl": _crawl, "ingest": _ingest, "verify": _verify,
}  # fmt: skip


def main(config: Config) -> None:
    """The child's entry: `python -m pipelines.run worker --config F`."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    os.umask(0o027)
    give_way(NICE)  # the server and whoever asks it come first
    with suppress(KeyboardInterrupt):  # the server stops; what was under way is taken up again
        work(config)
