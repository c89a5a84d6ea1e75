"""Recorded answers by which serving recognizes an adapter."""

from __future__ import annotations

from tunegate.api.markers import StrictModel


class ProbeItem(StrictModel):
    """One recorded answer by which serving recognizes the adapter."""

    messages: list[dict[str, str]]
    answer: str
    """The tuned model's answer."""
    tuned_logprob: float
    """Mean log-probability per token of `answer` under the adapter, scored by prompt log-probabilities."""
    base_logprob: float
    """The same under the base model."""


class Probe(StrictModel):
    """Prompts on which adapter and base differ clearly, with the tolerance measured by scoring them twice."""

    items: list[ProbeItem]
    tolerance: float
    """Largest difference between two scorings of the same answer, with a floor, in nats per token."""
