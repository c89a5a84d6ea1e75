"""Numbers for Prometheus, per release: vLLM's own series all carry the base model's name."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Metrics:
    """All series. The label `model` is `base` or a served name that this pod holds: its values are bounded."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "tunegate_gateway_requests",
            "Requests that reached a model, by HTTP status.",
            ("model", "endpoint", "status"),
            registry=self.registry,
        )
        self.refused = Counter(
            "tunegate_gateway_refused", "Requests refused before any model, by reason.", ("reason",),
            registry=self.registry,
        )  # fmt: skip
        self.seconds = Histogram(
            "tunegate_gateway_request_seconds", "Time to the end of the answer.", ("model", "endpoint"),
            buckets=SECONDS, registry=self.registry,
        )  # fmt: skip
        self.first_byte = Histogram(
            "tunegate_gateway_first_byte_seconds", "Time to the first byte of the answer.", ("model", "endpoint"),
            buckets=SECONDS, registry=self.registry,
        )  # fmt: skip
        self.tokens = Counter(
            "tunegate_gateway_tokens", "Tokens, by kind (prompt, completion).", ("model", "kind"),
            registry=self.registry,
        )  # fmt: skip
        self.in_flight = Gauge(
            "tunegate_gateway_in_flight", "Requests being answered now.", ("model",), registry=self.registry
        )
        self.holding = Gauge(
            "tunegate_gateway_adapter_held", "1 for an adapter whose probe passed and that is approved.", ("model",),
            registry=self.registry,
        )  # fmt: skip
