# pyright: reportAttributeAccessIssue=false
# pyright: reportOptionalSubscript=false
"""A running agent answers: /metrics, /healthz, stats, status, warm."""

import re
import signal
import socket
import urllib.error
import urllib.request
from contextlib import closing
from pathlib import Path

import pytest
from mounts import Mount, needs_mount
from objectserver import ObjectServer

from storage.config import load_config
from storage.errors import BackendError, UsageError, WarpdriveError
from warpdrive_agent.agent import Agent
from warpdrive_agent.control import agent_stats, agent_status, warm_cache
from warpdrive_agent.mountpoint import prepare
from warpdrive_agent.statusserver import TcpServer, listen_address, socket_path
from warpdrive_agent.warm import WarmOrder

pytestmark = needs_mount
GO_NAMES = [
    "warpdrive_cache_hit_total",
    "warpdrive_cache_miss_total",
    "warpdrive_cache_size_bytes",
    "warpdrive_cache_evictions_total",
    "warpdrive_cache_utilization_ratio",
    "warpdrive_backend_request_duration_seconds",
    "warpdrive_backend_errors_total",
    "warpdrive_backend_bytes_read_total",
    "warpdrive_fuse_operations_total",
    "warpdrive_fuse_operation_duration_seconds",
    "warpdrive_readahead_hit_total",
    "warpdrive_readahead_wasted_total",
    "warpdrive_auth_refresh_total",
    "warpdrive_telemetry_dropped_total",
]


@pytest.fixture
def server():
    found = ObjectServer()
    for index in range(20):
        found.put(f"data/{index % 2}/{index}", bytes([index]) * 100_000)
    found.put("data/empty", b"")
    yield found
    found.stop()


@pytest.fixture
def mount(tmp_path, server):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    made = Mount(tmp_path, [server.backend()], "level: exact")
    text = made.config.read_text()
    made.config.write_text(
        text.replace("{enabled: false}", f"{{enabled: true, addr: '127.0.0.1:{port}'}}")
    )
    made.url = f"http://127.0.0.1:{port}"
    made.settings = load_config(str(made.config))
    return made


def read(url):
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def value(text, name):
    return float(re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)[1])


def test_metrics_have_the_names_of_the_contract(mount, server):
    with mount:
        (mount.point / "s3/data/0/0").read_bytes()
        (mount.point / "s3/data/0/0").read_bytes()
        status, text = read(f"{mount.url}/metrics")
        assert status == 200
        assert set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE)) >= set(GO_NAMES)
        assert value(text, "warpdrive_cache_hit_total") == 1
        assert value(text, "warpdrive_cache_miss_total") == 1
        assert value(text, 'warpdrive_backend_bytes_read_total{backend="s3"}') == 100_000
        name = "warpdrive_backend_request_duration_seconds_count"
        assert value(text, f'{name}{{backend="s3",operation="read"}}') == 2
        assert value(text, 'warpdrive_fuse_operations_total{operation="open"}') == 2
        assert value(text, "warpdrive_telemetry_dropped_total") == 0
        assert read(f"{mount.url}/status")[0] == 404, "only for the agent's own user"


def test_health_names_what_is_wrong(mount, server):
    with mount:
        assert read(f"{mount.url}/healthz") == (
            200,
            '{"status": "ok", "checks": {"mount": "ok", "backend:s3": "ok", "telemetry": "ok"}}\n',
        )
        server.fail = 1000
        with pytest.raises(PermissionError):
            (mount.point / "s3/data/0/0").read_bytes()
        status, text = read(f"{mount.url}/healthz")
        assert status == 503
        assert '"degraded"' in text
        assert "403" in text


def test_stats_and_status_come_from_the_running_agent(mount):
    with pytest.raises(WarpdriveError, match=r"no agent is running.*warpdrive mount"):
        agent_stats(mount.settings)
    assert agent_status(mount.settings)["running"] is False
    with mount:
        (mount.point / "s3/data/0/0").read_bytes()
        (mount.point / "s3/data/0/0").read_bytes()
        found = agent_stats(mount.settings)
        assert (found["hits"], found["misses"], found["evictions"]) == (1, 1, 0)
        assert found["bytes_cached"] >= 100_000
        status = agent_status(mount.settings)
        assert (status["running"], status["mounted"]) == (True, True)
        assert status["backends"] == [{"name": "s3", "type": "s3", "mount_path": "/s3"}]
        assert status["telemetry"]["delivered_bytes"] == 200_000
        assert socket_path(mount.settings).stat().st_mode & 0o777 == 0o600
    assert agent_status(mount.settings)["mounted"] is False


