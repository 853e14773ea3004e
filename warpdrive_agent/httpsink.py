"""Events by HTTP: `POST {address}/api/v1/ingest`, one JSON array, 200 means taken.

One connection is kept open and every body is read to its end. Requests are bounded, and each
carries an `Idempotency-Key`, so that a request that is sent again is counted once.
"""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Callable
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from storage import landing
from storage.errors import ConfigError
from warpdrive_agent.segments import MAX_SEGMENT_BYTES
from warpdrive_agent.sinkerrors import RefusedError, SendError

REQUEST_EVENTS = 2_000
TIMEOUT_SECONDS = 10.0


class HttpSink:
    """Posts segments to a control plane. Connects at the first segment, not before."""

    prompt = False

    def __init__(self, address: str, token: Callable[[], str] = str) -> None:
        """`token` is asked for each new connection; an empty answer sends none."""
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(
                f"telemetry.control_plane_addr '{address}' is not an address: "
                "write http://host:8080."
            )
        self._parts = parts
        self._path = parts.path.rstrip("/") + "/api/v1/ingest"
        self._headers = {"Content-Type": "application/json"}
        self._token = token
        self._connection: http.client.HTTPConnection | None = None

    def send(self, name: str, data: bytes) -> None:
        """Post the segment in requests of at most 2,000 events."""
        lines = landing.decompress(name, data, MAX_SEGMENT_BYTES).splitlines()
        key = PurePosixPath(name).name.removesuffix(".jsonl.zst")
        for start in range(0, len(lines), REQUEST_EVENTS):
            part = lines[start : start + REQUEST_EVENTS]
            self._post(b"[" + b",".join(part) + b"]", f"{key}-{start}")

    def close(self) -> None:
        """Close the connection; twice is harmless."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _post(self, body: bytes, key: str) -> None:
        try:
            status, reason = self._answer(body, key)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise SendError(f"{self._parts.netloc}: {error or type(error).__name__}") from None
        if status in (400, 413):
            raise RefusedError(f"{self._parts.netloc} answered {status} {reason}")
        if status != http.client.OK:
            raise SendError(f"{self._parts.netloc} answered {status} {reason}")

    def _answer(self, body: bytes, key: str) -> tuple[int, str]:
        fresh = self._connection is None
        if fresh:
            self._sign_in()
        connection = self._connection = self._connection or self._connect()
        headers = {**self._headers, "Idempotency-Key": key}
        try:
            connection.request("POST", self._path, body, headers)
            answer = connection.getresponse()
        except (ConnectionError, http.client.BadStatusLine):
            if fresh:
                raise
            self.close()  # the server closed a connection that had been idle
            return self._answer(body, key)
        answer.read()
        if answer.will_close or answer.status == http.client.UNAUTHORIZED:
            self.close()  # the next connection asks for the token again
        return answer.status, answer.reason

    def _sign_in(self) -> None:
        self._headers.pop("Authorization", None)
        if token := self._token():
            self._headers["Authorization"] = f"Bearer {token}"

    def _connect(self) -> http.client.HTTPConnection:
        host, port = self._parts.hostname or "", self._parts.port
        if self._parts.scheme == "https":
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(host, port, timeout=TIMEOUT_SECONDS, context=context)
        return http.client.HTTPConnection(host, port, timeout=TIMEOUT_SECONDS)
