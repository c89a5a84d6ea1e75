"""Which parts of a JSON Schema the engine's guided decoding is asked to keep to: by the gateway, and in what suites are told.

The engine knows more; what stands here was measured (``tunegate.gateway.schemas``).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tunegate.api.json_schema_checks import LISTED_SCHEMAS, NAMED_SCHEMAS, SCHEMAS

ANNOTATIONS = frozenset({
    "$anchor", "$comment", "$id", "$schema", "default", "deprecated", "description", "discriminator", "example",
    "examples", "externalDocs", "readOnly", "strict", "title", "writeOnly",
})  # fmt: skip
"""Words for people: checked for size only."""
FORMATS = frozenset({
    "date", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "json-pointer", "relative-json-pointer", "time",
    "uri", "uri-reference", "uri-template", "uuid",
})  # fmt: skip
KEYWORDS = frozenset({
    "$defs", "$ref", "additionalProperties", "allOf", "anyOf", "const", "definitions", "enum", "exclusiveMaximum",
    "exclusiveMinimum", "format", "items", "maxItems", "maxLength", "maxProperties", "maximum", "minItems", "minLength",
    "minProperties", "minimum", "oneOf", "pattern", "patternProperties", "prefixItems", "properties", "propertyNames",
    "required", "type",
})  # fmt: skip


def not_guided(text: str) -> list[str]:
    """Return keywords and formats of a sound schema (``schema_problem``) that the gateway refuses, sorted: clients could not
    ask the served model as the gate asked."""
    return sorted(set(_not_guided(json.loads(text))))


def _not_guided(schema: Any) -> Iterator[str]:
    if not isinstance(schema, dict):
        return
    yield from (name[:40] for name in schema if name not in KEYWORDS and name not in ANNOTATIONS)
    if isinstance(schema.get("format"), str) and schema["format"] not in FORMATS:
        yield f"format {schema['format'][:40]}"
    for name in (*SCHEMAS, *LISTED_SCHEMAS):
        inner = schema.get(name)
        for each in inner if isinstance(inner, list) else [inner]:
            yield from _not_guided(each)
    for name in NAMED_SCHEMAS:
        inner = schema.get(name)
        for each in inner.values() if isinstance(inner, dict) else ():
            yield from _not_guided(each)
