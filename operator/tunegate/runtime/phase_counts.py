"""A metric of which all values are replaced at once: a scrape sees one count or the next, never a part of one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector


class CountsByPhase(Collector):
    """Numbers of objects by kind and phase."""

    def __init__(self, name: str, documentation: str, registry: CollectorRegistry) -> None:
        self._name = name
        self._documentation = documentation
        self._counts: Mapping[tuple[str, str], int] = {}
        registry.register(self)

    def replace(self, counts: Mapping[tuple[str, str], int]) -> None:
        """Show these counts from now on."""
        self._counts = dict(counts)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the metric as Prometheus wants it."""
        family = GaugeMetricFamily(self._name, self._documentation, labels=["kind", "phase"])
        for (kind, phase), count in sorted(self._counts.items()):
            family.add_metric([kind, phase], count)
        yield family
