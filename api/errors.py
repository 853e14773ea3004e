"""The one error body, and how every failure becomes it."""

from __future__ import annotations

import json
import logging
from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from storage.errors import WarpdriveError, of_the_world

log = logging.getLogger("warpdrive.api")
CODES = {
    400: "bad_request", 401: "unauthenticated", 403: "forbidden", 404: "not_found",
    405: "method_not_allowed", 408: "timeout", 409: "busy", 413: "too_large",
    415: "unsupported_type", 429: "too_many_requests", 500: "internal", 502: "backend",
    503: "unavailable", 504: "timeout",
}  # fmt: skip


class ApiError(Exception):
    """An answer that is an error: status, what is wrong, the way out, the parameter if one is."""

    def __init__(
        self, status: int, message: str, *, hint: str = "", param: str = "",
        headers: dict[str, str] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(message)
        self.status = status
        self.message = message
        self.hint = hint
        self.param = param
        self.headers = headers or {}

    def body(self) -> dict[str, Any]:
        """The body: `{"error": {status, code, message, hint, param}}`."""
        return {
            "error": {
                "status": self.status,
                "code": CODES.get(self.status, "failed"),
                "message": self.message,
                "hint": self.hint,
                "param": self.param,
            }
        }

    def fields(self) -> dict[str, Any]:
        """What makes the same error again, in another process."""
        return vars(self).copy()

    def response(self) -> Response:
        """The answer as it goes out."""
        return answer(self.body(), self.status, self.headers)


def answer(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON answer that ends with a new line."""
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":")) + "\n"
    return json_response(text.encode("utf-8", "backslashreplace"), status, headers)


def json_response(
    body: bytes, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """An answer whose JSON is made already."""
    return Response(
        body, status, {"X-Content-Type-Options": "nosniff", **(headers or {})}, "application/json"
    )


def of_warpdrive(error: WarpdriveError) -> ApiError:
    """Somebody's mistake or the world's, with the status that its class names."""
    return ApiError(error.http_status, str(error), param=getattr(error, "param", ""))


def of_status(status: int, detail: str = "", headers: dict[str, str] | None = None) -> ApiError:
    """What the framework raised: an unknown path, a method that is not there."""
    if status == HTTPStatus.NOT_FOUND:
        return ApiError(404, "404 page not found", hint="GET /docs lists the routes.")
    text = detail or HTTPStatus(status).phrase
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        text = "Method Not Allowed"
    return ApiError(status, text, headers=headers)


def failed(request: Request, error: Exception) -> Response:
    """What a disk or a store refused, in one line; else our own bug, told in the log only."""
    if known := of_the_world(error):
        log.warning("%s %s: %s", request.method, request.url.path, known)
        return of_warpdrive(known).response()
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return ApiError(500, "internal error: the server's log has the traceback.").response()
