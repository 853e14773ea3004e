"""The REST body of a stale page straight from its columns, without a row in between.

Byte for byte what `lake.text.render` makes of the same rows, for a tenth of the interpreter's time.
"""

from __future__ import annotations

import json

import polars as pl

from lake.publish import INSTANT
from lake.reports import ZERO_TIME

SHARE = ',"coverage":'


def body(page: pl.DataFrame) -> bytes:
    """JSON of rows of stale_index with `coverage`, a line end behind it."""
    if page.is_empty():
        return b"[]\n"
    before = pl.struct(
        pl.col("backend").alias("backend_name"), "path", "size_bytes",
        _text("last_modified_at").fill_null(ZERO_TIME).alias("last_modified"),
        _text("last_access_at").alias("last_access"), "evidence",
    )  # fmt: skip
    head = before.struct.json_encode().str.strip_suffix("}")
    tail = pl.struct("owner").struct.json_encode().str.strip_prefix("{")
    line = pl.concat_str(head, pl.lit(SHARE), _share(page["coverage"]), pl.lit(","), tail)
    return f"[{page.select(line.str.join(',')).item()}]\n".encode()


def _text(name: str) -> pl.Expr:
    return pl.col(name).dt.to_string(INSTANT)


def _share(shares: pl.Series) -> pl.Expr:
    """As `json` writes floats, one text for each: a backend has one."""
    known = shares.drop_nulls().unique().to_list()
    if not known:
        return pl.lit("null")
    texts = [json.dumps(share) for share in known]
    told = pl.col("coverage").replace_strict(known, texts, default=None, return_dtype=pl.String)
    return told.fill_null("null")
