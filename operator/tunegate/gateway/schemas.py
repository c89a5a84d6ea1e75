"""JSON schemas, patterns and choices that an engine may be asked to keep to, bounded by what compiling them costs.

The engine compiles them in its own memory and on its own cores, beside everybody's answers. So nothing reaches it whose
cost is not known: keywords come from a list, and each adds what was measured (``tunegate.gateway.patterns`` tells how).
EBNF grammars and structural tags are not taken at all: no bound on their text bounds the work.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tunegate.api.guided_schemas import ANNOTATIONS, FORMATS, KEYWORDS
from tunegate.api.json_schema_checks import TYPES
from tunegate.gateway import patterns
from tunegate.gateway.checks import shown
from tunegate.gateway.problems import Wrong

MOST_COST = 4_000.0
"""Of one request: about four seconds of one core with the largest vocabularies, a third of it with ordinary ones."""
MOST_BYTES = 64 * 1024
DEEPEST = 32
MOST_NODES = 2_000
MOST_PROPERTIES = 256
"""Of one object; the nodes bound all of them together."""
MOST_BRANCHES = 64
MOST_CHOICES = 1_000
MOST_CHOICE_CHARACTERS = 32 * 1024
LONGEST_CHOICE = 2_048
MOST_ITEMS = 10_000
FORMAT_COST = 200.0
RANGE_COST = 20.0


class Budget:
    """What the constraints of one request cost together. What is written twice is compiled once, and counts once."""

    def __init__(self) -> None:
        self._spent = 0.0
        self._nodes = 0
        self._known: set[object] = set()

    def spend(self, place: str, units: float, once: object = None) -> None:
        """Add ``units``. Raises ``Wrong`` at the place that makes it too much."""
        if once is not None:
            if once in self._known:
                return
            self._known.add(once)
        self._spent += units
        if self._spent > MOST_COST:
            raise Wrong(
                place,
                f"with this the request's schemas and patterns cost the engine more than {MOST_COST:.0f} units to compile; "
                "use fewer properties, shorter maxLength and simpler patterns",
                "schema_too_costly",
            )

    def node(self, place: str, depth: int) -> None:
        """Count one schema at ``depth``."""
        self._nodes += 1
        if depth > DEEPEST or self._nodes > MOST_NODES:
            raise Wrong(
                place,
                f"a request's schemas nest at most {DEEPEST} deep and have at most {MOST_NODES} parts",
                "schema_too_costly",
            )


def check_schema(place: str, schema: Any, budget: Budget) -> Any:
    """Check a whole JSON schema. Raises ``Wrong``."""
    if isinstance(schema, str):
        schema = _decoded(place, schema)
    if not isinstance(schema, dict):
        raise Wrong(place, "must be a JSON schema (an object)")
    _bounded(place, schema)
    _Reader(place, schema, budget).read()
    return schema


def check_pattern(place: str, pattern: Any, budget: Budget) -> Any:
    """Check a regular expression. Raises ``Wrong``."""
    if not isinstance(pattern, str):
        raise Wrong(place, "must be a string")
    try:
        units = patterns.cost(pattern)
    except patterns.Unclear as error:
        raise Wrong(place, f"this pattern is not taken: {error}") from error
    budget.spend(place, units, ("pattern", pattern))
    return pattern


def check_choices(place: str, choices: Any, budget: Budget) -> Any:
    """Check a list of strings of which one is to be the answer. Raises ``Wrong``."""
    fits = isinstance(choices, list) and 0 < len(choices) <= MOST_CHOICES
    if not fits or not all(isinstance(one, str) and 0 < len(one) <= LONGEST_CHOICE for one in choices):
        raise Wrong(place, f"must be a list of 1 to {MOST_CHOICES} strings of 1 to {LONGEST_CHOICE} characters")
    _few_characters(place, choices, budget)
    return choices


def _few_characters(place: str, values: list[Any], budget: Budget) -> None:
    total = sum(len(json.dumps(one)) for one in values)
    if total > MOST_CHOICE_CHARACTERS:
        raise Wrong(place, f"the values have at most {MOST_CHOICE_CHARACTERS} characters together", "schema_too_costly")
    budget.spend(place, len(values) + total / 20)


def _decoded(place: str, text: str) -> Any:
    if len(text) > MOST_BYTES:
        raise Wrong(place, f"a schema has at most {MOST_BYTES} bytes", "schema_too_costly")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Wrong(place, "must be a JSON schema, or one written as a string") from error


def _bounded(place: str, schema: dict[str, Any]) -> None:
    try:
        size = len(json.dumps(schema))
    except RecursionError as error:
        raise Wrong(place, f"a schema nests at most {DEEPEST} deep", "schema_too_costly") from error
    if size > MOST_BYTES:
        raise Wrong(place, f"a schema has at most {MOST_BYTES} bytes", "schema_too_costly")
    level: list[Any] = [schema]
    for _ in range(2 * DEEPEST + 2):
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, dict | list)
        ]
        if not level:
            return
    raise Wrong(place, f"a schema nests at most {DEEPEST} deep", "schema_too_costly")


class _Reader:
    """Walks one schema."""

    def __init__(self, place: str, root: dict[str, Any], budget: Budget) -> None:
        self._root_place = place
        self._root = root
        self._budget = budget
        self._sound: set[int] = set()
        """Schemas that were seen to lead to something."""

    def read(self) -> None:
        """Check every part. Raises ``Wrong``."""
        self._schema(self._root_place, self._root, 0)
        for name in ("$defs", "definitions"):
            if isinstance(defined := self._root.get(name), dict):
                for key, one in defined.items():
                    self._ends(f"{self._root_place}.{name}.{shown(key)}", one, ())
        self._ends(self._root_place, self._root, ())

    def _schema(self, place: str, schema: Any, depth: int) -> None:
        self._budget.node(place, depth)
        if isinstance(schema, bool):
            return
        if not isinstance(schema, dict):
            raise Wrong(place, "must be a schema: an object, true or false")
        for name in schema:
            if name not in KEYWORDS and name not in ANNOTATIONS:
                raise Wrong(
                    f"{place}.{shown(name)}",
                    f"keyword not supported. Supported: {', '.join(sorted(KEYWORDS))}",
                    "schema_keyword",
                )
        self._budget.spend(place, 1)
        self._type(place, schema)
        self._values(place, schema)
        self._string(place, schema)
        self._numbers(place, schema)
        self._lists(place, schema, depth)
        self._object(place, schema, depth)
        self._branches(place, schema, depth)
        if depth and ("$defs" in schema or "definitions" in schema):
            raise Wrong(place, "definitions stand at the top of the schema")
        for name in ("$defs", "definitions"):
            for key, one in self._mapping(place, schema, name).items():
                self._schema(f"{place}.{name}.{shown(key)}", one, depth + 1)
        if "$ref" in schema:
            self._target(place, schema["$ref"])

    def _mapping(self, place: str, schema: Mapping[str, Any], name: str) -> Mapping[str, Any]:
        found = schema.get(name, {})
        if not isinstance(found, dict) or len(found) > MOST_PROPERTIES:
            raise Wrong(f"{place}.{name}", f"must be an object of at most {MOST_PROPERTIES} schemas")
        return found

    def _type(self, place: str, schema: Mapping[str, Any]) -> None:
        found = schema.get("type", [])
        kinds = found if isinstance(found, list) else [found]
        if len(kinds) > len(TYPES) or not all(isinstance(kind, str) and kind in TYPES for kind in kinds):
            raise Wrong(f"{place}.type", f"must be of {', '.join(sorted(TYPES))}")

    def _values(self, place: str, schema: Mapping[str, Any]) -> None:
        if "const" in schema:
            _few_characters(f"{place}.const", [schema["const"]], self._budget)
        if "enum" in schema:
            values = schema["enum"]
            if not isinstance(values, list) or not 0 < len(values) <= MOST_CHOICES:
                raise Wrong(f"{place}.enum", f"must be a list of 1 to {MOST_CHOICES} values")
            _few_characters(f"{place}.enum", values, self._budget)

    def _string(self, place: str, schema: Mapping[str, Any]) -> None:
        lengths = [
            self._count(place, schema, name, MOST_ITEMS) for name in ("minLength", "maxLength") if name in schema
        ]
        if lengths and ("pattern" in schema or "format" in schema):
            raise Wrong(place, "pattern and format do not go together with minLength and maxLength", "schema_keyword")
        if lengths:
            self._budget.spend(place, max(lengths) ** 2, ("length", *lengths, "minLength" in schema))
        if "pattern" in schema:
            check_pattern(f"{place}.pattern", schema["pattern"], self._budget)
        if "format" in schema:
            if not isinstance(schema["format"], str) or schema["format"] not in FORMATS:
                raise Wrong(f"{place}.format", f"must be of {', '.join(sorted(FORMATS))}", "schema_keyword")
            self._budget.spend(place, FORMAT_COST)

    def _count(self, place: str, schema: Mapping[str, Any], name: str, most: int) -> int:
        value = schema[name]
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
            raise Wrong(f"{place}.{name}", f"must be a whole number from 0 to {most}")
        return value

    def _numbers(self, place: str, schema: Mapping[str, Any]) -> None:
        for name in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"):
            if name in schema:
                value = schema[name]
                if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= 1e15:
                    raise Wrong(f"{place}.{name}", "must be a number of at most 1e15")
                self._budget.spend(place, RANGE_COST)

    def _lists(self, place: str, schema: Mapping[str, Any], depth: int) -> None:
        for name in ("minItems", "maxItems"):
            if name in schema:
                self._count(place, schema, name, MOST_ITEMS)
                self._budget.spend(place, 10)
        if "items" in schema:
            self._schema(f"{place}.items", schema["items"], depth + 1)
        if "prefixItems" in schema:
            self._each(place, schema, "prefixItems", MOST_PROPERTIES, depth)

    def _object(self, place: str, schema: Mapping[str, Any], depth: int) -> None:
        properties = self._mapping(place, schema, "properties")
        named = self._mapping(place, schema, "patternProperties")
        if named and (properties or len(named) > 1 or "propertyNames" in schema):
            raise Wrong(place, "patternProperties: one pattern, without properties and propertyNames", "schema_keyword")
        if "propertyNames" in schema and properties:
            raise Wrong(place, "propertyNames does not go together with properties", "schema_keyword")
        for name, one in properties.items():
            self._budget.spend(place, 2 + len(name) / 20)
            self._schema(f"{place}.properties.{shown(name)}", one, depth + 1)
        for pattern, one in named.items():
            check_pattern(f"{place}.patternProperties", pattern, self._budget)
            self._schema(f"{place}.patternProperties.{shown(pattern)}", one, depth + 1)
        for name in ("additionalProperties", "propertyNames"):
            if name in schema:
                self._schema(f"{place}.{name}", schema[name], depth + 1)
        for name in ("minProperties", "maxProperties"):
            if name in schema:
                self._count(place, schema, name, MOST_PROPERTIES)
                self._budget.spend(place, 10 + 20 * len(properties))
        required = schema.get("required", [])
        if not isinstance(required, list) or not all(isinstance(one, str) for one in required):
            raise Wrong(f"{place}.required", "must be a list of names")

    def _branches(self, place: str, schema: Mapping[str, Any], depth: int) -> None:
        for name in ("anyOf", "oneOf"):
            if name in schema:
                self._each(place, schema, name, MOST_BRANCHES, depth)
        if "allOf" in schema:
            self._each(place, schema, "allOf", 1, depth)

    def _each(self, place: str, schema: Mapping[str, Any], name: str, most: int, depth: int) -> None:
        found = schema[name]
        if not isinstance(found, list) or not 0 < len(found) <= most:
            raise Wrong(f"{place}.{name}", f"must be a list of 1 to {most} schemas", "schema_keyword")
        for index, one in enumerate(found):
            self._schema(f"{place}.{name}[{index}]", one, depth + 1)

    def _target(self, place: str, reference: Any) -> Any:
        """Return what a reference points to: the schema itself, or one of its definitions."""
        if reference == "#":
            return self._root
        parts = reference.split("/") if isinstance(reference, str) else []
        if len(parts) == 3 and parts[0] == "#" and parts[1] in {"$defs", "definitions"}:
            name = parts[2].replace("~1", "/").replace("~0", "~")
            defined = self._root.get(parts[1])
            if isinstance(defined, dict) and name in defined:
                return defined[name]
        raise Wrong(f"{place}.$ref", 'must name a definition of this schema: "#/$defs/NAME"', "schema_keyword")

    def _ends(self, place: str, schema: Any, path: tuple[int, ...]) -> None:
        """Refuse a definition that leads back to itself without a character in between: no parser gets past it."""
        if not isinstance(schema, dict) or id(schema) in self._sound:
            return
        if id(schema) in path or len(path) > 4 * DEEPEST:
            raise Wrong(place, "a $ref leads back to itself and nothing stands in between", "schema_keyword")
        here = (*path, id(schema))
        if "$ref" in schema:
            self._ends(place, self._target(place, schema["$ref"]), here)
        for name in ("anyOf", "oneOf", "allOf"):
            for one in schema.get(name, ()):
                self._ends(place, one, here)
        self._sound.add(id(schema))
