# ruff: noqa: INP001, T201 - a script, not a package: it prints
"""First paint of the dashboard's pages: seconds from opening a page to its numbers on the screen.

    python -P bench/ui.py --files 100000 --files 10000000     (CHROMIUM names the browser)

Every visit is a new browser window with nothing cached. `warm` is a page that the server has shown
before, `fresh` the first visit to it after a refresh (a new generation: no answer is kept). The
clock of the browser says when the numbers people come for were there (the cards) and when the
last panel, chart and grid was drawn. CPU is the server's alone.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "bench"), str(ROOT / "tests" / "ui")]
sys.path.insert(0, str(ROOT))  # first: the room `lake` goes before bench/lake.py

import report  # noqa: E402
import servers  # noqa: E402
from playwright.sync_api import Browser, sync_playwright  # noqa: E402

GOAL_SECONDS = 3.0
ROUNDS = 3
DAYS, EVENTS_PER_DAY = 30, 100_000
PAGES = ("overview", "backend", "stale", "user?user=user000", "quotas", "ingest", "ownership")
WAIT_MS = 120_000
KEPT_SECONDS = 6  # the dashboard looks for a new generation every five
QUIET_MS = 600
WATCH = """
window.wd = {cards: 0, last: 0};
new MutationObserver((changes) => {
  const now = performance.now();
  if (!window.wd.cards && document.querySelector('.wd-card, .wd-table')) window.wd.cards = now;
  // A clock that ticks and a spinner that turns are no paint.
  const drawn = changes.some((c) => (c.target.closest ? c.target : c.target.parentElement)
    ?.closest('[data-testid=stMain]'));
  if (drawn) window.wd.last = now;
}).observe(document, {subtree: true, childList: true});
"""
DONE = f"""() => window.wd.cards && !document.querySelector('[data-testid=stStatusWidget]')
  && !document.querySelector('[data-stale=true], [data-testid=stSpinner]')
  && performance.now() - window.wd.last > {QUIET_MS}"""


@dataclass(frozen=True)
class Paint:
    """Seconds of one visit, by the browser's clock, and the server's CPU meanwhile."""

    cards: float
    whole: float
    cpu: float


@dataclass
class Shown:
    """A lake and the server that shows it."""

    lake: Path
    url: str
    pid: int

    def visit(self, browser: Browser, page: str) -> Paint:
        """Open a page in a new window, and wait until it is drawn."""
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        context.add_init_script(WATCH)
        shown = context.new_page()
        before = cpu_seconds(self.pid)
        shown.goto(f"{self.url}/{'' if page == 'overview' else page}")
        shown.wait_for_function(DONE, timeout=WAIT_MS)
        found = shown.evaluate("window.wd")
        text = shown.locator("body").inner_text()
        context.close()
        if "Something went wrong" in text or "Nothing is published" in text:
            raise RuntimeError(f"{page} of {self.lake} shows no numbers: {text[:500]}")
        used = cpu_seconds(self.pid) - before
        return Paint(found["cards"] / 1000, found["last"] / 1000, used)

    def refreshed(self) -> None:
        """Another generation with the same results, so that nothing kept answers any more."""
        current = self.lake / "lake" / "published" / "CURRENT"
        told = json.loads(current.read_text())
        told["number"] += 1
        current.write_text(json.dumps(told))
        time.sleep(KEPT_SECONDS)


def cpu_seconds(pid: int) -> float:
    """User and system CPU of a process so far."""
    told = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(told[11]) + int(told[12])) / os.sysconf("SC_CLK_TCK")


def made(folder: Path, files: int) -> Path:
    """A lake of so many files with published results; the folder."""
    place = folder / str(files)
    if not (place / "lake" / "published" / "CURRENT").exists():
        shutil.rmtree(place, ignore_errors=True)
        size = ["--files", str(files), "--days", str(DAYS), "--events", str(EVENTS_PER_DAY)]
        generate = [sys.executable, "-P", str(ROOT / "bench" / "generate.py"), str(place), *size]
        refresh = [sys.executable, "-P", "-c", "import cli; cli.run()", "--config"]
        refresh += [str(place / "warpdrive.yaml"), "refresh"]
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        for command in ([*generate, "--lived"], refresh):
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environ)
    return place


def measure(browser: Browser, lake: Path, name: str, rounds: int) -> list[report.Row]:
    """Rows for every page of one lake."""
    port = servers.free_port()
    command = [sys.executable, "-P", "-c", "import cli; cli.run()", "--config"]
    command += [str(lake / "warpdrive.yaml"), "dashboard", "--port", str(port)]
    log = Path(tempfile.mkdtemp(prefix="bench-ui-")) / "log"
    rows: list[report.Row] = []
    with servers.serving(command, port, "/_stcore/health", log, {"PYTHONPATH": str(ROOT)}) as url:
        shown = Shown(lake, url, listener(port))
        for page in PAGES:
            shown.visit(browser, page)  # the server's imports, paid once per server
        shown.refreshed()
        for page in PAGES:
            fresh = shown.visit(browser, page)
            warm = [shown.visit(browser, page) for _ in range(rounds)]
            rows += told(name, page.partition("?")[0], fresh, warm)
    return rows


def told(name: str, page: str, fresh: Paint, warm: Sequence[Paint]) -> list[report.Row]:
    """The rows of one page: numbers and whole page, warm and fresh."""
    rows = []
    for kind, visits, goal in (("warm", warm, GOAL_SECONDS), ("fresh", [fresh], None)):
        cpu = statistics.median(v.cpu for v in visits)
        limit = f"server CPU {cpu:.2f} s, load average {os.getloadavg()[0]:.1f}"
        for what, job in (("cards", "numbers there"), ("whole", "all drawn")):
            rows.append(report.row(
                f"ui-{name}-{page}-{kind}-{what}", f"{page} of {name} files, {kind}: {job}", "s",
                [getattr(v, what) for v in visits], goal=goal, op="<=", limit=limit,
            ))  # fmt: skip
        rows.append(report.row(
            f"ui-{name}-{page}-{kind}-cpu", f"{page} of {name} files, {kind}: CPU of the server",
            "s", [v.cpu for v in visits],
        ))  # fmt: skip
    for row in rows:
        print(report.line(row), flush=True)
    return rows


def listener(port: int) -> int:
    """The process that listens on a loopback port."""
    wanted = f"0100007F:{port:04X}"
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    (inode,) = [f[9] for f in map(str.split, lines) if f[1] == wanted and f[3] == "0A"]
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if str(link.readlink()) == f"socket:[{inode}]":
                return int(link.parts[2])
        except OSError:
            continue
    raise RuntimeError(f"nobody listens on port {port}")


def main() -> None:
    """Measure the dashboards of lakes of the sizes that are named."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--files", type=int, action="append", default=[])
    parser.add_argument("--folder", type=Path, help="keep the lakes there, and use them again")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    asked = parser.parse_args()
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if not chromium:
        parser.error("no chromium: install it, or name one in $CHROMIUM")
    rows: list[report.Row] = []
    with (
        tempfile.TemporaryDirectory(prefix="bench-ui-") as scratch,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--headless", "--no-sandbox", "--disable-gpu"]
        )
        for files in asked.files or [100_000]:
            lake = made(asked.folder or Path(scratch), files)
            rows += measure(browser, lake, f"{files}", asked.rounds)
        browser.close()
    report.publish("ui", rows)


if __name__ == "__main__":
    main()
