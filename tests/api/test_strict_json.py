"""One reader of JSON for what is verified, passed on to the engine or judged: nothing that two readers could read differently."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunegate.gateway.bodies import check_body
from tunegate.gateway.endpoints import CHAT
from tunegate.gateway.problems import Problem
from tunegate.strict_json import RepeatedName, strict_json
from tunegate_trainer.data.strict_json import NotJson, parse_json

DOUBTFUL = ['{"a": 1, "a": 2}', '{"b": {"a": 1, "c": [], "a": 2}}', "NaN", "[-Infinity]", '{"a": 1} x', "[" * 100_000]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@pytest.mark.parametrize("text", DOUBTFUL, ids=lambda text: text[:20])
def test_what_can_be_read_in_two_ways_is_read_nowhere(text: str) -> None:
    with pytest.raises(ValueError):
        strict_json(text)
    with pytest.raises(NotJson):
        parse_json(text)
    assert isinstance(check_body(CHAT, text.encode()), Problem)


@given(VALUES)
def test_everything_else_is_read_as_the_standard_reader_does(value: object) -> None:
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False, separators=(",", ":"))):
        assert json.dumps(strict_json(text)) == json.dumps(json.loads(text))


def test_a_repeated_name_is_found_among_very_many_in_a_moment() -> None:
    """A client may send a megabyte of names: looking each of them up in all others would take minutes."""
    names = [f'"n{number}": 0' for number in range(200_000)]
    with pytest.raises(RepeatedName, match="'n199999' is there twice"):
        strict_json("{" + ", ".join([*names, names[-1]]) + "}")
