"""A listing against the index: what is there now, and what changed. Pure frames.

Both are cut into ranges of paths, and one range is compared at a time.
"""

from __future__ import annotations

import datetime as dt
from typing import NamedTuple

import polars as pl

from lake.schemas import FILE_CHANGES, FILES

HOLD_FROM_FILES = 1000
HOLD_ABOVE_SHARE = 0.20
AT = pl.Datetime("us", "UTC")
Frames = tuple[pl.DataFrame, pl.DataFrame]


class Moment(NamedTuple):
    """Which listing it is, of when, and what it could not see."""

    backend: str
    listing: int
    snapshot_at: dt.datetime
    unreadable: tuple[str, ...] = ()
    keep_gone: bool = False
    """Whether files that are not listed stay all the same (a held removal)."""


class Compared(NamedTuple):
    """One range of a listing applied to the same range of the index."""

    files: pl.DataFrame
    """The index after it, in path order; columns that are null everywhere may be missing."""
    changes: pl.DataFrame
    """What it added, removed or changed."""
    gone: pl.DataFrame
    """file_id, last_seen_at of the files that it does not have and that it should have seen."""


def compare(old: pl.DataFrame, now: pl.DataFrame, moment: Moment) -> Compared:
    """Apply one range of a listing.

    `old`: rows of FILES; `now`: path, file_id, size_bytes and more of FILES; both sorted by path.
    Rows below an unreadable prefix stay as they were.
    """
    live = _known(old, now).with_columns(
        first_seen_at=pl.col("first_seen_at").fill_null(moment.snapshot_at),
        last_seen_at=pl.lit(moment.snapshot_at, AT),
    )
    missing = old.clear()
    if live["previous_bytes"].count() < old.height:
        missing = old.join(now, on="file_id", how="anti", maintain_order="left")
    hidden = missing.filter(below(moment.unreadable))
    gone = missing.filter(~below(moment.unreadable))
    stays = missing if moment.keep_gone else hidden
    files = live.drop("previous_bytes", "previous_etag")
    if stays.height:
        files = pl.concat([files, stays], how="diagonal_relaxed").sort("path", "file_id")
    removed = gone.clear() if moment.keep_gone else gone
    return Compared(files, _changes(live, removed, moment), gone.select("file_id", "last_seen_at"))


def _known(old: pl.DataFrame, now: pl.DataFrame) -> pl.DataFrame:
    """The rows of `now` with what the index knows of them."""
    was = old.select("file_id", "first_seen_at", previous_bytes="size_bytes", previous_etag="etag")
    if was.height:
        return now.join(was, on="file_id", how="left", maintain_order="left")
    unknown = {name: dtype for name, dtype in was.schema.items() if name != "file_id"}
    return now.with_columns(pl.lit(None, dtype).alias(name) for name, dtype in unknown.items())


def below(prefixes: tuple[str, ...]) -> pl.Expr:
    """Whether a path is one of the prefixes or below it; the empty prefix is everything."""
    if "" in prefixes:
        return pl.lit(value=True)
    inside = [
        (pl.col("path") == p) | pl.col("path").str.starts_with(p.rstrip("/") + "/")
        for p in prefixes
    ]
    return pl.any_horizontal(inside) if inside else pl.lit(value=False)


def _changes(live: pl.DataFrame, removed: pl.DataFrame, moment: Moment) -> pl.DataFrame:
    new = pl.col("previous_bytes").is_null()
    etag = pl.col("etag") if "etag" in live.columns else pl.lit(None, pl.String)
    differs = new | (pl.col("size_bytes") != pl.col("previous_bytes")) | etag.ne_missing(
        pl.col("previous_etag")
    )  # fmt: skip
    mask = live.select(differs).to_series()
    changed = (live if mask.all() else live.filter(mask)).with_columns(
        change=pl.when(new).then(pl.lit("added")).otherwise(pl.lit("changed"))
    )
    went = removed.with_columns(
        change=pl.lit("removed"), previous_bytes="size_bytes", size_bytes=pl.lit(0, pl.Int64)
    )
    both = changed
    if went.height:
        both = pl.concat([changed, went], how="diagonal_relaxed").sort("path", "file_id")
    return whole(
        both.with_columns(
            pl.col("previous_bytes").fill_null(0),
            listing=pl.lit(moment.listing, pl.Int64),
            snapshot_at=pl.lit(moment.snapshot_at, AT),
        ),
        FILE_CHANGES.schema,
        moment.backend,
    )


def whole(frame: pl.DataFrame, schema: pl.Schema, backend: str) -> pl.DataFrame:
    """The frame in all columns of a schema; those that it does not have are null."""
    given = {name: pl.col(name) for name in frame.columns} | {"backend": pl.lit(backend)}
    return frame.select(
        given.get(name, pl.lit(None)).cast(dtype).alias(name) for name, dtype in schema.items()
    )


def as_files(frame: pl.DataFrame, backend: str) -> pl.DataFrame:
    """The frame in the columns of FILES."""
    return whole(frame, FILES.schema, backend)


def must_hold(files: int, gone: int, confirmed: int) -> bool:
    """Whether a removal waits: more than 20 % of 1,000 files or more.

    `confirmed`: those of `gone` that a complete listing had missed already.
    """
    return files >= HOLD_FROM_FILES and gone - confirmed > HOLD_ABOVE_SHARE * files


def renames(changes: pl.DataFrame) -> pl.DataFrame:
    """file_id of an added file and the path that it likely had: file_id, renamed_from.

    `changes`: path, file_id, change, etag, size_bytes, previous_bytes of one listing. One file
    that went and one that came with the same etag and size (more than 0), no third one like them.
    """
    there = changes.filter(pl.col("etag").is_not_null())
    added = there.filter(pl.col("change") == "added", pl.col("size_bytes") > 0)
    gone = there.filter(pl.col("change") == "removed", pl.col("previous_bytes") > 0)
    one = pl.len().over("etag", "size") == 1
    came = added.select("file_id", "etag", size="size_bytes").filter(one)
    went = gone.select("etag", renamed_from="path", size="previous_bytes").filter(one)
    return came.join(went, on=["etag", "size"]).select("file_id", "renamed_from")


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
