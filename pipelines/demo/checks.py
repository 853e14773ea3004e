"""Named checks: two numbers that must be equal, each found in another way."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path
from typing import NamedTuple

import polars as pl
import zstandard

from lake.read import Reader
from lake.schemas import EVENTS, FILES
from lake.store import Lake
from pipelines import commands
from pipelines.demo.place import Place
from pipelines.demo.reads import Done, Plan
from storage.landing import parse_name


class Check(NamedTuple):
    """One comparison."""

    name: str
    left: object
    right: object

    @property
    def passed(self) -> bool:
        """Whether the two are equal."""
        return self.left == self.right

    def line(self) -> str:
        """`PASS name: 1 = 1` or `FAIL name: 1 != 2`."""
        word, sign = ("PASS", "=") if self.passed else ("FAIL", "!=")
        return f"{word} {self.name}: {self.left} {sign} {self.right}"


def all_checks(place: Place, plan: Plan, done: Done) -> list[Check]:
    """Every check of the demo, in the order of the flow."""
    lake = Lake(place.config.lake.root)
    reader = Reader(place.config)
    total = sum(row["bytes"] for row in reader.backends())
    return [
        *_of_reads(lake, plan, done),
        *_of_events(lake, place),
        *_of_index(lake, place, total),
        *_of_sums(reader, total),
        *_of_users(reader, plan),
        _second_ingest(lake, place),
        Check("mounts left behind, and none expected", _mounts(place.mount), 0),
    ]


def _of_reads(lake: Lake, plan: Plan, done: Done) -> list[Check]:
    right = sum(
        done.checksums[name] == hashlib.sha256((plan.source / name).read_bytes()).hexdigest()
        for name in done.checksums
    )
    reads = lake.scan(EVENTS).filter(pl.col("op") == "read", pl.col("error") == "")
    told = int(reads.select(pl.col("bytes_read").sum()).collect().item())
    return [
        Check(f"sha256 of files read through the {done.through} and of the source agree",
              right, plan.files),
        Check("bytes delivered to the readers and bytes in events", done.delivered_bytes, told),
    ]  # fmt: skip


def _of_events(lake: Lake, place: Place) -> list[Check]:
    rows = int(lake.scan(EVENTS).select(pl.len()).collect().item())
    landing = Path(place.config.telemetry.landing)
    segments = sorted(landing.rglob("*.jsonl.zst"))
    ranges = [parse_name(path.relative_to(landing).as_posix()) for path in segments]
    numbered = sum(r.last - r.first + 1 for r in ranges if r and r.last is not None
                   and r.first is not None)  # fmt: skip
    lines = 0
    for path in segments:
        with path.open("rb") as stream:
            lines += zstandard.ZstdDecompressor().stream_reader(stream).read().count(b"\n")
    spooled = Path(place.config.telemetry.spool_path)
    waiting = [p for p in spooled.rglob("*.zst") if p.is_file()]
    return [
        Check("sequence numbers that the spool gave out and rows in events", numbered, rows),
        Check("lines in the landing zone and rows in events", lines, rows),
        Check("segments still in the spool, and none expected", len(waiting), 0),
    ]


def _of_index(lake: Lake, place: Place, total: int) -> list[Check]:
    listed = subprocess.run(
        ["find", str(place.source), "-type", "f", "-printf", "%D:%i %s\\n"],
        capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    by_inode = dict(zip(listed[::2], map(int, listed[1::2]), strict=True))
    first = lake.scan(FILES).filter(pl.col("link_of").is_null())
    files = int(first.select(pl.len()).collect().item())
    return [
        Check("files in the index and found by find, by inode", files, len(by_inode)),
        Check("bytes in the index and found by find, by inode", total, sum(by_inode.values())),
    ]


def _of_sums(reader: Reader, total: int) -> list[Check]:
    teams = sum(row["bytes"] for row in reader.usage(group_by="team"))
    growth = reader.growth(period_days=0)
    return [
        Check("bytes of all teams and of all files", teams, total),
        Check("bytes at growth's last point and of all files",
              growth[-1]["bytes"] if growth else 0, total),
    ]  # fmt: skip


def _of_users(reader: Reader, plan: Plan) -> list[Check]:
    owned = {row["group"]: row["bytes"] for row in reader.usage(group_by="user")}
    status = {row["team"]: row["status"] for row in reader.quota()}
    first = next(iter(plan.by_reader))
    return [
        *(
            Check(f"bytes that {user.name} owns and read first", owned.get(user.name, 0),
                  plan.bytes_of(user))
            for user in plan.by_reader
        ),
        Check(f"quota of team {first.team}, whose soft limit is crossed",
              status.get(first.team), "WARNING"),
    ]  # fmt: skip


def _second_ingest(lake: Lake, place: Place) -> Check:
    before = lake.scan(EVENTS).select(pl.len()).collect().item()
    commands.ingest(place.config, ())
    after = lake.scan(EVENTS).select(pl.len()).collect().item()
    return Check("rows in events after a second ingest and before", after, before)


def _mounts(mount: Path) -> int:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return sum(line.split()[4] == str(mount) for line in lines)
