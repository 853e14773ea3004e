"""Who owns a file, by the first kind of evidence that applies, and the evidence."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection
from typing import NamedTuple

import polars as pl

from lake.metrics.access import accesses

UNASSIGNED = "unassigned"
READER_WINDOW = dt.timedelta(days=90)
NOBODY = ("", "unknown")


class Rule(NamedTuple):
    """Files of `backend` at or below `prefix` (whole segments; empty = all) belong to a team."""

    backend: str
    prefix: str
    team: str


def owners(
    files: pl.LazyFrame,
    access: pl.LazyFrame,
    rules: Collection[Rule],
    ignore: Collection[str],
    as_of: dt.datetime,
) -> pl.LazyFrame:
    """The owner of each file: file_id, owner, owner_source.

    `files`: backend, path, file_id, owner (as the storage names it). First that applies: rule
    (longest prefix), owner named by the storage unless in `ignore`, first writer ever, dominant
    reader of 90 days, unassigned. A rule's owner is `team:<name>`.
    """
    named = pl.col("owner").is_not_null() & ~pl.col("owner").is_in(list(ignore))
    storage = pl.when(named).then(pl.col("owner"))
    rule = _rule(rules)
    found = (
        files.select("backend", "path", "file_id", "owner")
        .join(first_writer(access), on="file_id", how="left")
        .join(dominant_reader(access, as_of), on="file_id", how="left")
        .with_columns(rule=rule, storage=storage)
    )
    kinds = ("rule", "storage", "writer", "reader")
    source = pl.coalesce(pl.when(pl.col(k).is_not_null()).then(pl.lit(k)) for k in kinds)
    return found.select(
        "file_id",
        owner=pl.coalesce(*kinds, pl.lit(UNASSIGNED)),
        owner_source=source.fill_null("none"),
    )


def first_writer(access: pl.LazyFrame) -> pl.LazyFrame:
    """file_id, writer: the user of the earliest write ever, ties by name."""
    return (
        accesses(access)
        .filter(pl.col("first_write_at").is_not_null(), ~pl.col("user").is_in(NOBODY))
        .sort("first_write_at", "user")
        .group_by("file_id")
        .agg(writer=pl.col("user").first())
    )


def dominant_reader(access: pl.LazyFrame, as_of: dt.datetime) -> pl.LazyFrame:
    """file_id, reader: who read most of its bytes in the 90 days before `as_of`, ties by name."""
    since = (as_of - READER_WINDOW).date()
    return (
        accesses(access)
        .filter(pl.col("day") > since, pl.col("bytes_read") > 0, ~pl.col("user").is_in(NOBODY))
        .group_by("file_id", "user")
        .agg(pl.col("bytes_read").sum())
        .sort(["bytes_read", "user"], descending=[True, False])
        .group_by("file_id")
        .agg(reader=pl.col("user").first())
    )


def prefix_rules(rows: pl.DataFrame) -> tuple[Rule, ...]:
    """Rules from the columns backend, prefix, team."""
    return tuple(Rule(*row) for row in rows.select("backend", "prefix", "team").iter_rows())


def _rule(rules: Collection[Rule]) -> pl.Expr:
    longest_first = sorted(rules, key=lambda r: (-len(r.prefix), r.backend, r.prefix))
    cases = [
        pl.when((pl.col("backend") == r.backend) & below(r.prefix)).then(pl.lit(f"team:{r.team}"))
        for r in longest_first
    ]
    return pl.coalesce(cases) if cases else pl.lit(None, pl.String)


def below(prefix: str) -> pl.Expr:
    """Whether `path` is `prefix` or lies below it; the empty prefix holds everything."""
    if not prefix:
        return pl.lit(value=True)
    return (pl.col("path") == prefix) | pl.col("path").str.starts_with(f"{prefix}/")


def team_of(owner: str, first_team: pl.DataFrame) -> pl.Expr:
    """The team of the user in column `owner`: a rule's team, else the first joined.

    `first_team`: user, team.
    """
    mapping = dict(first_team.select("user", "team").iter_rows())
    joined = pl.col(owner).replace_strict(
        list(mapping), list(mapping.values()), default=UNASSIGNED, return_dtype=pl.String
    )
    named = pl.col(owner).str.strip_prefix("team:")
    return pl.when(pl.col(owner).str.starts_with("team:")).then(named).otherwise(joined)
