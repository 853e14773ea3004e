# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Growth and forecast
# Bytes per day from the listings, going down when data goes down, and where they are headed. The
# forecast uses the method that would have done best on the series' own past; its bounds are that
# method's errors there.

# %%
import altair as alt
import polars as pl

import lake

here = lake.open()
days = here.growth(period_days=0, forecast_days=90).collect()
known = days.filter(pl.col("low_bytes").is_null())
ahead = days.filter(pl.col("low_bytes").is_not_null())
known.tail(5)

# %% [markdown]
# ## What came and what went

# %%
known.group_by("backend").agg(
    pl.col("added_bytes", "removed_bytes").sum(), last_bytes=pl.col("bytes").last()
).sort("backend")

# %% [markdown]
# ## In 90 days

# %%
ahead.group_by("backend", maintain_order=True).agg(
    pl.col("day", "low_bytes", "bytes", "high_bytes").last()
)

# %%
base = alt.Chart(days).encode(x=alt.X("day:T", title=None), color="backend:N")
band = (
    alt.Chart(ahead)
    .mark_area(opacity=0.25)
    .encode(x="day:T", y=alt.Y("low_bytes:Q", title="bytes"), y2="high_bytes:Q", color="backend:N")
)
line = base.mark_line(point=True).encode(y="bytes:Q", tooltip=["day", "backend", "bytes"])
(band + line).properties(width=640, title="Growth, and 90 days of forecast")
