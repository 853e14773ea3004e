# pyright: reportIncompatibleVariableOverride=false
"""`make test-ops`: a real Prometheus and Alertmanager over a real server and a real agent."""

import contextlib
import datetime as dt
import http.server
import json
import os
import queue
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
import yaml
from servers.rest import Server

from tests.home import Home

pytestmark = [pytest.mark.slow, pytest.mark.fuse, pytest.mark.timeout(300)]
ROOT = Path(__file__).resolve().parents[2]
MONITORING = ROOT / "deploy" / "monitoring"
PATIENCE_SECONDS = 90
# What has no reason to happen in the story below, so that its panel may be empty.
QUIET = ("ingest_lag", "error", "/ (rate(warpdrive_cache", "api_ingested", "api_quarantined",
         "coverage", "backend_request", "fuse", "topk(12, sum by (team) (deriv",
         "api_request")  # fmt: skip


def free_port():
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


def fetched(url):
    """The body of an answer; None while nobody answers."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with contextlib.suppress(OSError), opener.open(url, timeout=10) as answer:
        return answer.read().decode()
    return None


def until(what):
    """The first true answer of `what`."""
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        if found := what():
            return found
        time.sleep(0.1)
    raise AssertionError(what)


class Webhook(http.server.ThreadingHTTPServer):
    """Whom Alertmanager tells."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Hook)
        self.told = queue.Queue()
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()


class Hook(http.server.BaseHTTPRequestHandler):
    server: Webhook

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        for alert in body["alerts"]:
            self.server.told.put(alert)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):  # pyright: ignore[reportIncompatibleMethodOverride]
        """Nothing on stderr."""


