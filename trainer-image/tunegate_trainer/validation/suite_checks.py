"""Whether a suite can judge answers at all: its text, its expected answers, and its regular expression on the questions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tunegate.api.evaluationsuite import EvaluationSuiteSpec, SuiteTask
from tunegate.api.numbers import agreeing, count_of
from tunegate.api.stage.findings import Finding
from tunegate.api.suite_checks import suite_problems
from tunegate_trainer.data.rows import Row
from tunegate_trainer.data.strict_json import NotJson, parse_json
from tunegate_trainer.endings import BadInput
from tunegate_trainer.evaluation.normalization import normalize_label
from tunegate_trainer.evaluation.pattern import answer_by_pattern
from tunegate_trainer.evaluation.questions import last_user_turn
from tunegate_trainer.evaluation.schemas import compile_schema
from tunegate_trainer.findings import Place, block, warn


def check_suite(questions: Sequence[Row], suite: EvaluationSuiteSpec, place: Place) -> Iterator[Finding]:
    """Yield what would end the baseline, or make its numbers say nothing."""
    problems = [*suite_problems(suite), *_label_problems(suite.task.labels)]
    yield from (block("SuiteTask", f"suite: {problem}") for problem in problems)
    yield from _check_answers(questions, suite.task, place)
    if not any(problem.startswith("task.jsonSchema") for problem in problems):
        yield from _check_schema(questions, suite.task, place)
    if not any(problem.startswith("baselines.regex") for problem in problems):
        yield from _check_regex(questions, suite)
    field = suite.data.group_field
    lacking = [row.number for row in questions if field and row.fields.get(field) is None]
    if field and lacking:
        those = agreeing("[question of the suite lacks|questions of the suite lack]", len(lacking))
        message = f"{len(lacking)} {those} the field {field}, which data.groupField names"
        kind = block if len(lacking) == len(questions) else warn
        yield kind("SuiteGroups", message, count=len(lacking), rows=lacking, place=place)


def _label_problems(labels: Sequence[str]) -> Iterator[str]:
    seen: dict[str, str] = {}
    for label in labels:
        first = seen.setdefault(normalize_label(label), label)
        if first is not label:
            yield f"task.labels: {first!r} and {label!r} are the same to the evaluation (case, spaces, a full stop)"


def _check_answers(questions: Sequence[Row], task: SuiteTask, place: Place) -> Iterator[Finding]:
    labels = {normalize_label(label) for label in task.labels}
    foreign = [row.number for row in questions if labels and normalize_label(row.answer) not in labels]
    if foreign:
        message = f"{_expected(len(foreign))} none of task.labels"
        yield block("SuiteAnswers", message, count=len(foreign), rows=foreign, place=place)
    broken = [row.number for row in questions if task.json_schema and not _is_json(row.answer)]
    if broken:
        message = f"{_expected(len(broken))} not JSON, which task.jsonSchema asks for"
        yield block("SuiteAnswers", message, count=len(broken), rows=broken, place=place)


def _expected(count: int) -> str:
    return agreeing(f"the expected [answer|answers] of {count} [question|questions] of the suite [is|are]", count)


def _is_json(answer: str) -> bool:
    try:
        parse_json(answer)
    except NotJson:
        return False
    return True


def _check_schema(questions: Sequence[Row], task: SuiteTask, place: Place) -> Iterator[Finding]:
    if task.json_schema is None:
        return
    try:
        valid = compile_schema(task.json_schema)
    except BadInput as problem:
        yield block("SuiteTask", f"suite: {problem.message}")
        return
    invalid = [row.number for row in questions if _is_json(row.answer) and not valid(row.answer)]
    if invalid:
        message = (
            f"{_expected(len(invalid))} not valid under task.jsonSchema: guided answers can never equal "
            f"{agreeing('[it|them]', len(invalid))}"
        )
        yield warn("SuiteAnswers", message, count=len(invalid), rows=invalid, place=place)


def _check_regex(questions: Sequence[Row], suite: EvaluationSuiteSpec) -> Iterator[Finding]:
    regex, template = suite.baselines.regex, suite.baselines.regex_template
    if regex is None or template is None:
        return
    texts = [last_user_turn(row) for row in questions]
    try:
        answers = answer_by_pattern(regex, template, texts, json=suite.task.json_schema is not None)
    except BadInput as problem:
        yield block("SuiteTask", f"suite: {problem.message}")
        return
    if not any(answers):
        message = (
            f"baselines.regex matches none of the {count_of(len(questions), 'question')} of the suite: the alternative Regex answers nothing, "
            "and to beat it says nothing"
        )
        yield warn("SuiteRegex", message, count=len(questions))
