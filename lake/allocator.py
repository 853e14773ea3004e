"""How the engine's memory allocator (jemalloc) is set up, which it reads once, when it is loaded.

By default it has four arenas a core, and each keeps what was freed in it: a refresh, whose tasks
run one after the other on ever other threads, then holds a quarter more than it ever uses, and
pays for it again in page faults. With few arenas, and pages kept for a second, the next task
takes what the last one left.
"""

from __future__ import annotations

import os

VARIABLE = "_RJEM_MALLOC_CONF"
DECAY_MS = 1_000
CORES_PER_ARENA = 2


def settings(cores: int) -> str:
    """The options of jemalloc for so many cores."""
    return f"narenas:{max(1, cores // CORES_PER_ARENA)},dirty_decay_ms:{DECAY_MS}"


def configure() -> None:
    """Set them, unless the environment says something already.

    Without effect once polars is loaded, which puts its own before them.
    """
    os.environ.setdefault(VARIABLE, settings(os.cpu_count() or 1))
