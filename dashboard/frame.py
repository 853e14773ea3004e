"""What every page begins with: title, freshness, filters that live in the URL, empty lakes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

from dashboard import data, door, viewer
from dashboard import format as fmt
from dashboard.boundary import one_line_errors
from dashboard.data import Source
from dashboard.viewer import Viewer
from lake import published
from storage import clock
from storage.units import parse_instant

ALL = "All"
OLD = dt.timedelta(hours=24)
MAX_SEGMENTS = 6


def begin(title: str, *, needs_results: bool = True) -> Viewer:
    """Title and freshness; ends the page with a hint where nothing is published yet."""
    found = viewer.current()
    with st.container(horizontal=True, vertical_alignment="bottom", key="wd-head"):
        st.title(title, anchor=False, width="stretch")
        with st.container(width="content"):
            fresh(found, data.number(found))
            with st.container(horizontal=True, horizontal_alignment="right"):
                door.account(found)
    if needs_results and not data.ask(found, _is_published):
        nothing_yet()
        st.stop()
    return found


def _is_published(source: Source) -> bool:
    return source.published


@st.fragment(run_every=10)
def fresh(found: Viewer, shown: int) -> None:
    """How fresh the numbers are; a new generation draws the whole page again."""
    with one_line_errors():
        if data.number(found) != shown:
            st.rerun()
        told = published.current(found.config.lake.root)
        if not told.as_of or not told.published_at or not told.documents:
            return
        age = clock.now() - parse_instant(told.published_at)
        parts = [
            f"As of **{fmt.minute(parse_instant(told.as_of))}**", f"published {fmt.span(age)} ago",
        ]  # fmt: skip
        if told.ingest_lag_seconds is not None:
            lag = fmt.span(dt.timedelta(seconds=told.ingest_lag_seconds))
            parts.append(f"ingest lag {lag} (p95)")
        st.caption(" · ".join(parts))
        if age > OLD:
            st.caption("**Older than a day: run `warpdrive refresh`.**")


def nothing_yet() -> None:
    """The hint for a lake that has no results."""
    st.info(
        "**Nothing is published yet.** Run `warpdrive ingest` and `warpdrive crawl`, then "
        "`warpdrive refresh`: this page shows the results as soon as they are there.",
        icon=":material/hourglass_empty:",
    )


def filters() -> Any:
    """The row that filters stand in."""
    return st.container(horizontal=True, vertical_alignment="bottom", gap="large", key="wd-filters")


def choice(label: str, options: Sequence[str], key: str, default: str) -> str:
    """One of a few words; in the URL unless it is the default."""
    found = st.segmented_control(
        label, list(options), default=default, required=True, key=key, bind="query-params"
    )
    return str(found or default)


def backend(names: Sequence[str], *, every: bool = True) -> str:
    """A backend, or an empty name for all of them where `every` allows it; in the URL."""
    options = [ALL, *names] if every else list(names)
    asked = st.query_params.get("backend", options[0])
    if asked not in options:
        instead = "all are shown" if every else f"'{options[0]}' is shown"
        st.warning(fmt.plain(f"There is no backend '{asked}': {instead}."))
    if len(options) <= MAX_SEGMENTS + 1:
        chosen = choice("Backend", options, "backend", options[0])
    else:
        chosen = st.selectbox("Backend", options, key="backend", bind="query-params", width=320)
    return "" if chosen in (ALL, None) else str(chosen)


def pick(label: str, options: Sequence[str], key: str, *, width: int = 260) -> str:
    """One of many names, or an empty one for all; in the URL. One that is gone is told."""
    asked = st.query_params.get(key, ALL)
    if asked not in (ALL, *options):
        st.warning(fmt.plain(f"There is no {label.lower()} '{asked}': all are shown."))
    chosen = st.selectbox(label, [ALL, *options], key=key, bind="query-params", width=width)
    return "" if chosen in (ALL, None) else str(chosen)


def stated(change: Callable[[], Any], done: str) -> bool:
    """Change something and say that it is done, or in one line why not; whether it was."""
    with one_line_errors():
        change()
        data.forget()
        st.session_state["wd-done"] = done
        return True
    return False


def say_done() -> None:
    """What the last change did, once, after the page was drawn again."""
    done = st.session_state.pop("wd-done", "")
    if done:
        st.toast(fmt.plain(done), icon=":material/check:", duration="long")
