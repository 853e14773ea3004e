"""Where heavy steps run: tasks are pure functions of a bucket, a day or a prefix.

A task takes one small picklable value, writes Parquet files under names of their own and returns
what the log needs to know of them. Whoever called commits; a task that is run twice leaves a file
that nobody refers to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol, TypeVar

Given = TypeVar("Given")
Found = TypeVar("Found")


class Runner(Protocol):
    """Runs a task for each of many values."""

    def map(self, task: Callable[[Given], Found], values: Sequence[Given]) -> Iterable[Found]:
        """The result of each value, in their order."""
        ...


class Inline:
    """One after the other in this process: memory is that of one task."""

    def map(self, task: Callable[[Given], Found], values: Sequence[Given]) -> Iterator[Found]:
        """The result of each value, in their order."""
        return map(task, values)


INLINE = Inline()
