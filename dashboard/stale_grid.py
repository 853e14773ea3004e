"""The grid of stale files: keyset pages to select from, and a lazy one to scroll through."""

from __future__ import annotations

from typing import Any

import polars as pl
import streamlit as st

from dashboard import data, marking, panels, questions
from dashboard import format as fmt
from dashboard.questions import Filter
from dashboard.viewer import Viewer
from lake.browse import Key, end

PAGE_ROWS = 200
EXPORT_ROWS = 100_000
GRID_HEIGHT = 460
COLUMNS: dict[str, Any] = {
    "path": st.column_config.TextColumn("Path", width="large"),
    "size": st.column_config.TextColumn("Size", width="small"),
    "size_bytes": st.column_config.NumberColumn("Bytes", format="localized"),
    "backend": st.column_config.TextColumn("Backend"),
    "last_access_at": st.column_config.DatetimeColumn("Last access", format="YYYY-MM-DD HH:mm"),
    "evidence": st.column_config.TextColumn("Evidence"),
    "owner": st.column_config.TextColumn("Owner"),
    "team": st.column_config.TextColumn("Team"),
}
ALL_COLUMNS = ("path", "size_bytes", "backend", "last_access_at", "evidence", "owner", "team")
ORDER = ("path", "size", "size_bytes", "backend", "last_access_at", "evidence", "owner", "team")


def select(viewer: Viewer, chosen: Filter, order: str) -> None:
    """One page at a time, in which rows can be selected and marked."""
    generation = data.number(viewer)
    # A selection is by position: it means rows of this page, filter, order and generation only.
    identity = (chosen, order, generation, viewer.scope.teams)
    if st.session_state.get("stale-identity") != identity:
        st.session_state["stale-identity"] = identity
        st.session_state["stale-ends"] = []
    ends: list[Key] = st.session_state["stale-ends"]
    after = ends[-1] if ends else None
    page = data.ask(viewer, questions.stale_page, chosen, order, PAGE_ROWS, after)
    if page.is_empty():
        st.caption("No file matches: fewer days or a smaller size find more.")
        return
    picked = st.dataframe(
        shown(page), hide_index=True, on_select="rerun", selection_mode="multi-row",
        key=f"stale-{hash((identity, len(ends)))}", column_order=ORDER, column_config=COLUMNS,
        height=GRID_HEIGHT,
    )  # fmt: skip
    rows = [row for row in picked["selection"]["rows"] if row < page.height]
    with st.container(horizontal=True, vertical_alignment="center"):
        marking.offer(viewer, chosen, page[rows] if rows else page.clear())
        st.space("stretch")
        turn(page, order, ends)


def turn(page: pl.DataFrame, order: str, ends: list[Key]) -> None:
    """Back and on, by the key of the last row."""
    first = len(ends) * PAGE_ROWS + 1
    st.caption(f"Rows {fmt.count(first)} to {fmt.count(first + page.height - 1)}", width="content")
    if st.button("Back", icon=":material/chevron_left:", disabled=not ends):
        ends.pop()
        st.rerun()
    last = end(page, order)
    if st.button("Next", icon=":material/chevron_right:", disabled=page.height < PAGE_ROWS):
        assert last is not None
        ends.append(last)
        st.rerun()


def browse(viewer: Viewer, chosen: Filter) -> None:
    """All files that match, read as one scrolls; a click on a heading sorts."""
    found = data.ask_live(viewer, questions.stale_all, chosen)
    st.dataframe(
        found.select(ALL_COLUMNS), hide_index=True, lazy=True, column_config=COLUMNS,
        height=GRID_HEIGHT, key=f"browse-{hash((chosen, data.number(viewer)))}",
    )  # fmt: skip


def shown(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows with the size as people read it beside the exact one."""
    size = pl.col("size_bytes").map_elements(fmt.size, return_dtype=pl.String)
    return rows.with_columns(size=size).select(ORDER)


def export(viewer: Viewer, chosen: Filter) -> None:
    """The files that match as the command line writes them, made when it is asked for."""

    def made() -> str:
        page = data.ask(viewer, questions.stale_page, chosen, "largest", EXPORT_ROWS, None)
        cover = data.ask(viewer, questions.coverage)
        rows = questions.as_rows(page)
        return panels.report_csv(
            "stale", [row | {"coverage": cover.get(row["backend"])} for row in rows]
        )

    st.download_button(
        "CSV", made, "stale.csv", "text/csv", key="download-stale.csv", on_click="ignore",
        icon=":material/download:", type="tertiary",
        help=f"The {fmt.count(EXPORT_ROWS)} largest; all: `warpdrive stale --limit 0 --format csv`",
    )  # fmt: skip
