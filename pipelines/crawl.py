"""Backends to `files`, `file_changes` and `listings`.

A crawl commits file_changes, listings, files, in this order. Changes without their listing are
removed by the next crawl; a listing whose files were not written is finished from its changes.
A failed or stopped listing changes nothing.
"""

from __future__ import annotations

import datetime as dt
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import polars as pl
import pyarrow as pa

from lake.lease import held
from lake.metrics.index import replay
from lake.schemas import FILE_CHANGES, FILES, LISTINGS
from lake.store import Lake
from pipelines.transforms import files as transform
from storage import clock
from storage.config import Backend
from storage.errors import WarpdriveError
from storage.listing.columns import LISTED, Listing
from storage.listing.generic import list_generic
from storage.listing.inventory import read_report, reports
from storage.listing.objects import list_objects
from storage.listing.posix import list_posix
from storage.listing.progress import Progress

log = logging.getLogger(__name__)
OBJECT_STORES = ("s3", "azureblob", "gcs")
COMMIT_ROWS = 1_000_000
COUNTED = ("complete", "partial", "held")
LEASE_WAIT_SECONDS = 120.0
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


@dataclass
class _Progress:
    """Listings taken but not committed yet."""

    files: pl.DataFrame
    number: int
    held_at: dt.datetime | None
    newest: dt.datetime | None
    changes: list[pl.DataFrame] = field(default_factory=list)
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
        result = CrawlResult(backend.name, source)
        try:
            for listing in _listings(lake, backend, options):
                _take(listing, progress, result, options)
                if sum(frame.height for frame in progress.changes) > COMMIT_ROWS:
                    _commit(lake, backend.name, progress)
        except WarpdriveError as error:
            _commit(lake, backend.name, progress)
            _failed(lake, progress, result, str(error))
        else:
            _commit(lake, backend.name, progress)
        result.files = progress.files.height
        result.bytes = int(progress.files["size_bytes"].sum())
    result.seconds = round(time.monotonic() - started, 3)
    return result


def _listings(lake: Lake, backend: Backend, options: CrawlOptions) -> Iterator[Listing]:
    if backend.inventory is None:
        if options.as_of is None or options.as_of >= options.now:
            yield list_backend(backend, options.now, f"{lake.root.rstrip('/')}/_staging")
        return
    taken = set(
        lake.scan(LISTINGS)
        .filter(pl.col("backend") == backend.name, pl.col("state") != "failed")
        .select("report").collect()["report"]
    )  # fmt: skip
    for report in reports(backend.inventory):
        late = options.as_of is not None and report.snapshot_at > options.as_of
        if report.name not in taken and not late:
            yield read_report(backend.inventory, report)


def list_backend(backend: Backend, snapshot_at: dt.datetime, staging: str = "") -> Listing:
    """A live listing by the backend's own lister. Raises BackendError or ConfigError.

    With a staging location a listing of an object store that was stopped goes on where it was.
    """
    progress = Progress(backend.name)
    if backend.type in OBJECT_STORES:
        return list_objects(backend, snapshot_at, staging, progress)
    if backend.type == "local":
        stay = str(backend.options.get("one_file_system", "")).lower() == "true"
        listing = list_posix(backend.root, snapshot_at, one_file_system=stay)
    else:
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
        here = pl.col("backend") == backend
        changes = lake.scan(FILE_CHANGES).filter(here, pl.col("listing") > written)
        files = replay(lake.scan(FILES).filter(here), changes).sort("path").collect()
        number = open_rows["listing"].max()
        lake.replace(FILES, files, {"backend": backend}, (app, int(str(number))))


def latest_listings(lake: Lake) -> pl.DataFrame:
    """The latest row of every listing, by backend and number."""
    rows = lake.scan(LISTINGS).sort("written_at").group_by("backend", "listing").last()
    return rows.select(LISTINGS.schema.names()).sort("backend", "listing").collect()


