"""One server, one world, told in one go; the tests look at it from the outside only.

To point the suite at another implementation, name its command:
`WARPDRIVE_CONFORMANCE_COMMAND="other-warpdrive"`, which must know `serve --config F --addr A` and
the commands of behaviours 72-75. Nothing here imports the product.

Or point it at a server that runs already. What must start, stop or kill one (57, 59, 61) is not
collected then, nor what asks the command line (72-75) unless a command is named too:

    python -m tests.conformance.telling /tmp/world      makes the folder and its warpdrive.yaml
    other-warpdrive serve --config /tmp/world/warpdrive.yaml …
    WARPDRIVE_CONFORMANCE_URL=http://127.0.0.1:8080 WARPDRIVE_CONFORMANCE_FOLDER=/tmp/world \\
        pytest tests/conformance

The server must be one that nobody told anything yet: each run needs a new folder. It sees the
folder's `roots/` and `inventory/`, into which the suite writes.
"""

import csv
import datetime as dt
import gzip
import hashlib
import io
import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from tests.servers.rest import ROOT, Elsewhere, Server

URL = os.environ.get("WARPDRIVE_CONFORMANCE_URL", "")
FOLDER = os.environ.get("WARPDRIVE_CONFORMANCE_FOLDER", "")
NAMED = os.environ.get("WARPDRIVE_CONFORMANCE_COMMAND", "")

COMMAND = shlex.split(NAMED or f"{shlex.quote(sys.executable)} -m cli")
NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)
DAY = dt.timedelta(days=1)
GIB = 1024**3


class Said(NamedTuple):
    """What a command said and how it ended."""

    code: int
    out: str
    err: str

    @property
    def rows(self):
        return list(csv.DictReader(io.StringIO(self.out, newline="")))


def z(at):
    """RFC 3339."""
    return at.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")


def event(user, path, *, backend="data", op="read", ago=DAY, **more):
    """An event of `ago` before now, as the Go agents write them."""
    return {
        "ts": z(NOW - ago), "user": user, "backend": backend, "path": path, "op": op,
        "bytes_read": 0, "cache_hit": False, "node": "node-1", "latency_ms": 1.5, **more,
    }  # fmt: skip


def prepare(folder: Path) -> None:
    """The folders and the config of a world that nobody told anything yet."""
    for name in ("data", "more"):
        (folder / "roots" / name).mkdir(parents=True)
    lines = ["lake: {root: ./lake}", "telemetry: {landing: ./landing}", "backends:"]
    lines += [
        f"  - {{name: {name}, type: local, config: {{root: ./roots/{name}}}}}"
        for name in ("data", "more", "gone")
    ]
    lines.append("  - {name: reports, type: s3, config: {bucket: reports}, "
                 "inventory: {format: s3, location: ./inventory, sample: 0}}")  # fmt: skip
    (folder / "warpdrive.yaml").write_text("\n".join(lines) + "\n")


