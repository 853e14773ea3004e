"""One config behind the server: its reader, its landing zone, its runs."""

from __future__ import annotations

import asyncio
import datetime as dt
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from api.caller import Caller
from api.engine import Engines
from api.errors import ApiError
from api.lander import Lander
from api.questions import Order, Question
from api.runs import Runs
from api.schedule import Schedule
from lake import published
from storage.config import Config

CACHED_ANSWERS = 256
CACHED_ANSWER_BYTES = 4 * 1024**2
CACHED_BYTES = 64 * 1024**2
"""All of them together."""
LOOK_AGAIN_SECONDS = 1.0
LIGHT_THREADS, HEAVY_THREADS = 4, 2


class Pools:
    """Threads for questions: what the engine must answer never holds up what is published.

    The heavy ones wait for processes of their own, or for a change of the lake.
    """

    def __init__(self) -> None:
        self.light = ThreadPoolExecutor(LIGHT_THREADS, "light")
        self.heavy = ThreadPoolExecutor(HEAVY_THREADS, "heavy")
        self.engines = Engines(HEAVY_THREADS)

    def close(self) -> None:
        """Take nothing more; do not wait for what runs."""
        for pool in (self.light, self.heavy):
            pool.shutdown(wait=False, cancel_futures=True)
        self.engines.close()


class Site:
    """Everything of one config file. With tenants there is one site each."""

    def __init__(
        self, config: Config, pools: Pools, name: str = "", *, crawls: bool = False
    ) -> None:
        self.config = config
        self.name = name
        self.lander = Lander(config.telemetry.landing)
        self.runs = Runs(config)
        self._schedule = Schedule(config, self.runs) if crawls else None
        self._pools = pools
        self._answers: OrderedDict[tuple[Any, ...], Any] = OrderedDict()
        self._answer_bytes = 0
        self._lock = threading.Lock()
        self._seen: Any = None
        self._looked = 0.0

    async def ask(
        self, question: Question, caller: Caller, *, heavy: bool, as_of: dt.datetime | None = None
    ) -> Any:
        """Put a question to the caller's read model, within the request's time.

        In a thread; a heavy one in a process, which is ended where it takes too long.
        """
        order = Order(self.config, caller, as_of, question)
        if not heavy:
            return await self.call(order.answer, heavy=False)
        try:
            return await self.call(lambda: self._pools.engines.answer(order))
        finally:
            self._pools.engines.stop(order)

    async def call(self, work: Callable[[], Any], *, heavy: bool = True) -> Any:
        """Run blocking work in a thread. Raises ApiError 503 when it takes too long."""
        pool = self._pools.heavy if heavy else self._pools.light
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self.config.server.request_timeout.total_seconds()):
                return await loop.run_in_executor(pool, work)
        except TimeoutError:
            raise ApiError(
                503, "the answer takes too long.", hint="Ask for less, or again later.",
                headers={"Retry-After": "10"},
            ) from None  # fmt: skip

    def recall(self, key: tuple[Any, ...]) -> Any:
        """An answer given before from the results that are still published, or None."""
        state = self._published()
        with self._lock:
            if state != self._seen:
                self._drop()
                self._seen = state
                return None
            found = self._answers.get(key)
            if found is not None:
                self._answers.move_to_end(key)
            return found

    def remember(self, key: tuple[Any, ...], since: Any, answer: Any) -> None:
        """Keep an answer, unless other results were published since the question was put."""
        with self._lock:
            fits = len(answer[0]) <= CACHED_ANSWER_BYTES and key not in self._answers
            if since == self._seen and fits:
                self._answers[key] = answer
                self._answer_bytes += len(answer[0])
                while len(self._answers) > CACHED_ANSWERS or self._answer_bytes > CACHED_BYTES:
                    self._answer_bytes -= len(self._answers.popitem(last=False)[1][0])

    def _drop(self) -> None:
        self._answers.clear()
        self._answer_bytes = 0

    @property
    def seen(self) -> Any:
        """Which published results the remembered answers are of."""
        return self._seen

    def forget(self) -> None:
        """Something was changed here: ask anew."""
        with self._lock:
            self._drop()
            self._seen = None
            self._looked = 0.0

    def _published(self) -> Any:
        """A token that changes when CURRENT does. Stores are asked once a second at most."""
        root = published.place(self.config.lake.root)
        if "://" not in root:
            try:
                stat = (Path(root) / published.CURRENT).stat()
            except OSError:
                return "none"
            return (stat.st_mtime_ns, stat.st_ino, stat.st_size)
        now = asyncio.get_running_loop().time()
        if self._seen is None or now - self._looked > LOOK_AGAIN_SECONDS:
            self._looked = now
            return ("second", int(now))
        return self._seen

    async def close(self) -> None:
        """Let what waits land; stop a run."""
        if self._schedule is not None:
            await self._schedule.close()
        await asyncio.to_thread(self.lander.close)
        await self.runs.close()
