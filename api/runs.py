"""Runs that the server asks for: one child process at a time per lake, nothing computed here.

A run that has not begun yet is joined by everyone who asks for the same; one that runs already
may have begun before the asker's events landed, so he waits for the next.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from api.errors import ApiError
from api.lander import server_id
from lake import runs as table
from lake.store import Lake
from storage import clock
from storage.config import Config
from storage.errors import WarpdriveError, of_the_world

log = logging.getLogger("warpdrive.api")
FRESH_SECONDS = 15.0
IDLE_SECONDS = 120.0
STOP_SECONDS = 0.8
Row = dict[str, Any]


@dataclass
class Run:
    """One run, from the request to its end."""

    kind: str
    who: str
    order: Row
    run_id: str = field(default_factory=table.new_id)
    state: str = "requested"
    detail: Row = field(default_factory=dict)
    requested_at: Any = field(default_factory=clock.now)
    ended_at: Any = None
    done: asyncio.Event = field(default_factory=asyncio.Event)

    def row(self) -> Row:
        """The row of the table `runs`."""
        return {
            "run_id": self.run_id, "kind": self.kind, "who": self.who, "server": server_id(),
            "state": self.state, "detail": self.detail, "requested_at": self.requested_at,
            "ended_at": self.ended_at, "written_at": clock.now(),
        }  # fmt: skip


class Runs:
    """The queue of one lake and its worker."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._waiting: list[Run] = []
        self._running: Run | None = None
        self._wake = asyncio.Event()
        self._worker: asyncio.subprocess.Process | None = None
        self._fresh: asyncio.TimerHandle | None = None
        self._closed = False
        self._task = asyncio.get_running_loop().create_task(self._work())

    async def request(self, kind: str, who: str, **order: Any) -> Run:
        """A run of that kind which begins after now; told in the table `runs` already."""
        for run in self._waiting:
            if run.kind == kind and run.order == order:
                return run
        run = Run(kind, who, order)
        self._waiting.append(run)
        try:
            if kind != "ingest":
                await asyncio.to_thread(table.write, Lake(self._config.lake.root), run.row())
        except Exception as error:
            if run in self._waiting:  # whoever has joined it meanwhile must not wait for ever
                self._waiting.remove(run)
                run.state, run.detail = "error", {"error": str(of_the_world(error) or "it failed")}
                run.done.set()
            raise
        self._wake.set()
        return run

    def landed(self) -> None:
        """Events have landed: let them be in the reports before long."""
        if self._fresh is None and not self._closed:
            loop = asyncio.get_running_loop()
            self._fresh = loop.call_later(FRESH_SECONDS, self._refresh)

    async def find(self, run_id: str) -> Row | None:
        """A run as REST tells it."""
        for run in [*self._waiting, *([self._running] if self._running else [])]:
            if run.run_id == run_id:
                return table.body(run.row())
        found = await asyncio.to_thread(table.find, Lake(self._config.lake.root), run_id)
        if found is None:
            return None
        if found["state"] not in table.ENDED and _left(found["server"]):
            found["state"] = "interrupted"
        return table.body(found)

    async def close(self) -> None:
        """Stop the worker: what it was doing is taken up again by the next run."""
        self._closed = True
        if self._fresh is not None:
            self._fresh.cancel()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        if self._worker is not None and self._worker.returncode is None:
            with suppress(ProcessLookupError):
                self._worker.terminate()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._worker.wait(), STOP_SECONDS)
                    return
                self._worker.kill()

    def _refresh(self) -> None:
        self._fresh = None
        task = asyncio.get_running_loop().create_task(self.request("ingest", "server"))
        task.add_done_callback(lambda done: done.exception())

    async def _work(self) -> None:
        while True:
            await self._wake.wait()
            while self._waiting:
                await self._carry_out(self._waiting.pop(0))
            self._wake.clear()

    async def _carry_out(self, run: Run) -> None:
        """One run to its end; until that is in the table, it is found here."""
        self._running = run
        run.state = "running"
        try:
            await self._do(run)
            run.ended_at = clock.now()
            if run.kind != "ingest":
                await asyncio.to_thread(table.write, Lake(self._config.lake.root), run.row())
            elif run.state != "ok":
                log.warning("ingest and refresh: %s", run.detail.get("error"))
        except WarpdriveError as error:
            log.warning("run %s: its end cannot be kept: %s", run.run_id, error)
        finally:
            self._running = None
            run.done.set()

    async def _do(self, run: Run) -> None:
        order = json.dumps({"kind": run.kind, **run.order}).encode() + b"\n"
        used = self._worker is not None
        answer = await self._ask(order)
        if answer is None and used:  # it had been idle for long enough to leave
            answer = await self._ask(order)
        if answer is None:
            run.state = "error"
            run.detail = {"error": "the run's process ended: the server's log says why."}
        else:
            run.state, run.detail = answer["state"], answer["detail"]

    async def _ask(self, order: bytes) -> Row | None:
        try:
            worker = await self._started()
            assert worker.stdin
            assert worker.stdout
            worker.stdin.write(order)
            await worker.stdin.drain()
            line = await worker.stdout.readline()
            if line:
                found: Row = json.loads(line)
                return found
        except (OSError, ValueError):
            log.exception("the worker of runs failed")
        self._worker = None
        return None

    async def _started(self) -> asyncio.subprocess.Process:
        if self._worker is None or self._worker.returncode is not None:
            self._worker = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "pipelines.run", "worker", "--config", self._config.file,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=2**24,
                env={**os.environ, "WARPDRIVE_CONFIG": self._config.file}, start_new_session=True,
            )  # fmt: skip
        return self._worker


def _left(server: str) -> bool:
    """Whether the process that asked for a run knows it no more: it is this one, or has ended.

    Of a process on another machine nobody here can say.
    """
    host, _, pid = server.rpartition(":")
    if host != server_id().rpartition(":")[0]:
        return False
    return int(pid) == os.getpid() or not Path(f"/proc/{pid}").exists()


async def finished(run: Run) -> Row:
    """The end of a run as `POST /crawl` answers. Raises ApiError 502 when all of it failed."""
    await run.done.wait()
    body = table.body(run.row())
    if run.state in ("ok", "partial"):
        return body
    raise ApiError(502, run.detail.get("error", "the run failed."),
                   hint=f"GET /api/v1/runs/{run.run_id} shows it.")  # fmt: skip
