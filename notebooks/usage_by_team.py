# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Usage by team
# What each team stores, where, and how much of it was read. `lake.open()` finds the config as the
# commands do: `$WARPDRIVE_CONFIG`, else `./warpdrive.yaml`.

# %%
import altair as alt
import polars as pl

import lake

here = lake.open()
usage = here.usage(by="team").collect()
usage

# %% [markdown]
# ## One row per team
# Stored bytes add up over teams and `unassigned` to the backend's total exactly. Bytes read are the
# team's own activity, on any file.

# %%
teams = (
    usage.group_by("group")
    .agg(pl.col("files", "bytes", "bytes_read").sum())
    .sort("bytes", descending=True)
    .with_columns(share=pl.col("bytes") / pl.col("bytes").sum())
)
assert teams["bytes"].sum() == here.backends().select(pl.col("bytes").sum()).collect().item()
teams

# %% [markdown]
# ## Stored bytes by team and backend

# %%
alt.Chart(usage.filter(pl.col("bytes") > 0)).mark_bar().encode(
    x=alt.X("bytes:Q", title="stored bytes"),
    y=alt.Y("group:N", sort="-x", title="team"),
    color=alt.Color("backend:N"),
    tooltip=["group", "backend", "files", "bytes", "bytes_read"],
).properties(width=640, title="Storage by team")
