"""The only error boundary of the pages: one line for the reader, the traceback for the log."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from dashboard.format import plain
from storage.errors import WarpdriveError

log = logging.getLogger(__name__)
OUR_BUG = "Something went wrong on our side. The details are in the dashboard's log."


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Show what fails inside as one line: the error's own, or a general one for our bugs."""
    try:
        yield
    except WarpdriveError as error:
        st.error(plain(str(error)), icon=":material/error:")
    except Exception:
        log.exception("a page failed")
        st.error(OUR_BUG, icon=":material/error:")
