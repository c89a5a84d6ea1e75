"""A probe recognizes the adapter it was recorded with, through noise, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunegate.api.stage.probe import Probe, ProbeItem
from tunegate.probes import (
    CLEARANCE,
    MAX_ITEMS,
    TOLERANCE_FLOOR,
    EngineRequest,
    Scored,
    choose,
    drive,
    matches,
    mean_logprob,
    score_answer,
    tolerance_of,
)

ITEMS = [(-0.05 * n, -2.0 - 0.1 * n) for n in range(10)]
TURNS = [{"role": "user", "content": "who?"}]


def probe(tolerance: float = 0.1) -> Probe:
    items = [
        ProbeItem(messages=TURNS, answer=f"a{n}", tuned_logprob=t, base_logprob=b) for n, (t, b) in enumerate(ITEMS)
    ]
    return Probe(items=items, tolerance=tolerance)


@given(st.lists(st.tuples(st.floats(-0.09, 0.09), st.floats(-0.09, 0.09)), min_size=10, max_size=10))
def test_noise_within_the_tolerance_is_recognized(noise: list[tuple[float, float]]) -> None:
    observed = [Scored(t + a, b + c) for (t, b), (a, c) in zip(ITEMS, noise, strict=True)]
    assert matches(probe(), observed).matched


@given(st.lists(st.floats(-0.09, 0.09), min_size=10, max_size=10))
def test_adapter_that_was_not_applied_is_refused(noise: list[float]) -> None:
    observed = [Scored(b + a, b) for (_, b), a in zip(ITEMS, noise, strict=True)]
    verdict = matches(probe(), observed)
    assert not verdict.matched
    assert "like the base model" in verdict.reason


def test_one_answer_of_another_adapter_is_enough_to_refuse() -> None:
    observed = [Scored(t, b) for t, b in ITEMS]
    observed[3] = Scored(ITEMS[3][0] - 0.3, ITEMS[3][1])
    verdict = matches(probe(), observed)
    assert not verdict.matched
    assert verdict.largest_difference == pytest.approx(0.3)
    assert "a3" not in verdict.reason


def test_score_between_record_and_base_belongs_to_neither() -> None:
    observed = [Scored((t + b) / 2 - 0.2, b) for t, b in ITEMS]
    assert "nearer to the base" in matches(probe(), observed).reason


@pytest.mark.parametrize(
    ("record", "observed"),
    [
        (Probe(items=[], tolerance=0.1), []),
        (probe(), [Scored(0.0, -2.0)]),
        (probe(), [Scored(float("nan"), -2.0)] * 10),
    ],
)
def test_nothing_recorded_or_nothing_usable_observed_is_refused(record: Probe, observed: list[Scored]) -> None:
    assert not matches(record, observed).matched


@given(st.lists(st.tuples(st.floats(-5, 0), st.floats(-5, 0)), max_size=40))
def test_only_clear_answers_are_recorded_and_the_clearest_first(scores: list[tuple[float, float]]) -> None:
    recorded = choose([(TURNS, str(n), Scored(*pair)) for n, pair in enumerate(scores)], 0.1)
    gaps = [abs(item.tuned_logprob - item.base_logprob) for item in recorded.items]
    assert len(gaps) <= MAX_ITEMS
    assert gaps == sorted(gaps, reverse=True)
    assert all(gap >= CLEARANCE * 0.1 for gap in gaps)
    if recorded.items:
        assert matches(recorded, [Scored(item.tuned_logprob, item.base_logprob) for item in recorded.items]).matched


def test_tolerance_follows_the_noise_and_has_a_floor() -> None:
    first, second = [Scored(-1.0, -2.0)], [Scored(-1.04, -2.1)]
    assert tolerance_of(first, second) == pytest.approx(0.3)
    assert tolerance_of(first, first) == TOLERANCE_FLOOR
    assert tolerance_of([], []) == TOLERANCE_FLOOR


async def test_scoring_asks_for_the_tokens_of_prompt_and_answer_and_averages_the_answer() -> None:
    asked: list[EngineRequest] = []

    async def engine(request: EngineRequest) -> dict[str, object]:
        asked.append(request)
        if request.path == "/tokenize":
            return {"tokens": [1, 2, 3] if "messages" in request.body else [7, 8]}
        logprobs = [
            None,
            {"2": {"logprob": -9.0}},
            {"3": {"logprob": -9.0}},
            {"7": {"logprob": -1.0}},
            {"8": {"logprob": -2.0}},
        ]
        return {"choices": [{"prompt_logprobs": logprobs}]}

    assert await drive(score_answer("tuned", TURNS, "yes"), engine) == pytest.approx(-1.5)
    assert asked[-1].body["prompt"] == [1, 2, 3, 7, 8]
    assert {request.body["model"] for request in asked} == {"tuned"}


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"choices": []},
        {"choices": [{"prompt_logprobs": None}]},
        {"choices": [{"prompt_logprobs": [None, {"5": {"logprob": 0}}]}]},
    ],
)
def test_answer_of_another_shape_is_an_error(answer: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="prompt_logprobs"):
        mean_logprob(answer, 1, [7])
