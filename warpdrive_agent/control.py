"""Asking the running agent of a config: stats, status, warm. For the command line."""

from __future__ import annotations

import errno
import http.client
import json
import os
import socket
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from typing import Any

from storage.backends import open_backend
from storage.config import Config
from storage.errors import BackendError, UsageError, WarpdriveError
from warpdrive_agent.cache import BlockCache
from warpdrive_agent.mountpoint import mounted_at
from warpdrive_agent.statusserver import short_path, socket_path
from warpdrive_agent.warm import WarmOrder, WarmProgress, warm

ANSWER_SECONDS = 10.0


def agent_stats(config: Config) -> dict[str, int]:
    """hits, misses, evictions, bytes_cached of the running agent.

    Raises WarpdriveError where none runs.
    """
    return _ask(config, "/stats")


def agent_status(config: Config) -> dict[str, Any]:
    """The running agent's status; without one, what the config says and `running: False`."""
    try:
        return _ask(config, "/status")
    except WarpdriveError:
        return {
            "running": False,
            "node": socket.gethostname(),
            "mount_point": config.mount_point,
            "mounted": mounted_at(config.mount_point) is not None,
            "backends": [
                {"name": b.name, "type": b.type, "mount_path": b.mount_path}
                for b in config.backends
            ],
            "cache": None,
            "telemetry": {"enabled": config.telemetry.enabled, "sink": config.telemetry.sink},
        }


def warm_cache(config: Config, order: WarmOrder) -> Iterator[WarmProgress]:
    """Fill the cache of the running agent, or of a stopped one; yields progress to the end.

    Raises WarpdriveError (unknown backend, a local one, a prefix that is not there).
    """
    backend = config.backend(order.backend)
    if backend.type == "local":
        raise UsageError(f"backend '{backend.name}' is local: there is nothing to warm.")
    try:
        if _is_running(config):
            yield from _warm_running(config, order)
        else:
            yield from _warm_stopped(config, order)
    except (OSError, http.client.HTTPException) as error:
        place = f"{order.backend}:{order.prefix}"
        raise BackendError(
            f"{place} cannot be warmed: {getattr(error, 'strerror', '') or error}."
        ) from None


def _warm_stopped(config: Config, order: WarmOrder) -> Iterator[WarmProgress]:
    with closing(open_backend(config.backend(order.backend))) as source:
        cache = BlockCache(config.cache)
        try:
            yield from warm(source, cache, order)
        finally:
            cache.close()


def _warm_running(config: Config, order: WarmOrder) -> Iterator[WarmProgress]:
    with closing(_connect(config)) as connection:
        body = json.dumps(asdict(order)).encode()
        connection.request("POST", "/warm", body)
        answer = connection.getresponse()
        if connection.sock is not None:
            connection.sock.settimeout(None)
        progress = WarmProgress()
        for line in answer:
            if not line.endswith(b"\n"):
                break
            step = json.loads(line)
            if "error" in step:
                raise OSError(step.get("errno"), step["error"])
            progress = WarmProgress(**step)
            yield progress
        if not progress.done:
            raise OSError(
                errno.ECONNRESET,
                f"the agent ended after {progress.files_done} of {progress.files} files: "
                "what is cached stays, run it again to go on",
            )


def _is_running(config: Config) -> bool:
    try:
        _ask(config, "/stats")
    except WarpdriveError:
        return False
    return True


def _ask(config: Config, path: str) -> Any:
    try:
        with closing(_connect(config)) as connection:
            connection.request("GET", path)
            return json.loads(connection.getresponse().read())
    except (OSError, http.client.HTTPException, ValueError):
        raise WarpdriveError(
            f"no agent is running for {config.file} (nobody answers at {socket_path(config)}): "
            "start one with `warpdrive mount`."
        ) from None


def _connect(config: Config) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection("agent", timeout=ANSWER_SECONDS)
    folder = os.open(socket_path(config).parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        stream.settimeout(ANSWER_SECONDS)
        stream.connect(short_path(folder))
    except OSError:
        stream.close()
        raise
    finally:
        os.close(folder)
    connection.sock = stream
    return connection
