"""The REST application in this process, asked without a socket: quick, and nothing is hidden."""

import asyncio
import json
import threading
from urllib.parse import unquote

from tests.servers.rest import Answer

SECONDS = 100


class InProcess:
    """An application and its loop, in a thread of its own."""

    def __init__(self, configs):
        from api.app import make_app

        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.app = make_app(configs)
        self._events, self._said = asyncio.Queue(), asyncio.Queue()
        self._ended = self._submit(self._lifespan())
        self._submit(self._say("startup")).result(SECONDS)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._submit(self._say("shutdown")).result(SECONDS)
        self._ended.result(SECONDS)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    def _submit(self, work):
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    async def _lifespan(self):
        await self.app({"type": "lifespan", "state": {}}, self._events.get, self._said.put)

    async def _say(self, what):
        await self._events.put({"type": f"lifespan.{what}"})
        message = await self._said.get()
        assert message["type"] == f"lifespan.{what}.complete", message

    def ask(self, method, path, body=None, headers=None, *, chunks=None):
        """One request. `chunks`: the body in pieces; None: nothing more ever comes."""
        target = path if path.startswith("/") else f"/api/v1/{path}"
        data = json.dumps(body).encode() if isinstance(body, (dict, list)) else body or b""
        return self._submit(self._ask(method, target, data, headers or {}, chunks)).result(SECONDS)

    async def _ask(self, method, target, data, headers, chunks):
        path, _, query = target.partition("?")
        sent = {"host": "localhost", **{k.lower(): v for k, v in headers.items()}}
        if chunks is None:
            sent.setdefault("content-length", str(len(data)))
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method,
            "scheme": "http", "path": unquote(path), "raw_path": path.encode(),
            "query_string": query.encode(), "root_path": "", "client": ("127.0.0.1", 5),
            "server": ("127.0.0.1", 80), "state": {},
            "headers": [(k.encode(), v.encode("latin-1")) for k, v in sent.items()],
        }  # fmt: skip
        parts = list(chunks) if chunks is not None else [data]
        taken = []

        async def receive():
            if len(taken) >= len(parts):
                return {"type": "http.disconnect"}
            part = parts[len(taken)]
            taken.append(part)
            if part is None:  # a client that stops sending
                await asyncio.Event().wait()
            return {"type": "http.request", "body": part, "more_body": len(taken) < len(parts)}

        found = {"body": b"", "status": 0, "headers": []}

        async def send(message):
            if message["type"] == "http.response.start":
                found["status"], found["headers"] = message["status"], message["headers"]
            elif method != "HEAD":
                found["body"] += message.get("body", b"")

        await self.app(scope, receive, send)
        return Answer(
            found["status"], {k.decode().lower(): v.decode() for k, v in found["headers"]},
            found["body"],
        )  # fmt: skip

    def get(self, path, headers=None):
        """GET."""
        return self.ask("GET", path, headers=headers)

    def post(self, path, body=None, headers=None):
        """POST."""
        return self.ask("POST", path, body, headers)
