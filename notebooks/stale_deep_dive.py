# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Stale deep-dive
# How old the data is, who owns what nobody touches, and how that is known. `stale_index` has one
# row per living file; only the columns that are used are read.

# %%
import altair as alt
import polars as pl

import lake

here = lake.open()
index = here.table("stale_index")
as_of = here.as_of
assert as_of is not None
age = (pl.lit(as_of) - pl.col("last_access_at")).dt.total_days()
ages = index.select("backend", "team", "size_bytes", "evidence", idle_days=age)
ages.head(5).collect()

# %% [markdown]
# ## What the last access is known from
# `telemetry` is an agent on a node, `storage` the backend's own access time, `modified` the last
# modification: the weaker the evidence, the more care before anything is deleted.

# %%
ages.group_by("evidence").agg(
    files=pl.len(), bytes=pl.col("size_bytes").sum(), oldest_days=pl.col("idle_days").max()
).sort("bytes", descending=True).collect()

# %% [markdown]
# ## Bytes by age and team

# %%
edges = {"< 7 d": 7, "7-30 d": 30, "30-90 d": 90, "90-180 d": 180, "180-365 d": 365}
labels = [*edges, "> 1 y"]
younger = (pl.when(pl.col("idle_days") < days).then(pl.lit(name)) for name, days in edges.items())
buckets = (
    ages.with_columns(bucket=pl.coalesce(*younger, pl.lit(labels[-1])))
    .group_by("bucket", "team")
    .agg(files=pl.len(), bytes=pl.col("size_bytes").sum())
    .sort("bucket", "team")
    .collect()
)
buckets

# %% [markdown]
# ## The largest files that nobody touched for 90 days

# %%
here.stale(days=90, limit=10).select("backend", "path", "size_bytes", "owner", "evidence").collect()

# %%
alt.Chart(buckets).mark_bar().encode(
    x=alt.X("bucket:O", sort=labels, title="not touched for"),
    y=alt.Y("bytes:Q", title="bytes"),
    color=alt.Color("team:N"),
    tooltip=["bucket", "team", "files", "bytes"],
).properties(width=640, title="Bytes by age of the last access")
