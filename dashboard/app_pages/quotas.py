"""Quotas: what teams may store, what they do store, and when they will reach a limit."""

from __future__ import annotations

import streamlit as st

from dashboard import charts, columns, data, frame, panels, questions
from dashboard.boundary import one_line_errors
from dashboard.columns import Row
from dashboard.format import plain
from dashboard.tables import table
from dashboard.viewer import Viewer
from lake import change
from storage.units import format_size, parse_duration, parse_size

NEW = "New quota"
EVERYWHERE = "all together"


def show() -> None:
    """Draw the page."""
    viewer = frame.begin("Quotas")
    frame.say_done()
    rows = sorted(data.ask(viewer, questions.quotas), key=columns.worst_first)
    with panels.panel("limits"):
        limits(rows)
    if viewer.scope.may("admin"):
        with panels.panel("edit"):
            edit(viewer, rows)
    else:
        st.caption("Setting quotas needs the role admin.")


def limits(rows: list[Row]) -> None:
    """Every quota, worst first: bars against soft and hard, table with the forecast."""
    over = sum(row["status"] != "OK" for row in rows)
    note = f"{over} of {len(rows)} crossed" if over else ""
    panels.heading("Limits", "quota.csv", panels.report_csv("quota", rows) if rows else "", note)
    if not rows:
        st.caption("No quota is set yet.")
        return
    st.altair_chart(
        charts.limits(rows),
        alt=f"Stored bytes of {min(len(rows), charts.MAX_QUOTAS)} quotas against their limits",
    )
    st.html(table("Limits", columns.LIMITS, rows, csv="quota.csv"))


def edit(viewer: Viewer, rows: list[Row]) -> None:
    """Set, change or delete one quota."""
    known = {_name(row): row for row in sorted(rows, key=lambda r: (r["team"], r["backend"]))}
    st.subheader("Set a quota", anchor=False)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        chosen = st.selectbox("Which", [NEW, *known], key="quota", bind="query-params", width=360)
        row = known.get(chosen or NEW)
        if row and st.button("Delete …", icon=":material/delete:"):
            confirm_delete(viewer, row)
    with st.form("quota-form", border=False):
        team, backend = _whose(viewer, row)
        key = _name(row) if row else NEW
        soft, hard, grace = st.columns(3)
        given = {
            "soft_bytes": soft.text_input(
                "Soft limit", _exactly(row["soft_bytes"]) if row else "", key=f"soft-{key}",
                placeholder="none", help="A number with a unit, 1024-based: 400TB. Empty is none.",
            ),
            "hard_bytes": hard.text_input(
                "Hard limit", _exactly(row["hard_bytes"]) if row else "", key=f"hard-{key}",
                placeholder="none", help="A number with a unit, 1024-based: 500TB. Empty is none.",
            ),
            "grace_seconds": grace.text_input(
                "Grace", _days(row["grace_seconds"]) if row else "", key=f"grace-{key}",
                placeholder="for ever",
                help="How long the soft limit may be crossed: 7d. Empty is for ever.",
            ),
        }  # fmt: skip
        if st.form_submit_button("Save", type="primary", icon=":material/save:"):
            save(viewer, team, backend, given)


def save(viewer: Viewer, team: str, backend: str, given: dict[str, str]) -> None:
    """Set the quota that the form says, and draw the page anew."""
    with one_line_errors():
        limits = {
            "team": team, "backend": backend,
            "soft_bytes": parse_size(given["soft_bytes"], "the soft limit"),
            "hard_bytes": parse_size(given["hard_bytes"], "the hard limit"),
            "grace_seconds": int(
                parse_duration(given["grace_seconds"].strip() or "0", "grace").total_seconds()
            ),
        }  # fmt: skip

        def store() -> None:
            viewer.scope.require("admin", "set quotas")
            viewer.scope.require_team(team)
            change.set_quota(viewer.config, limits, viewer.scope.who)

        place = backend or EVERYWHERE
        if frame.stated(store, f"Quota of {team} on {place} is set."):
            st.rerun()


@st.dialog("Delete a quota")
def confirm_delete(viewer: Viewer, row: Row) -> None:
    """Ask once more, then delete."""
    with one_line_errors():
        st.markdown(f"The limits of **{plain(_name(row))}** are removed. No file is touched.")

        def remove() -> None:
            viewer.scope.require("admin", "delete quotas")
            viewer.scope.require_team(row["team"])
            change.delete_quota(viewer.config, row["team"], row["backend"], viewer.scope.who)

        if st.button("Delete it", type="primary") and frame.stated(
            remove, f"Quota of {_name(row)} is deleted."
        ):
            st.rerun()


def _whose(viewer: Viewer, row: Row | None) -> tuple[str, str]:
    """Team and backend: those of the quota that is edited, else to be chosen."""
    if row:
        return row["team"], row["backend"]
    left, right = st.columns(2)
    team = left.selectbox(
        "Team", data.ask(viewer, questions.teams), index=None, accept_new_options=True,
        placeholder="choose one, or write a new one",
    )  # fmt: skip
    backend = right.selectbox("Backend", [EVERYWHERE, *data.ask(viewer, questions.names)])
    return team or "", "" if backend in (EVERYWHERE, None) else backend


def _name(row: Row) -> str:
    return f"{row['team']} · {row['backend'] or EVERYWHERE}"


def _exactly(size_bytes: int) -> str:
    """A size that parses back to the same number of bytes."""
    if not size_bytes:
        return ""
    short = format_size(size_bytes)
    return short if parse_size(short) == size_bytes else str(size_bytes)


def _days(seconds: int) -> str:
    if not seconds:
        return ""
    return f"{seconds // 86_400}d" if seconds % 86_400 == 0 else f"{seconds}s"


show()
