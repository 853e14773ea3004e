"""The memory of an ingest, whatever one landed object holds."""

import datetime as dt
import json
import subprocess
import sys
from pathlib import Path

import pytest
import zstandard

from lake.schemas import QUARANTINE
from pipelines import ingest
from storage import clock
from storage.landing import hour_of, segment_name

ROOT = Path(__file__).parents[2]
NOW = clock.now()
OBJECT_BYTES = 3 * 1024**3
BOUND_MB = 600
# VmHWM is this process's own; the kernel's ru_maxrss begins with that of who started it.
CHILD = """
import datetime as dt, re, sys
from lake.store import Lake
from pipelines import ingest
from storage import clock
root, landing = sys.argv[1:]
done = ingest.ingest(Lake(root), landing, ingest.Window(clock.now(), dt.timedelta(days=400)))
told = open("/proc/self/status").read()
print(done.events, done.quarantined, int(re.search(r"VmHWM:\\s+(\\d+) kB", told)[1]) // 1024)
"""


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_an_object_of_gigabytes_is_ingested_in_bounded_memory(home):
    """3 GiB of events and a bad line at their end: all counted, the line told by its number."""
    at = (NOW - dt.timedelta(hours=1)).isoformat()
    block = b"".join(
        json.dumps({
            "ts": at, "user": f"user{n % 7}", "backend": "data", "op": "read", "bytes_read": 4096,
            "path": f"datasets/imagenet/shard-{n:06d}.tar", "node": "gpu-0001", "count": 1,
        }).encode() + b"\n"
        for n in range(10_000)
    )  # fmt: skip
    blocks = OBJECT_BYTES // len(block) + 1
    lines = blocks * 10_000
    place = home.landing / segment_name(hour_of(NOW), "n1", "ab" * 8, 1, lines + 1)
    place.parent.mkdir(parents=True)
    with place.open("wb") as file, zstandard.ZstdCompressor(level=1).stream_writer(file) as out:
        for _ in range(blocks):
            out.write(block)
        out.write(b"{no event}\n")
    args = [sys.executable, "-c", CHILD, home.config.lake.root, str(home.landing)]
    done = subprocess.run(args, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    events, quarantined, peak_mb = map(int, done.stdout.split())
    assert (events, quarantined) == (lines, 1)
    assert peak_mb < BOUND_MB
    (row,) = ingest.ledger(home.lake).to_dicts()
    assert (row["lines"], row["bytes_read"]) == (lines + 1, lines * 4096)
    (refused,) = home.lake.scan(QUARANTINE).select("line", "text").collect().rows()
    assert refused == (lines + 1, "{no event}")
