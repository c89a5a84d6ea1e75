"""What each client asked and used: against its quota, and as numbers for Prometheus."""

from __future__ import annotations

from dataclasses import dataclass, field

from tunegate.gateway.bodies import BYTES_PER_TOKEN, Checked
from tunegate.gateway.errors import ApiError
from tunegate.gateway.metrics import Metrics
from tunegate.gateway.quotas import Quotas
from tunegate.gateway.routes import RouteTable
from tunegate.gateway.stream import Usage


@dataclass
class Spent:
    """What one request came to; ``events`` where the engine's count of tokens is not known: pieces of a stream that ended early, or
    the tokens that the bytes of an answer may come to."""

    usage: Usage = field(default_factory=Usage)
    events: int = 0

    def tokens(self, asked: Checked) -> int:
        """Return the tokens that count. A client that leaves early is not told how many, and they were written all the same."""
        told = self.usage.prompt + self.usage.completion
        return told or len(asked.rest + asked.messages) // BYTES_PER_TOKEN + self.events


class Accounts:
    """One entry for each client, whatever its credential: a key, a Kubernetes token or a company's token."""

    def __init__(self, metrics: Metrics, routes: RouteTable, quotas: Quotas | None = None) -> None:
        self._metrics = metrics
        self._routes = routes
        self._quotas = quotas or Quotas()

    def admit(self, client: str) -> None:
        """Count a request against its client's minute. Raises ``ApiError`` 429."""
        self._quotas.admit(client, self._routes.per_client)

    def most_answers(self, share: int) -> int:
        """Return how many answers may be written for one client at once; ``share``: of the engine's places."""
        return min(share, self._routes.per_client.concurrent_answers or share)

    def refused(self, client: str, error: ApiError) -> None:
        """Count a refusal of a client that was admitted."""
        self._metrics.client_refused.labels(self._metrics.client_label(client), error.code).inc()

    def ended(self, client: str, served: str, status: str, asked: Checked, spent: Spent) -> None:
        """Count a request that reached a model."""
        label, usage = self._metrics.client_label(client), spent.usage
        self._metrics.client_requests.labels(label, served, status).inc()
        for kind, tokens in (("prompt", usage.prompt), ("completion", usage.completion)):
            self._metrics.tokens.labels(served, kind).inc(tokens)
            self._metrics.client_tokens.labels(label, served, kind).inc(tokens)
        if status in ("200", "aborted"):
            self._quotas.spend(client, self._routes.per_client, spent.tokens(asked))
