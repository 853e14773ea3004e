# ruff: noqa: T201 - its folder comes first on the path; printing is its output
"""Conservation under fire: kill -9, sink down, lost answers, full disk, torn spool, clock jumps.

    python tests/chaos/campaign.py --seed 1 --trials 500

Each trial runs an agent's telemetry in processes of their own, breaks things, drains what is left
with a healthy agent, ingests what has landed (some ingests are killed on the way, all are run
again), and then counts: every recorded event is in `events` or `quarantine` exactly once, or in the
spool, or was reported as dropped or lost. The last line is `trials=N violations=M`.
"""

from __future__ import annotations

import argparse
import ctypes
import datetime as dt
import errno
import logging
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec

sys.path.insert(0, str(Path(__file__).parent))
from ingested import ingested, killed_ingest  # pyright: ignore[reportMissingImports]

from storage import landing
from storage.clock import now
from storage.landing import Event
from warpdrive_agent import recovery, shipper, spool
from warpdrive_agent.counters import read_books
from warpdrive_agent.identity import Identity
from warpdrive_agent.outlet import SpoolOutlet
from warpdrive_agent.recorder import Recorder, new_boot
from warpdrive_agent.segments import ACTIVE, COUNTERS
from warpdrive_agent.shipper import Pace, Shipper
from warpdrive_agent.sinkerrors import SendError
from warpdrive_agent.sinks import ObjectStoreSink
from warpdrive_agent.spool import Spool
from warpdrive_agent.spoolcheck import check_spool

RAW = (
    "read",
    "b",
    "some/path.bin",
    None,
    1_790_000_000_000_000_000,
    10,
    10,
    1,
    9,
    "",
    0,
    False,
    10,
)
PACE = Pace(batch_events=50, flush_seconds=0.05, upload_seconds=0.1, upload_bytes=64 * 1024)
BURST, PAUSE_SECONDS = 20, 0.002
QUEUE = 5_000
STALL_SECONDS = 0.4
"""A kill may cost a flush interval or a batch; on a busy machine the flusher may come late."""
MAX_KILL_LOSS = PACE.batch_events + int(
    BURST / PAUSE_SECONDS * (PACE.flush_seconds + STALL_SECONDS)
)
FAULTS = ("sink down", "answer lost", "disk full", "torn spool", "clock jump", "small spool")
INGESTS_KILLED = 0.15
TMPFS_BYTES = 256 * 1024
TOTALS: Counter[str] = Counter()


class FaultySink(ObjectStoreSink):
    """The landing zone behind a bad network: flag files say what is wrong."""

    def __init__(self, folder: Path) -> None:
        super().__init__(str(folder / "landing"))
        self._folder = folder

    def send(self, name: str, data: bytes) -> None:
        """Deliver, unless the network is down; the answer may get lost."""
        if (self._folder / "sink down").exists():
            raise SendError("down")
        super().send(name, data)
        if (self._folder / "answer lost").exists() and random.random() < 0.5:
            raise SendError("no answer")


def run_agent(folder: Path, seed: int, faults: set[str], seconds: float | None) -> None:
    """One life of an agent: records for `seconds` (None = only drains), then stops cleanly."""
    random.seed(seed)
    shipper.POLL_SECONDS = 0.02
    started = time.monotonic()
    if "clock jump" in faults:
        jump = dt.timedelta(hours=random.choice([-30, -1, 2, 500]))
        for module in (spool, recovery):
            patched: Any = module
            patched.now = lambda: now() + (jump if time.monotonic() > started + 0.05 else jump * 0)
    boot = new_boot()
    limit = 20_000 if "small spool" in faults else 10**9
    store = Spool(folder / "spool", node="chaos", boot=boot, max_bytes=limit)
    recorder = Recorder("chaos", boot, store.page, rate=1.0, queue_events=QUEUE)
    outlet = SpoolOutlet(store, FaultySink(folder))
    agent = Shipper(recorder, Identity(), outlet, PACE, ["b"])
    agent.start()
    while seconds is not None and time.monotonic() < started + seconds:
        for _ in range(BURST):
            recorder.record(RAW)
        time.sleep(PAUSE_SECONDS)
    agent.close(3.0)


