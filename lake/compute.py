"""All results that need a look at every file, a span of buckets at a time.

Every step is a task of the runner: spread the index over spans, compute a span, bring a size class
of `stale_index` together. Memory is that of one task, whatever the lake holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import polars as pl

from lake.buckets import Span, fine_spans
from lake.classes import cuts
from lake.index import Class, Run, classes, write_run
from lake.metrics.index import replay as replayed_files
from lake.metrics.ownership import person
from lake.metrics.span import Context, Facts, Found, of_span, whose
from lake.metrics.state import STATE, USERS, in_force, state_with
from lake.parts import Part, load, write_part
from lake.pieces import Piece, load_pieces
from lake.schemas import ACTIVITY, FILE_CHANGES, FILE_READER, FILE_STATE, FILE_USER, FILES, Table
from lake.sources import Accesses, accesses_at
from lake.spread import (
    CHANGE,
    FILE,
    NARROW,
    REMOVED,
    TOLD,
    Plan,
    parted,
    spread_changes,
    spread_files,
    spread_told,
)
from lake.state import bucket_count
from lake.store import Lake
from lake.work import Work

HELD_ROWS = 100_000


@dataclass(frozen=True)
class Whole:
    """The lake at an instant: what decides, and which backends' files are told by changes."""

    lake: Lake
    context: Context
    replayed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Task:
    """One span, and the files that hold its rows."""

    plan: Plan
    span: Span
    files: tuple[Piece, ...]
    changes: tuple[Piece, ...]
    told: tuple[Piece, ...]
    accesses: Accesses
    readers: tuple[str, ...]
    context: Context
    replayed: tuple[str, ...]
    readers_root: str
    """Where new readers are kept; empty = nowhere."""


@dataclass(frozen=True)
class Sums:
    """What all spans found: the frames of `Found`, summed, and the runs of the index."""

    index: list[Class]
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
    ready = _ready(whole, work)
    paths = {n: list(pieces) for n, pieces in ready.paths.items()}
    runs, readers = [], []
    sums = {name: Adding(key) for name, key in _KEYS.items()}
    for done in work.runner.map(compute_span, ready.tasks):
        for name, added in sums.items():
            added.add(getattr(done.found, name))
        for number, piece in done.paths.items():
            paths.setdefault(number, []).append(piece)
        runs.append(done.run)
        readers += [done.readers] if done.readers else []
    return Sums(
        index=classes(runs, paths),
        activity=_activity(ready.accesses, whole.context.people),
        **{name: added.total() for name, added in sums.items()},
        readers=readers,
    )


def teams(whole: Whole, work: Work) -> pl.DataFrame:
    """file_id, team of every file that was ever listed up to as-of."""
    tasks = _ready(whole, work, paths=False).tasks
    return pl.concat(list(work.runner.map(teams_of_span, tasks)))


@dataclass(frozen=True)
class _Ready:
    """The tables, spread: what is to be computed, and the paths of living files by class."""

    tasks: list[Task]
    accesses: Accesses
    paths: Mapping[int, tuple[Piece, ...]]


def _ready(whole: Whole, work: Work, *, paths: bool = True) -> _Ready:
    lake, context, replayed = whole.lake, whole.context, whole.replayed
    accesses = accesses_at(lake, context.as_of, work.place, work.runner)
    sizes = [sum(part.rows for part in lake.parts(table)) for table in (FILES, FILE_CHANGES)]
    cut = fine_spans(bucket_count(lake), max(*sizes, accesses.rows))
    plan = Plan(
        work.place, cut[-1].last + 1, len(cut), cuts(lake, replayed) if paths else (),
        context.rules, paths,
    )  # fmt: skip
    files = spread_files(lake, plan, replayed, work.runner)
    changes = spread_changes(lake, plan, work.runner)
    told = spread_told(lake, plan, replayed, work.runner)
    readers = tuple(part.uri for part in lake.parts(FILE_READER))
    tasks = [
        Task(
            plan,
            span,
            files.spans.get(i, ()),
            changes.spans.get(i, ()),
            told.spans.get(i, ()),
            accesses.within(span),
            readers,
            context,
            replayed,
            lake.root if work.keep else "",
        )
        for i, span in enumerate(cut)
    ]
    return _Ready(tasks, accesses, files.classes)


