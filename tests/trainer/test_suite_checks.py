"""A suite that could not judge answers is refused by validation, before an engine is loaded: each fault by its field."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.pages import section
from tests.support.plan_files import write_plan_files
from tests.support.suites import SCHEMA, suite_spec
from tunegate.cli.main import main
from tunegate_trainer.data.rows import Row
from tunegate_trainer.evaluation.power import questions_for, smallest_visible_gain
from tunegate_trainer.evaluation.suite_checks import RegexTrial, check_suite, check_suite_text, try_regex


def questions(*answers: str) -> list[Row]:
    return [
        Row(number, ({"role": "user", "content": f"notice {number}"}, {"role": "assistant", "content": answer}), {"group": "a"})
        for number, answer in enumerate(answers, 1)
    ]  # fmt: skip


def found(rows: list[Row], **changes: Any) -> list[tuple[str, str, list[str], str]]:
    """Return what is found, but for the remark that so few questions show little."""
    findings = [one for one in check_suite(rows, suite_spec(**changes), str) if one.check != "SuiteSize"]
    return [(finding.check, finding.action, finding.rows, finding.message) for finding in findings]


LABELS = {"type": "Classification", "labels": ["MIT", "BSD"]}


def test_an_expected_answer_that_is_none_of_the_labels_is_refused_by_its_row() -> None:
    assert found(questions("MIT", " bsd."), task=LABELS) == []
    ((_, _, _, message),) = found(questions("MIT", "BSDD"), task=LABELS)
    assert message == "the expected answer of 1 question of the suite is none of task.labels"
    assert found(questions("MIT", "BSDD", "Apache"), task=LABELS) == [
        (
            "SuiteAnswers",
            "Block",
            ["2", "3"],
            "the expected answers of 2 questions of the suite are none of task.labels",
        )
    ]


def test_two_labels_that_are_one_to_the_evaluation_are_refused() -> None:
    ((check, action, _, message),) = found(questions("MIT"), task={"type": "Classification", "labels": ["MIT", "mit."]})

    assert (check, action) == ("SuiteTask", "Block")
    assert "task.labels: 'MIT' and 'mit.' are the same to the evaluation" in message


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"task": {"type": "Extraction", "jsonSchema": "{type: object}"}}, "suite: task.jsonSchema: not JSON"),
        ({"task": {"type": "Extraction", "jsonSchema": '{"type": "objekt"}'}}, 'suite: task.jsonSchema: type "objekt"'),
        ({"baselines": {"regex": r"(?P<due\d{4}", "regexTemplate": "{due}"}}, "suite: baselines.regex: missing >"),
        ({"baselines": {"regex": "(?P<due>a)", "regexTemplate": "{x}"}}, "suite: baselines.regexTemplate: only named groups"),
        ({"guardrails": [{"name": "MacroF1"}]}, "suite: guardrails: MacroF1 needs task.labels"),
    ],
)  # fmt: skip
def test_a_fault_of_the_suites_text_is_named_by_its_field(changes: dict[str, Any], reason: str) -> None:
    ((check, action, _, message),) = found(questions("{}"), **changes)

    assert (check, action) == ("SuiteTask", "Block")
    assert reason in message


def test_a_regular_expression_that_matches_no_question_is_said() -> None:
    rows = questions("one", "two")

    assert found(rows, baselines={"regex": r"notice (?P<n>1)", "regexTemplate": "{n}"}) == []
    ((check, action, _, message),) = found(rows, baselines={"regex": r"invoice (?P<n>\d)", "regexTemplate": "{n}"})
    assert (check, action) == ("SuiteRegex", "Warn")
    assert "baselines.regex matches none of the 2 questions" in message


def test_a_group_field_that_no_question_has_is_refused_and_one_that_some_lack_is_said() -> None:
    rows = questions("one", "two")
    lacking = Row(3, rows[0].messages, {})

    assert found([*rows, lacking])[0][:3] == ("SuiteGroups", "Warn", ["3"])
    assert found([lacking])[0][:3] == ("SuiteGroups", "Block", ["3"])


def test_questions_that_repeat_an_earlier_one_or_offer_tools_are_named_by_their_row() -> None:
    rows = questions("one", "two")
    again = Row(3, ({"role": "user", "content": "Notice  1"}, rows[0].messages[1]), {"group": "b"})
    calling = Row(
        4, ({"role": "user", "content": "notice 4"}, rows[0].messages[1]), {"group": "b"}, ({"name": "look"},)
    )

    assert [(check, action, places) for check, action, places, _ in found([*rows, again, calling])] == [
        ("SuiteTools", "Block", ["4"]),
        ("SuiteDuplicates", "Warn", ["3"]),
    ]


@pytest.mark.parametrize(("margin", "says"), [("0.05", "785 would show it"), ("0.2", "50 would show it"), ("0.45", "")])
def test_a_suite_that_is_too_small_for_its_margin_says_how_many_questions_would_do(margin: str, says: str) -> None:
    rows = [
        Row(one.number, one.messages, {"group": f"g{one.number % 10}"}) for one in questions(*"abcdefghijklmnopqrst")
    ]
    spec = suite_spec(primaryMetric={"name": "ExactMatch", "margin": margin})

    said = [finding.message for finding in check_suite(rows, spec, str) if finding.check == "SuiteSize"]

    wanted = f"20 questions in 10 groups show gains from 0.443 on with 80 % power; the margin is {margin}; {says}"
    assert said == ([wanted] if says else [])


@pytest.mark.parametrize("margin", [0.01, 0.05, 0.2, 0.9])
def test_as_many_questions_as_a_margin_needs_show_it_and_one_fewer_do_not(margin: float) -> None:
    needed = questions_for(margin)

    assert smallest_visible_gain(needed) <= margin < smallest_visible_gain(needed - 1)


def test_the_pages_table_of_sizes_is_the_rule_that_validation_uses() -> None:
    table = re.findall(
        r"^\| (?:questions|smallest gain) \| (.*) \|$", section("suites.md", "The questions"), re.MULTILINE
    )
    questions, gains = (row.split(" | ") for row in table)
    assert [f"{smallest_visible_gain(int(count)):.3f}" for count in questions] == gains


def test_the_trial_of_a_regular_expression_counts_matches_and_right_answers() -> None:
    spec = suite_spec(baselines={"regex": r"notice (?P<n>[12])", "regexTemplate": "{n}"})

    assert try_regex(questions("1", "one", "3"), spec) == RegexTrial(questions=3, matched=2, right=1)
    assert try_regex(questions("1"), suite_spec()) is None


def test_the_checks_of_a_suite_load_neither_numpy_nor_torch() -> None:
    """`tunegate create suite` runs them on a laptop."""
    program = (
        "import sys, tunegate_trainer.evaluation.suite_checks, tunegate_trainer.data.rows\n"
        "print([name for name in ('torch', 'transformers', 'numpy', 'pyarrow', 'sklearn') if name in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


@pytest.mark.model
@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"type": "object", "properties": {"a": {"pattern": "(?<n>a)"}}}, "the pattern"),
        ({"$ref": "http://127.0.0.1:9/schema.json"}, "a $ref to another document"),
    ],
)
def test_a_schema_that_nobody_can_compile_is_refused_once(schema: dict[str, Any], reason: str) -> None:
    ((check, action, _, message),) = found(
        questions("{}"), task={"type": "Extraction", "jsonSchema": json.dumps(schema)}
    )

    assert (check, action) == ("SuiteTask", "Block")
    assert f"suite: task.jsonSchema: {reason}" in message


@pytest.mark.model
def test_expected_answers_are_json_and_valid_under_the_schema() -> None:
    rows = questions('{"holder": "Ada", "years": "1999"}', '{"holder": "Ada"}', "Ada", '{"a": 1, "a": 2}')

    refused, said = found(rows, task={"type": "Extraction", "jsonSchema": json.dumps(SCHEMA)})

    assert refused[:3] == ("SuiteAnswers", "Block", ["3", "4"])
    assert said[:3] == ("SuiteAnswers", "Warn", ["2"])


@pytest.mark.model
def test_a_schema_under_which_no_expected_answer_is_valid_is_refused() -> None:
    ((check, action, rows, _),) = found(
        questions('{"a": 1}', '{"b": 1}'), task={"type": "Extraction", "jsonSchema": json.dumps(SCHEMA)}
    )

    assert (check, action, rows) == ("SuiteAnswers", "Block", ["1", "2"])


@pytest.mark.model
@pytest.mark.timeout(600)
def test_plan_refuses_a_broken_suite(base_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = write_plan_files(tmp_path, suite={"baselines": {"regex": "(?P<due", "regexTemplate": "{due}"}})

    code = main([*files, "--volume", f"models={base_model.parent}", "--quiet"])

    said = capsys.readouterr()
    assert (code, "baselines.regex: missing >" in said.out + said.err) == (1, True)


def test_the_text_of_a_suite_is_checked_where_its_questions_are_not_at_hand() -> None:
    assert list(check_suite_text(suite_spec())) == []
    pattern = suite_spec(baselines={"regex": "(?P<due", "regexTemplate": "{due}"})
    schema = suite_spec(task={"type": "Extraction", "jsonSchema": '{"type": "nothing"}'})
    for broken in (pattern, schema):
        assert [(one.check, one.action) for one in check_suite_text(broken)] == [("SuiteTask", "Block")]
