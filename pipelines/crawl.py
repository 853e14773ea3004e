"""Backends to `files`, `file_changes` and `listings`.

A crawl commits file_changes, listings, files, in this order. Changes without their listing are
removed by the next crawl; a listing whose files were not written is finished from its changes.
A failed or stopped listing changes nothing.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from lake.lease import held
from lake.parts import write_part
from lake.schemas import FILE_CHANGES, FILES, LISTINGS
from lake.store import Lake
from pipelines.compare import compared
from pipelines.index import Pieces, current, mark_renames, replayed, since, spans
from pipelines.staging import Staged
from pipelines.transforms import files as transform
from storage import clock
from storage.config import Backend
from storage.errors import WarpdriveError
from storage.listing.columns import Listing
from storage.listing.progress import Progress

log = logging.getLogger(__name__)
OBJECT_STORES = ("s3", "azureblob", "gcs")
COMMIT_ROWS = 1_000_000
COUNTED = ("complete", "partial", "held")
LEASE_WAIT_SECONDS = 120.0
NOTHING = dict.fromkeys(("added", "removed", "added_bytes", "removed_bytes"), 0)
Row = dict[str, Any]


@dataclass(frozen=True)
class CrawlOptions:
    """How to crawl: the instant, the latest snapshot that counts, and whether removals may go."""

    now: dt.datetime
    as_of: dt.datetime | None = None
    allow_removal: bool = False


@dataclass
class CrawlResult:
    """What the crawl of one backend did; the columns of `warpdrive crawl`."""

    backend: str
    source: str
    state: str = "complete"
    files: int = 0
    bytes: int = 0
    added: int = 0
    removed: int = 0
    seconds: float = 0.0
    error: str = ""
    listings: int = 0
    checked: int = 0
    """Files of the newest report that were compared with the live store."""
    agree: int = 0
    """Those that the store has so."""
    disagrees: str = ""
    """What to say of a report that does not agree with its store."""


@dataclass
class _Progress:
    """Listings taken but not committed yet."""

    lake: Lake
    folder: Path
    files: Pieces
    bytes: int
    number: int
    held_at: dt.datetime | None
    newest: dt.datetime | None
    failures: set[tuple[str, str]] = field(default_factory=set)
    """Damaged reports that `listings` has already, with what is wrong."""
    changes: list[Pieces] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)


def crawl(lake: Lake, backend: Backend, options: CrawlOptions) -> CrawlResult:
    """List one backend, or take every report not yet taken, oldest first.

    A backend that cannot be listed gives a result with state failed; LeaseBusyError is raised.
    """
    started = time.monotonic()
    source = "inventory" if backend.inventory else "list"
    with held(lake.root, f"crawl-{backend.name}", LEASE_WAIT_SECONDS):
        recover(lake, backend.name)
        progress = _before(lake, backend.name)
        result, newest = CrawlResult(backend.name, source), progress.newest
        try:
            _take_all(lake, backend, options, progress, result)
        finally:
            shutil.rmtree(progress.folder, ignore_errors=True)
        result.files, result.bytes = progress.files.rows, progress.bytes
        if progress.newest != newest and backend.inventory and backend.inventory.sample:
            assert progress.newest
            _check_report(lake, backend, progress.newest, result)
    result.seconds = round(time.monotonic() - started, 3)
    return result


def _take_all(
    lake: Lake, backend: Backend, options: CrawlOptions, progress: _Progress, result: CrawlResult
) -> None:
    failed = ""
    try:
        for listing in _listings(lake, backend, options):
            try:
                _take(listing, progress, result, options)
                failed = ""
            except WarpdriveError as error:
                # A damaged report is not used and does not keep those after it from being taken.
                failed = str(error)
                _note_failure(progress, result, failed, listing)
            if sum(changes.rows for changes in progress.changes) > COMMIT_ROWS:
                _commit(backend.name, progress)
    except WarpdriveError as error:
        failed = str(error)
        _note_failure(progress, result, failed, None)
    _commit(backend.name, progress)
    if failed:
        log.info("crawl of %s failed: %s", backend.name, failed)
        result.state, result.error = "failed", failed


def _check_report(lake: Lake, backend: Backend, at: dt.datetime, result: CrawlResult) -> None:
    """Compare a sample of the newest report with the live store; nothing of it fails the crawl."""
    from pipelines.reportcheck import check_report, disagreement  # a listing does without

    row = check_report(lake, backend, at, clock.now())
    result.checked, result.agree = row["checked"], row["agree"]
    result.disagrees = disagreement(row)
    if not result.disagrees:
        return
    log.warning("backend %s: %s", backend.name, result.disagrees)
    result.error = result.error or result.disagrees
    mine = latest_listings(lake).filter(
        pl.col("backend") == backend.name, pl.col("snapshot_at") == at, pl.col("error") == ""
    )  # fmt: skip
    told = mine.tail(1).with_columns(
        error=pl.lit(result.disagrees), written_at=pl.lit(clock.now(), transform.AT)
    )
    lake.append(LISTINGS, told)


def _listings(lake: Lake, backend: Backend, options: CrawlOptions) -> Iterator[Listing]:
    if backend.inventory is None:
        if options.as_of is None or options.as_of >= options.now:
            yield list_backend(backend, options.now, f"{lake.root.rstrip('/')}/_staging")
        return
    from storage.listing.inventory import read_report, reports

    taken = set(
        lake.scan(LISTINGS)
        .filter(pl.col("backend") == backend.name, pl.col("state") != "failed")
        .select("report").collect()["report"]
    )  # fmt: skip
    for report in reports(backend):
        late = options.as_of is not None and report.snapshot_at > options.as_of
        if report.name not in taken and not late:
            yield read_report(backend, report)


def list_backend(backend: Backend, snapshot_at: dt.datetime, staging: str = "") -> Listing:
    """A live listing by the backend's own lister. Raises BackendError or ConfigError.

    With a staging location a listing of an object store that was stopped goes on where it was.
    """
    progress = Progress(backend.name)
    # Each lister brings libraries of its own: only the one that is needed is loaded.
    if backend.type in OBJECT_STORES:
        from storage.listing.objects import list_objects

        return list_objects(backend, snapshot_at, staging, progress)
    if backend.type == "local":
        from storage.listing.posix import list_posix

        stay = str(backend.options.get("one_file_system", "")).lower() == "true"
        listing = list_posix(backend.root, snapshot_at, one_file_system=stay)
    else:
        from storage.listing.generic import list_generic

        listing = list_generic(backend, snapshot_at)
    return listing._replace(batches=progress.over(listing.batches))


def recover(lake: Lake, backend: str) -> None:
    """Finish or undo what a crawl that died left behind."""
    rows = latest_listings(lake).filter(pl.col("backend") == backend)
    last = rows["listing"].max() or 0
    app = f"crawl:{backend}"
    for number in range(int(str(last)) + 1, lake.app_version(FILE_CHANGES, app) + 1):
        lake.delete(FILE_CHANGES, {"backend": backend, "listing": number})
    written = max(lake.app_version(FILES, app), 0)
    open_rows = rows.filter(pl.col("listing") > written, pl.col("state").is_in(COUNTED))
    if open_rows.height:
        number = int(str(open_rows["listing"].max()))
        changes = since(lake, backend, written)
        after = replayed(current(lake, backend), changes, written)
        lake.commit(
            FILES, after.parts(), apps=[(app, number)], replacing={"backend": backend}
        )  # fmt: skip


def latest_listings(lake: Lake) -> pl.DataFrame:
    """The latest row of every listing, by backend and number."""
    rows = lake.scan(LISTINGS).sort("written_at").group_by("backend", "listing").last()
    return rows.select(LISTINGS.schema.names()).sort("backend", "listing").collect()


def _before(lake: Lake, backend: str) -> _Progress:
    rows = latest_listings(lake).filter(pl.col("backend") == backend)
    counted = rows.filter(pl.col("state").is_in(COUNTED))
    newest = counted.sort("snapshot_at").tail(1)
    size = lake.scan(FILES).filter(pl.col("backend") == backend).select(pl.col("size_bytes").sum())
    return _Progress(
        lake=lake,
        folder=_staging_folder(lake.root, backend),
        files=current(lake, backend),
        bytes=int(size.collect().item()),
        # The number of changes that were undone is not used again: Delta has seen it committed.
        number=max(
            int(str(rows["listing"].max() or 0)), lake.app_version(FILE_CHANGES, f"crawl:{backend}")
        ),
        held_at=newest["snapshot_at"][0] if newest["state"].to_list() == ["held"] else None,
        newest=newest["snapshot_at"][0] if newest.height else None,
        failures=set(rows.filter(pl.col("state") == "failed").select("report", "error").rows()),
    )


def _staging_folder(root: str, backend: str) -> Path:
    """An empty folder for the runs of a listing; the lease makes it ours alone."""
    name = hashlib.sha256(f"{root}\0{backend}".encode()).hexdigest()[:16]
    if "://" in root:
        base = Path(tempfile.gettempdir()) / f"warpdrive-staging-{os.getuid()}"
    else:
        base = Path(root) / "staging"
    shutil.rmtree(base / name, ignore_errors=True)
    (base / name).mkdir(parents=True, mode=0o700)
    return base / name


def _take(
    listing: Listing, progress: _Progress, result: CrawlResult, options: CrawlOptions
) -> None:
    started = time.monotonic()
    with tempfile.TemporaryDirectory(dir=progress.folder) as folder:
        staged = Staged(result.backend, listing.batches, Path(folder))
        row = _row(listing, progress, result.backend, options.now)
        if progress.newest is not None and listing.snapshot_at < progress.newest:
            row |= _late(staged)
        else:
            row |= _apply(staged, listing, progress, options, result.backend)
    progress.number += 1
    row["seconds"] = time.monotonic() - started
    progress.rows.append(row)
    result.listings += 1
    result.added += row["added"]
    result.removed += row["removed"]
    result.state, result.error = row["state"], row["error"]


def _row(listing: Listing, progress: _Progress, backend: str, now: dt.datetime) -> Row:
    return {
        "backend": backend, "listing": progress.number + 1, "source": listing.source,
        "report": listing.report, "snapshot_at": listing.snapshot_at, "error": "",
        "written_at": now, "seconds": 0.0,
    }  # fmt: skip


def _late(staged: Staged) -> Row:
    files = size = 0
    for low, high in spans(staged):
        found = staged.between(low, high)
        files += found.height
        size += int(found["size_bytes"].sum())
    return {"state": "late", "files": files, "bytes": size, **NOTHING}


def _apply(
    staged: Staged, listing: Listing, progress: _Progress, options: CrawlOptions, backend: str
) -> Row:
    moment = transform.Moment(
        backend, progress.number + 1, listing.snapshot_at, tuple(listing.unreadable)
    )
    done = compared(progress.lake, progress.files, staged, moment, progress.held_at)
    # Only a complete listing may confirm what an earlier one missed.
    confirmed = 0 if listing.unreadable else done.confirmed
    held_files = 0
    if (
        listing.source == "list"
        and not options.allow_removal
        and transform.must_hold(progress.files.rows, done.gone, confirmed)
    ):
        held_files = done.gone
        done.drop()
        done = compared(
            progress.lake, progress.files, staged, moment._replace(keep_gone=True), None
        )  # fmt: skip
    if done.totals["removed"] and done.totals["added"]:
        mark_renames(done.changes)
    progress.files.drop()
    progress.files, progress.bytes = done.files, done.bytes
    progress.newest = listing.snapshot_at
    progress.held_at = listing.snapshot_at if held_files else None
    progress.changes.append(done.changes)
    return {
        "state": "held" if held_files else "partial" if listing.unreadable else "complete",
        "files": done.files.rows,
        "bytes": done.bytes,
        "error": _why(held_files, listing.unreadable),
        **done.totals,
    }


def _why(held_files: int, unreadable: list[str]) -> str:
    if held_files:
        return (
            f"{held_files} files are not in the listing; their removal is held until the next "
            "complete listing agrees, or crawl --allow-removal."
        )
    if unreadable:
        shown = ", ".join(repr(p) for p in sorted(unreadable)[:3])
        return f"{len(unreadable)} folders could not be read and stay as they were: {shown}."
    return ""


def _note_failure(
    progress: _Progress, result: CrawlResult, error: str, listing: Listing | None
) -> None:
    """A row of its own for what failed; it counts for nothing."""
    now = clock.now()
    report, at = (listing.report, listing.snapshot_at) if listing else ("", now)
    if report and (report, error) in progress.failures:  # told already, and nothing is new
        return
    progress.number += 1
    progress.rows.append({
        "backend": result.backend, "listing": progress.number, "source": result.source,
        "report": report, "snapshot_at": at, "state": "failed", "files": progress.files.rows,
        "bytes": progress.bytes, **NOTHING, "seconds": 0.0, "error": error, "written_at": now,
    })  # fmt: skip


def _commit(backend: str, progress: _Progress) -> None:
    if not progress.rows:
        return
    lake, app = progress.lake, (f"crawl:{backend}", progress.number)
    changed = [part for changes in progress.changes for part in changes.parts()]
    files = progress.files.parts() if progress.changes else []
    if changed:
        lake.commit(FILE_CHANGES, changed, apps=[app])
    rows = pl.DataFrame(progress.rows, schema=LISTINGS.schema)
    # Written as the others: deltalake's own writer would load its whole engine for a row.
    lake.commit(LISTINGS, [write_part(lake.root, LISTINGS, rows)], apps=[app])
    if progress.changes:
        lake.commit(FILES, files, apps=[app], replacing={"backend": backend})
        progress.files.settle()
    progress.rows, progress.changes = [], []
