"""Ingest, crawl and refresh, and Dagster definitions over the lake."""

import gc
import os

import lake as _lake  # noqa: F401 # pyright: ignore[reportUnusedImport] # before polars: its allocator

# The libraries of a run make a hundred thousand objects that stay. Looking through them again at
# every 700 new ones, which is Python's default, takes a tenth of the CPU of a crawl.
gc.set_threshold(10_000)
# Nothing here multiplies matrices, and each thread of numpy's BLAS spins a while when it starts.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
