"""`deploy/dagster-postgres.yaml` on a real PostgreSQL: runs, events and the queue live in it."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from tests.home import Home

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
ROOT = Path(__file__).resolve().parents[2]
TOLD = ROOT / "deploy" / "dagster-postgres.yaml"
PATIENCE_SECONDS = 150
PASSWORD, DATABASE, USER = "only-on-this-loopback", "dagster", "dagster"


def until(what: Callable[[], Any]) -> Any:
    """The first true answer of `what`."""
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        if found := what():
            return found
        time.sleep(0.2)
    raise AssertionError(what)


def program(name: str) -> str:
    """A program of the newest PostgreSQL: on PATH, or where Debian puts it."""
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: float(p.parent.name))
    found = shutil.which(name, path=os.pathsep.join([*map(str, places[::-1]), os.environ["PATH"]]))
    if not found:
        pytest.fail(f"no {name}: `make test-ops` installs PostgreSQL")
    return found


@pytest.fixture(scope="module")
def postgres() -> Iterator[dict[str, str]]:
    """The environment that reaches a new, empty PostgreSQL on a free port of loopback."""
    # It refuses to run as root, and what is below pytest's own folder is root's alone.
    user = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
    folder = Path(tempfile.mkdtemp(prefix="warpdrive-postgres-"))
    secret = folder / "password"
    secret.write_text(PASSWORD)
    for path in (folder, secret):
        os.chown(path, user.pw_uid, user.pw_gid)
    how: dict[str, Any] = {"cwd": folder}
    if os.geteuid() == 0:
        how |= {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
    initdb = [program("initdb"), "-D", "data", "-U", USER, "--auth=scram-sha-256"]
    subprocess.run([*initdb, f"--pwfile={secret}", "--no-sync"], check=True, capture_output=True,
                   **how)  # fmt: skip
    settings = [f"port={port}", "listen_addresses=127.0.0.1", "unix_socket_directories=",
                "fsync=off"]  # fmt: skip
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [program("postgres"), "-D", "data", *(f"-c{setting}" for setting in settings)],
            stdout=subprocess.DEVNULL, stderr=log, **how,
        )  # fmt: skip
    environ = {
        "DAGSTER_PG_HOST": "127.0.0.1", "DAGSTER_PG_PORT": port, "DAGSTER_PG_USER": USER,
        "DAGSTER_PG_PASSWORD": PASSWORD, "DAGSTER_PG_DB": DATABASE,
    }  # fmt: skip
    try:
        until(lambda: server.poll() is not None or asked(environ, "select 1", "postgres"))
        assert server.poll() is None, (folder / "log").read_text()
        asked(environ, f"create database {DATABASE}", "postgres")
        yield environ
    finally:
        server.send_signal(signal.SIGINT)  # at once: connections are cut
        server.wait(30)
        shutil.rmtree(folder)


def run(command: list[str], environ: dict[str, str], folder: Path) -> None:
    """Run a command to its good end."""
    done = subprocess.run(command, env=environ, cwd=folder, capture_output=True, text=True,
                          timeout=120, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr


def asked(environ: dict[str, str], sql: str, database: str = DATABASE) -> list[tuple[Any, ...]]:
    """Rows of a query; none while nobody answers."""
    try:
        link = psycopg2.connect(
            host="127.0.0.1", port=environ["DAGSTER_PG_PORT"], user=USER, password=PASSWORD,
            dbname=database,
        )  # fmt: skip
    except psycopg2.OperationalError:
        return []
    link.autocommit = True
    try:
        with link.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall() if cursor.description else []
    finally:
        link.close()


@pytest.fixture(scope="module")
def team(postgres, tmp_path_factory) -> tuple[Home, dict[str, str]]:
    """A lake, and the environment of a machine that has the team's instance."""
    home = Home(tmp_path_factory.mktemp("team"))
    (home.root() / "one.bin").write_bytes(bytes(1000))
    instance = home.folder / "instance"
    instance.mkdir()
    shutil.copyfile(TOLD, instance / "dagster.yaml")
    environ = {
        **os.environ, **postgres, "DAGSTER_HOME": str(instance), "PYTHONPATH": str(ROOT),
        "WARPDRIVE_CONFIG": str(home.file),
    }  # fmt: skip
    return home, environ


def test_commands_keep_their_runs_in_it(team):
    home, environ = team
    for command in ("crawl", "refresh"):
        run([sys.executable, "-m", "cli", command], environ, ROOT)
    runs = asked(environ, "select pipeline_name, status from runs order by id")
    assert runs == [("crawl_backends", "SUCCESS"), ("refresh_reports", "SUCCESS")]
    stored = {key for (key,) in asked(environ, "select asset_key from asset_keys")}
    assert {'["files"]', '["usage"]'} <= stored
    assert not list((home.folder / "instance").rglob("*.db"))
    assert not (home.folder / ".dagster").exists()


def test_its_daemon_takes_runs_from_the_queue(team):
    """What the web server does when somebody presses Materialize, and the daemon's part of it."""
    home, environ = team
    (home.root() / "two.bin").write_bytes(bytes(500))
    module = ["-m", "pipelines.definitions"]
    python = Path(sys.executable)
    log = home.folder / "daemon.log"
    with log.open("wb") as out:
        daemon = subprocess.Popen(
            [python.with_name("dagster-daemon"), "run", *module], env=environ, cwd=home.folder,
            stdout=out, stderr=out, start_new_session=True,
        )  # fmt: skip
        try:
            launch = [str(python.with_name("dagster")), "job", "launch", *module, "-j"]
            run([*launch, "refresh_reports"], environ, home.folder)
            last = "select status from runs where pipeline_name = 'refresh_reports' "
            last += "order by id desc limit 1"
            ended = until(lambda: daemon.poll() is not None or [
                status for (status,) in asked(environ, last) if status in ("SUCCESS", "FAILURE")
            ])  # fmt: skip
            assert ended == ["SUCCESS"], log.read_text()
            beats = asked(environ, "select daemon_type from daemon_heartbeats")
            assert {"SENSOR", "SCHEDULER", "QUEUED_RUN_COORDINATOR"} <= {b for (b,) in beats}
        finally:
            os.killpg(daemon.pid, signal.SIGTERM)
            daemon.wait(60)
