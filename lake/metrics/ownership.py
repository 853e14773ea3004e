"""Who owns a file, by the first kind of evidence that applies, and the evidence."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping
from typing import NamedTuple

import polars as pl

UNASSIGNED = "unassigned"
READER_WINDOW = dt.timedelta(days=90)
NOBODY = ("", "unknown")
KINDS = ("rule", "storage", "writer", "reader")
CHANGE_AT = 2
"""Another dominant reader takes a file's place only with so many times the bytes."""


class Rule(NamedTuple):
    """Files of `backend` at or below `prefix` (whole segments; empty = all) belong to a team."""

    backend: str
    prefix: str
    team: str


def person(column: str, people: Mapping[str, str]) -> pl.Expr:
    """The name that counts for the one in `column`: that of `people`, else the name itself."""
    name = pl.col(column)
    return name.replace(list(people), list(people.values())) if people else name


def candidates(ignore: Collection[str], people: Mapping[str, str]) -> dict[str, pl.Expr]:
    """Columns storage and writer, null where that kind of evidence does not apply.

    From `named` (the owner as the storage names it) and `first_writer`; owners in `ignore` do not
    count. `people`: name → the name that counts.
    """
    named = pl.col("named").is_not_null() & ~pl.col("named").is_in(list(ignore))
    return {
        "storage": pl.when(named).then(person("named", people)),
        "writer": person("first_writer", people),
    }


def chosen() -> dict[str, pl.Expr]:
    """Columns owner and owner_source, from the columns of all kinds of evidence.

    First that applies: rule (longest prefix), owner named by the storage, first writer ever,
    dominant reader of 90 days, unassigned.
    """
    source = pl.coalesce(pl.when(pl.col(k).is_not_null()).then(pl.lit(k)) for k in KINDS)
    return {
        "owner": pl.coalesce(*KINDS, pl.lit(UNASSIGNED)),
        "owner_source": source.fill_null("none"),
    }


def dominant_reader(reads: pl.LazyFrame, before: pl.LazyFrame, as_of: dt.datetime) -> pl.LazyFrame:
    """file_id, reader: who read most of a file's bytes in the 90 days before `as_of`.

    `reads`: file_id, user, day, bytes_read; ties go to the first name. `before`: file_id, reader,
    as decided last: that one stays until another has read twice as much as he did.
    """
    since = (as_of - READER_WINDOW).date()
    sums = (
        reads.filter(pl.col("day") > since, pl.col("bytes_read") > 0, ~pl.col("user").is_in(NOBODY))
        .group_by("file_id", "user")
        .agg(pl.col("bytes_read").sum())
        .with_columns(several=pl.col("file_id").is_duplicated())
    )
    columns = ("file_id", "user", "bytes_read")
    most = pl.concat([
        sums.filter(~pl.col("several")).select(columns),
        sums.filter("several").sort(["bytes_read", "user"], descending=[True, False])
        .group_by("file_id").agg(pl.col("user").first(), pl.col("bytes_read").first())
        .select(columns),
    ])  # fmt: skip
    kept = before.join(sums, left_on=["file_id", "reader"], right_on=["file_id", "user"]).select(
        "file_id", "reader", kept_bytes="bytes_read"
    )
    stays = pl.col("bytes_read") < CHANGE_AT * pl.col("kept_bytes")
    return most.join(kept, on="file_id", how="left").select(
        "file_id", reader=pl.when(stays).then("reader").otherwise("user")
    )


def prefix_rules(rows: pl.DataFrame) -> tuple[Rule, ...]:
    """Rules from the columns backend, prefix, team."""
    return tuple(Rule(*row) for row in rows.select("backend", "prefix", "team").iter_rows())


def ruled(rules: Collection[Rule]) -> pl.Expr:
    """The owner `team:<name>` by the longest rule that holds backend and path; null without one."""
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


def team_of(owner: str, first_team: Mapping[str, str]) -> pl.Expr:
    """The team of the user in column `owner`: a rule's team, else the first joined.

    `first_team`: user → team.
    """
    mapping = first_team
    joined = pl.col(owner).replace_strict(
        list(mapping), list(mapping.values()), default=UNASSIGNED, return_dtype=pl.String
    )
    named = pl.col(owner).str.strip_prefix("team:")
    return pl.when(pl.col(owner).str.starts_with("team:")).then(named).otherwise(joined)
