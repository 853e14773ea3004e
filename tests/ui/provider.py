"""An OpenID Connect provider for tests: discovery, authorization code, tokens, keys.

Whoever asks to sign in chooses a name on a form; the claims of each name are given at the start.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import secrets
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT, SECRET = "dashboard", "a-secret-of-the-client-0123456789"
KEY = RSAKey.generate_key(2048, {"kid": "test", "use": "sig", "alg": "RS256"})


class Provider(BaseHTTPRequestHandler):
    """The five addresses of the authorization code flow."""

    issuer = ""
    people: ClassVar[dict[str, dict[str, Any]]] = {}
    codes: ClassVar[dict[str, tuple[str, str, str]]] = {}

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        asked = {name: values[0] for name, values in parse_qs(url.query).items()}
        if url.path == "/.well-known/openid-configuration":
            return self._json(self._metadata())
        if url.path == "/jwks":
            return self._json({"keys": [KEY.as_dict(private=False)]})
        if url.path == "/authorize":
            return self._form(asked)
        if url.path == "/enter":
            return self._enter(asked)
        return self._json({"healthy": True})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        asked = {name: values[0] for name, values in parse_qs(body).items()}
        told = self.headers.get("Authorization", "")
        basic = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        if told != f"Basic {basic}" and asked.get("client_secret") != SECRET:
            return self._json({"error": "invalid_client"}, 401)
        who, nonce, challenge = self.codes.pop(asked["code"], ("", "", ""))
        if not who:
            return self._json({"error": "invalid_grant"}, 400)
        digest = hashlib.sha256(asked.get("code_verifier", "").encode()).digest()
        if challenge and base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != challenge:
            return self._json({"error": "invalid_grant"}, 400)
        now = int(time.time())
        claims = {
            "iss": self.issuer, "aud": CLIENT, "sub": who, "iat": now, "exp": now + 600,
            "nonce": nonce, **self.people[who],
        }  # fmt: skip
        token = jwt.encode({"alg": "RS256", "kid": "test"}, claims, KEY)
        return self._json({
            "access_token": secrets.token_hex(), "token_type": "Bearer", "expires_in": 600,
            "id_token": token,
        })  # fmt: skip

    def _metadata(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer, "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token", "jwks_uri": f"{self.issuer}/jwks",
            "response_types_supported": ["code"], "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "code_challenge_methods_supported": ["S256"],
        }  # fmt: skip

    def _form(self, asked: dict[str, str]) -> None:
        links = "".join(
            f"<p><a href='/enter?{html.escape(urlencode({**asked, 'who': who}))}'>{who}</a></p>"
            for who in self.people
        )
        self._send(200, "text/html", f"<h1>Who are you?</h1>{links}".encode())

    def _enter(self, asked: dict[str, str]) -> None:
        code = secrets.token_hex()
        self.codes[code] = (asked["who"], asked.get("nonce", ""), asked.get("code_challenge", ""))
        back = urlencode({"code": code, "state": asked["state"]})
        self.send_response(302)
        self.send_header("Location", f"{asked['redirect_uri']}?{back}")
        self.end_headers()

    def _json(self, body: dict[str, Any], status: int = 200) -> None:
        self._send(status, "application/json", json.dumps(body).encode())

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    Provider.issuer = f"http://127.0.0.1:{sys.argv[1]}"
    Provider.people = json.loads(sys.argv[2])
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Provider).serve_forever()
