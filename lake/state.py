"""The state tables: partials per landing day, the folded base in buckets, both made again.

`file_state` and `file_user` hold the partials of days that are not folded yet (bucket -1) beside
one file per bucket of everything before (landing day `base`). A landing day is folded once it is
sealed. Whoever reads takes all of them.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from lake.buckets import DEFAULT_BUCKETS, Span, bucket, spans
from lake.metrics import state
from lake.metrics.access import accesses
from lake.metrics.state import BASE, UNFOLDED
from lake.parts import Part, load, write_part
from lake.runner import INLINE, Runner
from lake.schemas import ACCESS_DAILY, ACTIVITY, FILE_STATE, FILE_USER, Table
from lake.store import Lake

PARTIALS = (FILE_STATE, FILE_USER, ACTIVITY)
BUCKETED = (FILE_STATE, FILE_USER)
SETTING = "warpdrive.buckets"
SEALED_AFTER = dt.timedelta(hours=48)
FOLD_DAYS = 7
FOLD_SHARE = 0.2
ROW_GROUP = 32_768
"""Rows that are read together: a bucket of a partial is found by the bounds of these groups."""
_DOUBTED, _CLEARED, _FOLDS = "doubted", "cleared", "folds"


def create(lake: Lake, buckets: int) -> None:
    """Make the bucketed tables; their number of buckets stays as it is then."""
    for table in BUCKETED:
        lake.create(table, {SETTING: str(buckets)})


def bucket_count(lake: Lake) -> int:
    """How many buckets the lake was made with."""
    return int(lake.setting(FILE_STATE, SETTING) or DEFAULT_BUCKETS)


def partials(root: str, day: str, access: pl.DataFrame) -> dict[str, Part]:
    """Write what one landing day of `access_daily` says: a part by name of its table."""
    rows = access.lazy()
    found = {
        FILE_STATE: state.file_state(rows),
        FILE_USER: state.file_user(rows, day),
        ACTIVITY: state.activity(rows),
    }
    parts = {}
    for table, frame in found.items():
        where = {"landing_day": day} | ({"bucket": UNFOLDED} if table in BUCKETED else {})
        partition = {name: where[name] for name in table.partition_by}
        made = frame.collect()
        if made.height:
            parts[table.name] = write_part(
                root, table, made, partition, ROW_GROUP, ordered=table not in BUCKETED
            )
    return parts


def loses(before: pl.LazyFrame, after: pl.LazyFrame) -> bool:
    """Whether an access that `before` has is not in `after`: a base that knows it is wrong."""
    key = ["file_id", "user", "day", "last_access_at"]
    gone = accesses(before).select(key).join(accesses(after).select(key), on=key, how="anti")
    writes = ["file_id", "user", "day", "first_write_at"]
    unwritten = (
        accesses(before).filter(pl.col("first_write_at").is_not_null()).select(writes)
        .join(accesses(after).select(writes), on=writes, how="anti")
    )  # fmt: skip
    return any(frame.head(1).collect().height for frame in (gone, unwritten))


@dataclass(frozen=True)
class Bucketful:
    """Folding one span of buckets."""

    root: str
    table: str
    buckets: int
    span: Span
    base: tuple[str, ...]
    partials: tuple[str, ...]
    replaced: tuple[str, ...]
    today: dt.date


def fold_base(
    lake: Lake, now: dt.datetime, runner: Runner = INLINE, *, at_once: bool = False
) -> dict[str, int]:
    """Fold sealed partials into the base, bucket by bucket; how many days, by table.

    Only when it is worth it (FOLD_DAYS days, or FOLD_SHARE of the base), or `at_once`.
    """
    found = {}
    for table in BUCKETED:
        parts = lake.parts(table)
        sealed = [part for part in parts if part.partition["bucket"] == UNFOLDED
                  and is_sealed(part.partition["landing_day"], now)
                  and part.most["last_access_at"] <= now]  # fmt: skip
        base = [part for part in parts if part.partition["landing_day"] == BASE]
        if sealed and (at_once or _worth(sealed, base)):
            _fold_base(lake, table, (base, sealed), now, runner)
            found[table.name] = len(sealed)
    return found


def is_sealed(landing_day: str, now: dt.datetime) -> bool:
    """Whether a landing day ended more than 48 h ago; `skewed` never is."""
    try:
        day = dt.datetime.fromisoformat(f"{landing_day}T00:00:00+00:00")
    except ValueError:
        return False
    return day + dt.timedelta(days=1) + SEALED_AFTER <= now


def may_be_folded(lake: Lake, landing_day: str) -> bool:
    """Whether the base may hold a landing day."""
    folded = lake.app_version(FILE_STATE, BASE)
    return folded >= 0 and is_sealed(landing_day, dt.datetime.fromtimestamp(folded, dt.UTC))


def _worth(sealed: Sequence[Part], base: Sequence[Part]) -> bool:
    new, old = (sum(part.rows for part in parts) for parts in (sealed, base))
    return len(sealed) >= FOLD_DAYS or new >= FOLD_SHARE * old


def _fold_base(
    lake: Lake, table: Table, parts: tuple[list[Part], list[Part]], now: dt.datetime, runner: Runner
) -> None:
    base, sealed = parts
    count = bucket_count(lake)
    rows = sum(part.rows for part in (*base, *sealed))
    tasks = [
        Bucketful(
            lake.root, table.name, count, span,
            tuple(p.uri for p in base if span.first <= int(p.partition["bucket"]) <= span.last),
            tuple(p.uri for p in sealed),
            tuple(sorted({p.partition["landing_day"] for p in sealed})),
            now.date(),
        )
        for span in spans(count, rows)
    ]  # fmt: skip
    made = [part for written in runner.map(fold_span, tasks) for part in written]
    known = lake.app_versions(table, [_FOLDS, BASE])
    lake.commit(
        table, made, [*base, *sealed], [(_FOLDS, known[_FOLDS] + 1)],
        [(BASE, max(known[BASE], int(now.timestamp())))],
    )  # fmt: skip


def fold_span(given: Bucketful) -> list[Part]:
    """The task: base and partials of neighbouring buckets as one file per bucket."""
    table = next(t for t in BUCKETED if t.name == given.table)
    here = given.span.holds()
    base = load(given.base, table.schema).filter(here)
    new = load(given.partials, table.schema).filter(here)
    if table is FILE_STATE:
        rows = state.folded_state(pl.concat([base, new]).select(state.STATE))
    else:
        rows = state.folded_users(
            base.select(state.USERS), new.select(state.USERS), given.replaced, given.today
        )
    split = rows.with_columns(bucket(given.buckets)).collect().partition_by(
        "bucket", maintain_order=True, as_dict=True, include_key=False
    )  # fmt: skip
    return [
        write_part(given.root, table, frame, _folded(number), ROW_GROUP, ordered=False)
        for (number,), frame in split.items()
    ]


def _folded(bucket: object) -> dict[str, str]:
    return {"bucket": str(bucket), "landing_day": BASE}


@dataclass(frozen=True)
class LandingDay:
    """A landing day of `access_daily`."""

    root: str
    name: str
    files: tuple[str, ...]


def rebuild(lake: Lake, runner: Runner = INLINE) -> None:
    """Make every state anew from `access_daily`: a partial for each landing day, no base."""
    days: dict[str, list[str]] = {}
    for part in lake.parts(ACCESS_DAILY):
        days.setdefault(part.partition["landing_day"], []).append(part.uri)
    tasks = [LandingDay(lake.root, day, tuple(files)) for day, files in sorted(days.items())]
    made = list(runner.map(partials_of, tasks))
    doubts = lake.app_version(FILE_STATE, _DOUBTED)
    for table in reversed(PARTIALS):
        new = [parts[table.name] for parts in made if table.name in parts]
        cleared = [(_CLEARED, doubts)] if table is FILE_STATE and doubts >= 0 else []
        lake.commit(table, new, lake.parts(table), notes=cleared)


def doubt(lake: Lake) -> None:
    """Say that the base knows accesses that are not there any more, until it is made anew."""
    known = lake.app_versions(FILE_STATE, [_DOUBTED, _CLEARED])
    lake.commit(FILE_STATE, [], notes=[(_DOUBTED, max(known.values()) + 1)])


def is_doubted(lake: Lake) -> bool:
    """Whether the base has to be made anew."""
    found = lake.app_versions(FILE_STATE, [_DOUBTED, _CLEARED])
    return found[_DOUBTED] > found[_CLEARED]


def partials_of(day: LandingDay) -> Mapping[str, Part]:
    """The task: what one landing day of `access_daily` says."""
    access = load(day.files, ACCESS_DAILY.schema).collect()
    return partials(day.root, day.name, access)
