"""Files marked for deletion: a list with reasons, and what it would free. Nothing is deleted.

A mark means one version of a file. Once the file at its path has another etag or size, or is
gone, the mark is void, whatever the table says: readers compare it with `files` every time.
"""

from __future__ import annotations

import datetime as dt
from typing import NamedTuple

import polars as pl

from lake import control
from lake.lease import held
from lake.schemas import FILES, MARKS, STALE_INDEX
from lake.store import Lake
from storage.errors import UsageError

MAX_REASON_LENGTH = 500
UNASSIGNED = "unassigned"
IDENTITY = ("backend", "path", "file_id", "etag", "size_bytes")


class Change(NamedTuple):
    """What marking or unmarking did."""

    files: int
    bytes: int
    left_out: int
    """Files that are not there any more, or were that way before."""


def mark(lake: Lake, chosen: pl.DataFrame, reason: str, by: str, at: dt.datetime) -> Change:
    """Mark files of the index, as they are now; those marked already and those gone are left out.

    `chosen`: backend, path, file_id. Raises UsageError without a reason.
    """
    reason = " ".join(reason.split())
    if not reason:
        raise UsageError("a reason is required: say why these files may go.")
    if len(reason) > MAX_REASON_LENGTH:
        raise UsageError(f"the reason has {len(reason)} characters: at most {MAX_REASON_LENGTH}.")
    with held(lake.root, "control", control.LEASE_WAIT_SECONDS):
        new = (
            _identified(lake, chosen)
            .join(_valid(lake).select("file_id"), on="file_id", how="anti")
            .with_columns(reason=pl.lit(reason), state=pl.lit("marked"))
        )
        return _append(lake, new, chosen.height, (by, at))


def unmark(lake: Lake, chosen: pl.DataFrame, by: str, at: dt.datetime) -> Change:
    """Take marks back, void ones too; files without one are left out. `chosen`: file_id."""
    with held(lake.root, "control", control.LEASE_WAIT_SECONDS):
        old = (
            latest(lake)
            .filter(pl.col("state") == "marked")
            .collect()
            .join(chosen.select("file_id").unique(), on="file_id", how="semi")
            .with_columns(state=pl.lit("unmarked"))
        )
        return _append(lake, old, chosen.height, (by, at))


def latest(lake: Lake) -> pl.LazyFrame:
    """The latest row of each file ever marked."""
    return lake.scan(MARKS).sort("number").group_by("file_id", maintain_order=True).last()


def marked(lake: Lake, index_version: int | None = None) -> pl.DataFrame:
    """Every mark that was not taken back, largest first: the columns of marks, owner and team.

    `state` is marked, or void where the file is gone or another one. Owner and team are those of
    `stale_index` at a version; `unassigned` where that does not know the file.
    """
    rows = latest(lake).filter(pl.col("state") == "marked").collect()
    if rows.is_empty():
        return rows.select(MARKS.schema.names()).with_columns(
            owner=pl.lit(UNASSIGNED), team=pl.lit(UNASSIGNED)
        )
    here = pl.col("file_id").is_in(rows["file_id"].implode())
    owned = lake.scan(STALE_INDEX, index_version).filter(here).select("file_id", "owner", "team")
    return (
        _stated(lake, rows)
        .join(owned.collect(), on="file_id", how="left")
        .with_columns(pl.col("owner", "team").fill_null(UNASSIGNED))
        .sort(["size_bytes", "backend", "path"], descending=[True, False, False])
    )


def _valid(lake: Lake) -> pl.DataFrame:
    rows = latest(lake).filter(pl.col("state") == "marked").collect()
    return _stated(lake, rows).filter(pl.col("state") == "marked")


def _stated(lake: Lake, rows: pl.DataFrame) -> pl.DataFrame:
    """Marks with `state` void where the file is not the one that was marked."""
    now = _identified(lake, rows).select("file_id", etag_now="etag", size_now="size_bytes")
    same = (pl.col("etag") == pl.col("etag_now")) & (pl.col("size_bytes") == pl.col("size_now"))
    state = pl.when(same.fill_null(value=False)).then("state").otherwise(pl.lit("void"))
    return (
        rows.join(now, on="file_id", how="left")
        .with_columns(state=state)
        .select(MARKS.schema.names())
    )


def _identified(lake: Lake, chosen: pl.DataFrame) -> pl.DataFrame:
    """backend, path, file_id, etag, size_bytes of those files that are there now.

    `files` is in order of path: what lies before the first and behind the last is not read.
    """
    if chosen.is_empty():
        return pl.DataFrame(schema={name: FILES.schema[name] for name in IDENTITY})
    paths = chosen["path"].sort()
    modified = pl.lit("modified:") + pl.col("modified_at").dt.to_string(
        "%Y-%m-%dT%H:%M:%S%.fZ"
    ).fill_null("")
    return (
        lake.scan(FILES)
        .filter(
            pl.col("backend").is_in(chosen["backend"].unique().to_list()),
            pl.col("path").is_between(pl.lit(paths[0]), pl.lit(paths[-1])),
            pl.col("file_id").is_in(chosen["file_id"].unique().implode()),
        )
        .select(
            "backend", "path", "file_id",
            etag=pl.coalesce(pl.col("etag"), modified), size_bytes="size_bytes",
        )
        .collect()
    )  # fmt: skip


def _append(lake: Lake, rows: pl.DataFrame, asked: int, change: tuple[str, dt.datetime]) -> Change:
    by, at = change
    done = Change(rows.height, int(rows["size_bytes"].sum()), asked - rows.height)
    if rows.is_empty():
        return done
    last = lake.scan(MARKS).select(pl.col("number").max()).collect().item() or 0
    stamped = rows.sort("backend", "path").with_columns(
        pl.lit(by).alias("by"),
        at=pl.lit(at).cast(pl.Datetime("us", "UTC")),
        number=pl.int_range(last + 1, last + 1 + rows.height, dtype=pl.Int64),
    )
    lake.append(MARKS, stamped, ("control:marks", last + rows.height))
    state, reason = rows["state"][0], stamped["reason"].unique().sort().head(3).to_list()
    what = {"files": done.files, "bytes": done.bytes, "reason": "; ".join(reason),
            "first_number": last + 1, "last_number": last + rows.height}  # fmt: skip
    action = "mark add" if state == "marked" else "mark remove"
    control.audit(lake, (at, by, action), _named(stamped), None, what)
    return done


def _named(rows: pl.DataFrame) -> str:
    first = f"{rows['backend'][0]}:{rows['path'][0]}"
    return first if rows.height == 1 else f"{first} and {rows.height - 1} more"
