"""Ingest: what arrived from which node, what is missing, and what was refused."""

from __future__ import annotations

import datetime as dt

import streamlit as st

from dashboard import columns, data, frame, maps, panels, questions
from dashboard import format as fmt
from dashboard.columns import Row
from dashboard.tables import Cell, card, table
from dashboard.viewer import Viewer
from lake.schemas import AGENTS, LEDGER, QUARANTINE
from storage.units import parse_instant

HOURS = {"24 hours": 24, "48 hours": 48, "7 days": 168}


def show() -> None:
    """Draw the page."""
    viewer = frame.begin("Ingest")
    if viewer.scope.teams is not None:
        st.info("Nodes serve all teams: this page is for those who may see all of them.")
        return
    with frame.filters():
        hours = HOURS[frame.choice("Landed in the last", list(HOURS), "hours", "24 hours")]
        beside = data.version(viewer, LEDGER, AGENTS)
        rows = data.ask_beside(beside, viewer, questions.ledger, hours)
        nodes = sorted({row["node"] for row in rows if row["node"]})
        node = frame.pick("Node", nodes, "node")
    rows = [row for row in rows if node in ("", row["node"])]
    totals(rows)
    with panels.panel("hours"):
        landed(viewer, rows, hours)
    with panels.panel("quarantine"):
        quarantine(viewer, hours)


def totals(rows: list[Row]) -> None:
    """Sums over nodes and hours."""
    sums = {
        name: sum(row[name] for row in rows)
        for name in ("events", "objects", "gaps", "drops", "duplicates", "quarantined")
    }
    late = max((row["late_seconds"] for row in rows), default=0)
    lost = sums["gaps"] + sums["drops"]
    refused = sums["quarantined"] / max(1, sums["events"] + sums["quarantined"])
    cards = (
        card("Events", Cell(fmt.count(sums["events"])), f"in {fmt.count(sums['objects'])} objects"),
        card("Missing", Cell(fmt.count(lost), mark="wd-bad" if lost else "wd-good"),
             f"{fmt.count(sums['gaps'])} in gaps, {fmt.count(sums['drops'])} dropped by agents"),
        card("Duplicates", Cell(fmt.count(sums["duplicates"])), "objects that count once"),
        card("Quarantined", Cell(fmt.count(sums["quarantined"])), f"{refused:.2%} of the lines"),
        card("Latest", Cell(fmt.span(dt.timedelta(seconds=late))), "after the end of its hour"),
    )  # fmt: skip
    st.html(f"<div class=wd-cards>{''.join(cards)}</div>")


def landed(viewer: Viewer, rows: list[Row], hours: int) -> None:
    """Nodes by hours: the darker the more events; a cross where some are missing."""
    csv = panels.report_csv("ledger", rows) if rows else ""
    nodes = len({row["node"] for row in rows})
    cut = f", the first {maps.MAX_NODES} of {nodes} nodes" if nodes > maps.MAX_NODES else ""
    panels.heading("Nodes by hour", "ledger.csv", csv, f"✕ = events are missing{cut}")
    if not rows:
        st.caption("Nothing landed in this time.")
        return
    last = parse_instant(data.ask(viewer, questions.as_of))
    every = [(last - dt.timedelta(hours=n)).strftime("%Y-%m-%dT%H") for n in range(hours, -1, -1)]
    panels.chart_and_table(
        maps.hours(rows, every),
        f"Events of {nodes} nodes in {hours} landing hours",
        table("Ledger", columns.LEDGER, rows, csv="ledger.csv"),
    )


def quarantine(viewer: Viewer, hours: int) -> None:
    """Refused lines: how many of each reason, and the lines themselves."""
    beside = data.version(viewer, QUARANTINE)
    reasons, _ = data.ask_beside(beside, viewer, questions.quarantine, hours, "")
    if not reasons:
        panels.heading("Quarantine", "quarantine.csv", "")
        st.caption("No line was refused in this time.")
        return
    head = st.container()
    chosen = frame.pick("Reason", [row["reason"] for row in reasons], "reason", width=420)
    _, lines = data.ask_beside(beside, viewer, questions.quarantine, hours, chosen)
    with head:
        panels.heading("Quarantine", "quarantine.csv", panels.plain_csv(lines))
    st.html(table("Reasons", columns.REASONS, reasons))
    if len(lines) == questions.MAX_LINES:
        st.caption(f"The newest {fmt.count(questions.MAX_LINES)} lines are shown.")
    st.html(table("Refused lines", columns.LINES, lines, csv="quarantine.csv"))


show()
