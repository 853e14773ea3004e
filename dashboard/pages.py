"""The pages there are, in the order of the navigation."""

from __future__ import annotations

from typing import Any

import streamlit as st

PAGES = (
    ("overview", "Overview", ":material/dashboard:"),
    ("backend", "Backend", ":material/database:"),
    ("stale", "Stale", ":material/hourglass_bottom:"),
    ("user", "User", ":material/person:"),
    ("quotas", "Quotas", ":material/speed:"),
    ("ingest", "Ingest", ":material/input:"),
    ("ownership", "Ownership", ":material/group_work:"),
)


def navigation(*, hidden: bool = False) -> Any:
    """The page that the URL names; without a name the first."""
    return st.navigation(
        [
            st.Page(f"app_pages/{name}.py", title=title, icon=icon, default=name == PAGES[0][0])
            for name, title, icon in PAGES
        ],
        position="hidden" if hidden else "top",
    )
