"""Recording the probe: answers by which serving will recognize the adapter, with a tolerance measured here."""

from __future__ import annotations

from collections.abc import Sequence

from tunegate.api.stage.layout import BASE_SERVED_NAME, TUNED_SERVED_NAME
from tunegate.api.stage.probe import Probe
from tunegate.probes import MAX_ITEMS, choose, tolerance_of
from tunegate_trainer.endings import Unavailable
from tunegate_trainer.evaluation.engine import Engine, Reply
from tunegate_trainer.evaluation.questions import Suite

CANDIDATES = MAX_ITEMS + 8


async def record_probe(engine_url: str, suite: Suite, tuned: Sequence[Reply], base: Sequence[str]) -> Probe:
    """Score answers that differ from the base model's, twice, and keep the clearest of them.

    ``base`` are the base model's plain answers in the order of the questions. Finished answers go before those that were
    cut at ``task.maxTokens``: the last word of a cut one may be tokenized in another way than it was spoken.
    """
    differing = [
        (reply.finish != "stop", row.prompt, reply.text)
        for row, reply, other in zip(suite.rows, tuned, base, strict=True)
        if reply.text.strip() and reply.text.strip() != other.strip()
    ]
    differing.sort(key=lambda candidate: candidate[0])
    chosen = [(prompt, text) for _, prompt, text in differing[:CANDIDATES]]
    try:
        async with Engine(engine_url) as engine:
            first = await engine.score_all(TUNED_SERVED_NAME, BASE_SERVED_NAME, chosen)
            second = await engine.score_all(TUNED_SERVED_NAME, BASE_SERVED_NAME, chosen)
    except ValueError as error:
        raise Unavailable(f"the engine's scores cannot be read: {error}") from error
    scored = [(messages, answer, score) for (messages, answer), score in zip(chosen, first, strict=True)]
    return choose(scored, tolerance_of(first, second))
