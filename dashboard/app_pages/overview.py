"""Overview: what is stored, by whom, where, how it grows, and who is over quota."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import streamlit as st

from dashboard import charts, columns, data, panels
from dashboard import format as fmt
from dashboard.boundary import one_line_errors
from dashboard.tables import Cell, card, table
from storage import clock
from storage.config import Config

ALL = "All"
PERIODS = {"30 days": 30, "90 days": 90, "1 year": 365, "Everything": 0}
PERIOD = "90 days"
OLD = dt.timedelta(hours=24)
MAX_SEGMENTS = 6
UNASSIGNED = "unassigned"
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
    left, right = st.columns([6, 5], gap="small")
    domain = charts.colours(found.backends)
    with left, panels.panel("teams", height="stretch"):
        by_team(found, domain)
    with right, panels.panel("growth", height="stretch"):
        trend(found, domain, period)
    with panels.panel("backends"):
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
    shown = [row for row in found.backends if backend in ("", row["name"])]
    bad = sum(row["state"] not in ("complete", "never crawled") for row in shown)
    cards = (
        card("Stored", Cell(fmt.size(stored), fmt.exact_size(stored)),
             moved(found.month, "bytes", fmt.size)),
        card("Files", Cell(fmt.count(files)),
             moved(found.month, "files", fmt.count)),
        card("Backends", Cell(fmt.count(len(shown))),
             f"{bad} need attention" if bad else "all crawls complete"),
        card("Teams", Cell(fmt.count(len(teams))), f"{fmt.size(unowned)} unassigned"),
    )  # fmt: skip
    st.html(f"<div class=wd-cards>{''.join(cards)}</div>")


def moved(month: list[Row], name: str, show: Callable[[int], str]) -> str:
    """What changed over the last days, or since the first listing where that is younger."""
    if len(month) < 2:
        return f"first listed {month[0]['day']}" if month else "never listed"
    since = f"in {data.CHANGE_DAYS} days"
    if len(month) <= data.CHANGE_DAYS:
        since = f"since {month[0]['day']}"
    return fmt.change(show, month[-1][name] - month[0][name], since)


def over_quota(found: data.Overview) -> None:
    """Teams at or over a limit, worst first; nothing but a line where all is well."""
    ranked = sorted(found.quota, key=columns.worst_first)
    over = [row for row in ranked if row["status"] != "OK"]
    if not over:
        none = "No quota is set: `warpdrive quota set` sets one."
        st.caption(f"All {len(ranked)} quotas are kept." if ranked else none)
        return
    with panels.panel("quota"):
        note = f"{len(over)} of {len(ranked)} quotas are crossed"
        panels.heading("Over quota", "quota.csv", panels.report_csv("quota", ranked), note)
        st.html(table("Teams over quota", columns.QUOTA, over, csv="quota.csv"))


def by_team(found: data.Overview, domain: list[str]) -> None:
    """Storage by team: bars, table, CSV."""
    teams = len(charts.team_totals(found.usage))
    cut = f"the {charts.MAX_BARS} largest of {teams}" if teams > charts.MAX_BARS else ""
    panels.heading("Storage by team", "usage.csv", panels.report_csv("usage", found.usage), cut)
    if not teams:
        st.caption("No files are known yet: run `warpdrive crawl`.")
        return
    panels.chart_and_table(
        charts.teams(found.usage, domain),
        f"Stored bytes of {min(teams, charts.MAX_BARS)} teams by backend",
        table("Storage by team", columns.USAGE, found.usage, csv="usage.csv"),
    )


def trend(found: data.Overview, domain: list[str], period: str) -> None:
    """Growth: area per backend, table (newest first), CSV."""
    panels.heading("Growth", "growth.csv", panels.report_csv("growth", found.growth))
    if not found.growth:
        st.caption("No listing yet: run `warpdrive crawl`.")
        return
    panels.chart_and_table(
        charts.growth(found.growth, domain),
        f"Stored bytes per day by backend, {period}",
        table("Growth", columns.GROWTH, found.growth[::-1], csv="growth.csv"),
    )


def by_backend(found: data.Overview, backend: str) -> None:
    """Every backend: size, state of its crawl, coverage."""
    rows = [row for row in found.backends if backend in ("", row["name"])]
    panels.heading("Backends", "backends.csv", panels.report_csv("backends", rows))
    st.html(table("Backends", columns.BACKENDS, rows, csv="backends.csv"))


show()
