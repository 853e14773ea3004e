"""A small world made through the real commands; every number in it is spelled out here.

training: vision owns 1,000,000 bytes in 2 files, @ops 500,000 in 1.
scratch:  vision owns   200,000 bytes in 1 file, 1,234 bytes of another have no owner.
"""

from __future__ import annotations

import datetime as dt
import getpass
import json
import os
import subprocess
import sys
import time
from pathlib import Path

WARPDRIVE = str(Path(sys.executable).with_name("warpdrive"))
FILES = {
    "training": (
        ("raw/one.bin", 700_000, "alice"),
        ("raw/two.bin", 300_000, "bob"),
        ("models/net.pt", 500_000, "carol"),
    ),
    "scratch": (("tmp/x", 200_000, "alice"), ("notes.txt", 1_234, None)),
}
REFUSED = '{"ts": "yesterday", "user": "alice", "backend": "training", "op": "read"}'
OLD, OLD_DAYS = "notes.txt", 200
WRITTEN_DAYS = 20
# A team whose name a spreadsheet would take for a formula.
TEAMS = (("alice", "vision"), ("bob", "vision"), ("carol", "@ops"))


def config_text(folder: Path) -> str:
    """A config with two local backends; whoever runs the tests owns nothing by being the writer."""
    ignored = json.dumps(["root", getpass.getuser(), str(os.getuid())])
    backends = "".join(
        f"  - {{name: {name}, type: local, mount_path: /{name}, "
        f"config: {{root: {folder / 'data' / name}}}}}\n"
        for name in FILES
    )
    return (
        "lake: {root: ./lake, buckets: 4}\n"
        "telemetry: {enabled: true, sink: objectstore, landing: ./landing}\n"
        f"ownership: {{ignore_owners: {ignored}}}\n"
        f"backends:\n{backends}"
    )


def make(folder: Path) -> Path:
    """Files on disk and a config; nothing is published yet. Returns the config file."""
    for backend, files in FILES.items():
        for path, size, _ in files:
            file = folder / "data" / backend / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(bytes(size))
            touched = time.time() - (OLD_DAYS if path == OLD else 30) * 86_400
            os.utime(file, (touched, touched))
    config = folder / "warpdrive.yaml"
    config.write_text(config_text(folder))
    return config


def publish(config: Path) -> None:
    """Ingest, crawl, teams, quotas, refresh: as a user does it."""
    events = config.parent / "events.jsonl"
    events.write_text("".join(_events()))
    teams = config.parent / "teams.csv"
    teams.write_text("user_id,team_name\n" + "".join(f"{u},{t}\n" for u, t in TEAMS))
    quota = ["quota", "set", "--team"]
    run_all(
        config,
        ["ingest", str(events)],
        ["crawl"],
        ["team", "import", str(teams)],
        [*quota, "vision", "--soft", "1MB", "--hard", "2MB"],
        [*quota, "@ops", "--backend", "training", "--hard", "400KB"],
        ["refresh"],
    )


def run(config: Path, *arguments: str) -> str:
    """What a command prints."""
    return _child([WARPDRIVE, "--config", str(config), *arguments])


def run_all(config: Path, *commands: list[str]) -> str:
    """Several commands in one process, which loads the engine once."""
    every = [["--config", str(config), *command] for command in commands]
    call = "import json, sys, cli\nfor a in json.loads(sys.argv[1]): "
    call += "cli.app(a, standalone_mode=False)"
    return _child([sys.executable, "-c", call, json.dumps(every)])


def _child(command: list[str]) -> str:
    own = ("DAGSTER_HOME", "WARPDRIVE_CONFIG")
    environ = {name: value for name, value in os.environ.items() if name not in own}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=400, check=False, env=environ
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _events() -> list[str]:
    """A write of each file that somebody owns, reads of a job, and a line that is refused."""
    written = dt.datetime.now(dt.UTC) - dt.timedelta(days=WRITTEN_DAYS)
    common = {"cache_hit": False, "node": "gpu-1", "latency_ms": 1.0}
    found = [
        {
            "ts": f"{written:%Y-%m-%dT%H:%M:%SZ}", "user": user, "backend": backend, "path": path,
            "op": "write", "bytes_read": 0, "bytes_written": size, **common,
        }
        for backend, files in FILES.items()
        for path, size, user in files
        if user
    ]  # fmt: skip
    read = {
        "ts": f"{written + dt.timedelta(days=1):%Y-%m-%dT%H:%M:%SZ}", "user": "bob",
        "backend": "training", "path": "raw/one.bin", "op": "read", "bytes_read": 700_000,
        "job": "4711", "count": 3, **common,
    }  # fmt: skip
    return [json.dumps(event) + "\n" for event in (*found, read)] + [REFUSED + "\n"]
