"""Whether a text is a JSON Schema that some answer can be valid under, by its text alone: nothing is compiled or run.

The operator reads schemas that people write, so it may not compile them: the compiler of the stages turns a schema into Python
and runs it. Keywords and their values: JSON Schema draft 7, https://json-schema.org/draft-07/json-schema-validation.html.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

TYPES = ("array", "boolean", "integer", "null", "number", "object", "string")
DEEPEST = 64
"""Schemas within each other; engines and validators stop at some more."""
COUNTS = ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties")
NUMBERS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
TEXTS = ("pattern", "format", "$ref", "$schema", "$id")
RANGES = (
    ("minLength", "maxLength"), ("minItems", "maxItems"), ("minProperties", "maxProperties"), ("minimum", "maximum"),
)  # fmt: skip
SCHEMAS = (
    "items", "additionalItems", "additionalProperties", "contains", "propertyNames", "not", "if", "then", "else",
)  # fmt: skip
NAMED_SCHEMAS = ("properties", "patternProperties", "$defs", "definitions")
LISTED_SCHEMAS = ("anyOf", "oneOf", "allOf", "prefixItems")
Found = tuple[str, str]
"""What is wrong, and where: the keywords on the way there, with slashes."""


def schema_problem(text: str) -> str | None:
    """Return why the text is no JSON Schema, or one that no answer can be valid under; None: nothing was found."""
    try:
        schema = json.loads(text)
    except json.JSONDecodeError as error:
        return f"not JSON ({error.msg} in line {error.lineno}, column {error.colno})"
    except (ValueError, RecursionError):
        return "not JSON"
    if not isinstance(schema, dict):
        return "not a JSON object"
    found = next(_problems(schema, schema, "", DEEPEST), None)
    if found is None:
        return None
    what, place = found
    return f"{what}, at {place}" if place else what


def _problems(schema: Any, root: Mapping[str, Any], place: str, left: int) -> Iterator[Found]:
    if isinstance(schema, bool):
        return
    if not isinstance(schema, dict):
        yield "a schema is an object, or true or false", place
        return
    if left == 0:
        yield f"schemas are nested deeper than {DEEPEST}", ""
        return
    for what in (*_wrong_types(schema), *_wrong_values(schema), *_impossible(schema)):
        yield what, place
    if (why := _unknown_reference(schema.get("$ref"), root)) is not None:
        yield why, place
    for part, inner in _inner(schema):
        if part is None:
            yield inner, place
        else:
            yield from _problems(inner, root, f"{place}/{part}" if place else part, left - 1)


def _wrong_types(schema: Mapping[str, Any]) -> Iterator[str]:
    """Yield names of types that JSON Schema has not."""
    told = schema.get("type", [])
    for name in told if isinstance(told, list) else [told]:
        if name not in TYPES:
            yield f"type {json.dumps(name)[:40]} is none of {', '.join(TYPES)}"


def _wrong_values(schema: Mapping[str, Any]) -> Iterator[str]:
    """Yield keywords whose value is of another kind than the keyword takes."""
    kinds: tuple[tuple[tuple[str, ...], Callable[[Any], bool], str], ...] = (
        (COUNTS, _is_count, "a whole number from 0 on"),
        (NUMBERS, _is_number, "a number"),
        (TEXTS, lambda value: isinstance(value, str), "a text"),
        (("required",), _is_names, "a list of texts"),
        (("enum",), lambda value: isinstance(value, list) and bool(value), "a list of at least one value"),
        (("uniqueItems",), lambda value: isinstance(value, bool), "true or false"),
    )
    for names, fits, wanted in kinds:
        for name in names:
            if name in schema and not fits(schema[name]):
                yield f"{name} must be {wanted}"
    patterns = [schema["pattern"]] if isinstance(schema.get("pattern"), str) else []
    named = schema.get("patternProperties")
    for pattern in [*patterns, *(named if isinstance(named, dict) else ())]:
        try:
            re.compile(pattern)
        except (re.error, RecursionError, OverflowError) as error:
            told = getattr(error, "msg", "beyond what a pattern may have")
            yield f"the pattern {pattern[:40]!r} is no regular expression ({told})"


def _impossible(schema: Mapping[str, Any]) -> Iterator[str]:
    """Yield what no value can satisfy."""
    for low, high in RANGES:
        if _is_number(schema.get(low)) and _is_number(schema.get(high)) and schema[low] > schema[high]:
            yield f"{low} {schema[low]} is above {high} {schema[high]}: nothing is valid"
    properties, required = schema.get("properties"), schema.get("required")
    closed = schema.get("additionalProperties") is False and not schema.get("patternProperties")
    if closed and isinstance(properties, dict) and isinstance(required, list) and _is_names(required):
        for name in required:
            if name not in properties:
                yield f"required names {name[:40]!r}, which properties does not and additionalProperties forbids: nothing is valid"


def _unknown_reference(reference: Any, root: Mapping[str, Any]) -> str | None:
    """Return why a reference leads nowhere; names that `$id` and `$anchor` give are not followed."""
    if not isinstance(reference, str):
        return None
    if not reference.startswith("#"):
        return "a $ref to another document; only parts of the schema itself may be referred to"
    if reference != "#" and not reference.startswith("#/"):
        return None
    found: Any = root
    for part in reference.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(found, list) and name.isdecimal() and int(name) < len(found):
            found = found[int(name)]
        elif isinstance(found, dict) and name in found:
            found = found[name]
        else:
            return f"$ref {reference[:60]!r} leads to no part of the schema"
    return None


def _inner(schema: Mapping[str, Any]) -> Iterator[tuple[str | None, Any]]:
    """Yield the schemas within a schema with their places; without a place: what is wrong with where they should be."""
    for name in SCHEMAS:
        if name in schema and not (name == "items" and isinstance(schema[name], list)):
            yield name, schema[name]
    for name in NAMED_SCHEMAS:
        if name not in schema:
            continue
        if not isinstance(schema[name], dict):
            yield None, f"{name} must be an object of schemas by name"
            continue
        yield from ((f"{name}/{key[:40]}", inner) for key, inner in schema[name].items())
    for name in (*LISTED_SCHEMAS, *(["items"] if isinstance(schema.get("items"), list) else [])):
        if name not in schema:
            continue
        if not isinstance(schema[name], list) or not schema[name]:
            yield None, f"{name} must be a list of at least one schema"
            continue
        yield from ((f"{name}/{number}", inner) for number, inner in enumerate(schema[name]))


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)
