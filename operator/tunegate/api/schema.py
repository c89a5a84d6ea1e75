"""Structural schemas: what the API server accepts as the schema of a custom resource, made from pydantic models.

JSON Schema and structural schemas differ in many small ways, and the API server refuses or silently ignores what it does
not know. So this is a strict translation: every keyword is either translated or an error.
Source: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import core_schema

from tunegate.api.markers import ANY_OF, RULES, UNTYPED, ApiModel, Resource, cel

Schema = dict[str, Any]

KEPT = frozenset(
    {
        "type", "description", "default", "enum", "pattern", "format", "minLength", "maxLength", "minimum", "maximum",
        "minItems", "maxItems", "minProperties", "maxProperties", "required", "not", RULES, UNTYPED,
        "x-kubernetes-list-type", "x-kubernetes-list-map-keys",
    }
)  # fmt: skip
DROPPED = frozenset({"title"})
TYPES = frozenset({"object", "array", "string", "integer", "boolean"})


class SchemaError(ValueError):
    """The model cannot be expressed as a structural schema, or lacks a bound."""


class _Generator(GenerateJsonSchema):
    """Pydantic's generator with defaults as the API server should fill them in."""

    def encode_default(self, dft: Any) -> Any:
        # Nested defaults are the nested schema's business: `{}` is completed by the API server.
        if isinstance(dft, ApiModel):
            return dft.model_dump(mode="json", by_alias=True, exclude_unset=True)
        return super().encode_default(dft)

    def nullable_schema(self, schema: core_schema.NullableSchema) -> Schema:
        # Optional means absent, never null.
        return dict(self.generate_inner(schema["schema"]))


def structural_schema(model: type[Resource]) -> Schema:
    """Return the ``openAPIV3Schema`` of a custom resource. Raises ``SchemaError`` naming the field at fault."""
    raw = model.model_json_schema(by_alias=True, schema_generator=_Generator)
    definitions = raw.pop("$defs", {})
    properties = raw["properties"]
    schema: Schema = {
        "type": "object",
        "required": ["metadata", "spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": _translate(properties["spec"], definitions, "spec"),
        },
    }
    names = model.KIND.names
    schema["description"] = " ".join(f"{raw['description']} {names.says}.".split())
    schema[RULES] = [*raw.get(RULES, []), names.rule]
    if "status" in properties:
        status = _translate(properties["status"], definitions, "status")
        # A status says what was written into it and nothing else: the server fills nothing in.
        schema["properties"]["status"] = _without_defaults(status)
    return schema


def _translate(node: Mapping[str, Any], definitions: Mapping[str, Any], path: str) -> Schema:
    node = _resolved(node, definitions, path)
    result: Schema = {}
    for keyword, value in node.items():
        if keyword in KEPT:
            result[keyword] = value
        elif keyword == "default" or keyword in DROPPED:
            continue
        elif keyword == ANY_OF:
            result["anyOf"] = value
        elif keyword == "const":
            result["enum"] = [value]
        elif keyword in ("exclusiveMinimum", "exclusiveMaximum"):
            result[keyword.removeprefix("exclusive").lower()] = value
            result[keyword] = True
        elif keyword == "properties":
            result[keyword] = {name: _translate(child, definitions, f"{path}.{name}") for name, child in value.items()}
        elif keyword == "items":
            result[keyword] = _translate(value, definitions, f"{path}[]")
        elif keyword == "additionalProperties" and isinstance(value, Mapping):
            result[keyword] = _translate(value, definitions, f"{path}.*")
        elif keyword == "additionalProperties" and value is True:
            continue  # A model that keeps what a newer version wrote: the API server lets nothing of it in.
        elif keyword == "propertyNames":
            result[RULES] = [*result.get(RULES, []), *_key_rules(value, path)]
        else:
            raise SchemaError(f"{path}: keyword {keyword} has no translation into a structural schema")
    if result.get("default", ...) is None:
        del result["default"]
    _check(result, path)
    if result.get("type") == "integer" and "enum" not in result:
        result["format"] = "int64"
    if isinstance(result.get("description"), str):
        result["description"] = " ".join(result["description"].split())
    return result


def _resolved(node: Mapping[str, Any], definitions: Mapping[str, Any], path: str) -> Schema:
    """Return the node with its reference put in; what stands beside the reference wins."""
    if "$ref" not in node:
        return dict(node)
    target = definitions[node["$ref"].removeprefix("#/$defs/")]
    beside = {key: value for key, value in node.items() if key != "$ref"}
    if RULES in beside and RULES in target:
        raise SchemaError(f"{path}: rules beside a reference would hide the rules of {target.get('title')}")
    return {**_resolved(target, definitions, path), **beside}


def _key_rules(names: Mapping[str, Any], path: str) -> list[dict[str, str]]:
    unknown = set(names) - {"maxLength", "type", "title"}
    if unknown or "maxLength" not in names:
        raise SchemaError(f"{path}: keys may only have maxLength, found {sorted(names)}")
    longest = names["maxLength"]
    return [cel(f"self.all(k, k.size() <= {longest})", f"keys may have at most {longest} characters")]


def _check(node: Schema, path: str) -> None:
    """Raise ``SchemaError`` for a type that the API does not use or a value without a bound."""
    kind = node.get("type")
    if kind is None and UNTYPED in node:
        return
    if kind not in TYPES:
        raise SchemaError(f"{path}: type {kind!r} is not one of {sorted(TYPES)}")
    if kind == "string" and not {"maxLength", "enum"} & set(node):
        raise SchemaError(f"{path}: a string needs maxLength or enum")
    if kind == "array":
        if "maxItems" not in node:
            raise SchemaError(f"{path}: a list needs maxItems")
        if "x-kubernetes-list-type" not in node:
            raise SchemaError(f"{path}: a list needs x-kubernetes-list-type")
    if kind == "object":
        if "additionalProperties" in node and "maxProperties" not in node:
            raise SchemaError(f"{path}: a map needs maxProperties")
        if "additionalProperties" not in node and "properties" not in node:
            raise SchemaError(f"{path}: an object needs properties")


def _without_defaults(node: Schema) -> Schema:
    """Return the schema with no default at any depth; a field may still be named `default`."""
    bare = {key: value for key, value in node.items() if key != "default"}
    if "properties" in node:
        bare["properties"] = {name: _without_defaults(child) for name, child in node["properties"].items()}
    for keyword in ("items", "additionalProperties"):
        if keyword in node:
            bare[keyword] = _without_defaults(node[keyword])
    return bare
