"""Stale: files that nobody has touched, to look through, to mark, to export."""

from __future__ import annotations

import streamlit as st

from dashboard import data, frame, marking, panels, questions, stale_grid
from dashboard import format as fmt
from dashboard.boundary import one_line_errors
from dashboard.questions import Filter
from dashboard.tables import Cell, card
from dashboard.viewer import Viewer
from lake.browse import ORDERS
from storage.units import MAX_DAYS, parse_size

SELECT, BROWSE = "Select", "Browse all"
DAYS = 90


def show() -> None:
    """Draw the page."""
    viewer = frame.begin("Stale")
    frame.say_done()
    chosen = filters(viewer)
    marked = marking.known(viewer)
    totals(viewer, chosen, marked)
    with panels.panel("files"):
        files(viewer, chosen)
    with panels.panel("marks"):
        marking.panel(viewer, marked)


def filters(viewer: Viewer) -> Filter:
    """Days, size, backend, team, owner: all in the URL."""
    with frame.filters():
        days = st.number_input(
            "Not touched for (days)", 0, MAX_DAYS, DAYS, key="days", bind="query-params", width=180
        )
        size = st.text_input(
            "At least", key="min_size", bind="query-params", placeholder="any size, e.g. 1GB",
            width=180,
        )  # fmt: skip
        backend = frame.pick("Backend", data.ask(viewer, questions.names), "backend", width=200)
        team = frame.pick("Team", data.ask(viewer, questions.teams), "team", width=200)
        owner = st.text_input(
            "Owner", key="owner", bind="query-params", placeholder="anybody", width=180
        )
    least = 0
    with one_line_errors():
        least = parse_size(size, "the smallest size")
    return Filter(int(days), least, backend, team, owner.strip())


def totals(viewer: Viewer, chosen: Filter, marked: questions.Marks) -> None:
    """How much matches, how much of it is known to be untouched, what the marks would free."""
    found = data.ask(viewer, questions.stale_totals, chosen)
    cover = data.ask(viewer, questions.coverage)
    known = [v for k, v in cover.items() if v is not None and chosen.backend in ("", k)]
    told = "of telemetry, least covered backend" if known else "no agent reports here"
    cards = (
        card("Stale", Cell(fmt.size(found.bytes), fmt.exact_size(found.bytes)),
             f"not touched for {chosen.days} days"),
        card("Files", Cell(fmt.count(found.files)), "match the filter"),
        card("Coverage", Cell(fmt.share(min(known, default=None))), told),
        card("Marks would free", Cell(fmt.size(marked.bytes), fmt.exact_size(marked.bytes)),
             f"{fmt.count(marked.files)} files marked"
             + (f", {fmt.count(marked.void)} void" if marked.void else "")),
    )  # fmt: skip
    st.html(f"<div class=wd-cards>{''.join(cards)}</div>")


def files(viewer: Viewer, chosen: Filter) -> None:
    """The files that match: pages to select from, or all of them to scroll through."""
    st.subheader("Files", anchor=False)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="large"):
        mode = frame.choice("View", (SELECT, BROWSE), "view", SELECT)
        order = ""
        if mode == SELECT:
            order = frame.choice("Order", list(ORDERS), "order", next(iter(ORDERS)))
        st.space("stretch")
        stale_grid.export(viewer, chosen)
    if mode == SELECT:
        stale_grid.select(viewer, chosen, order)
    else:
        stale_grid.browse(viewer, chosen)


show()
