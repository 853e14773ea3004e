"""A task in whose midst its worker, or its whole node, is killed the first time."""

import json
import os
import signal
from pathlib import Path


def once(task, place, how, value):
    """Run a task; the first worker that comes here is killed, or waits until its node is.

    The node that the driver is connected to is spared: without it there is no run.
    """
    import ray  # pyright: ignore[reportMissingImports]

    node_id = ray.get_runtime_context().get_node_id()
    if how == "node" and Path(place, "spared").read_text() == node_id:
        return task(value)
    try:
        handle = os.open(f"{place}/victim", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    except FileExistsError:
        return task(value)
    task(value)  # what it wrote is there, and nobody hears of it
    victim = {"node": node_id, "pid": os.getpid()}
    os.write(handle, json.dumps(victim).encode())
    os.close(handle)
    Path(place, "ready").touch()
    if how == "worker":
        os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()
    raise AssertionError("unreachable: the node is killed")