def _before(lake: Lake, backend: str) -> _Progress:
    rows = latest_listings(lake).filter(pl.col("backend") == backend)
    counted = rows.filter(pl.col("state").is_in(COUNTED))
    files = lake.scan(FILES).filter(pl.col("backend") == backend).collect()
    newest = counted.sort("snapshot_at").tail(1)
    return _Progress(
        files=files,
        # The number of changes that were undone is not used again: Delta has seen it committed.
        number=max(
            int(str(rows["listing"].max() or 0)), lake.app_version(FILE_CHANGES, f"crawl:{backend}")
        ),
        held_at=newest["snapshot_at"][0] if newest["state"].to_list() == ["held"] else None,
        newest=newest["snapshot_at"][0] if newest.height else None,
    )


def _take(
    listing: Listing, progress: _Progress, result: CrawlResult, options: CrawlOptions
) -> None:
    started = time.monotonic()
    listed = _frame(result.backend, listing)
    progress.number += 1
    row: Row = {
        "backend": result.backend, "listing": progress.number, "source": listing.source,
        "report": listing.report, "snapshot_at": listing.snapshot_at, "error": "",
        "written_at": options.now,
    }  # fmt: skip
    if progress.newest is not None and listing.snapshot_at < progress.newest:
        row |= {
            "state": "late", "files": listed.height, "bytes": int(listed["size_bytes"].sum()),
            "added": 0, "removed": 0, "added_bytes": 0, "removed_bytes": 0,
        }  # fmt: skip
    else:
        row |= _apply(listed, listing, progress, options)
    row["seconds"] = time.monotonic() - started
    progress.rows.append(row)
    result.listings += 1
    result.added += row["added"]
    result.removed += row["removed"]
    result.state, result.error = row["state"], row["error"]


def _apply(
    listed: pl.DataFrame, listing: Listing, progress: _Progress, options: CrawlOptions
) -> Row:
    taken = transform.take(
        transform.Before(progress.files, progress.held_at),
        listed,
        progress.number,
        listing.snapshot_at,
        unreadable=listing.unreadable,
        may_hold=listing.source == "list" and not options.allow_removal,
    )
    state = "held" if taken.held else "partial" if listing.unreadable else "complete"
    progress.files = taken.files
    progress.newest = listing.snapshot_at
    progress.held_at = listing.snapshot_at if taken.held else None
    progress.changes.append(taken.changes)
    return {
        "state": state,
        "files": taken.files.height,
        "bytes": int(taken.files["size_bytes"].sum()),
        "error": _why(taken.held, listing.unreadable),
        **transform.totals(taken.changes),
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


def _frame(backend: str, listing: Listing) -> pl.DataFrame:
    table = pa.Table.from_batches(list(listing.batches), schema=LISTED)
    frame = pl.DataFrame(pl.from_arrow(table))
    return frame.with_columns(backend=pl.lit(backend))


def _commit(lake: Lake, backend: str, progress: _Progress) -> None:
    if not progress.rows:
        return
    app = (f"crawl:{backend}", progress.number)
    changes = [frame for frame in progress.changes if frame.height]
    if changes:
        lake.append(FILE_CHANGES, pl.concat(changes), app)
    lake.append(LISTINGS, pl.DataFrame(progress.rows, schema=LISTINGS.schema), app)
    if progress.changes:
        lake.replace(FILES, progress.files, {"backend": backend}, app)
    progress.rows, progress.changes = [], []


def _failed(lake: Lake, progress: _Progress, result: CrawlResult, error: str) -> None:
    log.info("crawl of %s failed: %s", result.backend, error)
    result.state, result.error = "failed", error
    now = clock.now()
    row = {
        "backend": result.backend, "listing": progress.number + 1, "source": result.source,
        "report": "", "snapshot_at": now, "state": "failed", "files": progress.files.height,
        "bytes": int(progress.files["size_bytes"].sum()), "added": 0, "removed": 0,
        "added_bytes": 0, "removed_bytes": 0, "seconds": 0.0, "error": error, "written_at": now,
    }  # fmt: skip
    lake.append(LISTINGS, pl.DataFrame([row], schema=LISTINGS.schema))
