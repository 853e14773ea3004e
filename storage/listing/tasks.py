"""List a big store in parallel: tasks that split when hands are idle, and a checkpoint.

A task is a piece of the key space and how far it has been listed, as plain JSON. A source takes
one step of a task (one page), and splits what is left of it. Rows go to the staging place in
files; each file comes with the tasks that were open then, so that a crawl that was stopped goes on
where it was.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import pyarrow as pa

from storage.listing.progress import Progress
from storage.listing.staging import Staging

log = logging.getLogger(__name__)
PARALLEL = 8
PAGES_BEFORE_SPLIT = 2
"""A part that ends before it has as many pages costs more to cut than to list: every cut asks for
folders, and gets the keys behind it twice."""
Task = dict[str, Any]


class Step(NamedTuple):
    """One page of a task."""

    rows: pa.RecordBatch
    left: Task | None
    """What of the task is still to do; None at its end."""


class Pages(Protocol):
    """A store that is listed page by page."""

    def whole(self) -> Task:
        """The task of everything."""
        ...

    def step(self, task: Task) -> Step:
        """List the next page of a task. Raises BackendError."""
        ...

    def split(self, task: Task, ways: int) -> list[Task]:
        """At most `ways` tasks that together are `task`; the first goes on where it was."""
        ...


@dataclass
class _Work:
    """What the workers share; guarded by `turn`."""

    waiting: list[Task]
    busy: dict[int, Task] = field(default_factory=dict)
    idle: int = 0
    error: BaseException | None = None
    stopped: bool = False
    turn: threading.Condition = field(default_factory=threading.Condition)

    def open(self) -> list[Task]:
        return [*self.busy.values(), *self.waiting]

    @property
    def over(self) -> bool:
        return self.stopped or not (self.waiting or self.busy)


def list_in_parallel(
    pages: Pages, staging: Staging, progress: Progress, parallel: int = PARALLEL
) -> Iterator[pa.RecordBatch]:
    """Every row of the store. Raises what `pages` raises; what was listed then stays staged."""
    progress.add(staging.staged_rows)
    resumed = staging.open_tasks
    work = _Work([pages.whole()] if resumed is None else resumed)
    threads = [
        threading.Thread(target=_worker, args=(i, work, pages, staging, progress), daemon=True)
        for i in range(parallel)
    ]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        # Also when the caller is interrupted while it waits: what came so far is kept.
        with work.turn:
            work.stopped = True
            work.turn.notify_all()
        if work.error is not None or work.open():
            with work.turn:
                staging.save(work.open())
    if work.error is not None:
        raise work.error
    yield from staging.batches()
    staging.clear()


def _worker(number: int, work: _Work, pages: Pages, staging: Staging, progress: Progress) -> None:
    try:
        while (task := _next(number, work)) is not None:
            _run(number, task, work, pages, staging, progress)
    except BaseException as error:  # noqa: BLE001 - raised again by the caller's thread
        with work.turn:
            work.error = work.error or error
            work.stopped = True
            work.turn.notify_all()


def _next(number: int, work: _Work) -> Task | None:
    """A task; None when there is none any more."""
    with work.turn:
        work.idle += 1
        while not work.waiting and not work.over:
            work.turn.wait()
        work.idle -= 1
        if work.over:
            work.turn.notify_all()
            return None
        task = work.waiting.pop()
        work.busy[number] = task
        return task


def _run(
    number: int, task: Task, work: _Work, pages: Pages, staging: Staging, progress: Progress
) -> None:
    """Take a task to its end, giving parts of it away while others have nothing to do."""
    left: Task | None = task
    in_vain, rest = 0, 0 if task == pages.whole() else PAGES_BEFORE_SPLIT
    while left is not None:
        step = pages.step(left)
        left = step.left
        with work.turn:
            if work.stopped:
                return
            staging.add(step.rows)
            _keep(number, work, left)
            if staging.is_due():
                staging.save(work.open())
            ways = work.idle - len(work.waiting) + 1
        progress.add(step.rows.num_rows)
        rest -= 1
        if left is not None and ways > 1 and rest <= 0:
            left, *others = pages.split(left, ways)
            with work.turn:
                _keep(number, work, left)
                work.waiting.extend(others)
                work.turn.notify(len(others))
            # What could not be split is not asked again at every page.
            in_vain = 0 if others else in_vain + 1
            rest = max(2**in_vain, PAGES_BEFORE_SPLIT)


def _keep(number: int, work: _Work, left: Task | None) -> None:
    if left is None:
        del work.busy[number]
        if work.over:
            work.turn.notify_all()
    else:
        work.busy[number] = left
