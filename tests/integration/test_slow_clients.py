"""Clients that never get to the point are given up; the others do not notice."""

import socket
import time

import pytest

from tests.servers.rest import Server


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    from tests.home import Home

    found = Server(Home(tmp_path_factory.mktemp("slow")).file)
    yield found
    found.stop()


def closed_after(sock):
    """Seconds until the server closes the connection, and what it said before."""
    sock.settimeout(60)
    begin, said = time.monotonic(), b""
    try:
        while part := sock.recv(4096):
            said += part
    except ConnectionResetError:
        pass
    return time.monotonic() - begin, said


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
