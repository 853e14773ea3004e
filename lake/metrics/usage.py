"""What each group stores and does, per backend."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from lake.schemas import USAGE

GROUPS = ("user", "team", "backend", "prefix")
ATTRIBUTIONS = ("owner", "access")
MOST_PREFIXES = 10_000
"""Rows of `usage` by prefix per backend; what is smaller is one more row, OTHER."""
OTHER = "(other)"
_ACTIVITY = ("read_count", "write_count", "bytes_read", "bytes_written")


def usage(
    stored: pl.LazyFrame, touched: pl.LazyFrame, activity: pl.LazyFrame,
    group_by: str, attribution: str,
) -> pl.LazyFrame:  # fmt: skip
    """Rows of `usage` for one grouping, largest first, ties by group and backend.

    All three have `group` and backend. `stored`: files, bytes, seen_at of the owned files (of the
    path for backend and prefix). `touched`: touched_files and touched_bytes, the distinct living
    files that the group ever accessed. `activity`: what it did, with last_access_at. Files and
    bytes are the stored ones or, under `access`, the touched ones; the activity is the group's
    own in both.
    """
    key = ["group", "backend"]
    done = activity.group_by(key).agg(
        *(pl.col(name).sum() for name in _ACTIVITY), acted_at=pl.col("last_access_at").max()
    )
    sums = touched.group_by(key).agg(pl.col("touched_files", "touched_bytes").sum())
    by_group = done.join(sums, on=key, how="left")
    if attribution == "access":
        return _shaped(
            by_group.with_columns(
                files="touched_files", bytes="touched_bytes", last_access="acted_at"
            ),
            group_by, attribution,
        )  # fmt: skip
    held = stored.group_by(key).agg(pl.col("files", "bytes").sum(), pl.col("seen_at").max())
    rows = held.join(by_group, on=key, how="full", coalesce=True)
    return _shaped(rows.rename({"seen_at": "last_access"}), group_by, attribution)


def _shaped(rows: pl.LazyFrame, group_by: str, attribution: str) -> pl.LazyFrame:
    counts = ("files", "bytes", *_ACTIVITY, "touched_bytes")
    return (
        rows.with_columns(
            *(pl.col(name).cast(pl.Int64).fill_null(0) for name in counts),
            last_access_at=pl.col("last_access"),
            group_by=pl.lit(group_by),
            attribution=pl.lit(attribution),
        )
        .select(USAGE.schema.names())
        .sort(["bytes", "group", "backend"], descending=[True, False, False])
    )


def prefix(depth: int) -> pl.Expr:
    """The first `depth` segments of `path`."""
    return pl.col("path").str.split("/").list.head(depth).list.join("/")


def segments(names: Sequence[str]) -> pl.Expr:
    """A struct `segments` of as many path segments as there are names; null where a path ends."""
    parts = pl.col("path").str.split_exact("/", len(names))
    fields = [parts.struct.field(f"field_{n}").alias(name) for n, name in enumerate(names)]
    return pl.struct(fields).alias("segments")


def first_segment() -> pl.Expr:
    """`prefix(1)`, for millions of rows."""
    return pl.col("path").str.split_exact("/", 1).struct.field("field_0")


def few_at_root(sums: pl.DataFrame) -> pl.DataFrame:
    """Sums by backend and prefix of a part of the files, those of small files at the root as OTHER.

    A file at the root is a prefix of its own and in one part only: one that MOST_PREFIXES of its
    own part exceed is none of the largest of all. So a flat store needs no row per object.
    """
    if sums.height <= MOST_PREFIXES:
        return sums
    place = pl.int_range(pl.len()).over("backend")
    small = pl.col("at_root") & (place >= MOST_PREFIXES)
    latest = pl.col("seen_at").max()
    return (
        sums.sort(["bytes", "prefix"], descending=[True, False])
        .with_columns(prefix=pl.when(small).then(pl.lit(OTHER)).otherwise("prefix"))
        .group_by("backend", "prefix")
        .agg(pl.exclude("seen_at", "at_root").sum(), latest, pl.col("at_root").first())
        .select(sums.columns)
    )


def few_prefixes(stored: pl.DataFrame, activity: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Both with OTHER as prefix of all but the MOST_PREFIXES of each backend that store most.

    Only in backends that have more; activity in what is not there any more counts among them.
    """
    key = ["backend", "prefix"]
    every = pl.concat([stored.select(key), activity.select(key)]).unique()
    crowded = every.group_by("backend").agg(
        many=(pl.len() > MOST_PREFIXES) | (pl.col("prefix") == OTHER).any()
    )
    if not crowded["many"].any():
        return stored, activity
    kept = (
        stored.filter(pl.col("prefix") != OTHER)
        .sort(["bytes", "prefix"], descending=[True, False])
        .group_by("backend", maintain_order=True).head(MOST_PREFIXES)
        .select(*key, kept=pl.lit(value=True))
    )  # fmt: skip

    def joined(rows: pl.DataFrame) -> pl.DataFrame:
        small = pl.col("many") & pl.col("kept").is_null()
        return (
            rows.join(crowded, on="backend", how="left").join(kept, on=key, how="left")
            .with_columns(prefix=pl.when(small).then(pl.lit(OTHER)).otherwise("prefix"))
            .select(rows.columns)
        )  # fmt: skip

    return joined(stored), joined(activity)
