"""A task in whose midst its worker, or its whole node, is killed the first time."""

import json
import os
import signal
from pathlib import Path


def once(task, place, how, value):
    """Run a task; the first worker that comes here is killed, or waits until its node is."""
    try:
        handle = os.open(f"{place}/victim", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    except FileExistsError:
        return task(value)
    import ray  # pyright: ignore[reportMissingImports]

    task(value)  # what it wrote is there, and nobody hears of it
    victim = {"node": ray.get_runtime_context().get_node_id(), "pid": os.getpid()}
    os.write(handle, json.dumps(victim).encode())
    os.close(handle)
    Path(place, "ready").touch()
    if how == "worker":
        os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()
    raise AssertionError("unreachable: the node is killed")
