"""Whether a suite can judge answers at all: its text, its questions and expected answers, and its regular expression.

Validation, the baseline and `tunegate create suite` run this one code. It needs no model, no tokenizer and no NumPy, so that a
suite can be tried on its questions before anything is frozen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tunegate.api.evaluationsuite import EvaluationSuiteSpec, SuiteTask
from tunegate.api.guided_schemas import not_guided
from tunegate.api.normalization import normalize_label, normalize_text
from tunegate.api.numbers import agreeing, count_of
from tunegate.api.stage.findings import Finding
from tunegate.api.suite_checks import suite_problems
from tunegate_trainer.data.rows import Row
from tunegate_trainer.data.strict_json import NotJson, parse_json
from tunegate_trainer.endings import BadInput
from tunegate_trainer.evaluation.normalization import same_for
from tunegate_trainer.evaluation.pattern import answer_by_pattern
from tunegate_trainer.evaluation.power import questions_for, smallest_visible_gain
from tunegate_trainer.evaluation.schemas import compile_schema
from tunegate_trainer.findings import Place, block, warn


@dataclass(frozen=True)
class RegexTrial:
    """What the suite's regular expression does with its own questions."""

    questions: int
    matched: int
    right: int
    """Answers that equal the expected one by the rule for the task."""


def check_suite(questions: Sequence[Row], suite: EvaluationSuiteSpec, place: Place) -> Iterator[Finding]:
    """Yield what would end the baseline, or make its numbers say nothing."""
    problems = suite_problems(suite)
    yield from (block("SuiteTask", f"suite: {problem}") for problem in problems)
    yield from _check_answers(questions, suite.task, place)
    if not any(problem.startswith("task.jsonSchema") for problem in problems):
        yield from _check_schema(questions, suite.task, place)
    if not any(problem.startswith("baselines.regex") for problem in problems):
        yield from _check_regex(questions, suite)
    yield from _check_groups(questions, suite, place)
    yield from _check_questions(questions, place)
    yield from _check_gain(questions, suite)


def check_suite_text(suite: EvaluationSuiteSpec) -> Iterator[Finding]:
    """Yield what a suite's own text shows, where its questions are not at hand."""
    problems = suite_problems(suite)
    yield from (block("SuiteTask", f"suite: {problem}") for problem in problems)
    if not any(problem.startswith("task.jsonSchema") for problem in problems):
        yield from _check_schema((), suite.task, str)


def try_regex(questions: Sequence[Row], suite: EvaluationSuiteSpec) -> RegexTrial | None:
    """Return on how many questions the regular expression matches, and how often it is right; None: the suite has none.

    Raises ``BadInput`` for a pattern that is not allowed or takes too long, and for an expected answer that is not JSON where
    the task has a schema.
    """
    regex, template = suite.baselines.regex, suite.baselines.regex_template
    if regex is None or template is None:
        return None
    texts = [row.question for row in questions]
    answers = answer_by_pattern(regex, template, texts, json=suite.task.json_schema is not None)
    same = same_for(suite.task)
    try:
        right = sum(bool(answer) and same(answer, row.answer) for answer, row in zip(answers, questions, strict=True))
    except NotJson as error:
        raise BadInput("an expected answer is not JSON, which task.jsonSchema asks for") from error
    return RegexTrial(len(questions), sum(map(bool, answers)), right)


def groups_of(questions: Sequence[Row], suite: EvaluationSuiteSpec) -> int:
    """Return how many groups the bootstrap resamples: as many as questions, unless some share their group."""
    return len({row.group(suite.data.group_field) for row in questions})


def foreign_answers(questions: Sequence[Row], task: SuiteTask) -> list[int]:
    """Return the numbers of the questions whose expected answer is none of the task's labels."""
    labels = {normalize_label(label) for label in task.labels}
    return [row.number for row in questions if labels and normalize_label(row.answer) not in labels]


def broken_answers(questions: Sequence[Row], task: SuiteTask) -> list[int]:
    """Return the numbers of the questions whose expected answer is not JSON though the task has a schema."""
    return [row.number for row in questions if task.json_schema and not _is_json(row.answer)]


