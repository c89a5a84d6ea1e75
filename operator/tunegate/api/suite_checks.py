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
from tunegate.api.json_schema_checks import schema_problem
from tunegate.api.normalization import normalize_label

UNKNOWN_TO_RE2 = {
    "ASSERT": "lookahead or lookbehind",
    "ASSERT_NOT": "lookahead or lookbehind",
    "GROUPREF": "a reference to an earlier group",
    "GROUPREF_EXISTS": "a conditional group",
    "POSSESSIVE_REPEAT": "a possessive repeat",
    "ATOMIC_GROUP": "an atomic group",
}
NO_ROWS = (".json", ".csv", ".tsv", ".txt", ".xlsx", ".yaml", ".yml")
"""Ends of names of files that hold no rows that stages read."""


def suite_problems(spec: EvaluationSuiteSpec) -> list[str]:
    """Return what keeps a suite from being asked, one sentence each: the field, what is wrong, what is allowed."""
    named = [("primaryMetric", spec.primary_metric.name), *(("guardrails", guard.name) for guard in spec.guardrails)]
    regex, template = spec.baselines.regex, spec.baselines.regex_template
    pattern = pattern_problem(regex, template or "") if regex is not None else None
    problems = [_address_problem(spec.data.uri), _schema_problem(spec.task), *_label_problems(spec.task)]
    problems += [_metric_problem(field, name, spec.task) for field, name in named]
    problems.append(pattern if pattern is not None else _filled_problem(spec))
    return [problem for problem in (*problems, *_missing_parts(spec), *_rule_problems(spec)) if problem is not None]


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
    problem = schema_problem(task.json_schema) if task.json_schema is not None else None
    return f"task.jsonSchema: {problem}" if problem is not None else None


def _label_problems(task: SuiteTask) -> Iterator[str]:
    """Yield labels that the evaluation cannot tell apart, or that no answer can be."""
    seen: dict[str, str] = {}
    for label in task.labels:
        normal = normalize_label(label)
        if not normal:
            yield f"task.labels: {label!r} has no letters: an answer cannot be it"
        first = seen.setdefault(normal, label)
        if first is not label:
            yield f"task.labels: {first!r} and {label!r} are the same to the evaluation (case, spaces, a full stop)"
        if task.json_schema is not None and not _is_json(label):
            yield f"task.labels: {label!r} is not JSON, which task.jsonSchema asks for: leave out one of the two"


def _filled_problem(spec: EvaluationSuiteSpec) -> str | None:
    """Return whether the template, filled with what fits both a text and a number, is still no JSON where JSON is asked for."""
    regex, template = spec.baselines.regex, spec.baselines.regex_template
    if regex is None or template is None or spec.task.json_schema is None:
        return None
    filled = template.format(**dict.fromkeys(re.compile(regex).groupindex, "1"))
    if _is_json(filled):
        return None
    return (
        f"baselines.regexTemplate: filled in it is no JSON, which task.jsonSchema asks for: {filled[:80]!r}; write a brace "
        "that is text twice, and quotes around texts"
    )


def _address_problem(uri: str) -> str | None:
    """Return what is wrong with the place of the questions, beyond its form."""
    path = uri.partition("://")[2].partition("/")[2]
    if any(part in ("", ".", "..") for part in path.split("/")):
        return f"data.uri: {uri} is no plain path: leave out empty parts, . and .."
    if path.lower().endswith(NO_ROWS):
        return f"data.uri: {path.rpartition('/')[2]} is no file of rows: questions are .jsonl, .jsonl.gz, .jsonl.zst or .parquet"
    return None


def _missing_parts(spec: EvaluationSuiteSpec) -> Iterator[str]:
    """Yield what the API server refuses too: files are also checked where there is none."""
    if (spec.task.type == "Classification") != bool(spec.task.labels):
        yield "task.labels: required for task.type Classification, and not allowed for others"
    if (spec.baselines.regex is None) != (spec.baselines.regex_template is None):
        yield "baselines.regex: it belongs together with baselines.regexTemplate"
    if spec.baselines.classifier and spec.task.type != "Classification":
        yield "baselines.classifier: needs task.type Classification"


def _rule_problems(spec: EvaluationSuiteSpec) -> Iterator[str]:
    """Yield numbers with which no job can train, or none can pass."""
    if float(spec.quality_bar) == 0:
        yield "qualityBar: every answer reaches 0, so no job would train; leave it out for 0.8"
    if float(spec.primary_metric.margin) == 1:
        yield "primaryMetric.margin: no gain reaches 1 against an alternative that answers anything right; leave it out for 0.05"


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


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
