"""Runs in this process, on the persistent Dagster instance, so that the Dagster UI shows them.

`python -m pipelines.run crawl|refresh|worker --config F` does the same as a child process.
"""

from __future__ import annotations

import datetime as dt
import logging
import os
import shutil
import signal
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
)

from lake.damage import told
from pipelines import settings
from pipelines.defs.automation import CRAWL_JOB, INGEST_JOB, REFRESH_JOB, VERIFY_JOB
from pipelines.defs.crawl import crawl_backend
from pipelines.defs.ingest import ingest_hours
from pipelines.defs.partitions import BACKENDS, partition_of
from pipelines.defs.results import refresh_results
from pipelines.defs.verify import verify_backend
from storage.config import Config
from storage.errors import LakeError, WarpdriveError, of_the_world
from storage.landing import hour_of as landing_hour
from storage.landing import hour_start
from storage.units import format_instant

Metadata = dict[str, Any]
_ASSETS: dict[str, Any] = {
    INGEST_JOB.name: ingest_hours,
    CRAWL_JOB.name: crawl_backend,
    REFRESH_JOB.name: refresh_results,
    VERIFY_JOB.name: verify_backend,
}
SHOWN = dt.timedelta(days=1)
_YAML = (Path(__file__).parent.parent / "dagster.yaml", Path(__file__).parent / "dagster.yaml")


def home(config: Config) -> Path:
    """The instance's folder: $DAGSTER_HOME, else `.dagster/` beside the config file."""
    named = os.environ.get("DAGSTER_HOME")
    return Path(named) if named else config.folder / ".dagster"


@contextmanager
def instance(config: Config) -> Iterator[dg.DagsterInstance]:
    """The persistent instance, made on first use."""
    folder = home(config)
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
        raise LakeError(f"{folder}, where Dagster keeps its runs, cannot be written: set "
                        "DAGSTER_HOME to a folder that can.")  # fmt: skip
    if not (folder / "dagster.yaml").exists():
        shutil.copyfile(next(p for p in _YAML if p.exists()), folder / "dagster.yaml")
    settings.use(config.file)
    for name in ("dagster", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        with dg.DagsterInstance.from_config(str(folder)) as found:
            yield found


def ingest(config: Config, hours: Sequence[str], *, replace: bool) -> Metadata:
    """One run over landing hours `YYYY-MM-DDTHH`; the metadata of `events`."""
    # Dagster writes an event for every partition of the range: years of hours would take minutes.
    # The hours themselves are in the options; a long range is shown by its last day.
    ordered = sorted(hours)
    first = max(ordered[0], landing_hour(hour_start(ordered[-1]) - SHOWN))
    tags = {
        ASSET_PARTITION_RANGE_START_TAG: partition_of(first),
        ASSET_PARTITION_RANGE_END_TAG: partition_of(ordered[-1]),
    }
    options = {"replace": replace, "hours": sorted(hours)}
    return _run(config, INGEST_JOB, options, tags=tags)["events"]


def crawl(
    config: Config, backend: str, as_of: dt.datetime | None, *, allow_removal: bool
) -> Metadata:
    """One run for one backend; the columns of `warpdrive crawl`."""
    options = {"as_of": format_instant(as_of) if as_of else "", "allow_removal": allow_removal}
    found = _run(config, CRAWL_JOB, options, partition_key=backend)["files"]
    return {k.removeprefix("crawl/"): v for k, v in found.items() if k.startswith("crawl/")}


def verify(config: Config, backend: str, sample: int, seed: int = 0) -> Metadata:
    """One audit of one backend; the columns of `warpdrive verify`. seed: 0 is the time."""
    options = {"sample": sample, "seed": seed}
    found = _run(config, VERIFY_JOB, options, partition_key=backend)["verifications"]
    return {k.removeprefix("verify/"): v for k, v in found.items() if k.startswith("verify/")}


def refresh(config: Config, as_of: dt.datetime | None, *, rebuild: bool = False) -> Metadata:
    """One run that publishes all reports; the metadata of `usage`."""
    options = {"as_of": format_instant(as_of) if as_of else "", "rebuild": rebuild}
    return _run(config, REFRESH_JOB, options)["usage"]


def _run(config: Config, job: Any, options: Metadata, **how: Any) -> dict[str, Metadata]:
    """Run a job in process; the metadata of each asset. The run's own error is raised."""
    asset = _ASSETS[job.name]
    resolved = dg.Definitions(assets=[asset], jobs=[job]).resolve_job_def(job.name)
    with _interruptible(), told(config.lake.root), instance(config) as on:
        if "partition_key" in how:
            on.add_dynamic_partitions(str(BACKENDS.name), [how["partition_key"]])
        try:
            result = resolved.execute_in_process(
                instance=on,
                run_config={
                    "ops": {asset.op.name: {"config": options}},
                    "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
                },
                **how,
            )
        except WarpdriveError:
            raise
        except dg.DagsterError as error:
            if error.__cause__ and (known := of_the_world(error.__cause__)):
                raise known from None
            raise
    return {
        str(event.asset_key.path[-1]): {
            name: value.value for name, value in event.materialization.metadata.items()
        }
        for event in result.get_asset_materialization_events()
        if event.asset_key is not None
    }


@contextmanager
def _interruptible() -> Iterator[None]:
    """An interrupt at any time of a run is a KeyboardInterrupt, as it is outside of one.

    Dagster holds signals back outside of an asset's body, and forgets them when the run ends.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's
        return
    read, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    before = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    try:
        yield
        if _received(read) & {signal.SIGINT, signal.SIGTERM}:
            raise KeyboardInterrupt
    except dg.DagsterExecutionInterruptedError:
        raise KeyboardInterrupt from None
    finally:
        signal.set_wakeup_fd(before)
        os.close(read)
        os.close(write)


def _received(pipe: int) -> set[int]:
    """The signals whose numbers stand in a pipe."""
    try:
        return set(os.read(pipe, 4096))
    except BlockingIOError:
        return set()


def main() -> None:
    """`python -m pipelines.run COMMAND --config F [--as-of T]`, as a child process."""
    import argparse

    from storage.config import load_config
    from storage.units import parse_instant

    parser = argparse.ArgumentParser(prog="python -m pipelines.run")
    parser.add_argument("command", choices=("crawl", "refresh", "worker"))
    parser.add_argument("--config", required=True)
    parser.add_argument("--as-of", type=parse_instant, default=None)
    given = parser.parse_args()
    config = load_config(given.config)
    if given.command == "worker":
        from pipelines.worker import main as worker

        worker(config)
        return
    if given.command == "crawl":
        for backend in config.backends:
            crawl(config, backend.name, given.as_of, allow_removal=False)
    refresh(config, given.as_of)


if __name__ == "__main__":
    main()
