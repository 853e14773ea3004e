"""A server instead of the local lake: the same questions and changes, over HTTP.

Standard library only. The token comes from the environment or the config, never from arguments,
which everybody on the machine can read.
"""

from __future__ import annotations

import http.client
import json
import os
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any

from lake.reports import Answer, rows_of
from storage.errors import BackendError, UsageError, WarpdriveError

TOKEN = "WARPDRIVE_TOKEN"  # noqa: S105 - the variable's name
ANSWER_SECONDS = 120.0
RUN_SECONDS = 24 * 3600.0
MAX_MESSAGE = 2000
LOOPBACK = ("127.0.0.1", "localhost", "::1")
ABSENT = (404, 405, 501)
Params = Mapping[str, Any]


class ServerError(WarpdriveError):
    """The server refused or failed."""

    def __init__(self, status: int, message: str, *, usage: bool) -> None:
        """`usage`: what the user named or wrote is wrong."""
        super().__init__(message)
        self.status = status
        self.exit_code = 2 if usage else 1


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the token to wherever it points."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


class Server:
    """One server's REST API below `url`."""

    def __init__(self, url: str, token: str) -> None:
        parts = _checked(url)
        self.url = url.rstrip("/")
        self.unsafe = bool(token) and parts.scheme == "http" and parts.hostname not in LOOPBACK
        self._headers = {"Accept": "application/json"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        handlers: list[Any] = [_NoRedirect()]
        if parts.hostname in LOOPBACK:
            handlers.append(urllib.request.ProxyHandler({}))
        self._opener = urllib.request.build_opener(*handlers)

    def get(self, path: str, params: Params | None = None) -> Any:
        """The body of a GET. Raises ServerError, BackendError."""
        return self.send("GET", path, params)

    def send(
        self, method: str, path: str, params: Params | None = None, body: Any = None, **more: Any
    ) -> Any:
        """The JSON answer to one request; `more`: headers, seconds.

        `body`: bytes as they are, anything else as JSON. Raises ServerError for an answer that is
        an error, BackendError where there is none.
        """
        given = {k: v for k, v in (params or {}).items() if v not in ("", None)}
        query = f"?{urllib.parse.urlencode(given)}" if given else ""
        headers = {**self._headers, **more.get("headers", {})}
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            headers.setdefault("Content-Type", "application/json")
        request = urllib.request.Request(  # noqa: S310 - _checked allows http and https only
            f"{self.url}/api/v1{path}{query}", data=body, method=method, headers=headers
        )
        try:
            with self._opener.open(request, timeout=more.get("seconds", ANSWER_SECONDS)) as answer:
                return self._parsed(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                raise self._refused(error) from None
        except (urllib.error.URLError, OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            raise BackendError(
                f"--server '{self.url}': no answer: {getattr(reason, 'strerror', None) or reason}: "
                "is the server running, and the address right?"
            ) from None

    def _parsed(self, data: bytes) -> Any:
        try:
            return json.loads(data)
        except ValueError:
            raise BackendError(
                f"--server '{self.url}': the answer is not JSON: is it a WarpDrive server?"
            ) from None

    def _refused(self, error: urllib.error.HTTPError) -> ServerError:
        text = error.read(MAX_MESSAGE * 8).decode(errors="replace")
        try:
            told = json.loads(text)["error"]
            message = " ".join(filter(None, (told["message"], told.get("hint"))))
            # A quota, a member, a rule that was named is not there; a path is another matter.
            unnamed = error.code == 404 and "page not found" not in told["message"]
        except (ValueError, TypeError, KeyError):  # the Go version answers in plain text
            unnamed = False
            message = text.strip().splitlines()[0] if text.strip() else str(error.reason)
        if error.code == 401:
            message += f" Set {TOKEN} to a token of this server."
        if 300 <= error.code < 400:
            message = "it redirects elsewhere, which is not followed: name the server itself."
        return ServerError(
            error.code, f"--server '{self.url}' answers {error.code}: {message[:MAX_MESSAGE]}",
            usage=error.code in (400, 422) or unnamed,
        )  # fmt: skip


def _checked(url: str) -> urllib.parse.SplitResult:
    try:
        parts = urllib.parse.urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        good, parts = False, urllib.parse.urlsplit("")
    if not good or parts.query or parts.fragment:
        shown = url if "@" not in url else "…"
        raise UsageError(
            f"--server '{shown}' is no address: write http://host:8080 or https://host."
        )
    if parts.username or parts.password:
        raise UsageError(f"--server: no user or password in the address: set {TOKEN} instead.")
    return parts


def token(config: Any) -> str:
    """$WARPDRIVE_TOKEN, else what `telemetry.token_env` or `token_file` of the config name.

    Raises UsageError for a token file that cannot be read.
    """
    if found := os.environ.get(TOKEN, "").strip():
        return found
    if config is None:
        return ""
    if config.telemetry.token_file:
        try:
            with open(config.telemetry.token_file, encoding="ascii") as stream:  # noqa: PTH123
                return stream.read().strip()
        except (OSError, ValueError) as error:
            raise UsageError(f"telemetry.token_file: cannot be read: {error}.") from None
    return os.environ.get(config.telemetry.token_env, "").strip()


class RemoteReader:
    """The questions of `lake.read.Reader`, asked of a server; rows in the same columns."""

    def __init__(self, server: Server, as_of: str) -> None:
        self._server = server
        self._as_of = as_of

    def usage(
        self, group_by: str = "user", backend: str = "", attribution: str = "owner", depth: int = 1
    ) -> Answer:
        """Per group and backend, largest first."""
        return self._rows("usage", "/usage", group_by=group_by, backend=backend,
                          attribution=_unless(attribution, "owner"),
                          depth=_unless(depth, 1))  # fmt: skip

    def stale(self, days: int, min_size: int, backend: str, limit: int) -> Answer:
        """Files not touched for `days`, largest first."""
        return self._rows("stale", "/stale", days=days, min_size=min_size, backend=backend,
                          limit=_unless(limit, 1000))  # fmt: skip

    def growth(self, backend: str, period_days: int, by: str, forecast_days: int) -> Answer:
        """One row a day, or a day and series."""
        return self._rows("growth", "/growth", backend=backend, period=period_days, by=by,
                          forecast=_unless(forecast_days, 0))  # fmt: skip

    def quota(self, team: str = "", backend: str = "") -> Answer:
        """Every quota with what its team owns."""
        return self._rows("quota", "/quota", team=team, backend=backend)

    def team(self) -> Answer:
        """Who is in which team."""
        return self._rows("team", "/team")

    def aliases(self) -> Answer:
        """Names that count as another one."""
        return self._rows("alias", "/aliases")

    def backends(self) -> Answer:
        """Every backend."""
        return self._rows("backends", "/backends")

    def user(self, user: str, backend: str = "", limit: int = 0) -> Answer:
        """What a user touched, newest first."""
        path = f"/user/{urllib.parse.quote(user, safe='')}"
        return self._rows("user", path, backend=backend, limit=_unless(limit, 0))

    def ledger(self, node: str, hours: int) -> Answer:
        """Per node and landing hour."""
        return self._rows("ledger", "/ledger", node=node, hours=hours)

    def diff(self, first: Any, last: Any, by: str, depth: int) -> Answer:
        """What changed between the ends of two days."""
        return self._rows("diff", "/diff", day1=first, day2=last, by=by, depth=_unless(depth, 1))

    def rules(self) -> Answer:
        """Every ownership rule."""
        return self._rows("rule", "/rules")

    def rule_preview(self, backend: str, prefix: str, team: str) -> Any:
        """What a rule would take from other owners."""
        return self._rows("rule", "/rules/preview", backend=backend, prefix=prefix, team=team)[0]

    def audit_log(self, limit: int) -> Answer:
        """Changes, newest first."""
        return self._rows("audit-log", "/audit_log", limit=limit)

    def known_user(self, user: str) -> bool:
        """Whether a team, an alias or an owned file names the user.

        Old servers list neither teams nor aliases.
        """
        if any(row["group"] == user for row in self.usage()):
            return True
        try:
            named = {row["user"] for row in self.team()}
            return user in named or any(row["name"] == user for row in self.aliases())
        except ServerError as error:
            if error.status in ABSENT:
                return False
            raise

    def _rows(self, report: str, path: str, **params: Any) -> Answer:
        return rows_of(report, self._server.get(path, {**params, "as_of": self._as_of}))


def _unless(value: Any, default: Any) -> Any:
    """Nothing for the default: servers of the Go version need not know the parameter."""
    return None if value == default else value


class RemoteChanges:
    """The changes of `commands.changes.LocalChanges`, asked of a server."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def set_quota(self, limits: Mapping[str, Any]) -> str:
        """Set a quota; a note about it, or nothing."""
        body = {
            "team_name": limits["team"], "backend_name": limits["backend"],
            "soft_limit": limits["soft_bytes"], "hard_limit": limits["hard_bytes"],
        }  # fmt: skip
        if limits["grace_seconds"]:
            body["grace"] = f"{limits['grace_seconds']}s"
        return str(self._server.send("PUT", "/quota", body=body).get("note", ""))

    def delete_quota(self, team: str, backend: str) -> None:
        """Delete a quota."""
        self._server.send("DELETE", "/quota", {"team": team, "backend": backend})

    def add_member(self, user: str, team: str, since: str) -> tuple[int, int]:
        """Put a user into a team: how many memberships are new, of how many."""
        body = {"user_id": user, "team_name": team} | ({"since": since} if since else {})
        return int(self._server.send("POST", "/team", body=body).get("new", 1)), 1

    def import_members(self, file: str, since: str) -> tuple[int, int]:
        """Add the members of a CSV: how many are new, of how many."""
        try:
            with open(file, "rb") as stream:  # noqa: PTH123
                data = stream.read()
        except OSError as error:
            raise UsageError(f"{file}: cannot be read as CSV: {error}.") from None
        try:
            told = self._server.send("POST", "/team/import", {"since": since}, data,
                                     headers={"Content-Type": "text/csv"})  # fmt: skip
        except ServerError as error:
            if error.status == 400:
                raise UsageError(f"{file}: {error}") from None
            raise
        return int(told["new"]), int(told["members"])

    def remove_member(self, user: str, team: str, since: str) -> None:
        """Take a user out of a team."""
        self._server.send("DELETE", "/team", {"user": user, "team": team, "since": since})

    def add_alias(self, name: str, canonical: str, since: str) -> None:
        """Let a name count as another one of the same person."""
        body = {"name": name, "canonical": canonical} | ({"since": since} if since else {})
        self._server.send("POST", "/aliases", body=body)

    def remove_alias(self, name: str, since: str) -> None:
        """Let a name count for itself again."""
        self._server.send("DELETE", "/aliases", {"name": name, "since": since})

    def add_rule(self, rule: Mapping[str, str]) -> None:
        """Let a prefix belong to a team."""
        self._server.send("POST", "/rules", body=dict(rule))

    def remove_rule(self, backend: str, prefix: str) -> None:
        """Remove the rule of a prefix."""
        self._server.send("DELETE", "/rules", {"backend": backend, "prefix": prefix})
