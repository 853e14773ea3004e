# ruff: noqa: INP001 - a script, not a package
"""Load the REST server on loopback: `make bench-api`. The peer is `bench/bare.py`."""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
import report

ROOT = Path(__file__).resolve().parents[1]
TICK = os.sysconf("SC_CLK_TCK")
CONNECTIONS = 4
ROUNDS = 3
SECONDS = 4.0
EVENTS = 5_000_000
WARM_UP_SECONDS = 0.5
GO_EVENTS_A_SECOND = {1000: 249_000, 100: 158_000}
CONFIG = """
lake: {root: ./lake}
telemetry: {landing: ./landing}
backends: []
"""


def event(i: int, rng: random.Random) -> dict[str, Any]:
    """An event as an agent with the http sink sends it, of realistic length."""
    return {
        "ts": f"2026-11-24T10:{i // 60 % 60:02d}:{i % 60:02d}.{rng.randrange(10**6):06d}Z",
        "user": f"user{rng.randrange(200)}", "backend": "training",
        "path": f"datasets/set-{rng.randrange(50)}/part-{rng.randrange(10**5):05d}/"
        f"img_{rng.randrange(10**7):08d}.jpg",
        "op": "read", "bytes_read": rng.randrange(10**7), "cache_hit": bool(i % 2),
        "node": f"gpu-{i % 9}", "latency_ms": round(rng.random() * 10, 3),
    }  # fmt: skip


def request(body: bytes) -> bytes:
    """One POST as bytes, so that the client costs next to nothing."""
    return (
        b"POST /api/v1/ingest HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    )


def bodies(count: int, batch: int) -> list[bytes]:
    """Different batches, encoded before the clock starts."""
    rng = random.Random(batch)
    return [
        json.dumps([event(i, rng) for i in range(batch)], separators=(",", ":")).encode()
        for _ in range(count)
    ]


@dataclass
class Load:
    """What one measured window saw."""

    requests: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)


@contextlib.contextmanager
def ours(folder: Path, config: str = CONFIG) -> Iterator[tuple[int, int]]:
    """A fresh server of ours: pid and port."""
    (folder / "warpdrive.yaml").write_text(config)
    command = [sys.executable, "-m", "cli", "serve", "--config", str(folder / "warpdrive.yaml"),
               "--addr", "127.0.0.1:0"]  # fmt: skip
    with process(command) as (pid, lines):
        said = [next(lines) for _ in range(4)]  # title, rule, Listening, Backends
        yield pid, int(said[2].rsplit(":", 1)[1])


@contextlib.contextmanager
def bare(folder: Path) -> Iterator[tuple[int, int]]:
    """A fresh server of the peer's."""
    (folder / "bodies").mkdir()
    command = [sys.executable, str(ROOT / "bench" / "bare.py"), str(folder / "bodies")]
    with process(command) as (pid, lines):
        yield pid, int(next(lines))


@contextlib.contextmanager
def process(command: Sequence[str]) -> Iterator[tuple[int, Iterator[str]]]:
    """A child, ended by its own pid."""
    child = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert child.stdout
    try:
        yield child.pid, iter(child.stdout)
    finally:
        child.terminate()
        child.wait()
        child.stdout.close()


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, its threads included, its children not."""
    parts = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(parts[11]) + int(parts[12])) / TICK


def rss_mb(pid: int) -> float:
    """Memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"process {pid} has ended")


def drive(pid: int, port: int, posts: Sequence[bytes], seconds: float) -> Load:
    """Four connections that post one batch after the other; the server's CPU meanwhile."""
    _post_all(port, posts, WARM_UP_SECONDS)
    before, begin = cpu_seconds(pid), time.perf_counter()
    found = _post_all(port, posts, seconds)
    found.seconds = time.perf_counter() - begin
    found.cpu_seconds = cpu_seconds(pid) - before
    return found