def govern(home):
    """A team over its quota, and a backend whose removal is held."""
    for number in range(1100):
        place = home.root() / f"d{number % 10}" / f"f{number}"
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(b"x" * 100)
    now = dt.datetime.now(dt.UTC)
    home.land("a.jsonl", *(
        {"ts": (now - dt.timedelta(minutes=5)).isoformat(), "user": "ann", "backend": "data",
         "path": f"d{n % 10}/f{n}", "op": "write", "bytes_written": 100} for n in range(500)
    ), raw=None)  # fmt: skip
    for args in (("ingest",), ("crawl",), ("team", "add", "ann", "vision"),
                 ("rule", "add", "data:d1", "vision"),
                 ("quota", "set", "--team", "vision", "--soft", "1KB", "--hard", "2KB"),
                 ("refresh",)):  # fmt: skip
        assert home.run(*args).code == 0
    for number in range(0, 1100, 2):
        (home.root() / f"d{number % 10}" / f"f{number}").unlink()
    held = home.run("crawl", "--format", "csv")
    assert [row["state"] for row in held.rows] == ["held"], held
    assert home.run("refresh").code == 0


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Server, agent, Alertmanager and Prometheus, all real; their addresses."""
    folder = tmp_path_factory.mktemp("ops")
    agent_port = free_port()
    home = Home(folder, extra=f"metrics: {{addr: '127.0.0.1:{agent_port}'}}\nmount_point: ./mnt\n"
                "cache: {path: ./cache}")  # fmt: skip
    (folder / "mnt").mkdir()
    govern(home)
    hook = Webhook()
    ports = {name: free_port() for name in ("prometheus", "alertmanager")}
    with contextlib.ExitStack() as stack:
        server = Server(home.file)
        stack.callback(server.stop)
        _started(stack, folder / "agent.log", [
            sys.executable, "-m", "cli", "mount", "--config", str(home.file)])  # fmt: skip
        config = yaml.safe_load((MONITORING / "alertmanager.yaml").read_text())
        config["receivers"][0]["webhook_configs"][0]["url"] = (
            f"http://127.0.0.1:{hook.server_port}/alerts"
        )
        config["route"] |= {"group_wait": "1s", "group_interval": "1s"}
        (folder / "alertmanager.yaml").write_text(yaml.safe_dump(config))
        _started(stack, folder / "alertmanager.log", [
            "prometheus-alertmanager", f"--config.file={folder}/alertmanager.yaml",
            f"--storage.path={folder}/am", "--cluster.listen-address=",
            f"--web.listen-address=127.0.0.1:{ports['alertmanager']}"])  # fmt: skip
        config = yaml.safe_load((MONITORING / "prometheus.yaml").read_text())
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        config["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = [
            f"127.0.0.1:{ports['alertmanager']}"
        ]
        for job, port in zip(config["scrape_configs"], (server.port, agent_port), strict=True):
            job["static_configs"][0]["targets"] = [f"127.0.0.1:{port}"]
        shutil.copy(MONITORING / "alerts.yaml", folder)
        (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
        _started(stack, folder / "prometheus.log", [
            "prometheus", f"--config.file={folder}/prometheus.yaml",
            f"--storage.tsdb.path={folder}/tsdb",
            f"--web.listen-address=127.0.0.1:{ports['prometheus']}"])  # fmt: skip
        base = f"http://127.0.0.1:{ports['prometheus']}"
        until(lambda: fetched(f"{base}/-/ready"))
        until(lambda: len(_query(base, "up == 1")) == 2 or None)
        (folder / "mnt" / "data" / "d1" / "f1").read_bytes()
        yield {"prometheus": base, "server": f"http://127.0.0.1:{server.port}", "hook": hook,
               "agent": f"http://127.0.0.1:{agent_port}"}  # fmt: skip
    hook.shutdown()
    hook.server_close()


def _started(stack, log, command):
    """A process that ends with the test."""
    stream = stack.enter_context(log.open("wb"))
    process = subprocess.Popen(
        command, stdout=stream, stderr=stream, cwd=log.parent,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip

    def end():
        process.terminate()
        process.wait(30)

    stack.callback(end)


def _query(base, expression):
    """The samples of an instant query. An error of Prometheus is an AssertionError."""
    told = fetched(f"{base}/api/v1/query?{urllib.parse.urlencode({'query': expression})}")
    assert told, expression
    body = json.loads(told)
    assert body["status"] == "success", (expression, body)
    return body["data"]["result"]


@pytest.mark.parametrize("file", ["alerts_test.yaml", "forecast_test.yaml"])
def test_every_rule_fires_and_is_silent_as_told(file):
    """`promtool test rules`; every alert of the file is in one of the stories."""
    done = subprocess.run(
        ["promtool", "test", "rules", file], cwd=MONITORING, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = "".join((MONITORING / name).read_text()
                   for name in ("alerts_test.yaml", "forecast_test.yaml"))  # fmt: skip
    rules = yaml.safe_load((MONITORING / "alerts.yaml").read_text())
    for group in rules["groups"]:
        for rule in group["rules"]:
            assert told.count(f"alertname: {rule['alert']}") >= 1, rule["alert"]
            assert rule["annotations"]["summary"]


@pytest.mark.parametrize("command", [
    ["promtool", "check", "config", "prometheus.yaml"],
    ["amtool", "check-config", "alertmanager.yaml"],
], ids=lambda command: command[-1])  # fmt: skip
def test_the_sample_configs_are_good(command):
    """As Prometheus' own tools say."""
    done = subprocess.run(command, cwd=MONITORING, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("end", ["server", "agent"])
def test_metrics_are_clean(world, end):
    """Help texts, units, types: `promtool check metrics` finds nothing."""
    text = fetched(f"{world[end]}/metrics")
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def _expressions():
    """Every expression of the dashboard, variables filled in as Grafana does for All."""
    dashboard = json.loads((MONITORING / "grafana-dashboard.json").read_text())
    return [
        target["expr"].replace("$backend", ".*").replace("$team", ".*")
        .replace("$__rate_interval", "10s")
        for panel in dashboard["panels"] for target in panel.get("targets", ())
    ]  # fmt: skip


@pytest.mark.parametrize("expression", _expressions())
def test_every_panel_of_the_dashboard_has_data(world, expression):
    """Each expression is run by a real Prometheus, and finds series where there should be some."""
    if any(word in expression for word in QUIET):
        _query(world["prometheus"], expression)
    else:
        assert until(lambda: _query(world["prometheus"], expression))


def test_alerts_reach_the_webhook(world):
    """The quota that is crossed and the removal that is held, with what to do about it."""
    found = {}
    while not {"WarpdriveQuotaExceeded", "WarpdriveRemovalHeld"} <= found.keys():
        alert = world["hook"].told.get(timeout=PATIENCE_SECONDS)
        found[alert["labels"]["alertname"]] = alert
    quota, held = found["WarpdriveQuotaExceeded"], found["WarpdriveRemovalHeld"]
    assert (quota["labels"]["team"], quota["status"]) == ("vision", "firing")
    assert quota["annotations"]["summary"] == "Team vision is over its quota on all."
    assert held["labels"]["backend"] == "data"
    assert "--allow-removal" in held["annotations"]["action"]


def test_numbers_are_those_of_the_reports(world):
    """What Prometheus stores is what `usage` says."""
    (stored,) = _query(world["prometheus"], 'warpdrive_lake_stored_bytes{backend="data"}')
    by_team = _query(world["prometheus"], "sum by (backend) (warpdrive_lake_usage_bytes)")
    told = json.loads(fetched(f"{world['server']}/api/v1/usage?group_by=backend") or "")
    assert float(stored["value"][1]) == float(by_team[0]["value"][1]) == told[0]["total_bytes"]
