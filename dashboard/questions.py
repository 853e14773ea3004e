"""The questions that pages ask: pure functions of a source, answers as rows."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

import polars as pl

from dashboard.data import MAX_POINTS, Row, Source, thinned
from lake import browse, control, crossing, detail, explore, marks, people
from lake.ask import rows as as_rows
from lake.browse import Key, Totals, Wanted
from lake.detail import Part
from lake.names import names_of
from lake.schemas import FILES, STALE_INDEX, STALE_ROLLUP
from lake.store import Lake
from storage.units import format_instant

CHANGE_DAYS = 30
WEEK_DAYS = 7
MAX_CRAWLS = 50
MAX_TILES = 60
MAX_JOBS = 200
MAX_LINES = 500
MAX_MARKS = 5_000
KEYS = ("backend", "path", "file_id", "size_bytes", "team")


@dataclass(frozen=True)
class Overview:
    """Everything on the overview page."""

    usage: list[Row]
    backends: list[Row]
    quota: list[Row]
    growth: list[Row]
    month: list[Row]
    week: list[Row]


def overview(source: Source, backend: str, period_days: int) -> Overview:
    """The overview of one backend, or of all for an empty name."""
    reader = source.reader
    backends = reader.backends()
    name = backend if backend in {row["name"] for row in backends} else ""
    return Overview(
        usage=reader.usage("team", name),
        backends=backends,
        quota=[row for row in reader.quota() if row["backend"] in ("", name) or not name],
        growth=thinned(reader.growth(name, period_days, "backend"), MAX_POINTS),
        month=reader.growth(name, CHANGE_DAYS),
        week=_week(source, name),
    )


def _week(source: Source, backend: str) -> list[Row]:
    if source.reader.as_of is None:
        return []
    before = source.as_of.date() - dt.timedelta(days=WEEK_DAYS)
    return week(source.reader.growth(backend, WEEK_DAYS, "team"), before)


def week(rows: list[Row], before: dt.date) -> list[Row]:
    """What each team's bytes and files did since the end of the day `before`; large moves first.

    `rows`: growth by team, the day `before` included. A team without a row then had nothing.
    """
    found: dict[str, Row] = {}
    nothing = dict.fromkeys(("added_bytes", "removed_bytes", "moved_bytes", "moved_files"), 0)
    for row in rows:
        total = found.setdefault(row["team"], {"team": row["team"], **nothing})
        if row["day"] <= before.isoformat():
            total["was"] = row
            continue
        total["added_bytes"] += row["added_bytes"]
        total["removed_bytes"] += row["removed_bytes"]
        was = total.get("was", {"bytes": 0, "files": 0})
        total["moved_bytes"] = row["bytes"] - was["bytes"]
        total["moved_files"] = row["files"] - was["files"]
    moved = [row for row in found.values() if row["added_bytes"] or row["removed_bytes"]]
    return sorted(moved, key=lambda row: (-row["added_bytes"] - row["removed_bytes"], row["team"]))


def names(source: Source) -> list[str]:
    """All backends, by name."""
    return sorted(row["name"] for row in source.reader.backends())


def backends(source: Source) -> list[Row]:
    """All backends with their sizes."""
    return source.reader.backends()


def as_of(source: Source) -> str:
    """The instant that the answers describe."""
    return format_instant(source.as_of)


def team_usage(source: Source, backend: str) -> list[Row]:
    """What each team stores and does."""
    return source.reader.usage("team", backend)


def teams(source: Source) -> list[str]:
    """Every team that owns, has members, or has a quota."""
    reader = source.reader
    found = {row["group"] for row in reader.usage("team")}
    found |= {row["team"] for row in (*reader.team(), *reader.quota())}
    return sorted(found)


def users(source: Source) -> list[str]:
    """Everybody who owns something, was seen, or is in a team."""
    owners = {row["group"] for row in source.reader.usage("user")}
    return sorted((owners | {row["user"] for row in source.reader.team()}) - {"unassigned", ""})


@dataclass(frozen=True)
class BackendDetail:
    """Everything published about one backend."""

    row: Row
    growth: list[Row]
    month: list[Row]
    owners: list[Row]
    quota: list[Row]


def backend(source: Source, name: str, period_days: int) -> BackendDetail:
    """One backend. Raises UnknownNameError."""
    reader = source.reader
    reader.known_backend(name)
    return BackendDetail(
        row=next(row for row in reader.backends() if row["name"] == name),
        growth=thinned(reader.growth(name, period_days, "backend"), MAX_POINTS),
        month=reader.growth(name, CHANGE_DAYS),
        owners=[row for row in reader.usage("user", name) if row["files"]],
        quota=[row for row in reader.quota() if row["backend"] in ("", name)],
    )


def part(source: Source, backend: str = "") -> Part:
    """The part of the generation's index that the viewer may see."""
    return Part(source.version(STALE_INDEX), backend, source.teams)


