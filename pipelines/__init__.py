"""Dagster definitions over the lake."""

import lake as _lake  # noqa: F401 # pyright: ignore[reportUnusedImport] # before polars: its allocator
