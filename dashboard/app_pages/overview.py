"""Overview: what is stored, by whom, where, how it grows, and who is over quota."""

from __future__ import annotations

import datetime as dt
from typing import Any

import streamlit as st

from dashboard import charts, data, panels
from dashboard import format as fmt
from dashboard.boundary import one_line_errors
from dashboard.tables import Cell, Column, card, table, text
from storage import clock
from storage.config import Config

ALL = "All"
PERIODS = {"30 days": 30, "90 days": 90, "1 year": 365, "Everything": 0}
PERIOD = "90 days"
OLD = dt.timedelta(hours=24)
MAX_SEGMENTS = 6
UNASSIGNED = "unassigned"
WORST_FIRST = {"EXCEEDED": 0, "WARNING": 1, "OK": 2}
MARKS = {"EXCEEDED": "wd-bad", "WARNING": "wd-warn", "OK": "wd-good"}
STATES = {"complete": "wd-good", "failed": "wd-bad"}
Row = dict[str, Any]


def show() -> None:
    """Draw the page."""
    config = data.config()
    with st.container(horizontal=True, vertical_alignment="bottom", key="wd-head"):
        st.title("Overview", anchor=False, width="stretch")
        freshness = st.container(width="content")
    names = sorted(row["name"] for row in data.overview(config, "", PERIODS[PERIOD]).backends)
    backend, period = filters(names)
    found = data.overview(config, backend, PERIODS[period])
    with freshness:
        fresh(config, found)
    if not found.published:
        nothing_yet()
        return
    totals(found, backend)
    over_quota(found)
    left, right = st.columns([6, 5], gap="medium")
    domain = charts.colours(found.backends)
    with left, st.container(border=True, height="stretch"):
        by_team(found, domain)
    with right, st.container(border=True, height="stretch"):
        trend(found, domain, period)
    with st.container(border=True):
        by_backend(found, backend)


def filters(names: list[str]) -> tuple[str, str]:
    """Backend (empty for all) and period; both live in the URL."""
    asked = st.query_params.get("backend", ALL)
    if asked not in (ALL, *names):
        st.warning(fmt.plain(f"There is no backend '{asked}': all are shown."))
    with st.container(horizontal=True, vertical_alignment="bottom", gap="large"):
        choose = st.segmented_control if len(names) <= MAX_SEGMENTS else st.selectbox
        options: dict[str, Any] = (
            {"required": True, "default": ALL} if len(names) <= MAX_SEGMENTS else {"width": 320}
        )
        backend = choose("Backend", [ALL, *names], key="backend", bind="query-params", **options)
        period = st.segmented_control(
            "Growth over", list(PERIODS), default=PERIOD, required=True, key="period",
            bind="query-params",
        )  # fmt: skip
    return "" if backend in (ALL, None) else str(backend), str(period or PERIOD)


@st.fragment(run_every=10)
def fresh(config: Config, found: data.Overview) -> None:
    """How fresh the numbers are; a new generation draws the whole page again."""
    with one_line_errors():
        if data.number(config) != found.number:
            st.rerun()
        if found.as_of is None or found.published_at is None:
            return
        age = clock.now() - found.published_at
        parts = [f"As of **{fmt.minute(found.as_of)}**", f"published {fmt.span(age)} ago"]
        if found.ingest_lag_seconds is not None:
            lag = fmt.span(dt.timedelta(seconds=found.ingest_lag_seconds))
            parts.append(f"ingest lag {lag} (p95)")
        st.caption(" · ".join(parts))
        if age > OLD:
            st.caption(":orange[Older than a day: run `warpdrive refresh`.]")


def nothing_yet() -> None:
    """The hint for a lake that has no results."""
    st.info(
        "**Nothing is published yet.** Run `warpdrive ingest` and `warpdrive crawl`, then "
        "`warpdrive refresh`: this page shows the results as soon as they are there.",
        icon=":material/hourglass_empty:",
    )


def totals(found: data.Overview, backend: str) -> None:
    """The four numbers at the top."""
    stored = sum(row["bytes"] for row in found.usage)
    files = sum(row["files"] for row in found.usage)
    groups = charts.team_totals(found.usage)
    teams = [row for row in groups if row["group"] != UNASSIGNED]
    unowned = sum(row["bytes"] for row in groups if row["group"] == UNASSIGNED)
    moved = found.month[-1]["bytes"] - found.month[0]["bytes"] if found.month else 0
    shown = [row for row in found.backends if backend in ("", row["name"])]
    bad = sum(row["state"] not in ("complete", "never crawled") for row in shown)
    cards = (
        card("Stored", Cell(fmt.size(stored), fmt.exact_size(stored)),
             f"{fmt.change(moved)} in {data.CHANGE_DAYS} days"),
        card("Files", Cell(fmt.count(files), f"{fmt.count(files)} files")),
        card("Backends", Cell(fmt.count(len(shown))),
             f"{bad} need attention" if bad else "all crawls complete"),
        card("Teams", Cell(fmt.count(len(teams))), f"{fmt.size(unowned)} unassigned"),
    )  # fmt: skip
    st.html(f"<div class=wd-cards>{''.join(cards)}</div>")