def _post_all(port: int, posts: Sequence[bytes], seconds: float) -> Load:
    total = Load()
    lock = threading.Lock()
    end = time.perf_counter() + seconds

    def one(number: int) -> None:
        times = []
        with socket.create_connection(("127.0.0.1", port)) as sock:
            i = number
            while time.perf_counter() < end:
                started = time.perf_counter()
                sock.sendall(posts[i % len(posts)])
                _answer(sock)
                times.append(time.perf_counter() - started)
                i += CONNECTIONS
        with lock:
            total.latencies += times
            total.requests += len(times)

    threads = [threading.Thread(target=one, args=(n,)) for n in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return total


def _answer(sock: socket.socket) -> bytes:
    """The body of a 200. Raises RuntimeError for any other answer."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += _received(sock)
    head, _, body = data.partition(b"\r\n\r\n")
    if b" 200 " not in head.split(b"\r\n", 1)[0]:
        raise RuntimeError(data.decode("utf-8", "replace"))
    length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
    while len(body) < length:
        body += _received(sock)
    return body


def _received(sock: socket.socket) -> bytes:
    part = sock.recv(1 << 20)
    if not part:
        raise RuntimeError("the server closed the connection")
    return part


def ingest_rows(batch: int, goal_us: float) -> list[report.Row]:
    """Events a second against the bare handler, and CPU per event."""
    posts = [request(body) for body in bodies(40, batch)]
    rates: dict[str, list[float]] = {"ours": [], "bare": []}
    cost: dict[str, list[float]] = {"ours": [], "bare": []}
    for _ in range(ROUNDS):
        for name, start in (("ours", ours), ("bare", bare)):
            with (
                tempfile.TemporaryDirectory(dir=place()) as folder,
                start(Path(folder)) as (pid, port),
            ):
                load = drive(pid, port, posts, SECONDS)
            events = load.requests * batch
            rates[name].append(events / load.seconds)
            cost[name].append(load.cpu_seconds / events * 1e6)
    job = f"batches of {batch}, {CONNECTIONS} connections, durable before the 200"
    mean = {name: statistics.mean(values) for name, values in rates.items()}
    return [
        report.row(
            f"ingest-{batch}", job, "events/s", rates["ours"], peer=rates["bare"],
            peer_name="bare ASGI handler", value=mean["ours"] / mean["bare"], goal=0.5,
            limit="CPU: decoding, compressing and one more sync (of the folder) per group",
        ),
        report.row(
            f"ingest-{batch}-2", "server CPU per event", "us", cost["ours"], peer=cost["bare"],
            peer_name="bare ASGI handler", value=statistics.mean(cost["ours"]), goal=goal_us,
            op="<=", limit="CPU",
        ),
        report.row(
            f"ingest-{batch}-go", "the Go version, in memory, another day", "events/s",
            rates["ours"], peer=[GO_EVENTS_A_SECOND[batch]], peer_name="Go version",
        ),
    ]  # fmt: skip


def memory_row() -> list[report.Row]:
    """The server's memory over 5 million events: after the first million, and at the end."""
    posts = [request(body) for body in bodies(40, 1000)]
    with tempfile.TemporaryDirectory(dir=place()) as folder, ours(Path(folder)) as (pid, port):
        _post_count(port, posts, EVENTS // 5 // 1000)
        before, least, most = rss_mb(pid), float("inf"), 0.0
        for _ in range(8):
            _post_count(port, posts, EVENTS // 10 // 1000)
            now = rss_mb(pid)
            least, most = min(least, now), max(most, now)
    swing = max(most - before, before - least)
    return [report.row(
        "ingest-memory", "server memory over 5 M events, from the first million on", "MB",
        [swing], goal=50, op="<=", limit="memory that is kept",
    )]  # fmt: skip


def _post_count(port: int, posts: Sequence[bytes], count: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as sock:
        for i in range(count):
            sock.sendall(posts[i % len(posts)])
            _answer(sock)


QUESTIONS_ASKED = 300
BESIDE = 300
STALE = [f"stale?days={30 + i % 300}" for i in range(300)]
QUESTIONS = {
    "usage": "usage?group_by=team", "quota": "quota", "growth": "growth", "backends": "backends",
}  # fmt: skip


def place() -> Path:
    """Where the servers' folders stand: on the disk of the tree, outside of what is committed."""
    found = ROOT / ".artifacts"
    found.mkdir(exist_ok=True)
    return found


def big_lake(folder: Path, files: int, events: int, *, changes: bool) -> str:
    """A refreshed lake of that size in `folder`; the text of its config."""
    size = {"files": files, "days": 5, "events_per_day": events // 5, "changes": changes}
    for job, told in (("make", json.dumps(size)), ("refresh_ours", "-")):
        subprocess.run(
            [sys.executable, str(ROOT / "bench" / "lakejobs.py"), job, str(folder / "lake"), told],
            check=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
    config = json.loads((folder / "warpdrive.yaml").read_text())
    # The folders of its backends are nowhere: nothing is crawled at the start.
    return json.dumps(config | {"control_plane": {"storage_crawl_interval": "90000h"}})


def reading_rows(files: int = 1_000_000, events: int = 5_000_000) -> list[report.Row]:
    """p99 of questions while batches of 100 are posted, and of ingest beside stale questions."""
    one = [request(body) for body in bodies(40, 1)]
    waits: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(dir=place()) as name:
        config = big_lake(Path(name), files, events, changes=True)
        for _ in range(ROUNDS):
            with ours(Path(name), config) as (_, port):
                _put_quotas(port)
                _asked(port, ["stale?days=29"])  # the first one loads the engine
                _add(waits, "quiet", _times(port, one, BESIDE))
                with _beside(_ask_until, port):
                    _add(waits, "beside", _times(port, one, BESIDE))
                with _beside(_until, port, [request(body) for body in bodies(40, 100)]):
                    for question, path in QUESTIONS.items():
                        _add(waits, question, _asked(port, [path] * QUESTIONS_ASKED))
                    _add(waits, "stale", _asked(port, STALE))
    job = f"p99 at {files} files x {events} accesses, while ingesting"
    rows = [
        report.row(question, job, "ms", waits[question], goal=20.0 if question != "stale" else 50.0,
                   op="<=", limit="CPU: two cores for server, client and batches")
        for question in (*QUESTIONS, "stale")
    ]  # fmt: skip
    return [*rows, report.row(
        "ingest-beside-stale", "p99 of a 1-event ingest while stale questions run", "ms",
        waits["beside"], peer=waits["quiet"], peer_name="without",
        value=statistics.median(waits["beside"]) / statistics.median(waits["quiet"]), goal=2.0,
        op="<=", limit="two cores: whom an event wakes waits where the engine computes",
    )]  # fmt: skip


def flat_rows(small: int = 1_000_000, large: int = 10_000_000) -> list[report.Row]:
    """p99 of stale questions at ten times as many files: the same, or it is not flat."""
    waits: dict[str, list[float]] = {}
    with contextlib.ExitStack() as stack:
        places = {}
        for name, files in (("small", small), ("large", large)):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=place())))
            places[name] = folder, big_lake(folder, files, 500_000, changes=False)
        for _ in range(ROUNDS):
            for name, (folder, config) in places.items():
                with ours(folder, config) as (_, port):
                    _asked(port, ["stale?days=29"])
                    _add(waits, name, _asked(port, STALE))
    return [
        report.row("stale-flat", f"p99 of stale, any days, at {large} files against {small}",
                   "ms", waits["large"], peer=waits["small"], peer_name=f"{small} files"),
        report.row("stale-10m", f"p99 of stale, any days, at {large} files", "ms",
                   waits["large"], goal=50.0, op="<=", limit="CPU: reading a few windows"),
    ]  # fmt: skip


def _add(waits: dict[str, list[float]], name: str, seconds: list[float]) -> None:
    waits.setdefault(name, []).append(statistics.quantiles(seconds, n=100)[98] * 1e3)


def _put_quotas(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as sock:
        for team in range(10):
            body = b'{"team_name":"team%02d","hard_limit":1000000}' % team
            sock.sendall(b"PUT /api/v1/quota HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d"
                         b"\r\n\r\n%b" % (len(body), body))  # fmt: skip
            _answer(sock)


def _times(port: int, posts: Sequence[bytes], count: int) -> list[float]:
    found = []
    with socket.create_connection(("127.0.0.1", port)) as sock:
        for i in range(count):
            begin = time.perf_counter()
            sock.sendall(posts[i % len(posts)])
            _answer(sock)
            found.append(time.perf_counter() - begin)
    return found


def _asked(port: int, paths: Sequence[str]) -> list[float]:
    return _times(port, [_get(path) for path in paths], len(paths))


def _get(path: str) -> bytes:
    return b"GET /api/v1/%b HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" % path.encode()


def _until(port: int, stop: threading.Event, posts: Sequence[bytes]) -> None:
    with socket.create_connection(("127.0.0.1", port)) as sock:
        i = 0
        while not stop.wait(0.02):  # five thousand events a second
            sock.sendall(posts[i % len(posts)])
            _answer(sock)
            i += 1


def _ask_until(port: int, stop: threading.Event) -> None:
    with socket.create_connection(("127.0.0.1", port)) as sock:
        i = 0
        while not stop.is_set():
            sock.sendall(_get(f"stale?days={30 + i % 300}&min_size={i}"))
            _answer(sock)
            i += 1


@contextlib.contextmanager
def _beside(work: Callable[..., None], port: int, *more: Any) -> Iterator[None]:
    """Work that goes on in a process of its own for the time of a block; it must not fail."""
    context = multiprocessing.get_context("spawn")
    begun, stop = context.Event(), context.Event()
    other = context.Process(target=_work, args=(work, port, begun, stop, *more))
    other.start()
    begun.wait(60)
    try:
        yield
    finally:
        stop.set()
        other.join()
    if other.exitcode:
        raise RuntimeError("the work beside failed")


def _work(work: Callable[..., None], port: int, begun: Any, stop: Any, *more: Any) -> None:
    begun.set()
    work(port, stop, *more)


def main() -> int:
    """Run the jobs named, or all."""
    jobs = {
        "ingest-1000": lambda: ingest_rows(1000, 4.0),
        "ingest-100": lambda: ingest_rows(100, 10.0),
        "ingest-memory": memory_row,
        "reading": lambda: reading_rows(given.files, given.events),
        "flat": lambda: flat_rows(given.files, given.files * 10),
    }
    parser = argparse.ArgumentParser()
    parser.add_argument("jobs", nargs="*", default=list(jobs))
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--events", type=int, default=5_000_000)
    given = parser.parse_args()
    rows = [row for name in given.jobs for row in jobs[name]()]
    return report.publish("api", rows)


if __name__ == "__main__":
    raise SystemExit(main())
