"""What is wrong with a suite by its text alone: what no schema of a custom resource can say, and no question is needed for.

The suite's own reconcile, validation and `tunegate plan` report it, so that nobody waits for an engine to learn it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from re import _constants as codes  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from string import Formatter
from typing import Any

from tunegate.api.evaluationsuite import EvaluationSuiteSpec, SuiteTask

UNKNOWN_TO_RE2 = {
    "ASSERT": "lookahead or lookbehind",
    "ASSERT_NOT": "lookahead or lookbehind",
    "GROUPREF": "a reference to an earlier group",
    "GROUPREF_EXISTS": "a conditional group",
    "POSSESSIVE_REPEAT": "a possessive repeat",
    "ATOMIC_GROUP": "an atomic group",
}
TYPES = ("array", "boolean", "integer", "null", "number", "object", "string")
"""Of JSON Schema."""
_SCHEMAS, _NAMED_SCHEMAS = (
    ("items", "additionalProperties", "not", "contains"),
    ("properties", "patternProperties", "$defs"),
)
_LISTED_SCHEMAS = ("anyOf", "oneOf", "allOf", "prefixItems", "items")


def suite_problems(spec: EvaluationSuiteSpec) -> list[str]:
    """Return what keeps a suite from being asked, one sentence each: the field, what is wrong, what is allowed."""
    named = [("primaryMetric", spec.primary_metric.name), *(("guardrails", guard.name) for guard in spec.guardrails)]
    regex, template = spec.baselines.regex, spec.baselines.regex_template
    problems = [_schema_problem(spec.task)]
    problems += [_metric_problem(field, name, spec.task) for field, name in named]
    problems.append(pattern_problem(regex, template or "") if regex is not None else None)
    return [problem for problem in problems if problem is not None]


def pattern_problem(pattern: str, template: str) -> str | None:
    """Return why the pattern is none that RE2 knows too, or the template does not only use its named groups."""
    try:
        tree = parser.parse(pattern)
        known = list(_codes(tree))
        re.compile(pattern)
    except re.error as error:
        return f"baselines.regex: {error.msg} at position {error.pos}"
    except (RecursionError, OverflowError):
        return "baselines.regex: groups or repetitions beyond what a pattern may have"
    for code in known:
        if code in UNKNOWN_TO_RE2:
            return f"baselines.regex: {UNKNOWN_TO_RE2[code]} is not allowed (RE2 has none)"
    groups = set(tree.state.groupdict)
    try:
        fields = list(Formatter().parse(template))
    except ValueError as error:
        return f"baselines.regexTemplate: {error}; a brace that is text is written twice"
    for _, field, specification, conversion in fields:
        if field is not None and (field not in groups or specification or conversion):
            return (
                "baselines.regexTemplate: only named groups of baselines.regex may stand in braces, "
                f"allowed are {sorted(groups)}; a brace that is text is written twice"
            )
    return None


def _schema_problem(task: SuiteTask) -> str | None:
    if task.json_schema is None:
        return None
    try:
        schema = json.loads(task.json_schema)
        unknown = next(_unknown_types(schema), None)
    except json.JSONDecodeError as error:
        return f"task.jsonSchema: not JSON ({error.msg} in line {error.lineno}, column {error.colno})"
    except (ValueError, RecursionError):
        return "task.jsonSchema: not JSON"
    if not isinstance(schema, dict):
        return "task.jsonSchema: not a JSON object"
    if unknown is not None:
        return f"task.jsonSchema: type {unknown} is none of {', '.join(TYPES)}"
    return None


def _unknown_types(schema: Any) -> Iterator[str]:
    """Yield the types within a schema that JSON Schema has not."""
    if not isinstance(schema, dict):
        return
    told = schema.get("type", [])
    yield from (json.dumps(name)[:40] for name in (told if isinstance(told, list) else [told]) if name not in TYPES)
    for name in _SCHEMAS:
        yield from _unknown_types(schema.get(name))
    for name in _NAMED_SCHEMAS:
        inner = schema.get(name)
        for each in inner.values() if isinstance(inner, dict) else ():
            yield from _unknown_types(each)
    for name in _LISTED_SCHEMAS:
        inner = schema.get(name)
        for each in inner if isinstance(inner, list) else ():
            yield from _unknown_types(each)


def _metric_problem(field: str, name: str, task: SuiteTask) -> str | None:
    if name == "MacroF1" and not task.labels:
        return f"{field}: MacroF1 needs task.labels (task.type Classification)"
    if name == "SchemaValidity" and task.json_schema is None:
        return f"{field}: SchemaValidity needs task.jsonSchema"
    return None


def _codes(node: Any) -> Iterable[str]:
    """Yield the names of all operations in a parsed pattern."""
    if isinstance(node, parser.SubPattern | tuple | list):
        for part in node:
            yield from _codes(part)
    elif isinstance(node, codes._NamedIntConstant):
        yield str(node)
