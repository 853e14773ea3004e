"""An interrupt stops a run wherever it comes, in our part or in the orchestrator's."""

import subprocess
import sys

import pytest

from tests.home import Home

# Presses Ctrl-C once, inside the asset's body or while Dagster notes the end of a step or run.
PRESS = """
import os, signal, sys
from dagster import DagsterInstance
import pipelines.refresh
import cli
where = sys.argv.pop(1)
def press():
    os.kill(os.getpid(), signal.SIGINT)
def in_body(*args, **kwargs):
    press()
    raise AssertionError("went on after an interrupt")
def noted(self, event, *args, **kwargs):
    found = real(self, event, *args, **kwargs)
    if event.is_dagster_event and event.get_dagster_event().event_type_value == where:
        press()
    return found
if where == "BODY":
    pipelines.refresh.refresh = in_body
else:
    real = DagsterInstance.handle_new_event
    DagsterInstance.handle_new_event = noted
cli.run()
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A lake for all of them."""
    return Home(tmp_path_factory.mktemp("interrupt"))


@pytest.mark.parametrize("where", ["BODY", "PIPELINE_START", "PIPELINE_SUCCESS"])
def test_ctrl_c_is_never_lost(home, where):
    """The command says that it was interrupted, in one line, and ends with 1."""
    found = subprocess.run(
        [sys.executable, "-c", PRESS, where, "refresh", "--config", str(home.file)],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    # Click ends the line with "^C" first.
    assert (found.returncode, found.stderr.lstrip("\n")) == (1, "error: interrupted.\n")
