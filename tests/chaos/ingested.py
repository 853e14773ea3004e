"""The other half of the way: landing zone to lake, with an ingest that may be killed on the way."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RETENTION = dt.timedelta(days=400)
Number = tuple[str, int]
"""Boot and sequence number: which event it is."""


def killed_ingest(folder: Path, seconds: float) -> None:
    """Start `warpdrive ingest` and kill it after that time, wherever it is."""
    config = folder / "warpdrive.yaml"
    config.write_text("lake: {root: ./lake}\ntelemetry: {landing: ./landing}\n")
    process = subprocess.Popen(
        [sys.executable, ROOT / "cli.py", "--config", config, "ingest"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    time.sleep(seconds)
    process.kill()
    process.wait()


# Agents are forked from the campaign, and what the lake's libraries start does not survive a fork.
_WORKER = ProcessPoolExecutor(1, mp_context=get_context("spawn"))


def ingested(folder: Path) -> tuple[Counter[Number], Counter[Number]]:
    """Ingest all that has landed; how often each event is in `events`, and in `quarantine`."""
    return _WORKER.submit(_ingested, folder).result()


def _ingested(folder: Path) -> tuple[Counter[Number], Counter[Number]]:
    """Twice, as the second time must change nothing."""
    from lake.schemas import EVENTS, QUARANTINE
    from lake.store import Lake
    from pipelines.ingest import Window, ingest
    from storage import clock

    (folder / "landing").mkdir(exist_ok=True)
    lake = Lake(str(folder / "lake"))
    for _ in range(2):
        ingest(lake, str(folder / "landing"), Window(clock.now(), RETENTION))
    events = lake.scan(EVENTS).select("boot", "seq").collect()
    refused = [json.loads(text) for text in lake.scan(QUARANTINE).collect()["text"]]
    return (
        Counter(events.iter_rows()),
        Counter((line["boot"], line["seq"]) for line in refused),
    )
