"""The REST server over the demo's lake: asked, changed and stopped, each answer checked."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import polars as pl

from lake.read import Reader
from lake.schemas import EVENTS
from lake.store import Lake
from lake.text import render
from pipelines import commands
from pipelines.demo.checks import Check
from pipelines.demo.place import BACKEND, Place
from pipelines.demo.reads import Plan
from storage import clock
from storage.errors import WarpdriveError
from storage.units import format_instant

STOP_SECONDS = 10


def checks(place: Place, plan: Plan) -> list[Check]:
    """Start `warpdrive serve`, call what a client calls, stop it; what it took is ingested."""
    lake = Lake(place.config.lake.root)
    rows = _events(lake)
    server = _Server(place.config.file)
    with server.running() as url:
        found = [*_reads(url, place), *_changes(url, place, plan), *_events_in(url, plan)]
        found.append(Check("status of DELETE /usage, which is no such method",
                           _ask(url, "DELETE", "usage")[0], 405))  # fmt: skip
    found.append(Check("exit code of the server, and a clean one", server.code, 0))
    commands.ingest(place.config, ())
    return [*found, Check("rows in events after the server took one, and one more than before",
                          _events(lake), rows + 1)]  # fmt: skip


def _reads(url: str, place: Place) -> list[Check]:
    reader = Reader(place.config)
    here = {"usage?group_by=team": ("usage", reader.usage("team")),
            "backends": ("backends", reader.backends())}  # fmt: skip
    return [
        Check(f"sha256 of GET /{path} and of the command's JSON",
              _digest(_ask(url, "GET", path)[1]), _digest(render(report, rows, "json")))
        for path, (report, rows) in here.items()
    ]  # fmt: skip


def _changes(url: str, place: Place, plan: Plan) -> list[Check]:
    """Both say what is so already: the demo's reports stay as they were printed."""
    reader = next(iter(plan.by_reader))
    (limits,) = [row for row in Reader(place.config).quota() if row["team"] == reader.team]
    member = {"user_id": reader.name, "team_name": reader.team}
    body = {"team_name": reader.team, "soft_limit": limits["soft_bytes"],
            "hard_limit": limits["hard_bytes"]}  # fmt: skip
    added, changed = _ask(url, "POST", "team", member), _ask(url, "PUT", "quota", body)
    quotas = {row["TeamName"]: row["HardLimit"] for row in json.loads(_ask(url, "GET", "quota")[1])}
    return [
        Check("POST /team of a member: answer", (added[0], json.loads(added[1]).get("new")),
              (200, 0)),
        Check("PUT /quota: status", changed[0], 200),
        Check(f"hard limit of {reader.team} by GET /quota and as it was set",
              quotas.get(reader.team), limits["hard_bytes"]),
    ]  # fmt: skip


def _events_in(url: str, plan: Plan) -> list[Check]:
    reader, files = next(iter(plan.by_reader.items()))
    event = {"ts": format_instant(clock.now()), "user": reader.name, "backend": BACKEND,
             "path": next(iter(files), ""), "op": "stat"}  # fmt: skip
    status, told = _ask(url, "POST", "ingest", [event])
    return [Check("POST /ingest: status and events accepted",
                  (status, json.loads(told).get("accepted")), (200, 1))]  # fmt: skip


class _Server:
    """`warpdrive serve` as a child, on a free port of loopback."""

    def __init__(self, config_file: str) -> None:
        self._config_file = config_file
        self.code: int | None = None

    @contextmanager
    def running(self) -> Iterator[str]:
        """The API's address while the server answers."""
        command = [sys.executable, "-m", "cli", "serve", "--addr", "127.0.0.1:0", "--config",
                   self._config_file]  # fmt: skip
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            start_new_session=True,
        )  # fmt: skip
        try:
            assert process.stdout
            for line in process.stdout:
                if line.startswith("Listening: "):
                    break
            else:
                raise WarpdriveError(f"the server did not start: run `{' '.join(command)}`.")
            yield f"http://{line.split()[1]}/api/v1"
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                self.code = process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                self.code = process.wait()
            if process.stdout:
                process.stdout.close()


def _ask(url: str, method: str, path: str, body: Any = None) -> tuple[int, str]:
    """Status and text of one request."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(  # noqa: S310 - our own server's address
        f"{url}/{path}", data=data, method=method, headers={"Content-Type": "application/json"}
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _events(lake: Lake) -> int:
    return int(lake.scan(EVENTS).select(pl.len()).collect().item())
