"""Reading through the mount with ordinary programs, and comparing with the source."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.demo.place import BACKEND, Place, Reader
from storage.errors import WarpdriveError

MAX_FILES = 3000
MAX_BYTES = 256 * 1024**2
PER_PROGRAM = 200
DD_FILES = 5
MOUNT_SECONDS = 20
STOP_SECONDS = 10
Say = Callable[[str], None]


class CannotMountError(WarpdriveError):
    """The agent gave up before the mount was there."""


@dataclass(frozen=True)
class Plan:
    """Which files each reader reads: relative paths and sizes. No file is read by two."""

    source: Path
    by_reader: dict[Reader, dict[str, int]]

    @property
    def files(self) -> int:
        """Files to be read."""
        return sum(len(files) for files in self.by_reader.values())

    @property
    def size_bytes(self) -> int:
        """Bytes of the files to be read."""
        return sum(self.bytes_of(reader) for reader in self.by_reader)

    def bytes_of(self, reader: Reader) -> int:
        """Bytes of the files one reader reads."""
        return sum(self.by_reader[reader].values())


@dataclass
class Done:
    """What the readers got."""

    delivered_bytes: int = 0
    checksums: dict[str, str] = field(default_factory=dict)
    listed: int = 0
    through: str = "mount"


def plan(source: Path, readers: tuple[Reader, ...]) -> Plan:
    """Deal the files of `source` out: every third is left unread, the rest goes round.

    Only files that everybody may read, of one link, with bytes in them; bounded, so that a huge
    folder is crawled whole but read in part.
    """
    by_reader: dict[Reader, dict[str, int]] = {reader: {} for reader in readers}
    budget = MAX_BYTES
    for number, (path, size) in enumerate(_readable(source)):
        if number % 3 == 2 and len(readers) > 1:
            continue
        if number > MAX_FILES or size > budget:
            continue
        by_reader[readers[number % 3 % len(readers)]][path] = size
        budget -= size
    return Plan(source, by_reader)


def _readable(source: Path) -> Iterator[tuple[str, int]]:
    for name, folders, names in os.walk(source):
        folder = Path(name)
        folders[:] = sorted(f for f in folders if (folder / f).lstat().st_mode & 0o005 == 0o005)
        for path in (folder / name for name in sorted(names)):
            info = path.lstat()
            plain = stat.S_ISREG(info.st_mode) and info.st_nlink == 1
            if plain and info.st_size and info.st_mode & 0o004 and "\n" not in str(path):
                yield str(path.relative_to(source)), info.st_size


def through_mount(place: Place, plan: Plan, say: Say) -> Done:
    """Mount, read as each reader, unmount. Without FUSE the agent's library reads instead."""
    from pipelines.demo.fuse import cannot_mount

    problem = cannot_mount()
    if not problem:
        try:
            return _mounted_reads(place, plan)
        except CannotMountError as error:
            problem = str(error)
    say(f"No mount here: {problem} The same reads go through the agent's library.")
    return _replayed(place, plan)


def _mounted_reads(place: Place, plan: Plan) -> Done:
    done = Done()
    with mounted(place) as root:
        for reader, files in plan.by_reader.items():
            _read_as(reader, root, files, done)
    return done


def _read_as(reader: Reader, root: Path, files: dict[str, int], done: Done) -> None:
    """find, then sha256sum over most files, cat over the rest, dd over the largest again."""
    found = _run(reader, ["find", str(root), "-type", "f", "-print0"])
    done.listed = max(done.listed, found.count(b"\0"))
    names = list(files)
    summed, catted = names[: len(names) * 2 // 3], names[len(names) * 2 // 3 :]
    for start in range(0, len(summed), PER_PROGRAM):
        part = summed[start : start + PER_PROGRAM]
        lines = _run(reader, ["sha256sum", "-z", *(str(root / n) for n in part)]).split(b"\0")
        for name, line in zip(part, lines, strict=False):
            done.checksums[name] = line.split(b" ", 1)[0].decode().lstrip("\\")
            done.delivered_bytes += files[name]
    for name in catted:
        _deliver(name, _run(reader, ["cat", str(root / name)]), done)
    for name in sorted(names, key=lambda n: (-files[n], n))[:DD_FILES]:
        command = ["dd", f"if={root / name}", "bs=64K", "status=none"]
        _deliver(name, _run(reader, command), done)


def _deliver(name: str, data: bytes, done: Done) -> None:
    done.delivered_bytes += len(data)
    done.checksums[name] = hashlib.sha256(data).hexdigest()


def _run(reader: Reader, command: list[str]) -> bytes:
    become = {} if reader.uid == os.geteuid() else {
        "user": reader.uid, "group": reader.gid, "extra_groups": [],
    }  # fmt: skip
    found = subprocess.run(command, capture_output=True, check=False, cwd="/", **become)
    if found.returncode:
        raise WarpdriveError(
            f"{command[0]} as {reader.name} failed: {found.stderr.decode(errors='replace')}"
        )
    return found.stdout


@contextmanager
def mounted(place: Place) -> Iterator[Path]:
    """The backend's folder while `warpdrive mount` runs as a child; it is gone afterwards."""
    command = [sys.executable, "-m", "cli", "mount", "--config", place.config.file]
    agent = subprocess.Popen(command, start_new_session=True)
    try:
        deadline = time.monotonic() + MOUNT_SECONDS
        while not os.path.ismount(place.mount):
            if agent.poll() is not None or time.monotonic() > deadline:
                raise CannotMountError("the agent could not mount, as its line above says.")
            time.sleep(0.05)
        yield place.mount / BACKEND
    finally:
        _stop(agent)
        if os.path.ismount(place.mount):
            subprocess.run(["fusermount3", "-uz", str(place.mount)], check=False)
        with suppress(FileNotFoundError):
            place.mount.rmdir()


def _stop(agent: subprocess.Popen[bytes]) -> None:
    agent.send_signal(signal.SIGTERM)
    try:
        agent.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        agent.kill()
        agent.wait()


def _replayed(place: Place, plan: Plan) -> Done:
    """The same reads by the agent's library, in a process of its own."""
    wanted = [
        {"uid": reader.uid, "backend": BACKEND, "paths": list(files)}
        for reader, files in plan.by_reader.items()
    ]
    found = subprocess.run(
        [sys.executable, "-m", "warpdrive_agent.replay", "--config", place.config.file],
        input=json.dumps(wanted).encode(), stdout=subprocess.PIPE, check=True,
    )  # fmt: skip
    with suppress(FileNotFoundError):
        place.mount.rmdir()
    answer = json.loads(found.stdout)
    return Done(answer["delivered_bytes"], answer["checksums"], answer["listed"], "library")
