"""The conformance suite, pointed at a server that somebody else started."""

import os
import subprocess
import sys

import pytest

from tests.servers.rest import ROOT, Server


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_suite_goes_to_a_server_by_its_address(tmp_path):
    """All of it but what starts and stops servers or asks the command line, and it leaves it."""
    folder = tmp_path / "world"
    made = [sys.executable, "-m", "tests.conformance.telling", str(folder)]
    subprocess.run(made, check=True, cwd=ROOT)
    server = Server(folder / "warpdrive.yaml")
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/conformance"],
            capture_output=True, text=True, check=False, cwd=ROOT,
            env={**os.environ, "WARPDRIVE_CONFORMANCE_URL": f"http://localhost:{server.port}",
                 "WARPDRIVE_CONFORMANCE_FOLDER": str(folder)},
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-4000:]
        assert " deselected" in done.stdout
        assert server.get("usage").json
    finally:
        assert server.stop() == 0
