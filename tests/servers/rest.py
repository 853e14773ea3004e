"""`warpdrive serve` as a process, and requests that hide nothing of HTTP."""

import contextlib
import http.client
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 60


class Answer(NamedTuple):
    """One HTTP answer."""

    status: int
    headers: dict
    body: bytes

    @property
    def json(self):
        """The body, parsed."""
        return json.loads(self.body)

    @property
    def error(self):
        """The one error body."""
        return self.json["error"]


class Asked:
    """A server to ask at `host`:`port`, with `https` or without."""

    host, port, https = "127.0.0.1", 0, False

    def ask(self, method, path, body=None, headers=None, *, raw_path=False):
        """One request on a connection of its own."""
        kind = http.client.HTTPSConnection if self.https else http.client.HTTPConnection
        with contextlib.closing(kind(self.host, self.port, timeout=300)) as connection:
            target = path if raw_path or path.startswith("/") else f"/api/v1/{path}"
            data = json.dumps(body).encode() if isinstance(body, (dict, list)) else body
            connection.request(method, target, data, headers or {})
            found = connection.getresponse()
            return Answer(found.status, {k.lower(): v for k, v in found.headers.items()},
                          found.read())  # fmt: skip

    def get(self, path, headers=None):
        """GET."""
        return self.ask("GET", path, headers=headers)

    def post(self, path, body=None, headers=None):
        """POST."""
        return self.ask("POST", path, body, headers)


class Elsewhere(Asked):
    """A server that somebody else started, at `http://host:port`: it is not ours to stop."""

    def __init__(self, url):
        parts = urlsplit(url)
        self.https = parts.scheme == "https"
        self.host, self.port = parts.hostname, parts.port or (443 if self.https else 80)

    def stop(self):
        """Leave it alone."""


class Server(Asked):
    """A running server."""

    def __init__(self, config, *args, env=None, command=(sys.executable, "-m", "cli")):
        self.process = subprocess.Popen(
            [*command, "serve", "--config", str(config), "--addr", "127.0.0.1:0", *args],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), **(env or {})},
        )  # fmt: skip
        self.said, self.complaints = [], []
        lines = queue.Queue()
        self._readers = [
            threading.Thread(target=self._read, args=(self.process.stdout, self.said, lines)),
            threading.Thread(target=self._read, args=(self.process.stderr, self.complaints, None)),
        ]
        for reader in self._readers:
            reader.start()
        for _ in range(4):
            if lines.get(timeout=START_SECONDS) is None:
                self.process.wait()
                raise AssertionError("".join(self.complaints))
        self.port = int(self.said[2].rsplit(":", 1)[1])

    @staticmethod
    def _read(stream, kept, lines):
        for line in stream:
            kept.append(line)
            if lines:
                lines.put(line)
        if lines:
            lines.put(None)

    def stop(self, number=signal.SIGTERM):
        """Send a signal; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(timeout=15)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            for reader in self._readers:
                reader.join()
            for stream in (self.process.stdout, self.process.stderr):
                assert stream
                stream.close()
