"""Marks: which files may go and why. A selection is marked after a confirm step."""

from __future__ import annotations

import polars as pl
import streamlit as st

from dashboard import charts, columns, data, frame, panels, questions
from dashboard import format as fmt
from dashboard.boundary import one_line_errors
from dashboard.questions import Filter, Marks
from dashboard.tables import table
from dashboard.viewer import Viewer
from lake import marks
from lake.schemas import FILES, MARKS
from lake.store import Lake
from storage import clock

GRID_HEIGHT = 300
SHOWN = ("path", "backend", "size", "state", "reason", "by", "at", "team")


def known(viewer: Viewer) -> Marks:
    """The marks there are."""
    return data.ask_beside(data.version(viewer, MARKS, FILES), viewer, questions.marked)


def offer(viewer: Viewer, chosen: Filter, picked: pl.DataFrame) -> None:
    """The buttons that mark: the selected rows, or everything that matches."""
    if not viewer.scope.may("operator"):
        st.caption("Marking needs the role operator.", width="content")
        return
    size = int(picked["size_bytes"].sum())
    many = f"{fmt.count(picked.height)} selected ({fmt.size(size)})"
    if st.button(
        f"Mark {many} …", type="primary", disabled=picked.is_empty(), icon=":material/flag:",
        key="mark-selected",
    ):  # fmt: skip
        confirm(viewer, picked)
    if st.button("Mark all that match …", key="mark-all"):
        total = data.ask(viewer, questions.stale_totals, chosen)
        if total.files:
            confirm(viewer, data.ask(viewer, questions.stale_keys, chosen))


@st.dialog("Mark files for deletion", width="medium")
def confirm(viewer: Viewer, picked: pl.DataFrame) -> None:
    """Say what would be marked, ask for the reason, then mark."""
    with one_line_errors():
        size = int(picked["size_bytes"].sum())
        st.markdown(
            f"**{fmt.count(picked.height)} files, {fmt.size(size)}** "
            f"({fmt.exact_size(size)}). Nothing is deleted: a mark is a note with your name, and "
            "it is void as soon as the file changes."
        )
        parts = picked.group_by("backend", "team").agg(
            files=pl.len(), bytes=pl.col("size_bytes").sum()
        )
        ranked = parts.sort(["bytes", "backend", "team"], descending=[True, False, False])
        st.html(table("What is marked", columns.PARTS, ranked.to_dicts()))
        reason = st.text_input("Reason", max_chars=marks.MAX_REASON_LENGTH, key="mark-reason")
        if st.button(f"Mark {fmt.count(picked.height)} files", type="primary", key="mark-now"):
            store(viewer, picked, reason)


def store(viewer: Viewer, picked: pl.DataFrame, reason: str) -> None:
    """Mark, and say what was done."""
    done: list[marks.Change] = []

    def mark() -> None:
        viewer.scope.require("operator", "mark files")
        lake = Lake(viewer.config.lake.root)
        done.append(marks.mark(lake, picked, reason, viewer.scope.who, clock.now()))

    if frame.stated(mark, ""):
        told = f"{fmt.count(done[0].files)} files are marked ({fmt.size(done[0].bytes)})"
        left = f"; {fmt.count(done[0].left_out)} were marked before or are gone"
        st.session_state["wd-done"] = told + (left if done[0].left_out else "") + "."
        st.rerun()


def panel(viewer: Viewer, found: Marks) -> None:
    """Every mark, what they would free by team, and a way back."""
    rows = questions.as_rows(found.largest)
    panels.heading("Marks", "marks.csv", panels.plain_csv(rows), "nothing is deleted")
    if not rows:
        st.caption("No file is marked.")
        return
    if found.by_team:
        panels.chart_and_table(
            charts.shares(found.by_team, "team", "Team"),
            "Bytes that the marks would free by team",
            table("Marks would free", columns.FREED, found.by_team, csv="marks.csv"),
        )
    if len(rows) == questions.MAX_MARKS:
        st.caption(f"The {fmt.count(questions.MAX_MARKS)} largest marks are shown.")
    versions = data.version(viewer, MARKS, FILES)
    grid = found.largest.with_columns(
        size=pl.col("size_bytes").map_elements(fmt.size, return_dtype=pl.String)
    )
    picked = st.dataframe(
        grid.select(SHOWN), hide_index=True, on_select="rerun", selection_mode="multi-row",
        key=f"marks-{hash(versions)}", height=GRID_HEIGHT,
        column_config={"path": st.column_config.TextColumn("Path", width="large"),
                       "at": st.column_config.DatetimeColumn("At", format="YYYY-MM-DD HH:mm")},
    )  # fmt: skip
    chosen = [row for row in picked["selection"]["rows"] if row < grid.height]
    if viewer.scope.may("operator") and st.button(
        f"Take {fmt.count(len(chosen))} marks back", disabled=not chosen, key="unmark"
    ):
        take_back(viewer, found.largest[chosen])


def take_back(viewer: Viewer, picked: pl.DataFrame) -> None:
    """Unmark, and say so."""

    def unmark() -> None:
        viewer.scope.require("operator", "take marks back")
        lake = Lake(viewer.config.lake.root)
        marks.unmark(lake, picked, viewer.scope.who, clock.now())

    if frame.stated(unmark, f"{fmt.count(picked.height)} marks are taken back."):
        st.rerun()
