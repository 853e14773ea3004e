# ruff: noqa: INP001, T201 - a script, not a package: it prints
"""First paint of the dashboard's pages: seconds from opening a page to its numbers on the screen.

    python bench/ui.py --files 100000 --files 10000000     (CHROMIUM names the browser)

A page counts as painted when its cards, or its table where it has none, are drawn. `cold` is the
first visit to a page that a new server answers, `warm` a new browser window after it. A lake that
is already there (`--lake FOLDER`, with a warpdrive.yaml and published results) is only read.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "bench"), str(ROOT / "tests" / "ui")]

import report  # noqa: E402
import servers  # noqa: E402
from playwright.sync_api import Browser, sync_playwright  # noqa: E402

GOAL_SECONDS = 3.0
ROUNDS = 5
PAGES = ("", "backend", "stale", "quotas", "ingest", "ownership")
PAINTED = ".wd-card, .wd-table, [data-testid=stForm]"
WAIT_MS = 120_000


def made(folder: Path, files: int) -> Path:
    """A lake of so many files with published results; the folder."""
    place = folder / str(files)
    if not (place / "lake" / "published" / "CURRENT").exists():
        run = [sys.executable, str(ROOT / "bench" / "generate.py"), str(place), "--files"]
        subprocess.run([*run, str(files)], check=True, stdout=subprocess.DEVNULL)
        jobs = [sys.executable, str(ROOT / "bench" / "lakejobs.py"), "refresh_ours"]
        subprocess.run(
            [*jobs, str(place / "lake"), str(place)], check=True, stdout=subprocess.DEVNULL
        )
    return place


def painted(browser: Browser, url: str) -> float:
    """Seconds from opening a page in a new window to its numbers."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    started = time.perf_counter()
    page.goto(url)
    page.locator(PAINTED).first.wait_for(timeout=WAIT_MS)
    seconds = time.perf_counter() - started
    context.close()
    return seconds


def measure(browser: Browser, lake: Path, name: str, rounds: int) -> list[report.Row]:
    """Rows for every page of one lake."""
    port = servers.free_port()
    command = [sys.executable, "-c", "import cli; cli.main()", "--config"]
    command += [str(lake / "warpdrive.yaml"), "dashboard", "--port", str(port)]
    log = Path(tempfile.mkdtemp()) / "log"
    environ = {"PYTHONPATH": str(ROOT)}
    rows = []
    with servers.serving(command, port, "/_stcore/health", log, environ) as url:
        painted(browser, url)  # the server's imports, paid once per server
        for page in PAGES:
            cold = painted(browser, f"{url}/{page}")
            warm = [painted(browser, f"{url}/{page}") for _ in range(rounds)]
            title = page or "overview"
            rows.append(report.row(f"ui-{name}-{title}-cold", f"{title}, cold", "s", [cold]))
            rows.append(report.row(
                f"ui-{name}-{title}-warm", f"{title}, warm", "s", warm, goal=GOAL_SECONDS, op="<=",
                limit=f"load average {os.getloadavg()[0]:.0f}",
            ))  # fmt: skip
            print(report.line(rows[-2]), report.line(rows[-1]), sep="\n", flush=True)
    return rows


def main() -> None:
    """Measure the lakes that are named, or made."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--files", type=int, action="append", default=[])
    parser.add_argument("--lake", type=Path, action="append", default=[])
    parser.add_argument("--folder", type=Path, help="keep the lakes there, and use them again")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    asked = parser.parse_args()
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if not chromium:
        parser.error("no chromium: install it, or name one in $CHROMIUM")
    folder = asked.folder or Path(tempfile.mkdtemp(prefix="bench-ui-"))
    lakes = [(path, path.resolve().parent.name) for path in asked.lake]
    lakes += [(made(folder, files), f"{files}") for files in asked.files or [100_000]]
    rows: list[report.Row] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--headless", "--no-sandbox", "--disable-gpu"]
        )
        for lake, name in lakes:
            rows += measure(browser, lake, name, asked.rounds)
    report.publish("ui", rows)


if __name__ == "__main__":
    main()
