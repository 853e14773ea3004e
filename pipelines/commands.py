"""What the commands `ingest`, `crawl` and `refresh` do: runs, and a line about them."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Sequence
from typing import Any

from lake.damage import told
from lake.read import Reader
from lake.store import Lake
from pipelines import importing, settings
from pipelines.ingest import SKEWED, Window, imported, ledger, pending_hours
from storage import clock
from storage.config import Config
from storage.errors import BackendError, LakeError, UsageError, WarpdriveError
from storage.landing import hour_of
from storage.objectstore import open_store
from storage.units import MAX_DAYS, format_size, parse_instant

WATCH_SECONDS = 15
WHOLE_SECONDS = 3600
LOOK_BACK = dt.timedelta(hours=48)
Row = dict[str, Any]


class UnreadFilesError(UsageError):
    """Some of the files named cannot be read; `landed` says what became of the others."""

    def __init__(self, message: str, landed: str) -> None:
        super().__init__(message)
        self.landed = landed


def ingest(config: Config, paths: Sequence[str]) -> str:
    """Land the files named, ingest everything that has landed; a line that says so.

    Raises UsageError for files that cannot be read, once all others are ingested.
    """
    landed, bad = "", None
    try:
        landed = import_files(config, paths) if paths else ""
    except UnreadFilesError as error:
        landed, bad = error.landed, error
    hours = _pending(config)
    said = landed + (_ingested(config, hours) if hours else "Nothing new has landed.")
    if bad:
        raise UsageError(f"{bad} The rest: {said}")
    return said


def _ingested(config: Config, hours: Sequence[str], *, late: bool = False) -> str:
    found = _runs(config).ingest(config, hours, replace=False)
    lag = found.get("ingest_lag_seconds")
    unread = f", {found['unread']} objects could not be read yet" if found["unread"] else ""
    skewed = f", {found['skewed']} objects from a wrong clock" if found["skewed"] else ""
    return (
        f"Ingested {found['new_rows']} events from {found['objects']} objects "
        f"({found['quarantined']} lines quarantined, {found['duplicates']} duplicates"
        f"{skewed}{unread})"
        + (f", up to {lag:.0f} s after the event." if late and lag is not None else ".")
    )


def import_files(config: Config, paths: Sequence[str]) -> str:
    """Land event files. Raises UsageError for what is no event file; nothing has landed then.

    Raises UnreadFilesError for files that cannot be read, once all others have landed.
    """
    files = importing.event_files(paths)
    store = open_store(config.telemetry.landing)
    before = imported(Lake(config.lake.root))
    hour = hour_of(clock.now())
    new, bad = 0, list[UsageError]()
    for file in files:
        try:
            new += importing.import_file(store, file, hour, before).new_bytes
        except UsageError as error:
            bad.append(error)
    landed = f"Landed {format_size(new)} new of {len(files) - len(bad)} files. "
    if bad:
        more = f" Nor can {len(bad) - 1} more." if len(bad) > 1 else ""
        raise UnreadFilesError(f"{bad[0]}{more}", landed)
    return landed


def reingest(config: Config, hours: Sequence[str]) -> str:
    """Replace landing hours from their objects; a line that says so."""
    known = _known(config)
    there = [hour for hour in hours if hour in known]
    if not there:
        return "Nothing has landed in those hours."
    found = _runs(config).ingest(config, there, replace=True)
    return f"Ingested {len(there)} landing hours again; {found['new_rows']} events were new."


def hours_between(start: str, end: str) -> list[str]:
    """Landing hours from `start` (required) up to and without `end` (default: now)."""
    if not start:
        raise UsageError("--to needs --from: name the first landing hour, e.g. 2026-11-01T00:00Z.")
    first = parse_instant(start, "--from").replace(minute=0, second=0, microsecond=0)
    last = min(parse_instant(end, "--to") if end else clock.now(), clock.now())
    if last - first > dt.timedelta(days=MAX_DAYS):
        raise UsageError(f"--from '{start}' is more than {MAX_DAYS} days before --to.")
    if first >= last:
        raise UsageError(f"--from '{start}' is not before --to '{end or 'now'}'.")
    count = -(-(last - first) // dt.timedelta(hours=1))
    return [hour_of(first + dt.timedelta(hours=i)) for i in range(count)]


def crawl(
    config: Config, backend: str, as_of: dt.datetime | None, *, allow_removal: bool
) -> list[Row]:
    """Crawl one backend, or all; one row each. One that fails does not stop the others."""
    names = [config.backend(backend).name] if backend else [b.name for b in config.backends]
    return [_crawl_one(config, name, as_of, allow_removal=allow_removal) for name in names]


def _crawl_one(config: Config, name: str, as_of: dt.datetime | None, *, allow_removal: bool) -> Row:
    try:
        return _runs(config).crawl(config, name, as_of, allow_removal=allow_removal)
    except WarpdriveError as error:
        source = "inventory" if config.backend(name).inventory else "list"
        nothing = dict.fromkeys(("files", "bytes", "added", "removed", "seconds"), 0)
        return {"backend": name, "source": source, "state": "failed", **nothing,
                "error": str(error)}  # fmt: skip


def verify(
    config: Config, backend: str, sample: int, seed: int = 0
) -> tuple[list[Row], dict[str, str]]:
    """Audit one backend, or all: a row each, and what was wrong with those that could not be."""
    names = [config.backend(backend).name] if backend else [b.name for b in config.backends]
    done, failed = [], {}
    for name in names:
        try:
            _runs(config).verify(config, name, sample, seed)
            done.append(name)
        except WarpdriveError as error:
            failed[name] = str(error)
    rows = {row["backend"]: row for row in Reader(config).verify()} if done else {}
    return [rows[name] for name in done], failed


def refresh(config: Config, as_of: dt.datetime | None, *, rebuild: bool) -> str:
    """Publish all reports; a line that says so."""
    found = _runs(config).refresh(config, as_of, rebuild=rebuild)
    lag = found.get("ingest_lag_seconds")
    return (
        f"Published generation {found['generation']} as of {found['as_of']}: "
        f"{format_size(found['bytes'])} in the index"
        + (f", ingest lag {lag:.0f} s (p95)." if lag is not None else ".")
    )


def watch(config: Config, say: Callable[[str], None], every_seconds: float = WATCH_SECONDS) -> None:
    """Ingest what lands and refresh, until interrupted; looks again after `every_seconds`.

    The last days are looked at all the time, the whole landing zone now and then. What is away
    for a moment (a store, another ingest) is said and tried again.
    """
    whole_at = time.monotonic()
    while True:
        time.sleep(every_seconds)
        whole = time.monotonic() - whole_at > WHOLE_SECONDS
        whole_at = time.monotonic() if whole else whole_at
        try:
            since = None if whole else clock.now() - LOOK_BACK
            if hours := _pending(config, since):
                say(_ingested(config, hours, late=True))
                say(refresh(config, None, rebuild=False))
        except (LakeError, BackendError) as error:
            say(str(error))


def _known(config: Config) -> set[str]:
    """Landing hours that were ingested or hold what is to be."""
    rows = ledger(Lake(config.lake.root))
    return {*rows["hour"].to_list(), *_pending(config)}


def _pending(config: Config, since: dt.datetime | None = None) -> list[str]:
    window = Window(clock.now(), config.lake.retention)
    with told(config.lake.root):
        hours = pending_hours(Lake(config.lake.root), config.telemetry.landing, window, since)
    return sorted(hours - {SKEWED}) or ([hour_of(window.now)] if hours else [])


def _runs(config: Config) -> Any:
    """The runs, for this config. Dagster is seconds of import: asked for after all checks."""
    settings.use(config.file)
    from pipelines import run

    return run
