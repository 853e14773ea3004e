# ruff: noqa: INP001, T201 - a script, not a package: it prints
"""`make bench-mount`: the mount against a raw file, bindfs and rclone, same run, interleaved.

Writes `.artifacts/bench/mount.json`. Peers that are not installed are said to be missing.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "integration"), str(ROOT / "bench")]

from child import python  # noqa: E402 # pyright: ignore[reportMissingImports]
from objectserver import ObjectServer  # noqa: E402 # pyright: ignore[reportMissingImports]
from report import (  # noqa: E402 # pyright: ignore[reportMissingImports]
    Row,
    publish,
    row,
)

from warpdrive_agent.mountpoint import mounted_at, unmount  # noqa: E402

FILE_MIB = 256
READER = """
import os, random, sys, time
path, size, count, mode = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
fd = os.open(path, os.O_RDONLY)
total = os.fstat(fd).st_size
if not mode.startswith("raw"):
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
offsets = [i * size for i in range(total // size)]
if mode != "seq" and not mode.endswith("seq"):
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
    random.Random(int(sys.argv[5])).shuffle(offsets)
offsets = offsets[:count]
buffers, got = [bytearray(size)], 0
begin = time.perf_counter()
for offset in offsets:
    got += os.preadv(fd, buffers, offset)
print(got, len(offsets), time.perf_counter() - begin)
"""
AGENT = """
import sys
from storage.config import load_config
from warpdrive_agent.mount import run_mount
run_mount(load_config(sys.argv[1]), ready=lambda: print("ready", flush=True))
"""
DEFAULT_MOUNT = """
import os, sys, time, errno, stat, pyfuse3, trio
class FS(pyfuse3.Operations):
    def attr(self, ino):
        e = pyfuse3.EntryAttributes(); e.st_ino = ino
        e.st_mode = (stat.S_IFDIR | 0o755) if ino == 1 else (stat.S_IFREG | 0o644)
        e.st_size = 0 if ino == 1 else int(sys.argv[2])
        return e
    async def getattr(self, inode, ctx=None): return self.attr(inode)
    async def lookup(self, parent, name, ctx=None):
        if not name.isdigit(): raise pyfuse3.FUSEError(errno.ENOENT)
        return self.attr(int(name) + 2)
    async def open(self, inode, flags, ctx): return pyfuse3.FileInfo(fh=inode)
    async def read(self, fh, off, size):
        await trio.sleep(0.05)
        return bytes(max(0, min(size, int(sys.argv[2]) - off)))
pyfuse3.init(FS(), sys.argv[1], {"default_permissions", "ro"})
print("ready", flush=True)
trio.run(pyfuse3.main)
"""
RECORD = """
import statistics, time
from warpdrive_agent.counters import CounterPage
from warpdrive_agent.recorder import Recorder
recorder = Recorder("n", "0", CounterPage(None, "0"), queue_events=10**9)
record, clock, now = recorder.record, time.perf_counter_ns, time.time_ns
def sample(n=200):
    begin = clock()
    for _ in range(n):
        record(("read", "b", "p", None, now(), 1, 1, 1, 1, "", 0, False, 1))
    middle = clock()
    for _ in range(n):
        pass
    took = (2 * middle - begin - clock()) / n
    recorder.take(n)
    return took
print(statistics.median(sample() for _ in range(500)))
"""


@dataclass
class Server:
    """One mounted server: where it is, and the process that serves it."""

    name: str
    point: Path
    pid: int = 0
    values: dict[str, list[float]] = field(default_factory=dict)

    @property
    def cpu_seconds(self) -> float:
        """CPU time of the server's threads so far, to the nanosecond."""
        if not self.pid:
            return 0.0
        spent = 0
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            with contextlib.suppress(OSError):  # a thread that has just ended
                spent += int((task / "schedstat").read_text().split()[0])
        return spent / 1e9


def environment() -> dict[str, str]:
    """The environment of the processes under test."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}


@contextlib.contextmanager
def served(name: str, point: Path, command: list[str]) -> Iterator[Server]:
    """Start a server, wait until it is mounted, stop it at the end."""
    point.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(
        command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        deadline = time.monotonic() + 20
        while mounted_at(str(point)) is None:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{name} did not mount: {process.communicate()[1]}")
            time.sleep(0.05)
        yield Server(name, point, process.pid)
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=10)
        if process.poll() is None:
            process.kill()
            process.communicate()
        unmount(str(point))


def agent(folder: Path, backend: str, level: str, *, telemetry: bool = True) -> list[str]:
    """The command of our own mount over one backend."""
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "warpdrive.yaml"
    config.write_text(
        "mount_point: ./mnt\ncache: {path: ./cache, max_parallel_fetch: 32}\n"
        "metrics: {enabled: false}\n"
        f"telemetry: {{enabled: {str(telemetry).lower()}, landing: ./landing, level: {level}}}\n"
        f"backends:\n  - {backend}\n"
    )
    return python(AGENT, config)


def read(server: Server, size: int, count: int, mode: str, seed: int = 0) -> tuple[float, ...]:
    """One measured reader: bytes per second, operations per second, server CPU µs per operation."""
    mode = "rawseq" if server.name == "raw" and mode == "seq" else mode
    mode = "raw" if server.name == "raw" and mode == "random" else mode
    before = server.cpu_seconds
    done = subprocess.run(
        python(READER, server.point / "data", str(size), str(count), mode, str(seed)),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    got, operations, seconds = (float(x) for x in done.stdout.split())
    cpu = (server.cpu_seconds - before) * 1e6 / operations
    return got / seconds, operations / seconds, cpu


JOBS = {"random-128k": (128 * 1024, 2_000, "random"), "seq-1m": (1024**2, 10**6, "seq"),
        "iops-4k": (4096, 20_000, "random")}  # fmt: skip


def throughput(servers: list[Server], rounds: int) -> None:
    """Every job on every server, interleaved; the first round only warms up."""
    for turn in range(rounds + 1):
        for job, (size, count, mode) in JOBS.items():
            for server in servers:
                speed, rate, cpu = read(server, size, count, mode, seed=turn)
                if turn:
                    value = rate if job == "iops-4k" else speed / 1e6
                    server.values.setdefault(job, []).append(value)
                    server.values.setdefault(f"{job}-cpu", []).append(cpu)


def with_and_without(on: Server, off: Server, rounds: int) -> tuple[list[float], list[float]]:
    """Server CPU µs per 4k read with telemetry and without: in turns, each as often first.

    What ran before leaves its traces in the processor's caches, so nothing else runs between.
    """
    size, _, mode = JOBS["iops-4k"]
    count = FILE_MIB * 1024**2 // size  # long runs, as the difference is small
    found: dict[str, list[float]] = {on.name: [], off.name: []}
    for turn in range(2 * rounds + 1):
        for server in (on, off) if turn % 2 else (off, on):
            cpu = read(server, size, count, mode, seed=turn)[2]
            if turn:
                found[server.name].append(cpu)
    return found[on.name], found[off.name]


def local_servers(stack: contextlib.ExitStack, folder: Path) -> dict[str, Server]:
    """Raw file, peers, and ours in three forms, all mounted at once over one file."""
    source = folder / "source"
    source.mkdir()
    with (source / "data").open("wb") as file:
        for _ in range(FILE_MIB):
            file.write(os.urandom(1024**2))
    backend = f"{{name: b, type: local, mount_path: /, config: {{root: {source}}}}}"
    rclone = shutil.which("rclone") or os.environ.get("RCLONE", "")
    commands: dict[str, list[str]] = {}
    if shutil.which("bindfs"):
        commands["bindfs"] = ["bindfs", "-f", str(source), str(folder / "bindfs" / "mnt")]
    if rclone:
        commands["rclone"] = [
            rclone, "mount", str(source), str(folder / "rclone" / "mnt"), "--read-only",
            "--vfs-cache-mode", "full", "--cache-dir", str(folder / "rclone" / "cache"),
            "--config", "/dev/null",
        ]  # fmt: skip
    commands["ours"] = agent(folder / "ours", backend, "exact")
    commands["ours-no-telemetry"] = agent(folder / "off", backend, "exact", telemetry=False)
    commands["ours-fast"] = agent(folder / "fast", backend, "fast")
    points = {"ours-no-telemetry": "off", "ours-fast": "fast"}
    found = {"raw": Server("raw", source)}
    for name, command in commands.items():
        point = folder / points.get(name, name) / "mnt"
        found[name] = stack.enter_context(served(name, point, command))
    return found


def cold(folder: Path, rounds: int) -> tuple[list[float], list[float]]:
    """32 readers of cold files on a backend that takes 50 ms: ours, and a default mount."""
    mib = 8
    server = ObjectServer()
    for index in range(32):
        server.put(str(index), bytes([index]) * (mib * 1024**2))
    ours, default = [], []
    try:
        for turn in range(rounds):
            point = folder / f"default{turn}"
            command = python(DEFAULT_MOUNT, point, str(mib * 1024**2 // 4))
            with served("default", point, command):
                default.append(_together([point / str(i) for i in range(32)]))
            server.delay = 0
            home = folder / f"cold{turn}"
            with served("cold", home / "mnt", agent(home, server.backend(mount_path="/"), "fast")):
                (home / "mnt").stat()
                server.delay = 0.05
                ours.append(_together([home / "mnt" / str(i) for i in range(32)]))
    finally:
        server.stop()
    return ours, default


def _together(paths: list[Path]) -> float:
    """MB/s of one `cat` per path, all at once."""
    begin = time.perf_counter()
    readers = [
        subprocess.Popen(["dd", f"if={path}", "of=/dev/null", "bs=128k"], stderr=subprocess.PIPE)
        for path in paths
    ]
    total = 0
    for reader in readers:
        last = reader.communicate()[1].decode().splitlines()[-1]
        total += int(last.split()[0])
    return total / (time.perf_counter() - begin) / 1e6


def compared(servers: dict[str, Server]) -> Iterator[Row]:
    """Rows of the throughput jobs, ours against every peer that is there."""
    goals = {
        ("random-128k", "rclone"): 2.0, ("seq-1m", "rclone"): 1.7, ("iops-4k", "bindfs"): 0.8,
        ("random-128k", "bindfs"): 0.6, ("seq-1m", "bindfs"): 0.6,
    }  # fmt: skip
    for job in JOBS:
        unit = "IOPS" if job == "iops-4k" else "MB/s"
        for name in ("rclone", "bindfs", "raw"):
            if name not in servers:
                continue
            for mine in ("ours", "ours-fast"):
                values, peer = servers[mine].values[job], servers[name].values[job]
                goal = goals.get((job, name)) if mine == "ours" else None
                suffix = "" if mine == "ours" else "-fast"
                yield row(
                    f"{job}-vs-{name}{suffix}", job, unit, values,
                    peer=peer, peer_name=name, goal=goal,
                )  # fmt: skip


def costs(servers: dict[str, Server], rounds: int) -> Iterator[Row]:
    """Rows of CPU, memory and `record()`."""
    on, off = with_and_without(servers["ours"], servers["ours-no-telemetry"], rounds)
    yield row("cpu-per-4k", "iops-4k", "µs", on, goal=35, op="<=")
    more = statistics.median(a - b for a, b in zip(on, off, strict=True))
    yield row("telemetry-cpu-per-4k", "iops-4k", "µs", on, peer=off, value=more,
              peer_name="without telemetry", goal=1, op="<=")  # fmt: skip
    status = Path(f"/proc/{servers['ours'].pid}/status").read_text()
    resident = next(int(x.split()[1]) for x in status.splitlines() if x.startswith("VmRSS"))
    yield row("idle-memory", "after the run", "MB", [resident / 1024], goal=120, op="<=")
    nanoseconds = [
        float(subprocess.run(python(RECORD), capture_output=True, text=True, check=True,
                             env=environment()).stdout)
        for _ in range(5)
    ]  # fmt: skip
    yield row("record", "record()", "ns", nanoseconds, goal=250, op="<=")


def measure(folder: Path, rounds: int) -> list[Row]:
    """All rows."""
    rows: list[Row] = []
    with contextlib.ExitStack() as stack:
        servers = local_servers(stack, folder)
        for name in ("bindfs", "rclone"):
            if name not in servers:
                print(f"{name} is not installed: its rows are missing", file=sys.stderr)
        throughput(list(servers.values()), rounds)
        rows += [*compared(servers), *costs(servers, rounds)]
    ours, default = cold(folder, max(3, rounds // 2))
    rows.append(row(
        "cold-32-readers", "cold read, 50 ms backend", "MB/s", ours,
        peer=default, peer_name="default mount", goal=4,
    ))  # fmt: skip
    return rows


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="warpdrive-bench-"))
    try:
        rows = measure(folder, options.rounds)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return publish("mount", rows)


if __name__ == "__main__":
    raise SystemExit(main())
