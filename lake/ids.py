"""`file_id`: the one place where it is computed."""

from __future__ import annotations

import polars as pl
import polars_hash as plh  # registers the `nchash` namespace

BACKEND = pl.col("backend")
PATH = pl.col("path")


def file_id(backend: pl.Expr = BACKEND, path: pl.Expr = PATH) -> pl.Expr:
    """Signed xxhash64 of `backend`, NUL, `path`, from the columns of those names. Int64.

    `Expr.hash` of Polars is not used: it is not promised stable over versions.
    """
    key = plh.concat_str(backend, pl.lit("\0"), path)
    return key.nchash.xxhash64().reinterpret(signed=True).alias("file_id")
