"""All results that need a look at every file, a span of buckets at a time.

Every step is a task of the runner: spread the index over spans, compute a span, bring a size class
of `stale_index` together. Memory is that of one task, whatever the lake holds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

import polars as pl

from lake.buckets import Span, spans
from lake.index import Run, write_run
from lake.metrics.index import replay
from lake.metrics.span import Context, Facts, Found, of_span, whose
from lake.metrics.state import USERS, folded_state, in_force
from lake.parts import load
from lake.runner import Runner
from lake.schemas import ACTIVITY, FILE_CHANGES, FILE_READER, FILE_STATE, FILE_USER, FILES
from lake.sources import Accesses, accesses_at
from lake.spread import Piece, pieces, read
from lake.state import bucket_count
from lake.store import Lake


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
    whole_context: Context
    replayed: tuple[str, ...]


@dataclass(frozen=True)
class Sums:
    """What all spans found: the frames of `Found`, summed, and the runs of the index."""

    runs: list[Run]
    owned: pl.DataFrame
    prefixes: pl.DataFrame
    touched: pl.DataFrame
    rollup: pl.DataFrame
    grown: pl.DataFrame
    readers: pl.DataFrame
    activity: pl.DataFrame
    """backend, prefix, user and what they did."""


def compute(whole: Whole, place: str, runner: Runner) -> Sums:
    """The results of every span, summed. Frames that pass between steps lie below `place`."""
    tasks, accesses = _tasks(whole, place, runner)
    done = list(runner.map(compute_span, tasks))
    found = [one for one, _ in done]
    return Sums(
        runs=[run for _, run in done],
        activity=_activity(accesses),
        **{name: _summed(name, found) for name in _KEYS},
        readers=pl.concat([one.readers for one in found]),
    )


def teams(whole: Whole, place: str, runner: Runner) -> pl.DataFrame:
    """file_id, team of every file that was ever listed up to as-of."""
    tasks, _ = _tasks(whole, place, runner)
    return pl.concat(list(runner.map(teams_of_span, tasks)))


def _tasks(whole: Whole, place: str, runner: Runner) -> tuple[list[Task], Accesses]:
    lake, context = whole.lake, whole.context
    accesses = accesses_at(lake, context.as_of, place, runner)
    sizes = [sum(part.rows for part in lake.parts(table)) for table in (FILES, FILE_CHANGES)]
    cut = spans(bucket_count(lake), max(*sizes, accesses.rows))
    files, changes = (pieces(lake, t, cut, place, runner) for t in (FILES, FILE_CHANGES))
    readers = tuple(part.uri for part in lake.parts(FILE_READER))
    return [
        Task(place, span, files[i], changes[i], accesses, readers, context, whole.replayed)
        for i, span in enumerate(cut)
    ], accesses


def compute_span(task: Task) -> tuple[Found, Run]:
    """The task: everything about the files of a span; its part of the index is written."""
    found = of_span(facts(task), task.whole_context)
    run = write_run(task.place, found.index)
    return Found(**{f.name: getattr(found, f.name) for f in fields(Found)} | {
        "index": found.index.clear()
    }), run  # fmt: skip


def teams_of_span(task: Task) -> pl.DataFrame:
    """The task: file_id and team of the files of a span."""
    return whose(facts(task), task.whole_context).select("file_id", "team")


def facts(task: Task) -> Facts:
    """What the tables say about a span."""
    here, as_of = task.span.holds(), task.whole_context.as_of
    changes = read(FILE_CHANGES, task.changes).filter(here, pl.col("snapshot_at") <= as_of)
    files = read(FILES, task.files).filter(here)
    if task.replayed:
        behind = pl.col("backend").is_in(list(task.replayed))
        then = replay(files.clear(), changes.filter(behind))
        files = pl.concat([files.filter(~behind), then])
    state = load(task.accesses.state, FILE_STATE.schema).filter(here)
    users = [
        load(uris, FILE_USER.schema).select(USERS).filter(here)
        for uris in (task.accesses.users, task.accesses.partial_users)
    ]
    readers = load(task.readers, FILE_READER.schema).filter(here, pl.col("since_at") <= as_of)
    return Facts(
        files=files.collect(),
        state=folded_state(state).collect(),
        users=pl.concat([in_force(users[0], task.accesses.replaced), users[1]]),
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
