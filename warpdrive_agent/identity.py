"""Who opened a file: uid, user name, Slurm job, Kubernetes pod.

The file system only notes uid and pid. A worker thread reads names and /proc, because a name
service can stall for seconds, and because reading the memory of a process that waits for this
very mount would never end.
"""

from __future__ import annotations

import contextlib
import pwd
import queue
import re
import threading
import time
from collections import OrderedDict
from pathlib import Path

QUEUE_PROCESSES = 10_000
CACHE_PROCESSES = 10_000
NAME_SECONDS = 600.0
_SLURM_CGROUP = re.compile(r"/job_(\d+)")
_POD = re.compile(r"pod([0-9a-f]{8}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{12})")
_CONTAINER = re.compile(r"(?:docker|containerd|crio|libpod)[-/:]?(?:[^/]*-)?([0-9a-f]{64})")
_SLURM_ENV = re.compile(rb"(?:^|\0)SLURM_JOB_ID=([^\0]*)")


class Who:
    """One opener. `user`, `job` and `pod` are filled in by the worker."""

    __slots__ = ("job", "pid", "pod", "resolved", "uid", "user")

    def __init__(self, uid: int | None, pid: int = 0) -> None:
        self.uid = uid
        self.pid = pid
        self.user = ""
        self.job = ""
        self.pod = ""
        self.resolved = False


class Identity:
    """Names for openers. `of` costs a queue entry; the rest happens in the worker."""

    def __init__(self, *, proc: Path = Path("/proc")) -> None:
        self._proc = proc
        self._todo: queue.SimpleQueue[Who | None] = queue.SimpleQueue()
        self._names: dict[int, tuple[float, str]] = {}
        self._processes: OrderedDict[tuple[int, int], tuple[str, str]] = OrderedDict()
        self._worker = threading.Thread(target=self._run, name="identity", daemon=True)

    def start(self) -> None:
        """Start the worker."""
        self._worker.start()

    def of(self, uid: int | None, pid: int) -> Who:
        """The opener, to be resolved soon: short-lived processes vanish."""
        who = Who(uid, pid)
        if pid > 0 and self._todo.qsize() < QUEUE_PROCESSES:
            self._todo.put(who)
        return who

    def user_of(self, who: Who | None) -> str:
        """The user's name, `uid:<n>` without a name, `unknown` only without a uid."""
        if who is None or who.uid is None:
            return "unknown"
        return who.user or self._name(who.uid)

    def settle(self, seconds: float = 0.2) -> None:
        """Wait a moment for the worker to have read what was asked before now."""
        deadline = time.monotonic() + seconds
        while self._todo.qsize() and time.monotonic() < deadline and self._worker.is_alive():
            time.sleep(0.002)

    def close(self) -> None:
        """Stop the worker; twice is harmless."""
        self._todo.put(None)

    def _run(self) -> None:
        while (who := self._todo.get()) is not None:
            with contextlib.suppress(Exception):  # a name is never worth the thread
                self._resolve(who)

    def _resolve(self, who: Who) -> None:
        if (started := self._started(who.pid)) is not None:
            who.job, who.pod = self._process(who.pid, started)
        if who.uid is not None:
            who.user = self._name(who.uid)
        who.resolved = True

    def _name(self, uid: int) -> str:
        now = time.monotonic()
        known = self._names.get(uid)
        if known is not None and known[0] > now:
            return known[1]
        try:
            name = pwd.getpwuid(uid).pw_name
        except (KeyError, OSError, OverflowError):
            name = f"uid:{uid}"
        self._names[uid] = (now + NAME_SECONDS, name)
        return name

    def _started(self, pid: int) -> int | None:
        """Start time of a process in ticks: with it a reused pid is another process."""
        try:
            text = (self._proc / str(pid) / "stat").read_text(errors="replace")
            return int(text.rpartition(")")[2].split()[19])
        except (OSError, ValueError, IndexError):
            return None

    def _process(self, pid: int, started: int) -> tuple[str, str]:
        key = (pid, started)
        found = self._processes.get(key)
        if found is None:
            found = self._read_process(pid)
            self._processes[key] = found
            if len(self._processes) > CACHE_PROCESSES:
                self._processes.popitem(last=False)
        return found

    def _read_process(self, pid: int) -> tuple[str, str]:
        folder = self._proc / str(pid)
        groups = _text(folder / "cgroup")
        job, pod = _SLURM_CGROUP.search(groups), pod_of(groups)
        if job is not None:
            return job.group(1), pod
        try:
            environment = (folder / "environ").read_bytes()
        except OSError:  # another user's process
            return "", pod
        slurm = _SLURM_ENV.search(environment)
        return (slurm.group(1).decode(errors="replace") if slurm else ""), pod


def pod_of(groups: str) -> str:
    """The pod uid in the text of /proc/PID/cgroup, else the container id, else nothing."""
    if (pod := _POD.search(groups)) is not None:
        return pod.group(1).replace("_", "-")
    container = _CONTAINER.search(groups)
    return container.group(1) if container else ""


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
