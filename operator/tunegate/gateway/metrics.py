"""Numbers for Prometheus, per release: vLLM's own series all carry the base model's name."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase

CLIENTS = 256
"""Clients that have series of their own."""
CLIENT_CHARACTERS = 128
OTHERS = "others"
"""All other clients. No client has this name: each has its kind before it, as in `key:team`."""
SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Metrics:
    """All series. The label `model` is `base` or a served name that this pod holds or held a moment ago, and `client` one of a bounded number."""

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
        self.client_requests = Counter(
            "tunegate_gateway_client_requests", "Requests that reached a model, by client.", ("client", "model", "status"),
            registry=self.registry,
        )  # fmt: skip
        self.client_tokens = Counter(
            "tunegate_gateway_client_tokens", "Tokens by client and kind (prompt, completion).", ("client", "model", "kind"),
            registry=self.registry,
        )  # fmt: skip
        self.client_refused = Counter(
            "tunegate_gateway_client_refused", "Requests of known clients that were refused, by reason.",
            ("client", "reason"), registry=self.registry,
        )  # fmt: skip
        self._clients: set[str] = set()
        self.shadows = Counter(
            "tunegate_gateway_shadow_copies",
            "Copies of requests for a shadow, by outcome (answered, refused, failed, too-long, dropped, cut).",
            ("model", "outcome"), registry=self.registry,
        )  # fmt: skip
        self.in_flight = Gauge(
            "tunegate_gateway_in_flight", "Requests being answered now.", ("model",), registry=self.registry
        )
        self.holding = Gauge(
            "tunegate_gateway_adapter_held", "1 for an adapter whose probe passed and that is approved.", ("model",),
            registry=self.registry,
        )  # fmt: skip
        self._by_model: tuple[MetricWrapperBase, ...] = (
            self.requests, self.seconds, self.first_byte, self.tokens, self.client_requests, self.client_tokens, self.shadows,
            self.in_flight, self.holding,
        )  # fmt: skip
        self.waiting = Histogram(
            "tunegate_gateway_waiting_seconds", "Time that a checked request waited for its turn at the engine.",
            buckets=(0.001, 0.01, 0.1, 0.5, 1, 2.5, 5, 10, 15), registry=self.registry,
        )  # fmt: skip
        self.connections = Gauge("tunegate_gateway_connections", "Open connections of clients.", registry=self.registry)
        self.cut_connections = Counter(
            "tunegate_gateway_connections_cut", "Connections that the gateway ended, by reason.", ("reason",),
            registry=self.registry,
        )  # fmt: skip
        self.routes_age = Gauge(
            "tunegate_gateway_routes_age_seconds", "Time since the routes were last read.", registry=self.registry
        )
        self.restarts = Counter(
            "tunegate_gateway_watcher_restarts", "Watchers that ended and were started again.", ("watcher",),
            registry=self.registry,
        )  # fmt: skip

    def forget(self, model: str) -> None:
        """Remove every series of a model."""
        for collector in self._by_model:
            collector.remove_by_labels({"model": model})

    def client_label(self, client: str) -> str:
        """Return the label of a client: what ``Access`` calls it, which is never a credential. Those beyond the first
        ``CLIENTS`` share one, so that no client makes series without end."""
        label = client[:CLIENT_CHARACTERS]
        if label not in self._clients:
            if len(self._clients) >= CLIENTS:
                return OTHERS
            self._clients.add(label)
        return label
