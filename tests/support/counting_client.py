"""A client of a real API server that notes every request it sends."""

from __future__ import annotations

from collections import Counter
from typing import Any

from tunegate.kube.client import KubeClient


class CountingClient(KubeClient):
    """Counts requests by method and kind of object, and the objects that came back in listings."""

    requests: Counter[str]
    listed: int

    def reset(self) -> None:
        """Count from nothing."""
        self.requests, self.listed = Counter(), 0

    async def _request(self, method: str, path: str, doing: str, **params: Any) -> dict[str, Any]:
        answer = await super()._request(method, path, doing, **params)
        self.requests[" ".join([method, *doing.split()[:2]])] += 1
        self.listed += len(answer.get("items") or [])
        return answer
