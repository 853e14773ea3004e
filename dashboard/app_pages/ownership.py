"""Ownership: bytes that nobody owns, a number to bring down, and the rules that do it."""

from __future__ import annotations

import streamlit as st

from dashboard import charts, columns, data, frame, maps, panels, questions
from dashboard import format as fmt
from dashboard.boundary import one_line_errors
from dashboard.columns import Row
from dashboard.tables import Cell, card, table
from dashboard.viewer import Viewer
from lake import change
from lake.schemas import OWNERSHIP_RULES

DEPTHS = ("1", "2", "3", "4")
SOURCES = {
    "rule": "ownership rule", "storage": "the storage's own owner", "writer": "first writer",
    "reader": "dominant reader", "none": "unassigned",
}  # fmt: skip


def show() -> None:
    """Draw the page."""
    viewer = frame.begin("Ownership")
    frame.say_done()
    with frame.filters():
        backend = frame.backend(data.ask(viewer, questions.names))
        depth = int(frame.choice("Path segments", DEPTHS, "depth", DEPTHS[1]))
    usage = data.ask(viewer, questions.team_usage, backend)
    totals(usage)
    with panels.panel("unassigned"):
        unassigned(viewer, backend, depth)
    with panels.panel("evidence"):
        evidence(viewer)
    with panels.panel("rules"):
        rules(viewer)
    if viewer.scope.may("admin"):
        with panels.panel("new-rule"):
            new_rule(viewer)
    else:
        st.caption("Changing rules needs the role admin.")


def totals(usage: list[Row]) -> None:
    """The number to bring down, and what it is part of."""
    every = sum(row["bytes"] for row in usage)
    nobody = [row for row in usage if row["group"] == "unassigned"]
    size, files = (sum(row[name] for row in nobody) for name in ("bytes", "files"))
    owners = len({row["group"] for row in usage if row["files"]} - {"unassigned"})
    cards = (
        card("Unassigned", Cell(fmt.size(size), fmt.exact_size(size),
                                "wd-bad" if size else "wd-good"),
             f"{fmt.share(size / every if every else 0.0)} of all bytes"),
        card("Files without an owner", Cell(fmt.count(files)), "belong to no team"),
        card("Assigned", Cell(fmt.size(every - size), fmt.exact_size(every - size)),
             f"to {fmt.count(owners)} teams"),
    )  # fmt: skip
    st.html(f"<div class=wd-cards>{''.join(cards)}</div>")


def unassigned(viewer: Viewer, backend: str, depth: int) -> None:
    """Where the bytes are that nobody owns: the prefixes that a rule is worth writing for."""
    rows = data.ask(viewer, questions.unassigned, backend, depth)
    panels.heading("Unassigned by prefix", "unassigned.csv", panels.plain_csv(rows))
    if not any(row["bytes"] for row in rows):
        st.caption("Every byte belongs to somebody.")
        return
    places = [row | {"place": f"{row['backend']}:{row['prefix']}"} for row in rows]
    panels.chart_and_table(
        maps.treemap(places, "place", "Prefix"),
        f"The {len(rows)} prefixes with the most unassigned bytes",
        table("Unassigned by prefix", columns.PREFIXES, rows, csv="unassigned.csv"),
    )


def evidence(viewer: Viewer) -> None:
    """How owners are known."""
    rows = data.ask(viewer, questions.evidence)
    panels.heading("How owners are known", "evidence.csv", panels.plain_csv(rows))
    if not rows:
        st.caption("No file is known yet: run `warpdrive crawl`.")
        return
    named = [row | {"source": SOURCES.get(row["owner_source"], "?")} for row in rows]
    panels.chart_and_table(
        charts.shares(named, "source", "Evidence"),
        "Stored bytes by the evidence that decided the owner",
        table("Evidence", columns.EVIDENCE, named, csv="evidence.csv"),
    )


def rules(viewer: Viewer) -> None:
    """The rules in force and what each decides about; one can be removed."""
    rows = data.ask_beside(data.version(viewer, OWNERSHIP_RULES), viewer, questions.rules)
    panels.heading("Rules", "rules.csv", panels.report_csv("rule", rows) if rows else "")
    if not rows:
        st.caption("No rule yet. The config file may hold some, too.")
        return
    st.html(table("Rules", columns.RULES, rows, csv="rules.csv"))
    if not viewer.scope.may("admin"):
        return
    places = {f"{row['backend']}:{row['prefix']}": row for row in rows}
    with st.container(horizontal=True, vertical_alignment="bottom"):
        chosen = st.selectbox("Remove a rule", list(places), index=None, width=420,
                              placeholder="choose one", key="remove-rule")  # fmt: skip
        if chosen and st.button("Remove …", icon=":material/delete:"):
            confirm_remove(viewer, places[chosen])


def new_rule(viewer: Viewer) -> None:
    """A rule, previewed before it is saved."""
    st.subheader("New rule", anchor=False)
    left, middle, right = st.columns([2, 4, 2], vertical_alignment="bottom")
    backend = left.selectbox("Backend", data.ask(viewer, questions.names), key="rule-backend")
    prefix = middle.text_input(
        "Prefix", key="rule-prefix", placeholder="datasets/imagenet; empty = the whole backend",
        help="Whole path segments. The longest prefix that fits a file decides.",
    )  # fmt: skip
    team = right.selectbox(
        "Team", data.ask(viewer, questions.teams), index=None, accept_new_options=True,
        placeholder="choose or write one", key="rule-team",
    )  # fmt: skip
    ready = st.button("Preview …", type="primary", disabled=not (team and backend))
    if ready and team and backend:
        confirm_rule(viewer, {"backend": backend, "prefix": prefix.strip("/ "), "team": team})


@st.dialog("A new ownership rule", width="medium")
def confirm_rule(viewer: Viewer, rule: dict[str, str]) -> None:
    """What the rule would take from others; then save it."""
    with one_line_errors():
        beside = data.version(viewer, OWNERSHIP_RULES)
        taken = data.ask_beside(beside, viewer, questions.rule_preview, **rule)
        place = fmt.plain(f"{rule['backend']}:{rule['prefix']}")
        st.markdown(
            f"**{place}** would belong to **{fmt.plain(rule['team'])}**. It takes "
            f"**{fmt.count(taken['files'])} files, {fmt.size(taken['bytes'])}** from other owners "
            "at the next refresh."
        )

        def store() -> None:
            viewer.scope.require("admin", "change rules")
            viewer.scope.require_team(rule["team"])
            change.add_rule(viewer.config, rule, viewer.scope.who)

        told = f"Rule for {rule['backend']}:{rule['prefix']} is saved; reports follow at refresh."
        if st.button("Save the rule", type="primary") and frame.stated(store, told):
            st.rerun()


@st.dialog("Remove a rule")
def confirm_remove(viewer: Viewer, row: Row) -> None:
    """Ask once more, then remove."""
    with one_line_errors():
        place = f"{row['backend']}:{row['prefix']}"
        st.markdown(
            f"**{fmt.plain(place)}** no longer belongs to {fmt.plain(row['team'])}: "
            f"{fmt.count(row['files'])} files, {fmt.size(row['bytes'])} go to the next evidence."
        )

        def remove() -> None:
            viewer.scope.require("admin", "change rules")
            viewer.scope.require_team(row["team"])
            change.remove_rule(viewer.config, row["backend"], row["prefix"], viewer.scope.who)

        if st.button("Remove it", type="primary") and frame.stated(
            remove, f"The rule of {place} is removed; reports follow at refresh."
        ):
            st.rerun()


show()
