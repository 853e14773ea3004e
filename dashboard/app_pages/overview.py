"""Overview: what is stored, by whom, where, how it grows, and who is over quota."""

from __future__ import annotations

from typing import Any

import streamlit as st

from dashboard import charts, columns, data, frame, panels, questions
from dashboard import format as fmt
from dashboard.tables import Cell, card, table

PERIODS = {"30 days": 30, "90 days": 90, "1 year": 365, "Everything": 0}
PERIOD = "90 days"
UNASSIGNED = "unassigned"
Row = dict[str, Any]


def show() -> None:
    """Draw the page."""
    viewer = frame.begin("Overview")
    with frame.filters():
        backend = frame.backend(data.ask(viewer, questions.names))
        period = frame.choice("Growth over", list(PERIODS), "period", PERIOD)
    found = data.ask(viewer, questions.overview, backend, PERIODS[period])
    totals(found, backend)
    over_quota(found)
    left, right = st.columns([6, 5], gap="small")
    domain = charts.colours(found.backends)
    with left, panels.panel("teams", height="stretch"):
        by_team(found, domain)
    with right, panels.panel("growth", height="stretch"):
        trend(found, domain, period)
    with panels.panel("week"):
        this_week(found)
    with panels.panel("backends"):
        by_backend(found, backend)


def totals(found: questions.Overview, backend: str) -> None:
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
             fmt.moved(found.month, "bytes", fmt.size, questions.CHANGE_DAYS)),
        card("Files", Cell(fmt.count(files)),
             fmt.moved(found.month, "files", fmt.count, questions.CHANGE_DAYS)),
        card("Backends", Cell(fmt.count(len(shown))),
             f"{bad} need attention" if bad else "all crawls complete"),
        card("Teams", Cell(fmt.count(len(teams))), f"{fmt.size(unowned)} unassigned"),
    )  # fmt: skip
    st.html(f"<div class=wd-cards>{''.join(cards)}</div>")


def over_quota(found: questions.Overview) -> None:
    """Teams at or over a limit, worst first; nothing but a line where all is well."""
    ranked = sorted(found.quota, key=columns.worst_first)
    over = [row for row in ranked if row["status"] != "OK"]
    if not over:
        none = "No quota is set: the page Quotas sets one."
        st.caption(f"All {len(ranked)} quotas are kept." if ranked else none)
        return
    with panels.panel("quota"):
        note = f"{len(over)} of {len(ranked)} quotas are crossed"
        panels.heading("Over quota", "quota.csv", panels.report_csv("quota", ranked), note)
        st.html(table("Teams over quota", columns.QUOTA, over, csv="quota.csv"))


def by_team(found: questions.Overview, domain: list[str]) -> None:
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


def trend(found: questions.Overview, domain: list[str], period: str) -> None:
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


def this_week(found: questions.Overview) -> None:
    """What came and went in seven days, by team."""
    panels.heading("This week", "week.csv", panels.plain_csv(found.week), "by team")
    if not found.week:
        st.caption("Nothing was added or removed in seven days.")
        return
    panels.chart_and_table(
        charts.moves(found.week),
        "Bytes added and removed in seven days by team",
        table("This week by team", columns.WEEK, found.week, csv="week.csv"),
    )


def by_backend(found: questions.Overview, backend: str) -> None:
    """Every backend: size, state of its crawl, coverage."""
    rows = [row for row in found.backends if backend in ("", row["name"])]
    panels.heading("Backends", "backends.csv", panels.report_csv("backends", rows))
    st.html(table("Backends", columns.BACKENDS, rows, csv="backends.csv"))


show()
