# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Who reads what
# Accesses per file, user and day, as the agents recorded them. `stat` and `list` are no access.

# %%
import altair as alt
import polars as pl

import lake

here = lake.open()
daily = here.table("access_daily").filter(
    (pl.col("read_count") + pl.col("write_count")) > 0, pl.col("user") != ""
)

# %% [markdown]
# ## Everybody's reading, by the first folder of the path

# %%
prefix = pl.col("path").str.split("/").list.first()
read = (
    daily.group_by("user", "backend", prefix=prefix)
    .agg(
        files=pl.col("file_id").n_unique(),
        reads=pl.col("read_count").sum(),
        bytes_read=pl.col("bytes_read").sum(),
        last_access_at=pl.col("last_access_at").max(),
    )
    .sort("bytes_read", "user", "prefix", descending=[True, False, False])
    .collect()
)
read

# %% [markdown]
# ## Files that several people share
# They are the ones to ask about before anything moves.

# %%
daily.group_by("backend", "path").agg(
    users=pl.col("user").n_unique(), bytes_read=pl.col("bytes_read").sum()
).filter(pl.col("users") > 1).sort("users", "bytes_read", descending=True).head(20).collect()

# %% [markdown]
# ## One person's latest files

# %%
somebody = read["user"][0]
here.user(somebody, limit=10).collect()

# %%
alt.Chart(read).mark_rect().encode(
    x=alt.X("prefix:N", title="first folder"),
    y=alt.Y("user:N"),
    color=alt.Color("bytes_read:Q", title="bytes read"),
    tooltip=["user", "backend", "prefix", "files", "reads", "bytes_read"],
).properties(width=640, title="Who reads what")
