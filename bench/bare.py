# ruff: noqa: INP001, T201 - a script, not a package: it prints its port
"""The peer of `bench/api.py`: the least that makes a body durable under the same uvicorn.

One new file for each body, written and synced; no checks, no parsing, nothing else.
`python bench/bare.py FOLDER` prints its port.
"""

from __future__ import annotations

import itertools
import os
import socket
import sys
from typing import Any

import uvicorn

FOLDER = sys.argv[1]
_numbers = itertools.count()


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Read the body, write it, sync it, answer."""
    if scope["type"] != "http":
        return
    parts = []
    more = True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    handle = os.open(f"{FOLDER}/{next(_numbers)}", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o640)
    os.write(handle, b"".join(parts))
    os.fsync(handle)
    os.close(handle)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"3")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"{}\n"})


def main() -> None:
    """Serve on a free port of loopback."""
    sock = socket.create_server(("127.0.0.1", 0), backlog=2048)
    print(sock.getsockname()[1], flush=True)
    config = uvicorn.Config(
        app, http="httptools", lifespan="off", log_config=None, access_log=False,
        timeout_keep_alive=75,
    )  # fmt: skip
    uvicorn.Server(config).run(sockets=[sock])


if __name__ == "__main__":
    main()
