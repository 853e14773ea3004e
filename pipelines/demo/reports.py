"""The four reports on the screen and as CSV, and where to go from there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from lake.read import Reader
from lake.text import render
from pipelines.demo.place import Place

TABLE_ROWS = 15


def show(place: Place, say: Callable[[str], None]) -> None:
    """Print usage, stale, growth and quotas, and write each as CSV below reports/."""
    reader = Reader(place.config)
    folder = place.folder / "reports"
    folder.mkdir(exist_ok=True)
    for report, rows, title in (
        ("usage", reader.usage(group_by="team"), "Storage Usage by team"),
        ("stale", reader.stale(), "Stale Data (not accessed in 90 days)"),
        ("growth", reader.growth(by="backend"), ""),
        ("quota", reader.quota(), ""),
    ):
        say("")
        say(render(report, rows[:TABLE_ROWS], "table", title=title).rstrip("\n"))
        if len(rows) > TABLE_ROWS:
            say(f"  … and {len(rows) - TABLE_ROWS} more rows in reports/{report}.csv")
        _write(folder / f"{report}.csv", report, rows)
    _write(folder / "usage-by-user.csv", "usage", reader.usage(group_by="user"))
    say("")
    say(f"As CSV: {folder}/usage.csv, stale.csv, growth.csv, quota.csv, usage-by-user.csv")
    say("")


def _write(path: Path, report: str, rows: list[dict[str, Any]]) -> None:
    path.write_text(render(report, rows, "csv"), encoding="utf-8", newline="")


def next_steps(place: Place, say: Callable[[str], None]) -> None:
    """How to look at what the demo made."""
    config = place.config.file
    say("")
    say("Look at it:")
    say(f"  dashboard    make dash     (or: warpdrive dashboard --config {config})")
    say("  Dagster UI   make dev      with the runs of this demo in it")
    say(f'  notebook     import lake; lake.open("{config}").usage(by="team").collect()')
    say(f"  commands     warpdrive --config {config} usage --group-by user")