class World:
    """The folders, the config, the server, the command line."""

    def __init__(self, folder: Path) -> None:
        """`folder` is as `prepare` made it."""
        self.folder = folder
        self.config = folder / "warpdrive.yaml"
        self.server = self.start()
        self.answers, self.before, self.first_crawl, self.exit_code = {}, {}, {}, None

    def root(self, name="data"):
        return self.folder / "roots" / name

    def start(self):
        return Elsewhere(URL) if URL else Server(self.config, command=COMMAND)

    def write(self, path, size, *, backend="data", old=dt.timedelta(0)):
        """A file of that size whose times lie `old` back."""
        place = self.root(backend) / path
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("wb") as file:
            file.truncate(size)
        at = (NOW - old).timestamp()
        os.utime(place, (at, at))

    def report(self, day, files):
        """An S3 Inventory report as AWS writes it, of that instant."""
        folder = self.folder / "inventory" / "reports" / "all"
        rows = io.StringIO()
        for key, size in files.items():
            cells = ("reports", quote(key), str(size), z(day - DAY), f"etag-{size}")
            rows.write(",".join(f'"{cell}"' for cell in cells) + "\n")
        body = gzip.compress(rows.getvalue().encode())
        (folder / "data").mkdir(parents=True, exist_ok=True)
        name = f"data/{day:%Y%m%d}.csv.gz"
        (folder / name).write_bytes(body)
        manifest = {
            "sourceBucket": "reports", "destinationBucket": "arn:aws:s3:::inv",
            "version": "2016-11-30", "creationTimestamp": str(int(day.timestamp() * 1000)),
            "fileFormat": "CSV", "fileSchema": "Bucket, Key, Size, LastModifiedDate, ETag",
            "files": [{"key": f"reports/all/{name}", "size": len(body),
                       "MD5checksum": hashlib.md5(body).hexdigest()}],
        }  # fmt: skip
        place = folder / f"{day:%Y-%m-%dT%H-%MZ}"
        place.mkdir()
        text = json.dumps(manifest).encode()
        (place / "manifest.json").write_bytes(text)
        (place / "manifest.checksum").write_text(hashlib.md5(text).hexdigest())

    def get(self, path, **query):
        text = "&".join(f"{name}={quote(str(value))}" for name, value in query.items())
        return self.server.get(f"{path}?{text}" if text else path)

    def rows(self, path, **query):
        """The rows of a report that must be there."""
        found = self.get(path, **query)
        assert found.status == 200, found.body
        return found.json

    def post(self, *events, **headers):
        """Ingest a batch that must be taken; the answer."""
        found = self.server.post("ingest", list(events), headers)
        assert found.status == 200, found.body
        return found.json

    def crawl(self):
        """The barrier of the suite."""
        found = self.server.post("crawl")
        assert found.status == 200, found.body
        return found.json

    def put_quota(self, team, backend="", soft=0, hard=0):
        limits = {"soft_limit": soft, "hard_limit": hard}
        return self.server.ask(
            "PUT", "quota", {"team_name": team, "backend_name": backend} | limits
        )

    def run(self, *args):
        """The command line on the same config."""
        done = subprocess.run(
            [*COMMAND, *map(str, args)], capture_output=True, text=True, check=False, cwd=ROOT,
            env={**os.environ, "WARPDRIVE_CONFIG": str(self.config), "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        return Said(done.returncode, done.stdout, done.stderr)


def files(world):
    for path, size in (
        ("own/ann.bin", 3000), ("own/bob.bin", 2000), ("own/cat.bin", 1000), ("own/dan.bin", 1000),
        ("own/eve.bin", 400), ("own/none.bin", 500), ("nested/x/same.txt", 11),
        ("nested/y/same.txt", 22), ("a/a", 1), ("grow/file.bin", 10), ("later/gone.bin", 77),
    ):  # fmt: skip
        world.write(path, size)
    world.write("stale/old.bin", 10, old=200 * DAY)
    world.write("stale/gone.bin", 12, old=200 * DAY)
    world.write("stale/new.bin", 10)
    world.write("stale/read.bin", 20, old=200 * DAY)
    world.write("stale/big.bin", 2 * GIB, old=200 * DAY)
    for i in range(1005):
        world.write(f"many/{i:04d}", 100 + i, backend="more", old=300 * DAY)
    world.write("ann.bin", 700, backend="more")
    world.report(NOW - 5 * DAY, {"one": 100})
    world.report(NOW - 3 * DAY, {"one": 100, "two": 50})


def teams_and_quotas(world):
    members = [("ann", "red"), ("bob", "red"), ("bob", "blue"), ("dan", "over"), ("eve", "under")]
    for user, team in members:
        answer = world.server.post("team", {"user_id": user, "team_name": team})
        assert answer.status == 200, answer.body
    for team, backend, soft, hard in (
        ("over", "data", 500, 900), ("over", "", 0, 1000), ("under", "data", 0, 1000),
        ("blue", "data", 0, 100), ("red", "more", 100, 0),
    ):  # fmt: skip
        assert world.put_quota(team, backend, soft, hard).status == 200


def events(world):
    owners = ("ann", "bob", "cat", "dan", "eve")
    world.post(*(event(u, f"own/{u}.bin", op="write", bytes_written=1) for u in owners),
               event("ann", "ann.bin", backend="more", op="write"))  # fmt: skip
    world.post(event("reader", "stale/read.bin", bytes_read=20))
    at = (NOW - 2 * DAY).replace(hour=12, minute=0, second=0)
    same = [event("b7", "f", bytes_read=5) | {"ts": z(at + dt.timedelta(hours=h))} for h in (0, 3)]
    world.post(*same)
    world.post(*same)
    world.post(*(e | {"user": "b7-key"} for e in same), **{"Idempotency-Key": "b7"})
    world.post(*(e | {"user": "b7-key"} for e in same), **{"Idempotency-Key": "b7"})
    world.post(*(e | {"user": "b8"} for e in reversed(same)))
    world.post(event("b9", "f") | {"ts": "2026-03-01T01:30:00.123456789+02:00"})
    world.post(event("a:b", "x:y", bytes_read=1), event("b", "x:y:a", bytes_read=1000))
    world.post(event("uid:1000", "f", bytes_read=3))
    world.post(*(event("newest", f"f{i}", ago=i * DAY, bytes_read=i) for i in (3, 1, 2)))
    world.post(event("distinct", "own/none.bin", ago=DAY), event("distinct", "own/none.bin"),
               event("distinct", "own/none.bin", ago=3 * DAY))  # fmt: skip
    world.answers["b1"] = world.post(event("b1", "f", bytes_read=4))
    odd = event("b2", "empty") | {"ts": ""}
    world.answers["b2"] = world.post(event("b2", "x"), odd, event("b2", "y"))
    upper = {key.upper(): value for key, value in event("b6", "f", bytes_read=7).items()}
    world.answers["b6"] = world.post(upper | {"tomorrow": {"x": [1]}})
    world.answers["b4"] = [world.server.post("ingest", body) for body in NO_ARRAYS]
    world.answers["b5"] = [
        world.server.post("ingest", [event("b5", "good"), event("b5", "bad") | wrong])
        for wrong in WRONG_TYPES
    ]
    world.answers["b10"] = [
        world.post(event("b10-good", f"{i}"), event("b10-bad", "f") | wrong)
        for i, wrong in enumerate(QUARANTINED)
    ]
    world.post(*(event("b13", f"f{i}", bytes_read=10) for i in range(5)))
    many = [event("b14", f"many/{i % 100}", bytes_read=1) for i in range(100_000)]
    started = time.monotonic()
    world.answers["b14"] = world.post(*many)
    world.answers["b14-seconds"] = time.monotonic() - started


NO_ARRAYS = (
    b'{"user":"b4"}', b"", b"hello", b'"text"', b"5", b'[{"user":"b4"}', b'[{"user":"b4"},5]',
    b'[{"user":"b4","latency_ms":NaN}]',
)  # fmt: skip
WRONG_TYPES = (
    {"bytes_read": 1.5}, {"bytes_read": 1e3}, {"ts": 1767225600}, {"bytes_read": "5"},
    {"bytes_read": 2**63}, {"user": 7},
)  # fmt: skip
QUARANTINED = (
    {"ts": "yesterday"}, {"ts": "0001-01-01T00:00:00Z"}, {"ts": z(NOW + 2 * DAY)},
    {"bytes_read": -1},
)  # fmt: skip


def sequence(world):
    """The statuses of everything in a row; its crawl is the second of the suite."""
    server = world.server
    batch = [event("b60", "own/none.bin", bytes_read=1)]
    return [
        server.post("team", {"user_id": "b60", "team_name": "sixty"}).status,
        world.put_quota("sixty", "data", 1, 2).status,
        server.post("ingest", batch).status,
        *(server.get(path).status for path in ("usage?group_by=team", "stale?days=30", "quota",
                                               "user/b60", "backends")),
        server.post("crawl").status,
    ]  # fmt: skip


if __name__ == "__main__":
    prepare(Path(sys.argv[1]))