@pytest.mark.parametrize("name", ["мнт 数据\\040", "link"])
def test_a_mount_point_is_known_as_mounted_whatever_its_name(tmp_path, mount, name):
    """Letters of any script, and a symlink: health, status, a second start, and after a kill."""
    (tmp_path / "real").mkdir()
    if name == "link":
        (tmp_path / name).symlink_to("real")
    mount.config.write_text(mount.config.read_text().replace("./mnt", f"'./{name}'"))
    mount.point = tmp_path / name
    settings = load_config(str(mount.config))
    with mount:
        assert agent_status(settings)["mounted"] is True
        assert read(f"{mount.url}/healthz")[0] == 200
        with pytest.raises(WarpdriveError, match="is mounted already"):
            prepare(settings.mount_point)
        mount.stop(signal.SIGKILL)
        assert "was cleaned up" not in mount.errors
        mount.start()
        assert (mount.point / "s3/data/1/19").read_bytes() == bytes([19]) * 100_000
    assert "was cleaned up" in mount.errors
    assert tmp_path.name not in Path("/proc/self/mountinfo").read_text()


def test_a_second_agent_does_not_take_the_cache_folder_of_the_first(tmp_path, mount, server):
    """With a spool of its own it got as far as the socket, and `stats` asked the wrong one."""
    (tmp_path / "other").mkdir()
    other = Mount(tmp_path / "other", [server.backend()], "spool_path: ./spool")
    other.config.write_text(other.config.read_text().replace("./cache", str(tmp_path / "cache")))
    with mount:
        with pytest.raises(RuntimeError, match=r"cache\.path .* is in use by another agent: stop"):
            other.start()
        assert not other.is_mounted
        assert agent_status(mount.settings)["mount_point"] == str(mount.point)
    with other:
        assert other.is_mounted


@pytest.mark.parametrize("running", [True, False])
def test_warm_fills_the_cache_and_resumes(mount, server, running):
    if running:
        mount.start()
    *_, last = warm_cache(mount.settings, WarmOrder("s3", "data", workers=4))
    assert (last.done, last.failed) == (True, 0)
    assert (last.files, last.files_done) == (21, 21)
    assert (last.bytes, last.bytes_done) == (2_000_000, 2_000_000)
    asked = len(server.gets())
    *_, again = warm_cache(mount.settings, WarmOrder("s3", "data"))
    assert (again.files_done, len(server.gets())) == (21, asked)
    if not running:
        mount.start()
    assert (mount.point / "s3/data/1/19").read_bytes() == bytes([19]) * 100_000
    assert len(server.gets()) == asked
    mount.stop()
    assert [e.cache_hit for e in mount.events("read")] == [True], "warming is not an access"


def test_warm_takes_a_prefix_a_depth_and_a_size(mount):
    def files(**changes):
        *_, last = warm_cache(mount.settings, WarmOrder("s3", **changes))
        return last.files_done

    assert files(prefix="data/1") == 10
    assert files(prefix="data/1/19") == 1
    assert files(prefix="data", recursive=False) == 1
    assert files(prefix="data", max_bytes=350_000) == 4
    with pytest.raises(BackendError, match="s3:nope cannot be warmed: No such file"):
        files(prefix="nope")
    with pytest.raises(UsageError, match="no backend 's4'"):
        next(warm_cache(mount.settings, WarmOrder("s4")))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_warm_whose_agent_ends_says_so(mount, server, number):
    """Half of it is not done: no `Done`, and a rerun goes on."""
    server.delay = 0.05
    mount.start()
    steps = warm_cache(mount.settings, WarmOrder("s3", "data", workers=1))
    next(steps)
    mount.stop(number)
    with pytest.raises(
        BackendError, match=r"the agent ended after \d+ of 21 files: .* run it again"
    ):
        list(steps)
    mount.__exit__()


def test_a_warm_of_a_backend_that_came_after_the_start_is_one_line(mount, server):
    """The config file has it, the running agent does not."""
    mount.start()
    with mount.config.open("a") as file:
        file.write(f"  - {server.backend('later', '/later')}\n")
    with pytest.raises(BackendError, match=r"later: cannot be warmed: .* start it again\.$"):
        list(warm_cache(load_config(str(mount.config)), WarmOrder("later")))
    mount.stop()
    assert "Traceback" not in mount.errors


@pytest.mark.skipif(not Path("/proc/net/if_inet6").exists(), reason="2026-11-26: no IPv6 here")
def test_metrics_can_listen_on_ipv6(tmp_path):
    """The address of the config, in its brackets, as in a URL."""
    config = tmp_path / "w.yaml"
    config.write_text("telemetry: {enabled: false}\n")
    with closing(Agent(load_config(str(config)))) as agent:
        server = TcpServer(listen_address("[::1]:0"), agent)
        assert server.server_address[:1] == ("::1",)
        server.server_close()


def test_an_address_without_a_host_is_loopback():
    assert listen_address(":9090") == ("127.0.0.1", 9090)
    assert listen_address("0.0.0.0:1") == ("0.0.0.0", 1)
    with pytest.raises(WarpdriveError, match=r"metrics\.addr 'x' is not an address"):
        listen_address("x")
