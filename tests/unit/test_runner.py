"""Runners: the same results in the same order, and what happens when workers are killed."""

import os
import signal
from functools import partial
from pathlib import Path

import pytest

from lake import runner
from lake.runner import INLINE, Inline, Processes, Ray, runner_of
from storage.errors import ConfigError, LakeError, UsageError


def double(number):
    """A task."""
    return number * 2, os.getpid()


def dies_once(place, number):
    """A task that is killed, as by the kernel for want of memory, the first time it gets to 3."""
    if number == 3:
        try:
            (Path(place) / "died").touch(exist_ok=False)
        except FileExistsError:
            return number
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def dies(_number):
    """A task that no worker survives."""
    os.kill(os.getpid(), signal.SIGKILL)


def fails(number):
    """A task with an error of its own."""
    if number == 1:
        raise LakeError("bucket 1 is damaged")
    return number


def test_processes_give_what_inline_gives_in_the_same_order():
    """Results come in the order of the values, from other processes."""
    expected = [n for n, _ in INLINE.map(double, range(7))]
    found = list(Processes(2).map(double, range(7)))
    assert [n for n, _ in found] == expected == [0, 2, 4, 6, 8, 10, 12]
    assert os.getpid() not in {pid for _, pid in found}
    assert list(Processes(2).map(double, [])) == []


def test_what_a_killed_worker_had_is_run_again(tmp_path):
    """Nothing is lost and nothing is there twice."""
    found = list(Processes(2).map(partial(dies_once, str(tmp_path)), range(6)))
    assert found == [0, 1, 2, 3, 4, 5]
    assert (tmp_path / "died").exists()


def test_workers_that_never_live_long_enough_are_given_up():
    """It says how often, and what to look at."""
    with pytest.raises(LakeError, match=r"dies: .* killed 3 times .* runner\.workers"):
        list(Processes(2).map(dies, [1, 2]))


def test_the_error_of_a_task_is_raised():
    """As it was; the rest is given up."""
    with pytest.raises(LakeError, match="bucket 1 is damaged"):
        list(Processes(2).map(fails, range(3)))


def test_the_config_names_the_runner(new_home):
    """inline by default; processes with workers; ray with address, cpus and memory."""

    def made(text):
        return runner_of(new_home(extra=text, name=str(abs(hash(text)))).config.runner)

    assert isinstance(made(""), Inline)
    assert vars(made("runner: {kind: processes, workers: 3}")) == {"_workers": 3}
    assert vars(made("runner: {kind: ray, address: 'ray://h:1', cpus: 2, memory: 1GB}")) == {
        "_address": "ray://h:1", "_cpus": 2, "_memory_bytes": 1024**3,
    }  # fmt: skip
    with pytest.raises(UsageError, match=r"runner\.memory 'much'"):
        made("runner: {kind: ray, memory: much}")


def test_ray_that_is_not_installed_is_named(monkeypatch):
    """With the extra that brings it."""

    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(runner.importlib, "import_module", missing)
    with pytest.raises(ConfigError, match=r"install warpdrive\[ray\]"):
        Ray("auto").map(double, [1])
