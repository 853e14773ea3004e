"""What the server counts about itself, in a registry of its own."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """Counters of one server. Collectors of the lake register with `registry` too."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "warpdrive_api_requests_total", "Requests answered.",
            ["tenant", "route", "method", "status"], registry=self.registry,
        )  # fmt: skip
        self._seconds = Histogram(
            "warpdrive_api_request_duration_seconds", "From request to answer.",
            ["tenant", "route"], buckets=_SECONDS, registry=self.registry,
        )  # fmt: skip
        self._events = Counter(
            "warpdrive_api_ingested_events_total", "Events landed by HTTP.", ["tenant"],
            registry=self.registry,
        )  # fmt: skip
        self._quarantined = Counter(
            "warpdrive_api_quarantined_events_total", "Of those, for the quarantine.", ["tenant"],
            registry=self.registry,
        )  # fmt: skip

    def answered(self, tenant: str, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request under its route's pattern and the tenant who asked."""
        self._requests.labels(tenant, route, method, str(status)).inc()
        self._seconds.labels(tenant, route).observe(seconds)

    def landed(self, tenant: str, events: int, quarantined: int) -> None:
        """Count a batch."""
        self._events.labels(tenant).inc(events)
        self._quarantined.labels(tenant).inc(quarantined)

    def text(self, tenant: str) -> bytes:
        """The exposition format, for those who may see that tenant: no other's series."""
        own = f'tenant="{tenant}"'.encode()
        lines = generate_latest(self.registry).splitlines(keepends=True)
        return b"".join(line for line in lines if b'tenant="' not in line or own in line)
