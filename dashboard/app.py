"""Entry of the dashboard: looks, navigation and the error boundary. Run by `serve.py`."""

# First of all imports: a second run of the script during their first import finds them half made.
import altair  # noqa: F401, ICN001, I001
import pandas  # noqa: F401, ICN001

from pathlib import Path

import streamlit as st

from dashboard import door
from dashboard.boundary import one_line_errors

HERE = Path(__file__).parent

st.set_page_config(page_title="WarpDrive", page_icon=str(HERE / "icon.svg"), layout="wide")
st.logo(str(HERE / "logo.svg"), size="large")
st.html(HERE / "style.css")
with one_line_errors():
    door.enter()
