"""schemathesis over the whole OpenAPI document, all checks, with auth off and on."""

import datetime as dt
import os
import subprocess
import sys
from pathlib import Path

import pytest

from api.auth import make_token
from pipelines.crawl import CrawlOptions, crawl
from pipelines.refresh import refresh
from tests.home import Home
from tests.servers.rest import ROOT, Server

NOW = dt.datetime.now(dt.UTC)
SECRET = "0123456789abcdef0123456789abcdef"
AUTH = (
    "auth: {jwt: {secret_env: WARPDRIVE_TEST_SECRET, audience: warpdrive, issuer: us}}\n"
    "control_plane: {rate_limit: 0}"
)
pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
# Runs answer at their end, as the contract has it, so they are fuzzed less; others keep the bound.
# With a token the answers are the same ones: what is looked for there is found by fewer examples.
SETTINGS = """
[generation]
max-examples = {examples}
[[operations]]
include-operation-id = ["crawl", "verify_now"]
[operations.generation]
max-examples = 5
[operations.checks]
max_response_time = 100
"""
SCHEMATHESIS = Path(sys.executable).parent / "schemathesis"


def world(folder, extra=""):
    """A small lake: a file, a member, a quota, a rule."""
    home = Home(folder, extra=extra)
    (home.root() / "vision").mkdir()
    (home.root() / "vision" / "a.bin").write_bytes(b"x" * 100)
    for user in ("ann", "bob"):
        assert home.run("team", "add", user, "vision").code == 0
    assert home.run("quota", "set", "--team", "vision", "--hard", "1KB").code == 0
    assert home.run("rule", "add", "data:vision", "vision").code == 0
    crawl(home.lake, home.config.backend("data"), CrawlOptions(NOW))
    refresh(home.config, now=NOW)
    return home


def examine(server, folder, config, examples, headers=None):
    """Run schemathesis on the document as this asker sees it; what it says where all is not well.

    The document names the backends and teams that the asker may know: others are refused.
    """
    file, document = folder / "schemathesis.toml", folder / "openapi.json"
    file.write_text(config + SETTINGS.format(examples=examples))
    document.write_bytes(server.get("/openapi.json", headers).body)
    with (folder / "said.txt").open("w") as said:  # may be read meanwhile: it takes minutes
        done = subprocess.run(
            [str(SCHEMATHESIS), "--config-file", str(file), "run", str(document),
             "--url", f"http://127.0.0.1:{server.port}", "--checks", "all",
             "--suppress-health-check", "all", "--no-color", "--request-timeout", "100",
             "--generation-deterministic"],
            stdout=said, stderr=subprocess.STDOUT, check=False, cwd=folder,
            env={**os.environ, "SCHEMATHESIS_HOOKS": "tests.contract.schemathesis_hooks",
                 "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
    assert done.returncode == 0, (folder / "said.txt").read_text()[-10_000:]


def test_clean_with_auth_off(tmp_path):
    server = Server(world(tmp_path).file)
    try:
        examine(server, tmp_path, "", 25)
    finally:
        server.stop()


def test_clean_with_auth_on(tmp_path, monkeypatch):
    monkeypatch.setenv("WARPDRIVE_TEST_SECRET", SECRET)
    home = world(tmp_path, AUTH)
    assert home.config.server.jwt
    token = make_token(home.config.server.jwt, "st", "admin", dt.timedelta(hours=1))
    server = Server(home.file)
    try:
        config = f'[auth.openapi.bearer]\nbearer = "{token}"\n'
        examine(server, tmp_path, config, 10, {"Authorization": f"Bearer {token}"})
    finally:
        server.stop()
