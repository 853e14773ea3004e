"""Cores are parted while another process computes, and only then."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from storage.priority import CORES, Halves, put_on


def used():
    """The cores of every thread of this process."""
    tasks = Path("/proc/self/task").iterdir()
    return {frozenset(os.sched_getaffinity(int(task.name))) for task in tasks}


@pytest.mark.skipif(len(CORES) < 2, reason="2026-11-26: one core cannot be parted")
def test_threads_leave_half_of_the_cores_until_the_last_has_computed():
    halves, stop = Halves(), threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    rest = CORES - halves.computing
    assert (len(halves.computing), used()) == (len(CORES) // 2, {CORES})
    try:
        with halves.parted():
            with halves.parted():
                assert used() == {rest}
            assert used() == {rest}
            child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
            assert os.sched_getaffinity(child.pid) == rest
            put_on(child.pid)
            assert os.sched_getaffinity(child.pid) == CORES
            child.communicate(b"\n")
        assert used() == {CORES}
    finally:
        stop.set()
        thread.join()


def test_one_core_is_everybodys():
    one = {min(CORES)}
    assert Halves(one).computing == one
    try:
        with Halves(one).parted():
            assert used() == {frozenset(one)}
    finally:
        for task in Path("/proc/self/task").iterdir():
            put_on(int(task.name))
