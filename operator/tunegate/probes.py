"""How an adapter is recognized: recorded answers, scored again, must be as likely as they were at evaluation.

vLLM loads an adapter with wrong tensor names without complaint and then answers as the base model, and one and the same
build words a few answers differently at another concurrency. So neither "it loaded" nor "the text is equal" proves
anything. What does: the log-probability of a recorded answer under the adapter, compared with the record and with the
base. Evaluation records a ``Probe`` with this module and serving repeats it; here is no I/O.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunegate.api.stage.probe import Probe, ProbeItem

MAX_ITEMS = 16
MIN_ITEMS = 8
TOLERANCE_FLOOR = 0.05
"""Nats per token. Below it lies the noise of bfloat16 at another batch size."""
NOISE_FACTOR = 3.0
"""The tolerance is this many times the largest difference seen between two scorings of the same answer."""
CLEARANCE = 4.0
"""An item is recorded only where adapter and base are at least this many tolerances apart."""


@dataclass(frozen=True)
class EngineRequest:
    """One POST to vLLM; the answer to it is the decoded JSON body."""

    path: str
    body: dict[str, Any]


Scoring = Generator[EngineRequest, Mapping[str, Any], float]
"""A conversation with the engine that ends in a number; whoever has a connection drives it (``drive``)."""


def score_answer(model: str, messages: Sequence[Mapping[str, str]], answer: str) -> Scoring:
    """Ask for the mean log-probability per token of ``answer`` after ``messages`` under ``model``, in nats.

    Raises ``ValueError`` when the engine's answer has not the shape of vLLM 0.32.
    """
    turns = [dict(turn) for turn in messages]
    prompt = yield EngineRequest("/tokenize", {"model": model, "messages": turns, "add_generation_prompt": True})
    spoken = yield EngineRequest("/tokenize", {"model": model, "prompt": answer, "add_special_tokens": False})
    prompt_tokens, answer_tokens = _tokens(prompt), _tokens(spoken)
    if not answer_tokens:
        raise ValueError("an empty answer has no log-probability")
    scored = yield EngineRequest(
        "/v1/completions",
        {
            "model": model,
            "prompt": [*prompt_tokens, *answer_tokens],
            "max_tokens": 1,
            "temperature": 0,
            "prompt_logprobs": 0,
        },
    )
    return mean_logprob(scored, len(prompt_tokens), answer_tokens)


def mean_logprob(completion: Mapping[str, Any], prompt_length: int, answer_tokens: Sequence[int]) -> float:
    """Return the mean of the answer tokens' log-probabilities in a completion with ``prompt_logprobs``."""
    try:
        positions = completion["choices"][0]["prompt_logprobs"][prompt_length:]
        values = [
            float(position[str(token)]["logprob"]) for position, token in zip(positions, answer_tokens, strict=True)
        ]
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise ValueError(f"the engine's answer holds no usable prompt_logprobs ({type(error).__name__})") from error
    return math.fsum(values) / len(values)


async def drive(scoring: Scoring, send: Callable[[EngineRequest], Awaitable[Mapping[str, Any]]]) -> float:
    """Carry a scoring to its end over ``send``, which posts one request and returns the decoded answer."""
    try:
        request = next(scoring)
        while True:
            request = scoring.send(await send(request))
    except StopIteration as end:
        return float(end.value)


@dataclass(frozen=True)
class Scored:
    """One answer, scored now, under the adapter and under the base."""

    tuned: float
    base: float


@dataclass(frozen=True)
class ProbeVerdict:
    """Whether what runs is what was evaluated; ``reason`` says why not, without quoting the answers."""

    matched: bool
    reason: str = ""
    largest_difference: float = 0.0


def matches(probe: Probe, observed: Sequence[Scored]) -> ProbeVerdict:
    """Compare scores taken now with the record, item by item, in the order of ``probe.items``.

    Every item has to be within ``probe.tolerance`` of the adapter's recorded score, nearer to it than to the base's,
    and apart from what the base scores now.
    """
    if not probe.items:
        return ProbeVerdict(False, "evaluation recorded no probe")
    if len(observed) != len(probe.items):
        return ProbeVerdict(False, f"{len(observed)} scores for {len(probe.items)} recorded answers")
    if not all(math.isfinite(score.tuned) and math.isfinite(score.base) for score in observed):
        return ProbeVerdict(False, "the engine returned a score that is not a number")
    pairs = list(zip(probe.items, observed, strict=True))
    largest = max(abs(score.tuned - item.tuned_logprob) for item, score in pairs)
    as_base = sum(abs(score.tuned - score.base) <= probe.tolerance for _, score in pairs)
    nearer_base = sum(_nearer_to_base(item, score) for item, score in pairs)
    total = len(pairs)
    if as_base:
        return ProbeVerdict(False, f"the adapter answers like the base model on {as_base} of {total} probes", largest)
    if nearer_base:
        return ProbeVerdict(
            False, f"{nearer_base} of {total} probes score nearer to the base than to the record", largest
        )
    if largest > probe.tolerance:
        return ProbeVerdict(
            False,
            f"a probe scores {largest:.3f} nats per token away from the record; {probe.tolerance:.3f} are allowed",
            largest,
        )
    return ProbeVerdict(True, "", largest)


def tolerance_of(first: Sequence[Scored], second: Sequence[Scored]) -> float:
    """Return the tolerance that two scorings of the same answers call for, in nats per token."""
    noise = max(
        (
            max(abs(one.tuned - other.tuned), abs(one.base - other.base))
            for one, other in zip(first, second, strict=True)
        ),
        default=0.0,
    )
    return max(TOLERANCE_FLOOR, NOISE_FACTOR * noise)


def choose(candidates: Sequence[tuple[Sequence[dict[str, str]], str, Scored]], tolerance: float) -> Probe:
    """Record the candidates (messages, answer, score) on which adapter and base differ most, at most ``MAX_ITEMS``."""
    clear = [entry for entry in candidates if abs(entry[2].tuned - entry[2].base) >= CLEARANCE * tolerance]
    clear.sort(key=lambda entry: -abs(entry[2].tuned - entry[2].base))
    items = [
        ProbeItem(
            messages=[dict(turn) for turn in messages],
            answer=answer,
            tuned_logprob=score.tuned,
            base_logprob=score.base,
        )
        for messages, answer, score in clear[:MAX_ITEMS]
    ]
    return Probe(items=items, tolerance=tolerance)


def _nearer_to_base(item: ProbeItem, score: Scored) -> bool:
    return abs(score.tuned - item.base_logprob) <= abs(score.tuned - item.tuned_logprob)


def _tokens(answer: Mapping[str, Any]) -> list[int]:
    tokens = answer.get("tokens")
    if not isinstance(tokens, list):
        raise ValueError("the engine's /tokenize answered without tokens")
    return [int(token) for token in tokens]
