"""What every request passes first: a clean path, known hosts and origins, a checked token."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from api.auth import Verifier, bearer
from api.body import ClientLeftError
from api.caller import LOCAL, Caller
from api.errors import ApiError
from api.limiter import Limiter
from api.route import INNER_SLASH

if TYPE_CHECKING:
    from api.state import State

_SAFE = ("GET", "HEAD", "OPTIONS")
_SLASHES = re.compile("//+")
_ENCODED_SLASH = re.compile("%2f", re.IGNORECASE)
_OWN_SITE = ("same-origin", "none")


class Gate:
    """Wraps the application. Its refusals have the one error body too."""

    def __init__(self, app: Any, state: State) -> None:
        self._app = app
        self._state = state
        server = state.server
        self._hosts = {"localhost", *own_names(), *server.hosts}
        self._origins = set(server.origins)
        self._verifier = Verifier(server.jwt) if server.jwt else None
        self._limiter = Limiter(server.rate_limit)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope["path"] = _path(scope)
        scope["warpdrive.held"] = held = self._state.room.holder()
        started = time.perf_counter()
        status = 0

        async def watched(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._pass(scope, receive, watched)
        except ClientLeftError:
            status = status or 499
        except asyncio.CancelledError:  # only a server that stops does that
            if not status:
                await _stopping().response()(scope, receive, watched)
        finally:
            held.release()
        self._count(scope, status, time.perf_counter() - started)

    async def _pass(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            scope["warpdrive.caller"] = await self._checked(scope)
            await self._app(scope, receive, send)
        except ApiError as error:
            await error.response()(scope, receive, send)

    def _count(self, scope: Any, status: int, seconds: float) -> None:
        """Every tenant sees the counts of its own requests only."""
        caller = scope.get("warpdrive.caller")
        tenant = caller.tenant if caller and caller.tenant in self._state.sites else ""
        route = scope.get("warpdrive.route", "none")
        self._state.metrics.answered(tenant, route, scope["method"], status, seconds)

    async def _checked(self, scope: Any) -> Caller | None:
        headers: dict[bytes, str] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name, value.decode("latin-1"))
        self._check_host(headers.get(b"host", ""))
        if scope["method"] not in _SAFE:
            self._check_origin(headers)
        caller = await self._caller(headers.get(b"authorization", ""))
        if self._verifier is not None:
            client = scope.get("client") or ("",)
            self._limiter.take(f"token {caller.subject}" if caller else f"from {client[0]}")
        return caller

    async def _caller(self, header: str) -> Caller | None:
        """Who asks; None without a token. With auth off, everyone is the local admin."""
        if self._verifier is None:
            return LOCAL
        if not header:
            return None
        token = bearer(header)
        known = self._verifier.remembered(token)
        return known or await asyncio.to_thread(self._verifier.check, token)

    def _check_host(self, host: str) -> None:
        """A name that a web page chose (DNS rebinding) is not ours; a bare address is nobody's."""
        try:
            name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
        except ValueError:
            name = ""
        if name in self._hosts or _is_address(name):
            return
        raise ApiError(403, f"the host '{host[:200]}' is not this server's.",
                       hint="Add it to control_plane.hosts.", param="Host")  # fmt: skip

    def _check_origin(self, headers: dict[bytes, str]) -> None:
        origin = headers.get(b"origin", "").lower()
        if origin in self._origins:
            return
        own = {f"{scheme}://{headers.get(b'host', '').lower()}" for scheme in ("http", "https")}
        foreign = bool(origin) and origin not in own
        if foreign or headers.get(b"sec-fetch-site", "none") not in _OWN_SITE:
            raise ApiError(403, "a web page of another origin may not change anything here.",
                           hint="Add its origin to control_plane.origins.",
                           param="Origin")  # fmt: skip


def _stopping() -> ApiError:
    """503 for what a stop does not wait for."""
    return ApiError(
        503, "the server is stopping.", hint="Send it again later.",
        headers={"Retry-After": "5", "Connection": "close"},
    )  # fmt: skip


def _path(scope: Any) -> str:
    """The path as routes match it: doubled slashes are one, an encoded one stays in its segment."""
    path, raw = scope["path"], (scope.get("raw_path") or b"").decode("latin-1")
    if _ENCODED_SLASH.search(raw):
        path = unquote(_ENCODED_SLASH.sub(INNER_SLASH, raw))
    return _SLASHES.sub("/", path)


def own_names() -> set[str]:
    """The names of this machine, in lower case, as its own network knows them."""
    host = socket.gethostname().lower()
    return {host, host.partition(".")[0]}


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
