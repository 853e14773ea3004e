"""The application: routes made of the tables, one error body for everything."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match

from api import changing, landing, other, reading, working
from api.body import ClientLeftError
from api.caller import Caller, needed
from api.errors import ApiError, failed, of_status, of_warpdrive
from api.gate import Gate
from api.params import read
from api.route import Asked, Route
from api.state import State
from storage.config import Config
from storage.errors import WarpdriveError

ROUTES: tuple[Route, ...] = (
    *reading.ROUTES, *changing.ROUTES, *working.ROUTES, *landing.ROUTES, *other.ROUTES,
)  # fmt: skip


def make_app(configs: Mapping[str, Config], *, crawls: bool = False) -> Any:
    """The ASGI application: one config under the name '', or one config for each tenant.

    `crawls`: at the start and every `control_plane.storage_crawl_interval`.
    """
    state = State(configs, crawls=crawls)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        state.open()
        yield
        await state.close()

    app = FastAPI(
        title="WarpDrive", lifespan=lifespan, redirect_slashes=False, docs_url=None,
        redoc_url=None, openapi_url=None,
    )  # fmt: skip
    for route in ROUTES:
        _add(app, state, route)
    _add_errors(app)
    return Gate(app, state)


def _add(app: FastAPI, state: State, route: Route) -> None:
    async def endpoint(request: Request) -> Response:
        request.scope["warpdrive.route"] = route.path
        try:
            caller = _caller(request.scope["warpdrive.caller"], state, route)
            values = read(route.params, request.scope["query_string"])
            return await route.handler(Asked(state, caller, values, request))
        except ApiError as error:
            return error.response()
        except WarpdriveError as error:
            return of_warpdrive(error).response()
        except ClientLeftError:
            raise
        except Exception as error:  # noqa: BLE001 - the boundary: our own bug, told in the log
            return failed(request, error)

    app.add_api_route(route.path, endpoint, methods=[route.method])
    if route.method == "GET":  # FastAPI, unlike the contract, answers HEAD with 405
        app.add_api_route(route.path, endpoint, methods=["HEAD"])


def _caller(found: Caller | None, state: State, route: Route) -> Caller:
    """The caller, if it may use the route. Raises ApiError 401 or 403."""
    if found is None and (not route.right or route.opened_by in state.server.anonymous):
        # Senders and probes of the Go version carry no token.
        return Caller("anonymous", "agent" if route.right == "ingest" else "reader")
    return needed(found, route.right) if route.right else found or Caller("anonymous", "")


def _add_errors(app: FastAPI) -> None:
    """What no route answers: an unknown path, a method that is not there."""

    async def framework(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        headers = dict(error.headers or {})
        if error.status_code == 405:
            headers["Allow"] = ", ".join(_methods(app, request))
        return of_status(error.status_code, str(error.detail), headers).response()

    app.add_exception_handler(HTTPException, framework)


def _methods(app: FastAPI, request: Request) -> list[str]:
    """Every method of the path: the framework's own answer names those of one route only."""
    found: set[str] = set()
    for route in app.routes:
        if isinstance(route, APIRoute) and route.matches(request.scope)[0] != Match.NONE:
            found |= route.methods or set()
    return sorted(found)
