"""A stand-in of the address at which clouds give machines their credentials (IMDS).

AWS's second version and Azure's token endpoint, on one free port, with a log of what was asked.
"""

# pyright: reportIncompatibleMethodOverride=false
# pyright: reportIncompatibleVariableOverride=false

from __future__ import annotations

import datetime as dt
import http.server
import json
import threading
import time
from urllib.parse import parse_qs, urlsplit

AWS_ROLES = "/latest/meta-data/iam/security-credentials/"
AZURE_TOKEN = "/metadata/identity/oauth2/token"


class Imds(http.server.ThreadingHTTPServer):
    """Gives `keys` to AWS clients and `token` to Azure's, each good for `seconds`."""

    daemon_threads = True

    def __init__(self, token: str = "", keys: tuple[str, str, str] = ("", "", "")) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.token = token
        self.keys = keys
        self.seconds = 3600
        self.broken = False
        self.asked: list[str] = []
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def environ(self) -> dict[str, str]:
        """What points the vendors' libraries here."""
        url = f"http://127.0.0.1:{self.server_port}"
        return {
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": url,
            "AWS_EC2_METADATA_DISABLED": "false",
            "AZURE_POD_IDENTITY_AUTHORITY_HOST": url,
        }

    def credentials(self) -> list[str]:
        """The requests that gave something secret."""
        return [path for path in self.asked if path.startswith((AZURE_TOKEN, f"{AWS_ROLES}role"))]

    def stop(self) -> None:
        """End it."""
        self.shutdown()
        self.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Imds

    def do_PUT(self) -> None:
        self._send("imds-session")

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        path = urlsplit(self.path).path
        if self.server.broken:
            self.send_error(400)
        elif path == AWS_ROLES:
            self._send("role")
        elif path == f"{AWS_ROLES}role":
            self._send(json.dumps(self._aws()))
        elif path == AZURE_TOKEN and self.headers.get("Metadata") == "true":
            self._send(json.dumps(self._azure()))
        else:
            self.send_error(404)

    def _aws(self) -> dict[str, str]:
        end = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=self.server.seconds)
        access, secret, token = self.server.keys
        return {
            "Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": access,
            "SecretAccessKey": secret, "Token": token,
            "Expiration": end.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "LastUpdated": "2026-11-01T00:00:00Z",
        }  # fmt: skip

    def _azure(self) -> dict[str, str]:
        query = parse_qs(urlsplit(self.path).query)
        return {
            "access_token": self.server.token, "token_type": "Bearer",
            "expires_in": str(self.server.seconds),
            "expires_on": str(int(time.time()) + self.server.seconds),
            "resource": query["resource"][0], "client_id": query.get("client_id", [""])[0],
        }  # fmt: skip

    def _send(self, text: str) -> None:
        data = text.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: object) -> None:
        pass
