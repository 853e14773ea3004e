"""The server's life: how it starts, what it says, how it stops."""

import contextlib
import ctypes
import datetime as dt
import os
import platform
import signal
import socket
import struct
import time
from pathlib import Path

import pytest

from api.schedule import AGAIN, Tried, due
from tests.servers.rest import Server

NOW = dt.datetime(2026, 11, 1, 12, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
DAY = 24 * HOUR
EVENT = {"ts": "2026-01-05T10:00:00Z", "user": "ann", "backend": "data", "path": "a.bin",
         "op": "read", "bytes_read": 10}  # fmt: skip


def until(found, seconds=90):
    """The first true answer of a question that is put again and again."""
    end = time.monotonic() + seconds
    while not (answer := found()):
        assert time.monotonic() < end
        time.sleep(0.1)
    return answer


def workers(server):
    """Pids of the server's children."""
    pid = server.process.pid
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def slice_ns(pid):
    """What a thread may compute before others of its core have their turn: sched_getattr(2)."""
    number = {"x86_64": 315, "aarch64": 275}[platform.machine()]
    told = ctypes.create_string_buffer(48)
    pid = 0 if pid == "self" else int(pid)
    assert ctypes.CDLL(None).syscall(number, pid, told, len(told), 0) == 0
    return struct.unpack("=IIQiIQQQ", told.raw)[5]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_says_where_it_listens_and_stops_cleanly(home, number):
    server = Server(home.file)
    assert server.get("backends").json[0]["name"] == "data"
    assert server.stop(number) == 0
    assert server.said == [
        "WarpDrive Control Plane\n",
        "─" * 36 + "\n",
        f"Listening: 127.0.0.1:{server.port}\n",
        "Backends: 1 configured\n",
        "Control plane shut down cleanly.\n",
    ]
    assert server.complaints == [
        "Warning: auth is off: whoever reaches this address may read and change everything.\n"
    ]


def test_who_asks_twice_to_stop_gets_the_same_stop(home):
    """An impatient Ctrl+C keeps nobody from their answer, and leaves no traceback."""
    server = Server(home.file)
    with asking(server, "ingest", 100) as slow:
        for _ in range(2):
            server.process.send_signal(signal.SIGINT)
            time.sleep(0.2)  # signals that come together count as one
        assert server.stop(signal.SIGINT) == 0
        assert slow.recv(100).startswith(b"HTTP/1.1 503 ")
    assert server.said[-1] == "Control plane shut down cleanly.\n"
    assert not [line for line in server.complaints if "Traceback" in line]


def test_a_crawl_is_a_barrier(home):
    (home.root() / "a.bin").write_bytes(b"x" * 1000)
    server = Server(home.file)
    try:
        assert server.post("ingest", [EVENT]).json == {"accepted": 1, "quarantined": 0}
        assert server.post("crawl").json["status"] == "ok"
        (row,) = server.get("usage?group_by=backend").json
        assert (row["file_count"], row["total_bytes"], row["bytes_read"]) == (1, 1000, 10)
    finally:
        server.stop()


def test_a_public_address_needs_auth_or_a_word(home):
    said = home.run("serve", "--addr", "0.0.0.0:0")
    assert said.code == 1
    assert "--allow-unauthenticated" in said.err


def ended(pid):
    """Whether a process is gone, or waits for nothing but its parent's notice."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_backends_are_crawled_at_the_start_and_every_interval(new_home):
    """Also after a failure, and without anybody asking."""
    home = new_home(("data", "later"), extra="control_plane: {storage_crawl_interval: 2s}")
    (home.root() / "a.bin").write_bytes(b"x" * 1000)
    home.root("later").rmdir()
    server = Server(home.file)

    def files():
        return {row["name"]: (row["state"], row["file_count"]) for row in server.get(
            "backends").json}  # fmt: skip

    try:
        until(lambda: files()["data"] == ("complete", 1))
        (home.root() / "b.bin").write_bytes(b"x")
        until(lambda: files()["data"] == ("complete", 2))
        home.root("later").mkdir()
        (home.root("later") / "c.bin").write_bytes(b"x")
        until(lambda: files()["later"] == ("complete", 1))
        assert "scheduled crawl: " in "".join(server.complaints)
    finally:
        assert server.stop() == 0


def row(name, ago):
    return {"name": name, "crawled_at": None if ago is None else (NOW - ago).isoformat()}


@pytest.mark.parametrize(("rows", "tried", "names", "wait"), [
    ([], {}, [], DAY),
    ([row("new", None), row("old", DAY), row("fresh", HOUR)], {}, ["new", "old"], 23 * HOUR),
    ([row("old", 2 * DAY)], {"old": Tried(NOW - HOUR, True)}, [], 23 * HOUR),
    ([row("bad", None)], {"bad": Tried(NOW - AGAIN / 3, False)}, [], AGAIN * 2 / 3),
    ([row("bad", None)], {"bad": Tried(NOW - AGAIN, False)}, ["bad"], DAY),
])  # fmt: skip
def test_what_is_due_is_what_nobody_crawled_for_the_interval(rows, tried, names, wait):
    """A backend without new listings (reports) is tried once an interval, a failed one sooner."""
    assert due(rows, tried, DAY, NOW) == (names, wait)


def test_events_are_in_the_reports_before_long_without_a_crawl(new_home):
    """Ingest and refresh follow a landing by themselves; quotas are evaluated for it."""
    home = new_home(backends=())
    server = Server(home.file)
    try:
        begun = time.monotonic()
        assert server.post("ingest", [EVENT, EVENT]).json["accepted"] == 2
        rows = until(lambda: server.get("usage").json)
        assert [(row["group_name"], row["read_count"], row["bytes_read"]) for row in rows] == [
            ("ann", 2, 20)
        ]  # fmt: skip
        assert time.monotonic() - begun < 90
    finally:
        server.stop()


def test_a_run_that_nobody_waits_for_is_followed_to_its_end(home):
    (home.root() / "a.bin").write_bytes(b"x" * 1000)
    server = Server(home.file)
    try:
        started = server.post("crawl?wait=false")
        assert (started.status, started.json["status"]) == (202, "requested")
        where = started.headers["location"]
        assert where == f"/api/v1/runs/{started.json['run_id']}"
        states = [server.get(where).json["status"]]
        until(lambda: states.append(server.get(where).json["status"]) or states[-1] == "ok")
        assert {*states} <= {"requested", "running", "ok"}
        told = server.get(where).json
        assert (told["kind"], told["who"], told["run_id"]) == ("crawl", "local",
                                                               started.json["run_id"])  # fmt: skip
        assert [(b["backend"], b["state"], b["files"]) for b in told["backends"]] == [
            ("data", "complete", 1)
        ]  # fmt: skip
        assert told["requested_at"] < told["ended_at"]
    finally:
        server.stop()
    again = Server(home.file)
    try:
        assert again.get(where).json == told
    finally:
        again.stop()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_engine_has_a_process_of_lower_priority_that_ends_with_the_server(new_home, number):
    """Events that come in go first; nothing is left behind, however the server ended."""
    server = Server(new_home(backends=()).file)
    pid = server.process.pid
    try:
        assert server.get("stale?days=30").json == []
        (engine,) = {child for thread in Path(f"/proc/{pid}/task").iterdir()
                     for child in (thread / "children").read_text().split()
                     if "api.answering" in Path(f"/proc/{child}/cmdline").read_text()}  # fmt: skip
        nice = os.getpriority(os.PRIO_PROCESS, int(engine))
        assert nice == min(19, os.getpriority(os.PRIO_PROCESS, pid) + 10)
        group = Path(f"/proc/{engine}/autogroup")  # absent where Linux does not group sessions
        assert not group.exists() or group.read_text().split()[1:] in (["nice", "10"], [])
        assert server.post("ingest", [EVENT]).status == 200
        if tuple(map(int, os.uname().release.split(".")[:2])) >= (6, 12):
            slices = [slice_ns(thread.name) for thread in Path(f"/proc/{pid}/task").iterdir()]
            assert slice_ns(pid) == 100_000
            assert slices.count(100_000) >= 3  # the loop, the lander, who waits for the engine
            assert slice_ns(engine) == slice_ns("self") > 500_000
    finally:
        server.stop(number)
    until(lambda: ended(engine), 5)


@contextlib.contextmanager
def asking(server, path, body_bytes):
    """A connection that asked for something, and whose body is missing if it has one."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as asked:
        head = f"POST /api/v1/{path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {body_bytes}"
        asked.sendall(head.encode() + b"\r\n\r\n")
        assert server.get("/healthz").status == 200  # so what came before has been read
        yield asked


def test_a_stop_waits_for_no_run(new_home):
    """Within five seconds, with nothing left behind, though a store never answers."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        auth = "{method: static, access_key_id: k, secret_access_key: s}"
        store = f"type: s3, config: {{bucket: b, endpoint_url: '{url}'}}, auth: {auth}"
        home = new_home((f"{{name: mute, {store}}}",))
        server = Server(home.file)
        silent.settimeout(60)
        asked, _ = silent.accept()  # the crawl has come as far as it ever will
        (worker,) = workers(server)
        run = server.post("crawl?wait=false").json["run_id"]
        with asking(server, "crawl", 0) as waiting, asking(server, "ingest", 100) as slow:
            begun = time.monotonic()
            assert server.stop() == 0
            assert time.monotonic() - begun < 5
            for one in (waiting, slow):
                told = one.recv(10_000)
                assert told.startswith(b"HTTP/1.1 503 ")
                assert b"the server is stopping" in told
        asked.close()
    assert not [line for line in server.complaints if "Traceback" in line]
    assert server.said[-1] == "Control plane shut down cleanly.\n"
    until(lambda: ended(worker), 5)
    with socket.create_server(("127.0.0.1", int(url.rpartition(":")[2]))):
        again = Server(home.file)
        try:
            assert again.get(f"runs/{run}").json["status"] == "interrupted"
        finally:
            again.stop()