def _check_answers(questions: Sequence[Row], task: SuiteTask, place: Place) -> Iterator[Finding]:
    if foreign := foreign_answers(questions, task):
        message = f"{_expected(len(foreign))} none of task.labels"
        yield block("SuiteAnswers", message, count=len(foreign), rows=foreign, place=place)
    if broken := broken_answers(questions, task):
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
    if ungated := not_guided(task.json_schema):
        message = (
            f"task.jsonSchema uses {', '.join(ungated)}, which the gateway takes from no client: the served model could not be "
            "asked with this schema"
        )
        kind = block if task.decoding == "Guided" else warn
        yield kind("SuiteSchema", message, count=len(ungated))
    invalid = [row.number for row in questions if _is_json(row.answer) and not valid(row.answer)]
    if not invalid:
        return
    message = (
        f"{_expected(len(invalid))} not valid under task.jsonSchema: guided answers can never equal "
        f"{agreeing('[it|them]', len(invalid))}"
    )
    # Where no expected answer is valid, the guided alternatives and every answer that is right contradict the schema.
    kind = block if len(invalid) == len(questions) else warn
    yield kind("SuiteAnswers", message, count=len(invalid), rows=invalid, place=place)


def _check_regex(questions: Sequence[Row], suite: EvaluationSuiteSpec) -> Iterator[Finding]:
    if broken_answers(questions, suite.task):
        return
    try:
        trial = try_regex(questions, suite)
    except BadInput as problem:
        yield block("SuiteTask", f"suite: {problem.message}")
        return
    if trial is not None and trial.matched == 0:
        message = (
            f"baselines.regex matches none of the {count_of(len(questions), 'question')} of the suite: the alternative Regex answers nothing, "
            "and to beat it says nothing"
        )
        yield warn("SuiteRegex", message, count=len(questions))
    bar = float(suite.quality_bar)
    if trial is not None and suite.primary_metric.name == "ExactMatch" and trial.right >= bar * trial.questions:
        message = (
            f"baselines.regex is right on {trial.right} of {trial.questions} questions and so reaches qualityBar {bar:g}: no job "
            "with this suite is trained"
        )
        yield warn("SuiteSolved", message, count=trial.right)


def _check_groups(questions: Sequence[Row], suite: EvaluationSuiteSpec, place: Place) -> Iterator[Finding]:
    field = suite.data.group_field
    lacking = [row.number for row in questions if field and row.fields.get(field) is None]
    if not field or not lacking:
        return
    those = agreeing("[question of the suite lacks|questions of the suite lack]", len(lacking))
    message = f"{len(lacking)} {those} the field {field}, which data.groupField names"
    kind = block if len(lacking) == len(questions) else warn
    yield kind("SuiteGroups", message, count=len(lacking), rows=lacking, place=place)


def _check_questions(questions: Sequence[Row], place: Place) -> Iterator[Finding]:
    calling = [row.number for row in questions if row.tools]
    if calling:
        those = agreeing("[question of the suite offers|questions of the suite offer]", len(calling))
        message = f"{len(calling)} {those} tools, which the evaluation does not pass to the engine"
        yield block("SuiteTools", message, count=len(calling), rows=calling, place=place)
    seen: set[str] = set()
    repeated = []
    for row in questions:
        asked = normalize_text("\n".join(str(turn["content"]) for turn in row.prompt if turn["role"] == "user"))
        if asked.casefold() in seen:
            repeated.append(row.number)
        seen.add(asked.casefold())
    if repeated:
        those = agreeing("[question of the suite repeats|questions of the suite repeat]", len(repeated))
        message = f"{len(repeated)} {those} an earlier one"
        yield warn("SuiteDuplicates", message, count=len(repeated), rows=repeated, place=place)


def _check_gain(questions: Sequence[Row], suite: EvaluationSuiteSpec) -> Iterator[Finding]:
    """Point out a suite that can't tell the margin from noise: a small true gain would end Inconclusive."""
    groups, margin = groups_of(questions, suite), float(suite.primary_metric.margin)
    gain = smallest_visible_gain(groups)
    if gain <= margin:
        return
    resampled = "" if groups == len(questions) else f" in {count_of(groups, 'group')}"
    needed = f"; {questions_for(margin)} would show it" if margin > 0 else ""
    message = f"{len(questions)} questions{resampled} show gains from {gain:.3f} on with 80 % power; the margin is {margin:g}{needed}"
    yield warn("SuiteSize", message, count=len(questions))
