"""One route as data: what it takes, who may use it, what it answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from api.caller import Caller
from api.params import Param
from api.site import Site
from api.state import State

INNER_SLASH = "\udc2f"
"""What stands for `%2F` within a segment of a path: no text that came as UTF-8 holds it."""


@dataclass(frozen=True)
class Asked:
    """One request, checked: whose data, who asks, with what."""

    state: State
    caller: Caller
    params: dict[str, Any]
    request: Request

    @property
    def site(self) -> Site:
        """The caller's site. Raises ApiError 403 where there is none for it."""
        return self.state.site(self.caller)

    def __getitem__(self, name: str) -> Any:
        return self.params[name]

    def segment(self, name: str) -> str:
        """A segment of the path that was asked, decoded: a `/` in it came as `%2F`."""
        found: str = self.request.path_params[name]
        return found.replace(INNER_SLASH, "/")


@dataclass(frozen=True)
class Route:
    """A method of a path. `right`: read, ingest, work or change; empty for everyone."""

    method: str
    path: str
    name: str
    summary: str
    handler: Callable[[Asked], Awaitable[Response]]
    right: str = "read"
    params: tuple[Param, ...] = ()
    answer: str = ""
    """Which schema of `api.schema` the 200 answer has."""
    body: str = ""
    """Which schema of `api.schema` the request body has."""
    opened_by: str = ""
    """The word of `auth.anonymous` that lets everyone use it."""
    statuses: tuple[int, ...] = ()
    """Further statuses that it answers with."""
    path_params: tuple[str, ...] = ()
    kind: str = "application/json"
    """Content type of the 200 answer."""
