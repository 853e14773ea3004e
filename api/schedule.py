"""Crawls that nobody asks for: once at the start, then every `storage_crawl_interval`.

A backend is due when its last crawl, whoever did it, is older than the interval: a restart, or a
crawl by the orchestrator, crawls nothing twice.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from collections.abc import Iterable
from typing import Any, NamedTuple

from api.runs import Runs
from lake.read import Reader
from storage import clock
from storage.config import Config
from storage.errors import WarpdriveError
from storage.units import parse_instant

log = logging.getLogger("warpdrive.api")
WHO = "schedule"
AGAIN = dt.timedelta(minutes=15)
"""When a backend that failed is tried again, where the interval is longer."""
LONGEST_SECONDS = 3600.0
Row = dict[str, Any]


class Tried(NamedTuple):
    """The last crawl of a backend that was begun here."""

    at: dt.datetime
    ok: bool


def due(
    rows: Iterable[Row], tried: dict[str, Tried], interval: dt.timedelta, now: dt.datetime
) -> tuple[list[str], dt.timedelta]:
    """The backends to crawl now, and how long nothing else will be due.

    `rows`: `name` and `crawled_at` (RFC 3339; None: never) of each backend of the config.
    """
    found, wait = [], interval
    for row in rows:
        at = parse_instant(row["crawled_at"]) + interval if row["crawled_at"] else now
        if last := tried.get(row["name"]):
            at = max(at, last.at + (interval if last.ok else min(interval, AGAIN)))
        if at <= now:
            found.append(row["name"])
        else:
            wait = min(wait, at - now)
    return found, wait


class Schedule:
    """The crawls of one lake."""

    def __init__(self, config: Config, runs: Runs) -> None:
        self._config = config
        self._runs = runs
        self._tried: dict[str, Tried] = {}
        self._task = asyncio.get_running_loop().create_task(self._keep())

    async def close(self) -> None:
        """Ask for no more."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _keep(self) -> None:
        self._runs.landed()  # what came before an end that was not clean
        interval = self._config.server.crawl_interval
        while self._config.backends:
            try:
                rows = await asyncio.to_thread(self._backends)
                names, wait = due(rows, self._tried, interval, clock.now())
                if names:
                    await self._crawl(names)
            except WarpdriveError as error:
                log.warning("scheduled crawls: %s", error)
                wait, names = AGAIN, []
            if not names:
                await asyncio.sleep(min(wait.total_seconds(), LONGEST_SECONDS))

    def _backends(self) -> list[Row]:
        known = {backend.name for backend in self._config.backends}
        return [row for row in Reader(self._config).backends() if row["name"] in known]

    async def _crawl(self, names: list[str]) -> None:
        at = clock.now()
        run = await self._runs.request("crawl", WHO, backends=names, allow_removal=False)
        await run.done.wait()
        failed = run.detail.get("failed", names) if run.state != "ok" else ()
        self._tried |= {name: Tried(at, name not in failed) for name in names}
        if failed:
            log.warning("scheduled crawl: %s", run.detail.get("error"))
