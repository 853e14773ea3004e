"""Read files through the agent's library, without a mount: `python -m warpdrive_agent.replay`.

Standard input is JSON: [{"uid": 1000, "backend": "b", "paths": ["a", …]}, …]. Standard output is
{"delivered_bytes": n, "checksums": {path: sha256}, "listed": n}.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from typing import Any

from storage.config import load_config
from storage.paths import path_text
from warpdrive_agent.agent import Agent

READ_BYTES = 128 * 1024


def replay(agent: Agent, wanted: list[dict[str, Any]]) -> dict[str, Any]:
    """Do the reads; what was delivered, and its checksums."""
    delivered, listed, checksums = 0, 0, {}
    for reader in wanted:
        listed = max(listed, len(agent.list(reader["backend"], "", reader["uid"])))
        for path in reader["paths"]:
            size, checksums[path] = _read(agent, reader["backend"], path, reader["uid"])
            delivered += size
    return {"delivered_bytes": delivered, "checksums": checksums, "listed": listed}


def _read(agent: Agent, backend: str, path: str, uid: int) -> tuple[int, str]:
    handle = agent.open(backend, path_text(path), uid)
    digest, offset = hashlib.sha256(), 0
    try:
        while data := handle.read(offset, READ_BYTES):
            digest.update(data)
            offset += len(data)
    finally:
        handle.close()
    return offset, digest.hexdigest()


def main() -> None:
    """Replay what standard input asks for."""
    parser = argparse.ArgumentParser(prog="python -m warpdrive_agent.replay")
    parser.add_argument("--config", required=True)
    agent = Agent(load_config(parser.parse_args().config))
    try:
        found = replay(agent, json.load(sys.stdin))
    finally:
        agent.close()
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