@dataclass(frozen=True)
class Done:
    """A span that is computed: its sums, and where its rows are."""

    found: Found
    """Without rows of the index and of readers."""
    run: Run
    paths: Mapping[int, Piece]
    """Paths of files that only the changes tell, by class."""
    readers: Part | None


def compute_span(task: Task) -> Done:
    """The task: everything about the files of a span; what has a row per file is written."""
    known, paths = facts(task)
    found = of_span(known, task.context)
    run = write_run(task.plan.place, found.index)
    readers = None
    if task.readers_root and found.readers.height:
        since = pl.lit(task.context.as_of).cast(pl.Datetime("us", "UTC"))
        rows = found.readers.with_columns(since_at=since).sort("file_id")
        readers = write_part(task.readers_root, FILE_READER, rows)
    sums = replace(found, index=found.index.clear(), readers=found.readers.clear())
    return Done(sums, run, paths, readers)


def teams_of_span(task: Task) -> pl.DataFrame:
    """The task: file_id and team of the files of a span."""
    known, _ = facts(task)
    return whose(known, task.context).select("file_id", "team")


def facts(task: Task) -> tuple[Facts, dict[int, Piece]]:
    """What the tables say about a span; paths that were written, by class."""
    here, as_of = task.span.holds(), task.context.as_of
    until = pl.col("snapshot_at") <= as_of
    told = load_pieces(task.told, _types(FILE_CHANGES, TOLD)).lazy().filter(until)
    living, paths = load_pieces(task.files, NARROW), {}
    if task.replayed:
        changes = told.filter(pl.col("backend").is_in(list(task.replayed)))
        then = replayed_files(pl.LazyFrame(schema=_types(FILES, FILE)), changes)
        rows, paths = parted(task.plan, then.collect())
        living = pl.concat([living, rows])
    found = task.accesses
    state, new_state = (
        load([one.uri for one in files], FILE_STATE.schema).select(STATE).filter(here).collect()
        for files in (found.state, found.partial_state)
    )
    users, new_users = (
        load([one.uri for one in files], FILE_USER.schema).select(USERS).filter(here)
        for files in (found.users, found.partial_users)
    )
    people = task.context.people
    who = person("user", people)
    base = in_force(users, found.replaced).select(_READ).with_columns(who)
    readers = load(task.readers, FILE_READER.schema).filter(here, pl.col("since_at") <= as_of)
    return Facts(
        files=living,
        state=state_with(state, new_state),
        # Names that became another's do not stand where they stood in the order.
        users=(base.sort("file_id", "user") if people else base).collect(),
        partial_users=new_users.select(_READ).with_columns(who).collect(),
        readers=readers.sort("since_at").group_by("file_id").last()
        .select("file_id", person("reader", people)).collect(),
        changes=load_pieces(task.changes, _types(FILE_CHANGES, CHANGE)).lazy().filter(until),
        removed=told.filter(pl.col("change") == REMOVED),
    ), paths  # fmt: skip


def _types(table: Table, names: Iterable[str]) -> dict[str, pl.DataType]:
    return {name: table.schema[name] for name in names}


def _activity(accesses: Accesses, people: Mapping[str, str]) -> pl.DataFrame:
    sums = [pl.col(n).sum() for n in ("read_count", "write_count", "bytes_read", "bytes_written")]
    return (
        load(accesses.activity, ACTIVITY.schema)
        .with_columns(person("user", people))
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


class Adding:
    """Frames of many spans as one: counts and bytes added, the latest of instants.

    They are added up while they come: spans have many keys in common, and there are many spans.
    """

    def __init__(self, key: tuple[str, ...]) -> None:
        self._key = key
        self._held: list[pl.DataFrame] = []
        self._rows = self._most = 0

    def add(self, rows: pl.DataFrame) -> None:
        """Take a frame in."""
        self._held.append(rows)
        self._rows += rows.height
        if self._rows > max(HELD_ROWS, 2 * self._most):
            self._held = [self.total()]
            self._rows = self._most = self._held[0].height

    def total(self) -> pl.DataFrame:
        """The sum of all."""
        rows = pl.concat(self._held)
        latest = [n for n in rows.columns if n.endswith("_at")]
        sums = [n for n in rows.columns if n not in (*self._key, *latest)]
        added = rows.group_by(self._key).agg(pl.col(sums).sum(), pl.col(latest).max())
        return added.select(rows.columns)
