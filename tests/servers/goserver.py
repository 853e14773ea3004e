# pyright: reportIncompatibleMethodOverride=false
# pyright: reportIncompatibleVariableOverride=false
"""A server that answers as the Go version did: `null` for nothing, fewer keys, errors as text."""

import http.server
import json
import threading
from urllib.parse import urlsplit


class GoServer(http.server.ThreadingHTTPServer):
    """`answers` maps (method, path) to a body, or to (status, text) for an error."""

    daemon_threads = True

    def __init__(self, answers=None):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers = answers or {}
        self.requests = []
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def stop(self):
        self.shutdown()
        self.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    server: GoServer

    def _answer(self):
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = urlsplit(self.path)
        self.server.requests.append((self.command, self.path, dict(self.headers), data))
        told = self.server.answers.get((self.command, parts.path), (404, "404 page not found"))
        status, body = told if isinstance(told, tuple) else (200, json.dumps(told))
        text = (body + "\n").encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json" if status == 200 else "text/plain")
        if status in (301, 307):
            self.send_header("Location", "http://127.0.0.1:9/elsewhere")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_PUT = do_POST = do_DELETE = _answer  # noqa: N815

    def log_message(self, *_):
        """Nothing on stderr."""