def over_quota(found: data.Overview) -> None:
    """Teams at or over a limit, worst first; nothing but a line where all is well."""
    ranked = sorted(
        found.quota,
        key=lambda row: (WORST_FIRST.get(row["status"], 0), -_filled(row), row["team"]),
    )
    over = [row for row in ranked if row["status"] != "OK"]
    if not over:
        none = "No quota is set: `warpdrive quota set` sets one."
        st.caption(f"All {len(ranked)} quotas are kept." if ranked else none)
        return
    columns = (
        Column("Team", text("team")),
        Column("Backend", text("backend", "all together")),
        Column("Status", lambda row: Cell(row["status"].lower(), mark=MARKS[row["status"]])),
        Column("Stored", _sized("usage_bytes"), number=True),
        Column("Of its limit", _limit_cell),
        Column("Soft limit", _sized("soft_bytes"), number=True),
        Column("Hard limit", _sized("hard_bytes"), number=True),
        Column("Grace until", _instant("grace_until_at")),
    )
    with st.container(border=True):
        panels.heading("Over quota", "quota.csv", panels.report_csv("quota", ranked))
        st.html(table("Teams over quota", columns, over, csv="quota.csv"))
        st.caption(f"{len(over)} of {len(ranked)} quotas are crossed.")


def by_team(found: data.Overview, domain: list[str]) -> None:
    """Storage by team: bars, table, CSV."""
    panels.heading("Storage by team", "usage.csv", panels.report_csv("usage", found.usage))
    groups = charts.team_totals(found.usage)
    columns = (
        Column("Team", text("group")),
        Column("Backend", text("backend")),
        Column("Files", _counted("files"), number=True),
        Column("Stored", _sized("bytes"), number=True),
        Column("Read", _sized("bytes_read"), number=True),
        Column("Last access", _instant("last_access_at")),
    )
    if not groups:
        st.caption("No files are known yet: run `warpdrive crawl`.")
        return
    panels.chart_and_table(
        charts.teams(found.usage, domain),
        f"Stored bytes of {min(len(groups), charts.MAX_BARS)} teams by backend",
        table("Storage by team", columns, found.usage, csv="usage.csv"),
    )
    if len(groups) > charts.MAX_BARS:
        st.caption(f"The {charts.MAX_BARS} largest of {len(groups)}; the table has all.")


def trend(found: data.Overview, domain: list[str], period: str) -> None:
    """Growth: area per backend, table (newest first), CSV."""
    panels.heading("Growth", "growth.csv", panels.report_csv("growth", found.growth))
    columns = (
        Column("Day", text("day")),
        Column("Backend", text("backend")),
        Column("Files", _counted("files"), number=True),
        Column("Stored", _sized("bytes"), number=True),
        Column("Added", _sized("added_bytes"), number=True),
        Column("Removed", _sized("removed_bytes"), number=True),
    )
    if not found.growth:
        st.caption("No listing yet: run `warpdrive crawl`.")
        return
    panels.chart_and_table(
        charts.growth(found.growth, domain),
        f"Stored bytes per day by backend, {period}",
        table("Growth", columns, found.growth[::-1], csv="growth.csv"),
    )


def by_backend(found: data.Overview, backend: str) -> None:
    """Every backend: size, state of its crawl, coverage."""
    rows = [row for row in found.backends if backend in ("", row["name"])]
    panels.heading("Backends", "backends.csv", panels.report_csv("backends", rows))
    columns = (
        Column("Backend", text("name")),
        Column("Type", text("type")),
        Column("Files", _counted("files"), number=True),
        Column("Stored", _sized("bytes"), number=True),
        Column("Last crawl", lambda r: Cell(r["state"], mark=STATES.get(r["state"], "wd-warn"))),
        Column("Listed", _instant("crawled_at")),
        Column("Telemetry coverage", _coverage, number=True),
    )
    st.html(table("Backends", columns, rows, csv="backends.csv"))


def _sized(name: str) -> Any:
    return lambda row: Cell(fmt.size(row[name]), fmt.exact_size(row[name]))


def _counted(name: str) -> Any:
    return lambda row: Cell(fmt.count(row[name]))


def _instant(name: str) -> Any:
    return lambda row: Cell(fmt.day(row[name]), fmt.exact_instant(row[name]))


def _filled(row: Row) -> float:
    limit = row["hard_bytes"] or row["soft_bytes"]
    return row["usage_bytes"] / limit if limit else 0.0


def _limit_cell(row: Row) -> Cell:
    kind = "hard" if row["hard_bytes"] else "soft"
    part = _filled(row)
    return Cell(f"{fmt.share(part)} of {kind}", "", MARKS[row["status"]], part)


def _coverage(row: Row) -> Cell:
    known = "share of the node-hours of 90 days with unbroken telemetry"
    return Cell(fmt.share(row["coverage"]), known if row["coverage"] else "no agent reports")


show()
