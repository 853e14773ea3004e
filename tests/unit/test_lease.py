"""One worker at a time, and none for ever."""

import datetime as dt
import json
import multiprocessing
import subprocess
import sys

import pytest

from lake.lease import TERM, Lease, LeaseBusyError, held
from storage import clock


def chain(root):
    return sorted((root / "_leases" / "work").glob("*.json"))


def test_a_second_holder_is_told_who_is_first(tmp_path):
    """Busy, with process and way out; free afterwards."""
    with held(str(tmp_path), "work"):
        with pytest.raises(LeaseBusyError, match=r"work of the lake .* held by process \d+"):
            held(str(tmp_path), "work").__enter__()
        with held(str(tmp_path), "other"):
            pass
    with held(str(tmp_path), "work"):
        pass
    assert len(chain(tmp_path)) == 1


def test_an_error_inside_gives_it_back(tmp_path):
    """Whatever happens in the block."""
    with pytest.raises(RuntimeError), held(str(tmp_path), "work"):
        raise RuntimeError
    with held(str(tmp_path), "work"):
        pass


def test_the_lease_of_a_process_that_died_here_is_free_at_once(tmp_path):
    """kill -9 must not stop the next ingest for a minute."""
    script = (
        "import os, sys; from lake.lease import Lease; "
        "assert Lease(sys.argv[1], 'work').try_acquire() == ''; os._exit(9)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    assert done.returncode == 9
    with held(str(tmp_path), "work"):
        pass


def test_the_lease_of_another_machine_is_free_after_its_term(tmp_path):
    """Its process cannot be seen, its clock can be outlived."""
    first = Lease(str(tmp_path), "work")
    assert first.try_acquire() == ""
    (file,) = chain(tmp_path)
    state = json.loads(file.read_text())
    file.write_text(json.dumps(state | {"host": "elsewhere"}))
    assert "elsewhere" in Lease(str(tmp_path), "work").try_acquire()
    later = clock.now() + TERM + dt.timedelta(seconds=1)
    second = Lease(str(tmp_path), "work", now=lambda: later)
    assert second.try_acquire() == ""
    second.release()
    first.lost = True
    first.release()


def _contend(root, start, count):
    start.wait()
    for _ in range(5):
        with held(root, "work", 60):
            with count.get_lock():
                count.value += 1
                alone = count.value == 1
            with count.get_lock():
                count.value -= 1
            assert alone


def test_many_contenders_never_hold_it_together(tmp_path):
    """Three processes, five turns each."""
    context = multiprocessing.get_context("spawn")
    start, count = context.Event(), context.Value("i", 0)
    children = [
        context.Process(target=_contend, args=(str(tmp_path), start, count)) for _ in range(3)
    ]
    for child in children:
        child.start()
    start.set()
    for child in children:
        child.join(90)
    assert [child.exitcode for child in children] == [0, 0, 0]