class Trial:
    """One campaign of faults in one folder, and the books about it."""

    def __init__(self, seed: int, folder: Path, *, full_disk: bool) -> None:
        self.random = random.Random(seed)
        self.folder = folder
        self.full_disk = full_disk
        self.faults: set[str] = set()
        self.recorded: Counter[str] = Counter()
        self.killed: set[str] = set()
        self.kills = 0
        self.violations: list[str] = []

    def run(self) -> list[str]:
        """Several lives, most of them killed, then one that drains; what does not add up."""
        for _ in range(self.random.randint(1, 3)):
            known = [f for f in FAULTS if self.full_disk or f != "disk full"]
            self.faults = set(self.random.sample(known, self.random.randint(0, 2)))
            self._live(self.random.uniform(0.05, 0.35), killed=self.random.random() < 0.8)
            if self.random.random() < INGESTS_KILLED:
                killed_ingest(self.folder, self.random.uniform(0.5, 1.5))
                TOTALS["ingests killed"] += 1
        self.faults = set()
        for _ in range(20):
            self._live(None, killed=False)
            if not list((self.folder / "spool/sealed").iterdir()):
                break
        return self._audit()

    def _live(self, seconds: float | None, *, killed: bool) -> None:
        for flag in ("sink down", "answer lost"):
            (self.folder / flag).unlink(missing_ok=True)
            if flag in self.faults:
                (self.folder / flag).touch()
        pid = self._fork(seconds, killed=killed)
        if killed:
            time.sleep(seconds or 0)
            if "disk full" in self.faults:
                self._fill_disk()
                time.sleep(0.1)
            os.kill(pid, signal.SIGKILL)
            self.kills += 1
        _, status = os.waitpid(pid, 0)
        (self.folder / "spool/filler").unlink(missing_ok=True)
        if not killed and status:
            self.violations.append(f"an agent failed: status {status}")
        self._note(killed=killed)
        if killed and "torn spool" in self.faults:
            self._tear()

    def _fork(self, seconds: float | None, *, killed: bool) -> int:
        seed = self.random.randrange(2**32)
        if killed:
            seconds = 60.0  # it never stops by itself
        sys.stderr.flush()
        pid = os.fork()
        if pid:
            return pid
        status = 1
        try:
            run_agent(self.folder, seed, self.faults, seconds)
            status = 0
        except BaseException as error:  # noqa: BLE001
            print(f"agent: {type(error).__name__}: {error}", file=sys.stderr)
        finally:
            os._exit(status)

    def _fill_disk(self) -> None:
        with (self.folder / "spool/filler").open("wb", buffering=0) as filler:
            try:
                while True:
                    filler.write(bytes(4096))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise

    def _tear(self) -> None:
        active = self.folder / "spool" / ACTIVE
        if not active.exists():
            return  # killed before it began
        size = active.stat().st_size
        if size and self.random.random() < 0.5:
            os.truncate(active, size - self.random.randrange(min(size, 300)))
        else:
            with active.open("ab") as file:
                file.write(b'{"ts":"2026-11-01T00:00:00Z","us')

    def _note(self, *, killed: bool) -> None:
        books = read_books(self.folder / "spool" / COUNTERS)
        if books is None:
            return
        self.recorded[books.boot] = books.assigned
        if killed and not self.faults & {"disk full", "small spool", "torn spool"}:
            self.killed.add(books.boot)

    def _audit(self) -> list[str]:
        landed = self._landed()
        events, refused = ingested(self.folder)
        numbers, sent = events + refused, Counter((event.boot, event.seq) for event in landed)
        for place, counts in (("landed", sent), ("ingested", numbers)):
            if doubles := [number for number, count in counts.items() if count > 1]:
                self.violations.append(f"{len(doubles)} events are {place} twice")
        if missing := set(sent) ^ set(numbers):
            self.violations.append(f"{len(missing)} events landed or were ingested, not both")
        drops: Counter[str] = Counter()
        for event in landed:
            if event.op == "agent":
                drops[event.boot] = max(drops[event.boot], event.drops or 0)
        found = sum(seq <= self.recorded[boot] for boot, seq in numbers)
        spooled = sum(row.events for row in check_spool(self.folder / "spool") if row.file)
        recorded, lost = self.recorded.total(), drops.total()
        TOTALS.update(recorded=recorded, ingested=found, quarantined=refused.total(),
                      lost=lost, kills=self.kills)  # fmt: skip
        if recorded != found + spooled + lost:
            self.violations.append(
                f"{recorded} recorded != {found} ingested + {spooled} spooled + {lost} reported "
                "lost"
            )
        self._check_bound(drops)
        return self.violations

    def _check_bound(self, drops: Counter[str]) -> None:
        for boot in self.killed:
            TOTALS["most lost by a kill"] = max(TOTALS["most lost by a kill"], drops[boot])
            if drops[boot] > MAX_KILL_LOSS:
                self.violations.append(f"a kill cost {drops[boot]} events")

    def _landed(self) -> list[Event]:
        found = []
        for path in (self.folder / "landing").rglob("*.jsonl.zst"):
            lines = landing.decompress(path.name, path.read_bytes(), 10**9).splitlines()
            found += [msgspec.json.decode(line, type=Event) for line in lines]
            name = landing.parse_name(path.relative_to(self.folder / "landing").as_posix())
            seqs = [event.seq or 0 for event in found[-len(lines) :]]
            if name is None or (name.first, name.last) != (min(seqs), max(seqs)):
                self.violations.append(f"{path.name} does not hold what its name says")
        return found


def small_disk(folder: Path) -> bool:
    """Put the spool on a small tmpfs, where that is allowed."""
    libc = ctypes.CDLL(None, use_errno=True)
    folder.mkdir()
    size = f"size={TMPFS_BYTES},mode=700".encode()
    return libc.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", 0, size) == 0


def one_trial(seed: int) -> list[str]:
    """A trial in a fresh folder."""
    folder = Path(tempfile.mkdtemp(prefix="warpdrive-chaos-"))
    mounted = False
    try:
        mounted = os.geteuid() == 0 and seed % 3 == 0 and small_disk(folder / "spool")
        return Trial(seed, folder, full_disk=mounted).run()
    finally:
        if mounted:
            ctypes.CDLL(None).umount2(os.fsencode(folder / "spool"), 2)
        shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    """Run the campaign."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--trials", type=int, default=500)
    options = parser.parse_args()
    logging.getLogger("warpdrive").setLevel(logging.ERROR)  # what is broken here is on purpose
    violations = 0
    for trial in range(options.trials):
        seed = options.seed * 1_000_003 + trial
        if wrong := one_trial(seed):
            violations += 1
            print(f"trial {trial} (seed {seed}): {'; '.join(wrong)}", flush=True)
    print(", ".join(f"{name} {count}" for name, count in TOTALS.items()))
    print(f"trials={options.trials} violations={violations}")
    return 1 if violations else 0


if __name__ == "__main__":
    raise SystemExit(main())
