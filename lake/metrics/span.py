"""Everything that is computed of one span of `file_id`: frames in, frames out.

What is here is true of the span's files alone; sums of spans are sums of all.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

from lake.metrics import growth, state
from lake.metrics.ownership import Rule, candidates, chosen, dominant_reader, ruled, team_of
from lake.metrics.stale import dated
from lake.metrics.usage import few_at_root
from lake.schemas import STALE_INDEX, STALE_ROLLUP

DAY = dt.timedelta(days=1)
INDEX = {n: dtype for n, dtype in STALE_INDEX.schema.items() if n != "path"}
"""What a span knows of a row of `stale_index`: all but its path."""
_TOUCHED = ("group", "backend", "touched_files", "touched_bytes")
_STORED = (pl.len().cast(pl.Int64).alias("files"), pl.col("size_bytes").sum().alias("bytes"))
AGES = (0, 1, 7, 14, 30, 60, 90, 120, 180, 270, 365, 545, 730, 1095)
"""Days of `stale_rollup`: totals of these windows are exact sums of its rows."""


@dataclass(frozen=True)
class Context:
    """What decides beside the files: as-of, rules, ignored owners, teams, who is one person."""

    as_of: dt.datetime
    rules: tuple[Rule, ...] = ()
    ignore_owners: tuple[str, ...] = ()
    first_team: Mapping[str, str] = field(default_factory=dict)
    people: Mapping[str, str] = field(default_factory=dict)
    """Name → the name that counts, of names that have an alias."""


@dataclass(frozen=True)
class Facts:
    """What is known of the files of a span."""

    files: pl.DataFrame
    """Living files but for their paths (`lake.spread.NARROW`)."""
    state: pl.DataFrame
    """file_id, last_access_at, first_writer: one row per file."""
    users: pl.DataFrame
    """file_id, user, day, bytes_read: folded rows of `file_user` in force, sorted."""
    partial_users: pl.DataFrame
    """The same columns of days that are not folded."""
    readers: pl.DataFrame
    """file_id, reader: the dominant readers decided before."""
    changes: pl.LazyFrame
    """Numbers of `file_changes` up to as-of."""
    removed: pl.LazyFrame
    """Its rows of removed files up to as-of."""


@dataclass(frozen=True)
class Found:
    """The results of a span; all but `index` are sums."""

    index: pl.DataFrame
    """Rows of INDEX, and `class`."""
    owned: pl.DataFrame
    """backend, owner, team, files, bytes, seen_at."""
    prefixes: pl.DataFrame
    """backend, prefix, files, bytes, seen_at, touched_files, touched_bytes."""
    touched: pl.DataFrame
    """by (user or team), group, backend, touched_files, touched_bytes."""
    rollup: pl.DataFrame
    """Rows of `stale_rollup`."""
    grown: pl.DataFrame
    """backend, team, day, came, grew, added_bytes, removed_bytes."""
    readers: pl.DataFrame
    """file_id, reader: owners by reading that were not in force before."""


def of_span(facts: Facts, context: Context) -> Found:
    """Owners, last accesses and the sums of both, for the files of a span."""
    known = whose(facts, context)
    files = dated(known.filter("live").lazy()).collect()
    rolled = _rolled(files, context.as_of)
    return Found(
        index=_index(files),
        owned=_owned_sums(rolled),
        prefixes=_prefix_sums(files),
        touched=_touched(files, facts, context),
        rollup=rolled.select(STALE_ROLLUP.schema.names()),
        grown=_grown(facts, known.select("file_id", "team")),
        readers=_new_readers(known, facts),
    )


def _gone(facts: Facts, rules: tuple[Rule, ...]) -> pl.LazyFrame:
    """The last row of files that are not there any more: backend, file_id, owner, rule."""
    return (
        facts.removed.select("file_id", "backend", "path", "owner", "listing")
        .join(facts.files.lazy().select("file_id"), on="file_id", how="anti")
        .sort("listing").group_by("file_id").last()
        .with_columns(live=pl.lit(value=False), rule=ruled(rules)).drop("listing", "path")
    )  # fmt: skip


def whose(facts: Facts, context: Context) -> pl.DataFrame:
    """Every file that was ever listed, with telemetry, owner, owner_source, team and `live`."""
    living = facts.files.lazy().with_columns(live=pl.lit(value=True))
    files = pl.concat([living, _gone(facts, context.rules)], how="diagonal")
    seen = facts.state.lazy().select("file_id", "first_writer", telemetry="last_access_at")
    found = (
        files.rename({"owner": "named"})
        .join(seen, on="file_id", how="left")
        .with_columns(**candidates(context.ignore_owners, context.people))
        .collect()
    )
    undecided = found.filter(pl.coalesce("rule", "storage", "writer").is_null()).select("file_id")
    if undecided.height:
        users = pl.concat([facts.users.lazy(), facts.partial_users.lazy()])
        reads = users.join(undecided.lazy(), on="file_id", how="semi")
        readers = dominant_reader(reads, facts.readers.lazy(), context.as_of).collect()
        found = found.join(readers, on="file_id", how="left", maintain_order="left")
    else:
        found = found.with_columns(reader=pl.lit(None, pl.String))
    return (
        found.lazy().with_columns(**chosen()).drop("rule", "storage", "writer", "reader", "named")
        .with_columns(team=team_of("owner", context.first_team))
        .collect()
    )  # fmt: skip


def _index(files: pl.DataFrame) -> pl.DataFrame:
    return files.rename({"modified_at": "last_modified_at"}).select(*INDEX, "class")


def _owned_sums(rolled: pl.DataFrame) -> pl.DataFrame:
    return rolled.group_by("backend", "owner", "team").agg(
        pl.col("files", "bytes").sum(), pl.col("seen_at").max()
    )


def _prefix_sums(files: pl.DataFrame) -> pl.DataFrame:
    seen = pl.col("telemetry").is_not_null()
    sums = (
        files.lazy().group_by("backend", "prefix")
        .agg(
            *_STORED, seen_at=pl.col("last_access_at").max(),
            touched_files=seen.sum().cast(pl.Int64),
            touched_bytes=pl.col("size_bytes").filter(seen).sum(),
            at_root=pl.col("at_root").first(),
        ).collect()
    )  # fmt: skip
    return few_at_root(sums).drop("at_root")


def _touched(files: pl.DataFrame, facts: Facts, context: Context) -> pl.DataFrame:
    """Living files that each user, and each team, ever accessed."""
    sizes = files.lazy().filter(pl.col("telemetry").is_not_null()).select(
        "file_id", "backend", "size_bytes"
    )  # fmt: skip
    pairs = state.pairs(facts.users, facts.partial_users).lazy()
    touched = pairs.rename({"user": "group"}).join(sizes, on="file_id").with_columns(
        shared=pl.col("file_id").is_duplicated()
    ).collect()  # fmt: skip
    team = team_of("group", context.first_team)
    # Most files have one user: only those of several can be counted twice for a team.
    several = touched.lazy().filter("shared").with_columns(group=team)
    by_user = _touched_sums(touched.lazy(), "shared")
    alone = by_user.filter(~pl.col("shared")).with_columns(group=team)
    shared = _touched_sums(several.unique(["file_id", "group"]))
    sums = {"user": [by_user], "team": [alone, shared]}
    return pl.concat(
        pl.concat([f.select(_TOUCHED) for f in frames])
        .group_by("group", "backend").agg(pl.all().sum())
        .select(pl.lit(by).alias("by"), *_TOUCHED)
        for by, frames in sums.items()
    )  # fmt: skip


def _touched_sums(rows: pl.LazyFrame, *more: str) -> pl.DataFrame:
    return (
        rows.group_by("group", "backend", *more)
        .agg(touched_files=pl.len().cast(pl.Int64), touched_bytes=pl.col("size_bytes").sum())
        .collect()
    )


def _rolled(files: pl.DataFrame, as_of: dt.datetime) -> pl.DataFrame:
    """Rows of `stale_rollup`, and the latest access of each; an owner has one team."""
    return (
        files.lazy()
        .with_columns(age_days=age_days(as_of), size_class=size_class())
        .group_by("backend", "owner", "age_days", "size_class")
        .agg(*_STORED, pl.col("team").first(), seen_at=pl.col("last_access_at").max())
        .collect()
    )


def age_days(as_of: dt.datetime) -> pl.Expr:
    """The largest of AGES so many days before `as_of` the last access still was; -1 if none."""
    idle = pl.lit(as_of).cast(pl.Datetime("us", "UTC")) - pl.col("last_access_at")
    found = pl.when(idle > AGES[-1] * DAY).then(pl.lit(AGES[-1], pl.Int64))
    for days in reversed(AGES[:-1]):
        found = found.when(idle > days * DAY).then(pl.lit(days, pl.Int64))
    return found.otherwise(pl.lit(-1, pl.Int64))


def size_class() -> pl.Expr:
    """Floor of log2 of `size_bytes`; -1 for 0."""
    return (63 - pl.col("size_bytes").bitwise_leading_zeros().cast(pl.Int64)).cast(pl.Int64)


def _grown(facts: Facts, teams: pl.DataFrame) -> pl.DataFrame:
    return growth.daily(facts.changes, teams.lazy()).collect()


def _new_readers(whose: pl.DataFrame, facts: Facts) -> pl.DataFrame:
    now = whose.filter(pl.col("owner_source") == "reader").select("file_id", reader="owner")
    return now.join(facts.readers, on=["file_id", "reader"], how="anti")
