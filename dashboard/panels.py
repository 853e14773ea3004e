"""What pages are put together from: a panel with a chart, its table and its CSV."""

from __future__ import annotations

from typing import Any

import streamlit as st

from dashboard.format import guarded
from lake.reports import CSV, flat
from lake.text import as_csv

Row = dict[str, Any]


def report_csv(report: str, rows: list[Row]) -> str:
    """The report as the command line writes it, cells guarded against spreadsheet formulas."""
    return as_csv(guarded(flat(report, rows)), CSV[report])


def plain_csv(rows: list[Row]) -> str:
    """Rows that no command prints, as CSV with their own columns; cells guarded."""
    return as_csv(guarded(rows), tuple(rows[0])) if rows else ""


def heading(title: str, csv_name: str, csv_text: str, note: str = "") -> None:
    """A panel's title and a word about it, with the download at the other end."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader(title, anchor=False, width="content")
        st.caption(note, width="stretch")
        if not csv_text:
            return
        st.download_button(
            "CSV", csv_text, csv_name, "text/csv", key=f"download-{csv_name}", on_click="ignore",
            icon=":material/download:", type="tertiary", help=f"Download {csv_name}",
        )  # fmt: skip


def panel(name: str, **how: Any) -> Any:
    """A framed part of a page; `style.css` knows it by its key."""
    return st.container(border=True, key=f"panel-{name}", **how)


def chart_and_table(chart: Any, alt_text: str, table: str) -> None:
    """A chart, and folded away below it the table with the same numbers."""
    st.altair_chart(chart, alt=alt_text)
    with st.expander("Table", icon=":material/table_rows:", type="compact"):
        st.html(table)
