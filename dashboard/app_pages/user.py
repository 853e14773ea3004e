"""User: what somebody owns and touches, when, in which jobs, and in which teams they are."""

from __future__ import annotations

import streamlit as st

from dashboard import charts, columns, data, frame, maps, panels, questions
from dashboard import format as fmt
from dashboard.questions import Filter
from dashboard.tables import Cell, card, table
from dashboard.viewer import Viewer
from storage.units import parse_instant

HEAT_DAYS = 365
JOB_DAYS = 30
OWNED_ROWS = 200


def show() -> None:
    """Draw the page."""
    viewer = frame.begin("User")
    names = data.ask(viewer, questions.users)
    asked = st.query_params.get("user", "")
    if asked and asked not in names:
        st.warning(fmt.plain(f"There is no user '{asked}': choose one of {len(names)}."))
    with frame.filters():
        name = st.selectbox(
            "User", names, index=None, key="user", bind="query-params", width=360,
            placeholder="choose a user",
        )  # fmt: skip
    if not name:
        st.info("Choose a user to see what they own, what they touch, and when.")
        return
    found = data.ask(viewer, questions.user, name)
    totals(found)
    with panels.panel("days"):
        days(viewer, name)
    with panels.panel("owned"):
        owned(viewer, name)
    with panels.panel("touched"):
        touched(viewer, name)
    with panels.panel("jobs"):
        jobs(viewer, name)


def totals(found: questions.UserDetail) -> None:
    """What is owned, what is touched, the teams."""
    stored = sum(row["bytes"] for row in found.owned)
    used = sum(row["touched_bytes"] for row in found.touched)
    read = sum(row["bytes_read"] for row in found.touched)
    seen = max((row["last_access_at"] or "" for row in found.touched), default="")
    teams = [row["team"] for row in sorted(found.teams, key=lambda row: row["rank"])]
    others = f"also in {', '.join(teams[1:])}" if teams[1:] else "counts for this team"
    cards = (
        card("Owns", Cell(fmt.size(stored), fmt.exact_size(stored)),
             f"{fmt.count(sum(row['files'] for row in found.owned))} files"),
        card("Touched", Cell(fmt.size(used), fmt.exact_size(used)),
             f"{fmt.count(sum(row['files'] for row in found.touched))} files that are there now"),
        card("Read", Cell(fmt.size(read), fmt.exact_size(read)),
             f"last seen {fmt.day(seen)}" if seen else "never seen by an agent"),
        card("Team", Cell(teams[0] if teams else "none"), others if teams else "in no team"),
    )  # fmt: skip
    st.html(f"<div class=wd-cards>{''.join(cards)}</div>")


def days(viewer: Viewer, name: str) -> None:
    """A year of days, the darker the more accesses."""
    rows = data.ask(viewer, questions.user_days, name, HEAT_DAYS)
    panels.heading("Active days", "days.csv", panels.plain_csv(rows), "reads and writes, one year")
    if not rows:
        st.caption("No access of this user was recorded in a year.")
        return
    last = data.ask(viewer, questions.as_of)
    panels.chart_and_table(
        maps.calendar(rows, parse_instant(last).date(), HEAT_DAYS),
        f"Accesses of {name} on {len(rows)} days of the last year",
        table("Active days", columns.DAYS, rows[::-1], csv="days.csv"),
    )


def owned(viewer: Viewer, name: str) -> None:
    """The largest files that the user owns."""
    mine = Filter(0, 0, owner=name)
    by_backend = data.ask(viewer, questions.user, name).owned
    # No more than there are: the index is read from its largest file until so many are found.
    count = min(OWNED_ROWS, sum(row["files"] for row in by_backend))
    rows = []
    if count:
        page = data.ask(viewer, questions.stale_page, mine, "largest", count, None)
        rows = questions.as_rows(page)
    panels.heading("Owns", "owned.csv", panels.plain_csv(rows), "the largest files")
    if not rows:
        st.caption("Owns no file.")
        return
    panels.chart_and_table(
        charts.shares(by_backend, "backend", "Backend"),
        f"Bytes that {name} owns by backend",
        table("Owns", columns.FILES, rows, csv="owned.csv"),
    )


def touched(viewer: Viewer, name: str) -> None:
    """What was touched, per file and day."""
    rows = data.ask(viewer, questions.user_files, name)
    panels.heading("Touched", "user.csv", panels.report_csv("user", rows), "newest day first")
    if not rows:
        st.caption("No access of this user was recorded.")
        return
    st.html(table("Touched", columns.TOUCHED, rows, csv="user.csv"))


def jobs(viewer: Viewer, name: str) -> None:
    """Slurm jobs and Kubernetes pods of the last weeks."""
    rows = data.ask(viewer, questions.user_jobs, name, JOB_DAYS)
    note = f"the last {JOB_DAYS} days, newest first"
    panels.heading("Jobs", "jobs.csv", panels.plain_csv(rows), note)
    if not rows:
        st.caption(f"No event of the last {JOB_DAYS} days names a job or a pod.")
        return
    st.html(table("Jobs", columns.JOBS, rows, csv="jobs.csv"))


show()
