"""The door: who is not signed in sees a button, who may see nothing is told so."""

from __future__ import annotations

import streamlit as st

from dashboard import format as fmt
from dashboard import pages, viewer
from dashboard.boundary import one_line_errors
from lake.scope import ForbiddenError


def enter() -> None:
    """Draw the page that the URL names, for those who may come in."""
    page = pages.navigation(hidden=not viewer.signed_in())
    if not viewer.signed_in():
        sign_in()
        return
    try:
        viewer.current()
    except ForbiddenError as error:
        st.error(fmt.plain(str(error)), icon=":material/block:")
        if st.button("Sign out"):
            st.logout()
        return
    with one_line_errors():
        page.run()


def sign_in() -> None:
    """The only thing that strangers see."""
    st.title("WarpDrive", anchor=False)
    ran_out = st.user.get("is_logged_in")
    st.markdown("Your sign-in has run out." if ran_out else "Sign in to see what is stored.")
    if st.button("Sign in", type="primary", icon=":material/login:"):
        st.login()


def account(found: viewer.Viewer) -> None:
    """Who is signed in, and the way out."""
    if not viewer.sign_in_configured():
        return
    scope = found.scope
    shown = f" · {', '.join(scope.teams) or 'no team'}" if scope.teams is not None else ""
    where = f" · {scope.tenant}" if scope.tenant else ""
    st.caption(fmt.plain(f"{scope.who} · {scope.role}{where}{shown}"), width="content")
    if st.button("Sign out", type="tertiary", icon=":material/logout:"):
        st.logout()
