"""What schemas and patterns cost: ordinary ones are taken, and no way of writing gets past the count."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunegate.gateway import patterns
from tunegate.gateway.bodies import check_body
from tunegate.gateway.endpoints import CHAT
from tunegate.gateway.problems import Problem, Wrong
from tunegate.gateway.schemas import Budget, check_schema

ORDINARY: list[dict[str, Any]] = [
    {"type": "object", "properties": {"holder": {"type": "string"}, "years": {"type": "array", "items": {"type": "integer"}}},
     "required": ["holder"], "additionalProperties": False, "title": "Notice", "$schema": "https://json-schema.org/x"},
    {"$defs": {"Item": {"type": "object", "properties": {"name": {"type": "string", "maxLength": 40}, "price": {
        "anyOf": [{"type": "number", "minimum": 0}, {"type": "null"}], "default": None}}}},
     "type": "object", "properties": {"items": {"type": "array", "items": {"$ref": "#/$defs/Item"}, "maxItems": 100}}},
    {"type": "object", "properties": {"day": {"type": "string", "format": "date"}, "code": {
        "type": "string", "pattern": "^[A-Z]{2}-[0-9]{4}$"}, "kind": {"enum": ["a", "b", None, 3]}}},
    {"$defs": {"Node": {"type": "object", "properties": {"children": {"type": "array", "items": {"$ref": "#/$defs/Node"}}}}},
     "$ref": "#/$defs/Node"},
    {"type": "object", "additionalProperties": {"type": "string"}},
]  # fmt: skip
ORDINARY_PATTERNS = [
    r"^\d{4}-\d{2}-\d{2}$", r"(yes|no|maybe)", r"[A-Za-z_][A-Za-z0-9_]*", r"\w+@\w+\.com", r"-?\d+(\.\d+)?", r".*", r"[^\n]{1,20}",
    r"(?:https?://)?[a-z.]+",
]  # fmt: skip


@pytest.mark.parametrize("schema", ORDINARY)
def test_ordinary_schemas_are_taken(schema: dict[str, Any]) -> None:
    assert check_schema("json", schema, Budget()) == schema


@pytest.mark.parametrize("pattern", ORDINARY_PATTERNS)
def test_ordinary_patterns_are_taken(pattern: str) -> None:
    assert patterns.cost(pattern) < 4000


@pytest.mark.attack(55)
@given(st.integers(1, 40), st.sampled_from([".?", "[a-z]?", "(a|b)?", ".{0,2}", "(?:x{0,3})", "(a?b?)", "\\w?"]))
def test_leaving_out_one_after_the_other_is_counted_however_it_is_written(times: int, piece: str) -> None:
    if times >= 12:
        assert patterns.cost(piece * times) > 4000
        assert patterns.cost(f"(?:{piece}){{{times}}}") > 4000


@pytest.mark.attack(55)
@given(st.text(alphabet="ab.[]-()|*+?{},0123456789\\dws^$:é", max_size=40))
def test_any_pattern_is_counted_or_refused(pattern: str) -> None:
    try:
        found = patterns.cost(pattern)
    except patterns.Unclear:
        found = float("inf")
    assert found >= 0


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from([
        "type", "properties", "items", "$ref", "$defs", "anyOf", "allOf", "enum", "const", "pattern", "maxLength", "format",
        "required", "minimum", "prefixItems", "patternProperties", "minProperties", "a", "#",
    ]), inner, max_size=4),
    max_leaves=30,
)  # fmt: skip


@pytest.mark.attack(55, 68)
@given(JSON)
def test_any_document_in_a_schemas_place_is_taken_or_refused_by_name(document: Any) -> None:
    told = "field json"
    try:
        check_schema("json", document, Budget())
    except Wrong as error:
        told = error.problem.message
    assert told.startswith("field json")


@pytest.mark.attack(68)
@given(st.binary(max_size=200) | JSON.map(lambda one: json.dumps(one).encode()))
def test_any_body_is_checked_or_refused(raw: bytes) -> None:
    assert isinstance(check_body(CHAT, raw), Problem)


@pytest.mark.attack(55)
def test_definitions_that_fan_out_are_read_in_bounded_time() -> None:
    schema: dict[str, Any] = {"$defs": {"d40": {"type": "string"}}, "$ref": "#/$defs/d0"}
    for index in range(40):
        next_one = {"$ref": f"#/$defs/d{index + 1}"}
        schema["$defs"][f"d{index}"] = {"anyOf": [next_one, next_one]}
    check_schema("json", schema, Budget())
