"""`/metrics`: the lake's numbers in Prometheus' text format, beside the server's own."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from lake.gauges import Family, families


def lake_text(lake_root: str, teams: Collection[str] | None = None) -> bytes:
    """The exposition of a lake; of `teams` only, where they are given. Raises LakeError."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Lake(families(lake_root, teams)))
    return generate_latest(registry)


class _Lake(Collector):
    """Families that are already collected."""

    def __init__(self, found: list[Family]) -> None:
        self._found = found

    def collect(self) -> Iterator[Metric]:
        """Each family with its samples."""
        for family in self._found:
            kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
            told = kind(family.name, family.help, labels=family.labels)
            for labels, value in family.samples:
                told.add_metric(labels, value)
            yield told
