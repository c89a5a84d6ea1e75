"""Each field that costs the engine something has a bound, and one that is not listed is refused by its name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from tunegate.gateway.bodies import Checked, check_body
from tunegate.gateway.endpoints import CHAT, COMPLETIONS, ENDPOINTS, MESSAGES, RESPONSES
from tunegate.gateway.problems import Problem
from tunegate.gateway.schemas import Budget

TURNS = [{"role": "user", "content": "Hello"}]
ORDINARY: Mapping[str, dict[str, Any]] = {
    CHAT: {"model": "m", "messages": TURNS},
    COMPLETIONS: {"model": "m", "prompt": "Hello"},
    RESPONSES: {"model": "m", "input": "Hello"},
    MESSAGES: {"model": "m", "messages": TURNS, "max_tokens": 4},
}
NESTED: dict[str, Any] = {}
for _ in range(40):
    NESTED = {"type": "array", "items": NESTED}

BOTH = (CHAT, COMPLETIONS)
BOUNDS: list[tuple[tuple[str, ...], dict[str, Any], dict[str, Any]]] = [
    (BOTH, {"n": 128}, {"n": 129}),
    (BOTH, {"n": 1}, {"n": 0}),
    (BOTH, {"best_of": 1}, {"best_of": 2}),
    ((*BOTH, MESSAGES), {"max_tokens": 1_000_000}, {"max_tokens": 1_000_001}),
    ((*BOTH, MESSAGES), {"max_tokens": 1}, {"max_tokens": 0}),
    ((CHAT,), {"max_completion_tokens": 1_000_000}, {"max_completion_tokens": 1_000_001}),
    ((RESPONSES,), {"max_output_tokens": 1_000_000}, {"max_output_tokens": 1_000_001}),
    (BOTH, {"min_tokens": 4, "max_tokens": 4}, {"min_tokens": 5, "max_tokens": 4}),
    ((CHAT,), {"logprobs": True, "top_logprobs": 20}, {"logprobs": True, "top_logprobs": 21}),
    ((CHAT,), {"logprobs": True}, {"logprobs": 5}),
    ((COMPLETIONS,), {"logprobs": 20}, {"logprobs": 21}),
    ((RESPONSES,), {"top_logprobs": 20}, {"top_logprobs": 21}),
    (tuple(ORDINARY), {}, {"prompt_logprobs": 0}),
    ((*BOTH, RESPONSES), {"stop": ["x"] * 4}, {"stop": ["x"] * 5}),
    ((*BOTH, RESPONSES), {"stop": "x" * 256}, {"stop": "x" * 257}),
    ((*BOTH, RESPONSES), {"stop": ["x"]}, {"stop": [""]}),
    ((MESSAGES,), {"stop_sequences": ["x"] * 4}, {"stop_sequences": ["x"] * 5}),
    ((*BOTH, RESPONSES), {"stop_token_ids": [1] * 64}, {"stop_token_ids": [1] * 65}),
    (BOTH, {"allowed_token_ids": [1] * 1024}, {"allowed_token_ids": [1] * 1025}),
    (BOTH, {"bad_words": ["x"] * 64}, {"bad_words": ["x"] * 65}),
    ((*BOTH, RESPONSES), {"logit_bias": {str(n): 1 for n in range(300)}}, {"logit_bias": {str(n): 1 for n in range(301)}}),
    ((*BOTH, RESPONSES), {"logit_bias": {"1": 100}}, {"logit_bias": {"1": 101}}),
    ((*BOTH, RESPONSES), {"logit_bias": {"1": -100}}, {"logit_bias": {"-1": 1}}),
    ((*BOTH, RESPONSES), {"cache_salt": "x" * 128}, {"cache_salt": "x" * 129}),
    ((*BOTH, RESPONSES), {"cache_salt": "x"}, {"cache_salt": "../x"}),
    ((*BOTH, RESPONSES), {"structured_outputs": {"regex": "a{5}"}}, {"structured_outputs": {"grammar": 'root ::= "a"'}}),
    ((*BOTH, RESPONSES), {"structured_outputs": {"choice": ["a"]}}, {"structured_outputs": {"choice": ["a"] * 1001}}),
    ((*BOTH, RESPONSES), {"structured_outputs": {"json": {"type": "object"}}}, {"structured_outputs": {"json": NESTED}}),
    (BOTH, {"response_format": {"type": "json_object"}}, {"response_format": {"type": "structural_tag"}}),
    ((RESPONSES,), {"text": {"format": {"type": "json_object"}}}, {"text": {"format": {"type": "grammar"}}}),
    (
        (MESSAGES,),
        {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
        {"output_config": {"format": {"type": "json_schema", "schema": NESTED}}},
    ),
    ((COMPLETIONS,), {"prompt": ["x"] * 64}, {"prompt": ["x"] * 65}),
]  # fmt: skip


def check(path: str, more: dict[str, Any]) -> Checked | Problem:
    return check_body(path, json.dumps({**ORDINARY[path], **more}).encode())


@pytest.mark.attack(55)
def test_each_field_is_taken_up_to_its_bound_and_refused_beyond_it_by_name() -> None:
    for paths, taken, beyond in BOUNDS:
        for path in paths:
            assert isinstance(check(path, taken), Checked), (path, taken, check(path, taken))
            refused = check(path, beyond)
            assert isinstance(refused, Problem), (path, beyond)
            assert (refused.param or "").split(".")[0].split("[")[0] in beyond, refused


@pytest.mark.attack(55)
@pytest.mark.parametrize("path", ORDINARY)
def test_an_unknown_field_is_refused_by_name_and_one_that_the_engine_knows_with_the_reason(path: str) -> None:
    unknown = check(path, {"some_new_field": 1})
    assert isinstance(unknown, Problem)
    assert (unknown.code, unknown.param) == ("field_not_allowed", "some_new_field")
    for name, why in ENDPOINTS[path].refused.items():
        refused = check(path, {name: 1})
        assert isinstance(refused, Problem)
        if refused.code == "field_not_allowed":
            assert (refused.param, why in refused.message) == (name, True)


@pytest.mark.parametrize("path", ORDINARY)
def test_no_field_is_both_taken_and_refused_but_for_values_that_change_nothing(path: str) -> None:
    endpoint = ENDPOINTS[path]
    assert endpoint.checks(Budget()).keys().isdisjoint(endpoint.refused)