def prefixes(source: Source, backend: str, depth: int) -> list[Row]:
    """backend, prefix, files, bytes of the largest prefixes."""
    found = _top(source, "prefixes", backend, depth)
    if found is None:
        rows = detail.prefixes(source.lake, part(source, backend), depth, MAX_TILES)
        return rows.to_dicts()
    return found


def _top(source: Source, name: str, backend: str, depth: int) -> list[Row] | None:
    """The largest prefixes as published; None for who may not see all, or where none are."""
    rows = _explored(source, name)
    if rows is None or depth > explore.deepest(source.generation):
        return None
    mine = [r for r in rows if r["depth"] == depth and backend in ("", r["backend"])]
    ranked = sorted(mine, key=lambda row: (-row["bytes"], row["prefix"]))[:MAX_TILES]
    return [{n: row[n] for n in ("backend", "prefix", "files", "bytes")} for row in ranked]


def _explored(source: Source, name: str) -> list[Row] | None:
    if source.teams is not None:
        return None
    return explore.published(source.generation, name)


def crawls(source: Source, backend: str) -> list[Row]:
    """The latest crawls of a backend, newest first."""
    return as_rows(detail.crawls(source.lake, backend, MAX_CRAWLS))


def tiers(source: Source, backend: str) -> list[Row]:
    """Storage classes of a backend; nothing for a viewer of some teams only."""
    if source.teams is not None:
        return []
    rows = explore.published(source.generation, "tiers")
    if rows is None:
        version = source.version(FILES)
        return detail.tiers(source.lake, backend, version).to_dicts()
    return [{n: r[n] for n in ("tier", "files", "bytes")} for r in rows if r["backend"] == backend]


def quotas(source: Source) -> list[Row]:
    """Every quota with its grace and the days on which the forecast reaches its next limit."""
    graces = {
        (row["team"], row["backend"]): row["grace_seconds"]
        for row in control.quotas(source.lake).to_dicts()
    }
    names = ("next_limit_bytes", *(name for name, _ in crossing.DAYS))
    known = {
        (row["team"], row["backend"]): {name: row[name] for name in names}
        for row in source.generation.rows("crossing")
    }
    return [
        row
        | {"grace_seconds": graces.get((row["team"], row["backend"]), 0)}
        | known.get((row["team"], row["backend"]), {})
        for row in source.reader.quota()
    ]


@dataclass(frozen=True)
class UserDetail:
    """What one user owns and touches, and where they belong."""

    owned: list[Row]
    touched: list[Row]
    teams: list[Row]


def user(source: Source, name: str) -> UserDetail:
    """One user, from the published results."""
    reader = source.reader
    return UserDetail(
        owned=[r for r in reader.usage("user") if r["group"] == name and r["files"]],
        touched=[r for r in reader.usage("user", "", "access") if r["group"] == name],
        teams=[row for row in reader.team() if row["user"] == name],
    )


def user_files(source: Source, name: str) -> list[Row]:
    """The latest files that a user touched, per day."""
    if not _shown(source, name):
        return []
    return as_rows(people.touched(_pinned(source), _names(source, name), source.as_of))


def user_days(source: Source, name: str, days: int) -> list[Row]:
    """What a user did on each of the last days."""
    if not _shown(source, name):
        return []
    return as_rows(people.active_days(_pinned(source), _names(source, name), source.as_of, days))


def user_jobs(source: Source, name: str, days: int) -> list[Row]:
    """The jobs that a user ran."""
    if not _shown(source, name):
        return []
    return as_rows(people.jobs(_pinned(source), _names(source, name), source.as_of, days, MAX_JOBS))


def _shown(source: Source, name: str) -> bool:
    """Whether the viewer may see what a user does: those who count for one of the teams."""
    if source.teams is None:
        return True
    counts = _names(source, name)[0]
    return any(r["user"] == counts and r["rank"] == 0 for r in source.reader.team())


def _names(source: Source, name: str) -> tuple[str, ...]:
    """Every name of the person, the one that counts first."""
    return names_of(name, control.people(source.lake, source.as_of))


def _pinned(source: Source) -> Lake:
    """The lake as the generation has it."""
    return source.lake.at(source.generation.versions)


