"""Backend: one backend's size over time, its prefixes, tiers, owners and crawls."""

from __future__ import annotations

import streamlit as st

from dashboard import charts, columns, data, frame, maps, panels, questions
from dashboard import format as fmt
from dashboard.columns import Row
from dashboard.tables import Cell, card, table
from dashboard.viewer import Viewer
from lake.schemas import LISTINGS

PERIODS = {"30 days": 30, "90 days": 90, "1 year": 365, "Everything": 0}
PERIOD = "90 days"
WHAT = ("Bytes", "Files")
DEPTHS = ("1", "2", "3", "4")


def show() -> None:
    """Draw the page."""
    viewer = frame.begin("Backend")
    names = data.ask(viewer, questions.names)
    if not names:
        st.info("The config names no backend, and none was ever crawled.")
        return
    with frame.filters():
        name = frame.backend(names, every=False)
        period = frame.choice("Over", list(PERIODS), "period", PERIOD)
        what = frame.choice("Show", WHAT, "show", WHAT[0])
    found = data.ask(viewer, questions.backend, name, PERIODS[period])
    totals(found)
    left, right = st.columns([6, 5], gap="small")
    with left, panels.panel("size", height="stretch"):
        size(found, what)
    with right, panels.panel("moves", height="stretch"):
        moves(found)
    with panels.panel("prefixes"):
        prefixes(viewer, name)
    left, right = st.columns(2, gap="small")
    with left, panels.panel("owners", height="stretch"):
        owners(found.owners)
    with right, panels.panel("tiers", height="stretch"):
        tiers(viewer, name)
    with panels.panel("crawls"):
        crawls(viewer, name)


def totals(found: questions.BackendDetail) -> None:
    """The numbers at the top."""
    row = found.row
    state = columns.state(row)
    cards = (
        card("Stored", Cell(fmt.size(row["bytes"]), fmt.exact_size(row["bytes"])),
             fmt.moved(found.month, "bytes", fmt.size, questions.CHANGE_DAYS)),
        card("Files", Cell(fmt.count(row["files"])),
             fmt.moved(found.month, "files", fmt.count, questions.CHANGE_DAYS)),
        card("Last crawl", state, f"listed {fmt.day(row['crawled_at'])}"),
        card("Index agrees with store", columns.agreement(row), "bounds of its last audit"),
        card("Telemetry coverage", columns.coverage(row), "of the node-hours of 90 days"),
    )  # fmt: skip
    st.html(f"<div class=wd-cards>{''.join(cards)}</div>")


def size(found: questions.BackendDetail, what: str) -> None:
    """Bytes or files per day, table, CSV."""
    name = found.row["name"]
    panels.heading(f"{what} over time", "growth.csv", panels.report_csv("growth", found.growth))
    if not found.growth:
        st.caption("No listing yet: run `warpdrive crawl`.")
        return
    chart = (
        charts.growth(found.growth, [name]) if what == "Bytes" else charts.file_count(found.growth)
    )
    panels.chart_and_table(
        chart, f"{what} of {name} per day",
        table("Growth", columns.GROWTH, found.growth[::-1], csv="growth.csv"),
    )  # fmt: skip


def moves(found: questions.BackendDetail) -> None:
    """What came and went on each day."""
    rows = [row for row in found.growth if row["added_bytes"] or row["removed_bytes"]]
    panels.heading("Added and removed", "moves.csv", panels.plain_csv(rows))
    if not rows:
        st.caption("Nothing came or went in this time.")
        return
    panels.chart_and_table(
        charts.daily_moves(found.growth),
        f"Bytes added to and removed from {found.row['name']} per day",
        table("Added and removed", columns.MOVES, rows[::-1], csv="moves.csv"),
    )


def prefixes(viewer: Viewer, name: str) -> None:
    """The largest prefixes as areas."""
    head = st.container()
    depth = int(frame.choice("Path segments", DEPTHS, "depth", DEPTHS[0]))
    rows = data.ask(viewer, questions.prefixes, name, depth)
    cut = f"the {len(rows)} largest" if len(rows) == questions.MAX_TILES else ""
    with head:
        panels.heading("Top prefixes", "prefixes.csv", panels.plain_csv(rows), cut)
    if not any(row["bytes"] for row in rows):
        st.caption("No bytes are stored here.")
        return
    panels.chart_and_table(
        maps.treemap(rows, "prefix", "Prefix"),
        f"The {len(rows)} largest prefixes of {name} by bytes",
        table("Top prefixes", columns.PREFIXES, rows, csv="prefixes.csv"),
    )


def owners(rows: list[Row]) -> None:
    """Who owns what is stored here."""
    panels.heading("Owners", "owners.csv", panels.report_csv("usage", rows))
    if not rows:
        st.caption("Nobody owns anything here yet.")
        return
    panels.chart_and_table(
        charts.shares(rows, "group", "Owner"),
        f"Stored bytes of the {min(len(rows), charts.MAX_BARS)} largest owners",
        table("Owners", columns.OWNERS, rows, csv="owners.csv"),
    )


def tiers(viewer: Viewer, name: str) -> None:
    """Storage classes, as the store tells them."""
    rows = data.ask(viewer, questions.tiers, name)
    panels.heading("Tiers", "tiers.csv", panels.plain_csv(rows))
    if not rows:
        st.caption("Nothing is known about tiers here.")
        return
    panels.chart_and_table(
        charts.shares(rows, "tier", "Tier"),
        f"Stored bytes of {name} by storage class",
        table("Tiers", columns.TIERS, rows, csv="tiers.csv"),
    )


def crawls(viewer: Viewer, name: str) -> None:
    """Every crawl with its result."""
    beside = data.version(viewer, LISTINGS)
    rows = data.ask_beside(beside, viewer, questions.crawls, name)
    panels.heading("Crawl health", "crawls.csv", panels.plain_csv(rows), "newest first")
    if not rows:
        st.caption("Never crawled: run `warpdrive crawl`.")
        return
    st.html(table("Crawls", columns.CRAWLS, rows, csv="crawls.csv"))


show()
