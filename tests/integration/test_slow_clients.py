"""Clients that never get to the point are given up; the others do not notice."""

import asyncio
import gzip
import json
import socket
import threading
import time
from pathlib import Path

import pytest
import uvicorn

from api import body, protocol
from api.protocol import Protocol
from tests.home import Home
from tests.servers.asgi import InProcess
from tests.servers.rest import Server

EVENT = {"ts": "2026-01-05T10:00:00Z", "user": "ann", "backend": "data", "path": "p" * 100,
         "op": "read", "bytes_read": 3}  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    found = Server(Home(tmp_path_factory.mktemp("slow")).file)
    yield found
    found.stop()


def closed_after(sock):
    """Seconds until the server closes the connection, and what it said before."""
    sock.settimeout(60)
    begin, said = time.monotonic(), []
    try:
        while part := sock.recv(1 << 20):
            said.append(part)
    except ConnectionResetError:
        pass
    return time.monotonic() - begin, b"".join(said)


def test_connections_that_say_nothing_or_half_a_header_are_closed(server):
    socks = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(3)]
    socks[1].sendall(b"GET /api/v1/backends HTTP/1.1\r\nHost: local")
    socks[2].sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    answer = b""
    while not answer.endswith(b"}\n"):
        answer += socks[2].recv(4096)
    assert b"200 OK" in answer
    socks[2].sendall(b"GET /healthz HTTP/1.1\r\nX-Slow: ")
    assert server.get("/healthz").status == 200
    for sock in socks:
        with sock:
            seconds, said = closed_after(sock)
            assert seconds < 45
            assert said == b""


def test_a_header_without_end_is_cut_off(server):
    with socket.create_connection(("127.0.0.1", server.port)) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            sock.sendall((b"X-Pad: " + b"x" * 1000 + b"\r\n") * 50_000)


def test_what_is_no_http_gets_the_one_error_body(server):
    with socket.create_connection(("127.0.0.1", server.port)) as sock:
        sock.sendall(b"nonsense\r\n\r\n")
        _, said = closed_after(sock)
    assert said.startswith(b"HTTP/1.1 400")
    assert b'{"error":{"status":400' in said


def test_a_body_that_never_comes_holds_nobody_up(server):
    with socket.create_connection(("127.0.0.1", server.port)) as sock:
        sock.sendall(
            b"POST /api/v1/ingest HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n["
        )
        assert server.post("ingest", b"[]").status == 200
        sock.settimeout(60)
        assert sock.recv(4096).startswith(b"HTTP/1.1 408")


def batch(mebibytes):
    """A body of about so many MiB, and its events."""
    one = json.dumps(EVENT, separators=(",", ":"))
    count = (mebibytes << 20) // (len(one) + 1)
    return f"[{','.join([one] * count)}]".encode(), count


