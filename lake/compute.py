"""All results that need a look at every file, a span of buckets at a time.

Every step is a task of the runner: spread the index over spans, compute a span, bring a size class
of `stale_index` together. Memory is that of one task, whatever the lake holds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import polars as pl

from lake.buckets import Span, fine_spans
from lake.index import Run, write_run
from lake.metrics.index import replay as replayed_files
from lake.metrics.span import Context, Facts, Found, of_span, whose
from lake.metrics.state import STATE, USERS, in_force, state_with
from lake.parts import Part, load, write_part
from lake.schemas import ACTIVITY, FILE_CHANGES, FILE_READER, FILE_STATE, FILE_USER, FILES
from lake.sources import Accesses, accesses_at
from lake.spread import Piece, pieces, read
from lake.state import bucket_count
from lake.store import Lake
from lake.work import Work


@dataclass(frozen=True)
class Whole:
    """The lake at an instant: what decides, and which backends' files are told by changes."""

    lake: Lake
    context: Context
    replayed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Task:
    """One span, and the files that hold its rows."""

    place: str
    span: Span
    files: tuple[Piece, ...]
    changes: tuple[Piece, ...]
    accesses: Accesses
    readers: tuple[str, ...]
    context: Context
    replayed: tuple[str, ...]
    readers_root: str
    """Where new readers are kept; empty = nowhere."""


@dataclass(frozen=True)
class Sums:
    """What all spans found: the frames of `Found`, summed, and the runs of the index."""

    runs: list[Run]
    owned: pl.DataFrame
    prefixes: pl.DataFrame
    touched: pl.DataFrame
    rollup: pl.DataFrame
    grown: pl.DataFrame
    readers: list[Part]
    """New rows of `file_reader`, not committed."""
    activity: pl.DataFrame
    """backend, prefix, user and what they did."""


def compute(whole: Whole, work: Work) -> Sums:
    """The results of every span, summed."""
    tasks, accesses = _tasks(whole, work)
    done = list(work.runner.map(compute_span, tasks))
    found = [one.found for one in done]
    return Sums(
        runs=[one.run for one in done],
        activity=_activity(accesses),
        **{name: _summed(name, found) for name in _KEYS},
        readers=[one.readers for one in done if one.readers],
    )


def teams(whole: Whole, work: Work) -> pl.DataFrame:
    """file_id, team of every file that was ever listed up to as-of."""
    tasks, _ = _tasks(whole, work)
    return pl.concat(list(work.runner.map(teams_of_span, tasks)))


def _tasks(whole: Whole, work: Work) -> tuple[list[Task], Accesses]:
    lake, context = whole.lake, whole.context
    place, runner = work.place, work.runner
    accesses = accesses_at(lake, context.as_of, place, runner)
    sizes = [sum(part.rows for part in lake.parts(table)) for table in (FILES, FILE_CHANGES)]
    cut = fine_spans(bucket_count(lake), max(*sizes, accesses.rows))
    files, changes = (pieces(lake, t, cut, place, runner) for t in (FILES, FILE_CHANGES))
    readers = tuple(part.uri for part in lake.parts(FILE_READER))
    return [
        Task(
            place,
            span,
            files[i],
            changes[i],
            accesses,
            readers,
            context,
            whole.replayed,
            lake.root if work.keep else "",
        )
        for i, span in enumerate(cut)
    ], accesses


@dataclass(frozen=True)
class Done:
    """A span that is computed: its sums, and where its rows are."""

    found: Found
    """Without rows of the index and of readers."""
    run: Run
    readers: Part | None


def compute_span(task: Task) -> Done:
    """The task: everything about the files of a span; what has a row per file is written."""
    found = of_span(facts(task), task.context)
    run = write_run(task.place, found.index)
    readers = None
    if task.readers_root and found.readers.height:
        since = pl.lit(task.context.as_of).cast(pl.Datetime("us", "UTC"))
        rows = found.readers.with_columns(since_at=since).sort("file_id")
        readers = write_part(task.readers_root, FILE_READER, rows)
    return Done(
        replace(found, index=found.index.clear(), readers=found.readers.clear()), run, readers
    )


def teams_of_span(task: Task) -> pl.DataFrame:
    """The task: file_id and team of the files of a span."""
    return whose(facts(task), task.context).select("file_id", "team")


def facts(task: Task) -> Facts:
    """What the tables say about a span."""
    here, as_of = task.span.holds(), task.context.as_of
    changes = read(FILE_CHANGES, task.changes).filter(here, pl.col("snapshot_at") <= as_of)
    living = read(FILES, task.files).filter(here)
    if task.replayed:
        behind = pl.col("backend").is_in(list(task.replayed))
        then = replayed_files(living.clear(), changes.filter(behind))
        living = pl.concat([living.filter(~behind), then])
    found = task.accesses
    state, new_state = (
        load([one.uri for one in files], FILE_STATE.schema).select(STATE).filter(here).collect()
        for files in (found.state, found.partial_state)
    )
    users, new_users = (
        load([one.uri for one in files], FILE_USER.schema).select(USERS).filter(here)
        for files in (found.users, found.partial_users)
    )
    readers = load(task.readers, FILE_READER.schema).filter(here, pl.col("since_at") <= as_of)
    return Facts(
        files=living.collect(),
        state=state_with(state, new_state),
        users=in_force(users, found.replaced).select(_READ).collect(),
        partial_users=new_users.select(_READ).collect(),
        readers=readers.sort("since_at").group_by("file_id").last()
        .select("file_id", "reader").collect(),
        changes=changes,
    )  # fmt: skip


def _activity(accesses: Accesses) -> pl.DataFrame:
    sums = [pl.col(n).sum() for n in ("read_count", "write_count", "bytes_read", "bytes_written")]
    return (
        load(accesses.activity, ACTIVITY.schema)
        .group_by("backend", "prefix", "user")
        .agg(*sums, pl.col("last_access_at").max())
        .collect()
    )


_READ = ("file_id", "user", "day", "bytes_read")
_KEYS = {
    "owned": ("backend", "owner", "team"),
    "prefixes": ("backend", "prefix"),
    "touched": ("by", "group", "backend"),
    "rollup": ("backend", "owner", "team", "age_days", "size_class"),
    "grown": ("backend", "team", "day"),
}


def _summed(name: str, found: Iterable[Found]) -> pl.DataFrame:
    """The frames of all spans as one: counts and bytes added, the latest of instants."""
    key = _KEYS[name]
    rows = pl.concat([getattr(one, name) for one in found])
    latest = [n for n in rows.columns if n.endswith("_at")]
    sums = [n for n in rows.columns if n not in (*key, *latest)]
    return rows.group_by(key).agg(pl.col(sums).sum(), pl.col(latest).max()).select(rows.columns)