def ledger(source: Source, hours: int) -> list[Row]:
    """What arrived per node and landing hour."""
    return source.reader.ledger("", hours)


def quarantine(source: Source, hours: int, reason: str) -> tuple[list[Row], list[Row]]:
    """Reasons with how many lines, and the newest lines of one reason (empty = all)."""
    if source.teams is not None:
        return [], []
    since = (source.as_of - dt.timedelta(hours=hours)).strftime("%Y-%m-%dT%H")
    lines = detail.quarantine(source.lake, since, reason, MAX_LINES)
    return detail.quarantine_reasons(source.lake, since).to_dicts(), lines.to_dicts()


def evidence(source: Source) -> list[Row]:
    """How owners are known: rule, storage, writer, reader or none."""
    rows = explore.published(source.generation, "evidence")
    if rows is None:
        return detail.evidence(source.lake, part(source)).to_dicts()
    sums: dict[str, Row] = {}
    for row in rows:
        if source.teams is None or row["team"] in source.teams:
            name = row["owner_source"]
            total = sums.setdefault(name, {"owner_source": name, "files": 0, "bytes": 0})
            total["files"] += row["files"]
            total["bytes"] += row["bytes"]
    return sorted(sums.values(), key=lambda row: (-row["bytes"], row["owner_source"]))


def unassigned(source: Source, backend: str, depth: int) -> list[Row]:
    """The prefixes with the most bytes that nobody owns."""
    found = _top(source, "unassigned", backend, depth)
    if found is None:
        rows = detail.unassigned(source.lake, part(source, backend), depth, MAX_TILES)
        return rows.to_dicts()
    return found


def rules(source: Source) -> list[Row]:
    """Ownership rules with what they decide about."""
    return source.reader.rules()


def rule_preview(source: Source, backend: str, prefix: str, team: str) -> Any:
    """What a rule would take from others."""
    from lake.read import Reader

    return Reader(source.config).rule_preview(backend, prefix, team)


@dataclass(frozen=True)
class Filter:
    """What the stale page asks for."""

    days: int
    min_size_bytes: int
    backend: str = ""
    team: str = ""
    owner: str = ""


def wanted(source: Source, chosen: Filter) -> Wanted:
    """The filter as the viewer may apply it."""
    teams = source.teams
    if chosen.team:
        teams = (chosen.team,) if teams is None or chosen.team in teams else ()
    return Wanted(
        source.as_of, chosen.days, chosen.min_size_bytes, chosen.backend, teams, chosen.owner
    )


def stale_totals(source: Source, chosen: Filter) -> Totals:
    """All files that match: how many, how many bytes."""
    index, rollup = source.version(STALE_INDEX), source.version(STALE_ROLLUP)
    return browse.totals(source.lake, index, wanted(source, chosen), rollup)


def stale_page(
    source: Source, chosen: Filter, order: str, height: int, after: Key | None
) -> pl.DataFrame:
    """One page of the files that match."""
    version = source.version(STALE_INDEX)
    return browse.page(source.lake, version, wanted(source, chosen), order, height, after)


def stale_all(source: Source, chosen: Filter) -> pl.LazyFrame:
    """All files that match, to be looked through lazily."""
    return browse.matching(source.lake, source.version(STALE_INDEX), wanted(source, chosen))


def stale_keys(source: Source, chosen: Filter) -> pl.DataFrame:
    """What a mark needs to know of all files that match."""
    return stale_all(source, chosen).select(KEYS).collect(engine="streaming")


def coverage(source: Source) -> dict[str, float | None]:
    """Telemetry coverage by backend."""
    return {row["name"]: row["coverage"] for row in source.reader.backends()}


@dataclass(frozen=True)
class Marks:
    """What is marked: sums by state and team, and the largest marks."""

    files: int
    bytes: int
    void: int
    by_team: list[Row]
    largest: pl.DataFrame


def marked(source: Source) -> Marks:
    """The marks that the viewer may see, and what they would free."""
    rows = marks.marked(source.lake, source.version(STALE_INDEX))
    if source.teams is not None:
        rows = rows.filter(pl.col("team").is_in(list(source.teams)))
    good = rows.filter(pl.col("state") == "marked")
    sums = (
        good.group_by("team")
        .agg(files=pl.len().cast(pl.Int64), bytes=pl.col("size_bytes").sum())
        .sort(["bytes", "team"], descending=[True, False])
    )
    return Marks(
        good.height, int(good["size_bytes"].sum()), rows.height - good.height, sums.to_dicts(),
        rows.head(MAX_MARKS),
    )  # fmt: skip