def peak_mb(pid):
    """The most memory that a process has had."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def test_a_large_body_that_comes_slowly_holds_nobody_up(home, monkeypatch):
    """More of them than have their turn at once: large and small ones land meanwhile."""
    monkeypatch.setattr(body, "TURN_SECONDS", 0.2)
    monkeypatch.setattr(body, "CHUNK_SECONDS", 6.0)
    large, count = batch(2)
    with InProcess({"": home.config}) as api:
        answers, room = [], api.app._state.room
        stuck = [
            threading.Thread(target=lambda: answers.append(
                api.ask("POST", "ingest", chunks=[large[:-1], None]).status
            ))
            for _ in range(body.LARGE_AT_ONCE + 1)
        ]  # fmt: skip
        for thread in stuck:
            thread.start()
        while room.spooled_bytes < len(stuck) * (len(large) - 1):
            time.sleep(0.01)
        assert api.post("ingest", large).json["accepted"] == count
        half = len(large) // 2
        slices = [large[:10], large[10:half], large[half:]]
        assert api.ask("POST", "ingest", chunks=slices).json["accepted"] == count
        packed = gzip.compress(large)
        told = api.post("ingest", packed, {"Content-Encoding": "gzip"})
        assert told.json["accepted"] == count
        assert api.post("ingest", [EVENT]).json["accepted"] == 1
        assert not answers
        for thread in stuck:
            thread.join()
        assert answers == [408] * len(stuck)
        assert (room.large._value, room.spooled_bytes, room.small_bytes) == (
            body.LARGE_AT_ONCE, 0, 0,
        )  # fmt: skip


def test_large_bodies_that_are_whole_take_turns_and_small_ones_do_not_wait(home, monkeypatch):
    """Whoever gets none is told to come again, and holds nothing."""
    monkeypatch.setattr(body, "TURN_SECONDS", 0.2)
    large, count = batch(2)
    with InProcess({"": home.config}) as api:
        room = api.app._state.room
        for _ in range(body.LARGE_AT_ONCE):
            api._submit(room.large.acquire()).result()
        refused = api.post("ingest", large)
        assert (refused.status, refused.headers["retry-after"]) == (503, "5")
        assert refused.error["message"] == "too many bodies at once."
        assert api.post("ingest", [EVENT]).json["accepted"] == 1
        room.large.release()
        assert api.post("ingest", large).json["accepted"] == count
        assert (room.large._value, room.spooled_bytes) == (1, 0)


def test_large_bodies_have_so_much_disk_together(home, monkeypatch):
    """Beyond it, and where the disk is full, a sender is told to come again."""
    large, count = batch(2)
    with InProcess({"": home.config}) as api:
        with monkeypatch.context() as patch:
            patch.setattr(body, "SPOOLED_BYTES", len(large) - 1)
            refused = api.post("ingest", large)
            assert (refused.status, refused.error["message"]) == (503, "too many bodies at once.")
        with monkeypatch.context() as patch:
            patch.setattr(body.tempfile, "tempdir", "/dev/null")
            refused = api.post("ingest", large)
            assert refused.status == 503
            assert "disk: Not a directory" in refused.error["message"]
        assert api.post("ingest", large).json["accepted"] == count
        assert api.app._state.room.spooled_bytes == 0


def test_small_bodies_have_so_much_room_together(home, monkeypatch):
    """Whatever the number of connections; a body that is answered holds nothing."""
    monkeypatch.setattr(body, "SMALL_BYTES", 1000)
    with InProcess({"": home.config}) as api:
        assert [api.post("ingest", [EVENT] * 3).status for _ in range(5)] == [200] * 5
        assert api.post("ingest", [EVENT] * 9).status == 503
        assert api.app._state.room.small_bytes == 0


def test_memory_is_that_of_two_large_bodies_however_many_come(home):
    """A body and what is made of it are five times its size at most."""
    large, count = batch(32)
    found = Server(home.file)
    try:
        assert found.post("ingest", [EVENT]).status == 200
        before, answers = peak_mb(found.process.pid), []
        threads = [
            threading.Thread(target=lambda: answers.append(found.post("ingest", large)))
            for _ in range(6)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [answer.json["accepted"] for answer in answers] == [count] * 6
        assert peak_mb(found.process.pid) - before < body.LARGE_AT_ONCE * 5 * 32
    finally:
        found.stop()


async def big(_scope, _receive, send):
    """An application whose answer is far more than the system buffers."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"x" * ANSWER_BYTES})


ANSWER_BYTES = 64 << 20


def test_an_answer_that_nobody_reads_is_cut_off(monkeypatch):
    """The connection is aborted and its memory free again; whoever reads gets all of it."""
    monkeypatch.setattr(protocol, "WRITE_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as sock:
        settings = uvicorn.Config(
            big, http=Protocol, ws="none", lifespan="off", log_config=None, access_log=False
        )
        server = uvicorn.Server(settings)
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[sock])))
        thread.start()
        try:
            clients = [socket.create_connection(sock.getsockname()) for _ in range(2)]
            for client in clients:
                client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            reads, stalls = clients
            with reads, stalls:
                seconds, said = 0.0, 0
                while part := reads.recv(1 << 20):  # slower than WRITE_SECONDS in all
                    said, seconds = said + len(part), seconds + 0.02
                    time.sleep(0.02)
                assert said > ANSWER_BYTES
                assert seconds > 2 * protocol.WRITE_SECONDS
                assert len(closed_after(stalls)[1]) < ANSWER_BYTES
        finally:
            server.should_exit = True
            thread.join()
