# pyright: reportAttributeAccessIssue=false
# pyright: reportIncompatibleMethodOverride=false
# pyright: reportArgumentType=false
"""Sinks: where segments go, what happens when they cannot."""

import http.server
import json
import threading

import pytest

from storage import landing
from storage.config import load_config
from storage.errors import ConfigError, UnknownNameError
from storage.objectstore import get, listed, open_store
from warpdrive_agent import sinks
from warpdrive_agent.sinkerrors import RefusedError, SendError
from warpdrive_agent.sinks import FileSink, HttpSink, ObjectStoreSink, open_sink

LINES = b"".join(b'{"seq":%d}\n' % seq for seq in range(1, 2502))
DATA = landing.compress([LINES])
NAME = landing.segment_name("2026-11-01T10", "n", "0" * 16, 1, 2501)


class Server(http.server.ThreadingHTTPServer):
    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests, self.connections, self.answers = [], 0, []
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self):
        super().setup()
        self.server.connections += 1

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append((self.path, dict(self.headers), json.loads(body)))
        status = self.server.answers.pop(0) if self.server.answers else 200
        answer = b'{"accepted":1}\n' * 100
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    found = Server()
    yield found
    found.shutdown()
    found.server_close()


def test_http_posts_bounded_arrays_over_one_connection(server):
    sink = HttpSink(server.address + "/")
    sink.send(NAME, DATA)
    sink.send(NAME, DATA)
    sink.close()
    sink.close()
    assert server.connections == 1
    assert {path for path, _, _ in server.requests} == {"/api/v1/ingest"}
    assert [len(body) for _, _, body in server.requests] == [2000, 501] * 2
    first, again = server.requests[:2], server.requests[2:]
    assert first[0][2][0] == {"seq": 1}
    keys = [headers["Idempotency-Key"] for _, headers, _ in first]
    assert keys == [headers["Idempotency-Key"] for _, headers, _ in again]
    assert len(set(keys)) == 2
    assert first[0][1]["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("status", "failure"),
    [(500, SendError), (503, SendError), (202, SendError), (400, RefusedError)],
)
def test_http_takes_only_200_for_success(server, status, failure):
    server.answers = [status]
    sink = HttpSink(server.address)
    with pytest.raises(failure, match=str(status)):
        sink.send(NAME, DATA)
    sink.send(NAME, DATA)
    sink.close()


def config_with(tmp_path, address, more):
    file = tmp_path / "warpdrive.yaml"
    file.write_text(f"telemetry: {{sink: http, control_plane_addr: '{address}', {more}}}\n")
    return load_config(str(file)).telemetry


def test_http_signs_in_and_takes_a_renewed_token_after_a_401(server, tmp_path):
    (tmp_path / "token").write_text("first\n")
    sink = open_sink(config_with(tmp_path, server.address, "token_file: ./token"))
    sink.send(NAME, DATA)
    (tmp_path / "token").write_text("second\n")
    server.answers = [401]
    with pytest.raises(SendError, match="401"):
        sink.send(NAME, DATA)
    sink.send(NAME, DATA)
    sink.close()
    seen = [headers["Authorization"] for _, headers, _ in server.requests]
    assert seen == ["Bearer first"] * 3 + ["Bearer second"] * 2


def test_a_token_that_is_not_there_waits_and_is_never_shown(server, tmp_path, monkeypatch):
    monkeypatch.delenv("AGENT_TOKEN", raising=False)
    sink = open_sink(config_with(tmp_path, server.address, "token_env: AGENT_TOKEN"))
    with pytest.raises(SendError, match="variable AGENT_TOKEN is not set"):
        sink.send(NAME, DATA)
    monkeypatch.setenv("AGENT_TOKEN", "s3cr3t")
    server.answers = [403]
    with pytest.raises(SendError) as caught:
        sink.send(NAME, DATA)
    assert "s3cr3t" not in str(caught.value)
    sink.close()
    with pytest.raises(ConfigError, match="keep one"):
        config_with(tmp_path, server.address, "token_env: A, token_file: ./b")


def test_http_does_not_connect_before_the_first_segment_and_fails_politely():
    sink = HttpSink("http://127.0.0.1:9")
    with pytest.raises(SendError, match=r"127\.0\.0\.1:9"):
        sink.send(NAME, DATA)


@pytest.mark.parametrize("address", ["localhost:8080", "ftp://x", "http://"])
def test_an_address_that_is_none_is_refused(address):
    with pytest.raises(ConfigError, match="control_plane_addr"):
        HttpSink(address)


def test_objectstore_creates_once_and_a_repeat_is_success(tmp_path):
    sink = ObjectStoreSink(str(tmp_path / "landing"))
    sink.send(NAME, DATA)
    sink.send(NAME, DATA)
    store = open_store(str(tmp_path / "landing"))
    assert [info.name for info in listed(store)] == [NAME]
    assert landing.decompress(NAME, get(store, NAME), 10**9) == LINES


def test_objectstore_never_overwrites_other_bytes(tmp_path):
    sink = ObjectStoreSink(str(tmp_path))
    sink.send(NAME, DATA)
    with pytest.raises(RefusedError, match="another size"):
        sink.send(NAME, DATA + b"x")


def test_file_makes_its_folder_appends_and_rotates(tmp_path, monkeypatch):
    monkeypatch.setattr(sinks, "ROTATE_BYTES", len(LINES) + 1)
    sink = FileSink(str(tmp_path / "var" / "log" / "t.jsonl"))
    for _ in range(5):
        sink.send(NAME, DATA)
    assert (tmp_path / "var/log/t.jsonl").read_bytes() == LINES
    assert (tmp_path / "var/log/t.jsonl.1").read_bytes() == LINES * 2
    assert (tmp_path / "var/log/t.jsonl.2").read_bytes() == LINES * 2


def test_a_file_that_cannot_be_is_an_error_at_start(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"telemetry\.file_path"):
        FileSink(str(tmp_path / "file" / "t.jsonl"))


def write_config(tmp_path, text):
    (tmp_path / "w.yaml").write_text(f"telemetry: {{{text}}}\n")
    return load_config(str(tmp_path / "w.yaml")).telemetry


@pytest.mark.parametrize(
    ("name", "kind"),
    [("objectstore", ObjectStoreSink), ("http", HttpSink), ("file", FileSink),
     ("stdout", sinks.StdoutSink), ("nop", sinks.NopSink), ("memory", sinks.MemorySink)],
)  # fmt: skip
def test_every_sink_of_the_contract_opens(tmp_path, name, kind):
    config = write_config(tmp_path, f"sink: {name}, file_path: t.jsonl")
    assert isinstance(open_sink(config), kind)


def test_an_unknown_sink_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"kafka.*none of objectstore"):
        write_config(tmp_path, "sink: kafka")
    with pytest.raises(UnknownNameError):
        open_sink(type("Config", (), {"sink": "kafka"})())
