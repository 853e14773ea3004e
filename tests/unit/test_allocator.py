"""The engine's allocator is set up before the engine is loaded, wherever one begins."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from lake.allocator import VARIABLE, settings

SHOW = f"import os; import %s; print(os.environ[{VARIABLE!r}])"


def _told(module: str, **variables: str) -> list[str]:
    environment = {k: v for k, v in os.environ.items() if k != VARIABLE} | variables
    done = subprocess.run(
        [sys.executable, "-c", SHOW % module], env=environment, check=True,
        capture_output=True, text=True,
    )  # fmt: skip
    return done.stdout.strip().split(",")


@pytest.mark.parametrize("module", ["lake.state", "pipelines.refresh", "pipelines.ingest"])
def test_few_arenas_are_asked_for_before_polars_is_loaded(module: str) -> None:
    """Polars puts its own options before what it finds, and of two the later one counts."""
    told = _told(module)
    assert told[0].startswith("dirty_decay_ms:")
    assert ",".join(told).endswith(settings(os.cpu_count() or 1))


def test_what_the_environment_says_counts() -> None:
    """Whoever sets the options has theirs."""
    assert _told("lake.state", **{VARIABLE: "narenas:3"})[-1] == "narenas:3"


def test_arenas_grow_with_the_cores() -> None:
    """Few, but not one lock for many cores."""
    assert [settings(n).split(",")[0] for n in (1, 2, 64)] == [
        "narenas:1", "narenas:1", "narenas:32",
    ]  # fmt: skip
