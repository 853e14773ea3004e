"""Buckets: ranges of `file_id` that bound the memory of every heavy step.

A bucket is a contiguous range, so that the rows of any bucket in a file sorted by `file_id` are
found by the bounds of its row groups. `file_id` is a hash: buckets are of equal size.
"""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

DEFAULT_BUCKETS = 64
ROWS_AT_ONCE = 200_000
"""Rows of one step's input that are held in memory together."""
STEPS, MOST = 256, 2
"""Beyond so many steps each takes more rows, up to so many times as many: a step has a price."""
_HALF, _LOW_BITS = 2**31, 2**32


class Span(NamedTuple):
    """Neighbouring buckets `first` to `last`, and their least and greatest `file_id`."""

    first: int
    last: int
    low: int
    high: int

    def holds(self) -> pl.Expr:
        """Whether the row's `file_id` lies in the span."""
        return pl.col("file_id").is_between(self.low, self.high)


def bucket(count: int) -> pl.Expr:
    """The bucket of `file_id`, 0 … count - 1: its upper 32 bits scaled to the count."""
    upper = pl.col("file_id") // _LOW_BITS + _HALF
    return (upper * count // _LOW_BITS).alias("bucket")


def low(number: int, count: int) -> int:
    """The least `file_id` of a bucket."""
    return (-(-number * _LOW_BITS // count) - _HALF) * _LOW_BITS


def spans(count: int, rows: int) -> list[Span]:
    """All buckets, joined to as few spans as keep each near ROWS_AT_ONCE of `rows`."""
    wanted = min(count, max(1, -(-rows // at_once(ROWS_AT_ONCE, rows))))
    firsts = [i * count // wanted for i in range(wanted)]
    return [
        Span(first, end - 1, low(first, count), low(end, count) - 1)
        for first, end in zip(firsts, [*firsts[1:], count], strict=True)
    ]


def at_once(least: int, rows: int) -> int:
    """How many of `rows` a step takes: `least`, or more where there would be too many steps."""
    return max(least, min(MOST * least, rows // STEPS))


def fine_spans(count: int, rows: int) -> list[Span]:
    """`spans` of buckets that are cut in halves until one is near ROWS_AT_ONCE of `rows`.

    For steps that only read: rows sorted by `file_id` are found by any range.
    """
    while count * at_once(ROWS_AT_ONCE, rows) < rows:
        count *= 2
    return spans(count, rows)
