"""Listings against the index: what is there now, and what changed. Pure frames."""

from __future__ import annotations

import datetime as dt
from typing import NamedTuple

import polars as pl

from lake.ids import file_id
from lake.schemas import FILE_CHANGES, FILES
from storage.errors import BackendError

HOLD_FROM_FILES = 1000
HOLD_ABOVE_SHARE = 0.20


class Taken(NamedTuple):
    """A listing applied to the index."""

    files: pl.DataFrame
    """The index after it (columns of FILES)."""
    changes: pl.DataFrame
    """What it added, removed or changed (columns of FILE_CHANGES)."""
    held: int
    """Files that the listing does not have and that stay all the same."""


class Before(NamedTuple):
    """What is known of a backend before a listing."""

    files: pl.DataFrame
    held_at: dt.datetime | None = None
    """Snapshot of the previous listing, if that one held its removals."""


def take(
    before: Before,
    listed: pl.DataFrame,
    listing: int,
    snapshot_at: dt.datetime,
    *,
    unreadable: list[str],
    may_hold: bool,
) -> Taken:
    """Apply one listing (columns backend and those of LISTED).

    Rows below an `unreadable` prefix stay as they were. With `may_hold`, a removal of more than
    20 % of 1,000 files or more is held, unless the listing before held the same files.
    Raises BackendError when two paths have one file_id.
    """
    now = listed.unique("path", keep="last").with_columns(file_id())
    if now["file_id"].n_unique() != now.height:
        raise BackendError(
            f"backend '{listed['backend'][0]}': two paths have the same file_id: the listing is "
            "not used; this needs the WarpDrive developers."
        )
    old = before.files
    kept = old.join(now, on="file_id", how="anti").filter(_below(unreadable))
    gone = old.join(now, on="file_id", how="anti").filter(~_below(unreadable))
    # Only a complete listing may confirm what an earlier one missed.
    held = may_hold and _must_hold(old, gone, None if unreadable else before.held_at)
    live = now.join(old.select("file_id", "first_seen_at"), on="file_id", how="left").with_columns(
        first_seen_at=pl.col("first_seen_at").fill_null(snapshot_at), last_seen_at=snapshot_at
    )
    parts = [live, kept, gone] if held else [live, kept]
    files = pl.concat([_as_files(part) for part in parts]).sort("path")
    return Taken(
        files,
        _changes(old, files, listing, snapshot_at),
        gone.height if held else 0,
    )


def _below(prefixes: list[str]) -> pl.Expr:
    """Whether a path is one of the prefixes or below it; the empty prefix is everything."""
    if "" in prefixes:
        return pl.lit(value=True)
    below = [
        (pl.col("path") == p) | pl.col("path").str.starts_with(p.rstrip("/") + "/")
        for p in prefixes
    ]
    return pl.any_horizontal(below) if below else pl.lit(value=False)


def _must_hold(old: pl.DataFrame, gone: pl.DataFrame, held_at: dt.datetime | None) -> bool:
    if old.height < HOLD_FROM_FILES:
        return False
    if held_at is not None:  # what the held listing missed already is confirmed by this one
        gone = gone.filter(pl.col("last_seen_at") >= held_at)
    return gone.height > HOLD_ABOVE_SHARE * old.height


def _as_files(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select(pl.col(name).cast(dtype) for name, dtype in FILES.schema.items())


def _changes(
    old: pl.DataFrame, new: pl.DataFrame, listing: int, snapshot_at: dt.datetime
) -> pl.DataFrame:
    was = old.select("file_id", previous_bytes="size_bytes", previous_etag="etag")
    there = new.join(was, on="file_id", how="left")
    differs = pl.col("previous_bytes").is_null() | (
        pl.col("size_bytes") != pl.col("previous_bytes")
    ) | pl.col("etag").ne_missing(pl.col("previous_etag"))  # fmt: skip
    kind = pl.when(pl.col("previous_bytes").is_null()).then(pl.lit("added"))
    changed = there.filter(differs).with_columns(change=kind.otherwise(pl.lit("changed")))
    removed = old.join(new, on="file_id", how="anti").with_columns(
        change=pl.lit("removed"), previous_bytes="size_bytes", size_bytes=pl.lit(0, pl.Int64)
    )
    return (
        pl.concat([changed, removed], how="diagonal")
        .with_columns(
            pl.col("previous_bytes").fill_null(0),
            listing=pl.lit(listing, pl.Int64),
            snapshot_at=pl.lit(snapshot_at).cast(pl.Datetime("us", "UTC")),
        )
        .select(pl.col(name).cast(dtype) for name, dtype in FILE_CHANGES.schema.items())
        .sort("path")
    )


def totals(changes: pl.DataFrame) -> dict[str, int]:
    """Files added and removed, bytes that came and went."""
    delta = pl.col("size_bytes") - pl.col("previous_bytes")
    row = changes.select(
        added=(pl.col("change") == "added").sum(),
        removed=(pl.col("change") == "removed").sum(),
        added_bytes=delta.filter(delta > 0).sum(),
        removed_bytes=-delta.filter(delta < 0).sum(),
    ).row(0, named=True)
    return {name: int(value) for name, value in row.items()}
