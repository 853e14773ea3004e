"""The pages, run by Streamlit as scripts."""
