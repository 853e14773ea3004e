"""Where heavy steps run: tasks are pure functions of a bucket, a day or a prefix.

A task takes one small picklable value, writes Parquet files under names of their own and returns
what the log needs to know of them. Whoever called commits, once per table; a task that is run
again, because its worker was killed, leaves a file that nobody refers to.

Config `runner`: `inline` (memory is that of one task), `processes` (workers of this machine), `ray`
(a cluster; every node needs this package and the place of the lake).
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Protocol, TypeVar

from storage import locations
from storage.errors import ConfigError, LakeError
from storage.units import parse_size

Given = TypeVar("Given")
Found = TypeVar("Found")
TRIES = 3
"""Rounds in which workers may be killed before the run is given up."""


class Runner(Protocol):
    """Runs a task for each of many values."""

    def map(self, task: Callable[[Given], Found], values: Sequence[Given]) -> Iterable[Found]:
        """The result of each value, in their order. The first error of a task is raised."""
        ...


class Inline:
    """One after the other in this process: memory is that of one task."""

    def map(self, task: Callable[[Given], Found], values: Sequence[Given]) -> Iterator[Found]:
        """The result of each value, in their order."""
        return map(task, values)


INLINE = Inline()


class Processes:
    """Workers of this machine, each with its share of the cores."""

    def __init__(self, workers: int) -> None:
        self._workers = workers

    def map(self, task: Callable[[Given], Found], values: Sequence[Given]) -> Iterator[Found]:
        """The result of each value. Values whose worker was killed are run again.

        Raises LakeError when workers were killed TRIES times without any progress.
        """
        if len(values) < 2:
            return map(task, values)
        return iter(self._all(task, values))

    def _all(self, task: Callable[[Given], Found], values: Sequence[Given]) -> list[Found]:
        found: dict[int, Found] = {}
        lost = 0
        while len(found) < len(values):
            before = len(found)
            self._round(task, values, found)
            lost = 0 if len(found) > before else lost + 1
            if lost == TRIES:
                raise LakeError(
                    f"{task.__name__}: the workers were killed {TRIES} times and did nothing: is "
                    f"there memory for {self._workers} of them? See runner.workers."
                )
        return [found[number] for number in range(len(values))]

    def _round(
        self, task: Callable[[Given], Found], values: Sequence[Given], found: dict[int, Found]
    ) -> None:
        threads = max(1, (os.cpu_count() or 1) // self._workers)
        pool = ProcessPoolExecutor(
            min(self._workers, len(values) - len(found)),
            multiprocessing.get_context("spawn"),
            initializer=_begin,
            initargs=(threads, locations.known()),
        )
        with pool:
            waiting: dict[Future[Found], int] = {}
            try:
                for number, value in enumerate(values):
                    if number not in found:
                        waiting[pool.submit(task, value)] = number
                for done in as_completed(waiting):
                    found[waiting[done]] = done.result()
            except BrokenProcessPool:
                # What was done before the worker was killed counts.
                found |= {
                    number: done.result() for done, number in waiting.items()
                    if done.done() and done.exception() is None
                }  # fmt: skip


def _begin(threads: int, records: locations.Known) -> None:
    """Run in a new worker, before a task makes it import the engine."""
    os.environ["POLARS_MAX_THREADS"] = str(threads)
    locations.learn(records)


class Ray:
    """A Ray cluster: it places the tasks and runs those of killed workers and nodes again."""

    def __init__(self, address: str, cpus: int = 1, memory_bytes: int = 0) -> None:
        self._address = address
        self._cpus = cpus
        self._memory_bytes = memory_bytes

    def map(self, task: Callable[[Given], Found], values: Sequence[Given]) -> Iterator[Found]:
        """The result of each value. Raises LakeError when workers went away TRIES times."""
        if not values:
            return iter(())
        ray = self._connected()
        needs: dict[str, Any] = {"num_cpus": self._cpus, "max_retries": TRIES}
        if self._memory_bytes:
            needs["memory"] = self._memory_bytes
        remote = ray.remote(**needs)(_call)
        try:
            records = ray.put(locations.known())
            return iter(ray.get([remote.remote(task, value, records) for value in values]))
        except (ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError,
                ray.exceptions.OutOfMemoryError) as error:  # fmt: skip
            raise LakeError(
                f"{task.__name__}: its workers on {self._address} went away {TRIES + 1} times: "
                f"{str(error).splitlines()[0]}"
            ) from error

    def _connected(self) -> Any:
        try:
            ray = importlib.import_module("ray")
        except ImportError:
            raise ConfigError(
                "runner.kind is ray, but ray is not installed here: install warpdrive[ray] on "
                "this machine and on every node of the cluster."
            ) from None
        if not ray.is_initialized():
            variables = {"POLARS_MAX_THREADS": str(self._cpus)}
            try:
                ray.init(
                    address=self._address,
                    log_to_driver=False,
                    logging_level="ERROR",
                    runtime_env={"env_vars": variables},
                )
            except (ConnectionError, RuntimeError, ValueError) as error:
                raise LakeError(
                    f"runner.address '{self._address}': no Ray cluster answers there: "
                    f"{str(error).splitlines()[0]}"
                ) from error
        return ray


def _call(task: Callable[[Given], Found], value: Given, records: locations.Known) -> Found:
    locations.learn(records)
    return task(value)


def runner_of(settings: Mapping[str, Any]) -> Runner:
    """The runner of a config's `runner` section. Raises UsageError for a wrong memory size."""
    kind = settings.get("kind", "inline")
    if kind == "processes":
        return Processes(settings["workers"])
    if kind == "ray":
        memory = settings.get("memory")
        return Ray(
            settings["address"],
            settings["cpus"],
            parse_size(memory, "runner.memory") if memory else 0,
        )
    return INLINE
