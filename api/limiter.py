"""Requests a second of one token: a bucket that fills at the rate and holds two seconds' worth."""

from __future__ import annotations

import time
from collections import OrderedDict

from api.errors import ApiError

MAX_BUCKETS = 100_000
BURST_SECONDS = 2.0


class Limiter:
    """Buckets by who asks. `rate` 0 lets everything through."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, who: str) -> None:
        """Count one request. Raises ApiError 429 with the seconds to wait."""
        if not self._rate:
            return
        now = time.monotonic()
        room = self._rate * BURST_SECONDS
        left, at = self._buckets.pop(who, (room, now))
        left = min(room, left + (now - at) * self._rate)
        self._buckets[who] = (max(left - 1, 0.0), now)
        if len(self._buckets) > MAX_BUCKETS:
            self._buckets.popitem(last=False)
        if left < 1:
            wait = max(1, round((1 - left) / self._rate))
            raise ApiError(429, "too many requests with this token.",
                           hint=f"At most {self._rate} a second.",
                           headers={"Retry-After": str(wait)})  # fmt: skip
