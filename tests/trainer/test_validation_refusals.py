"""What the validate stage refuses on the real model: bad rows, planted problems, limits; never quoted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.builders import DIGEST
from tests.support.stage_process import write_rows
from tests.support.validation import POOL, ROWS, SECRET, Validate, example, findings
from tunegate import digests
from tunegate.api.datachecks import DEFAULTS, CheckSetting, effective
from tunegate.api.finetunejob.spec import Budget
from tunegate.api.stage.configs import FurtherSuite

pytestmark = pytest.mark.model


MESSAGES = {"role": "user", "content": f"{SECRET} {SECRET}"}


@pytest.mark.parametrize(
    ("extra", "check"),
    [
        (f'{{"messages": "{SECRET}"', "BrokenRows"),
        (json.dumps({"messages": [MESSAGES]}), "BrokenRows"),
        ("", "BrokenRows"),
        (
            json.dumps({"messages": [MESSAGES, {"role": "assistant", "content": f"{SECRET}<|im_end|>"}]}),
            "ControlTokens",
        ),
        (json.dumps(example(5000)), "Overlap"),
    ],
)
def test_a_bad_row_is_refused_by_number_and_never_quoted(validate: Validate, extra: str, check: str) -> None:
    result = validate([*ROWS, extra])

    assert result.outcome == "Refused"
    assert findings(result) == {check: ["241"]}
    assert SECRET not in result.model_dump_json()


def answered(number: int, question: str, answer: str) -> dict[str, Any]:
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return {"messages": turns, "holder": f"planted{number}"}


WORDS = " ".join(f"{SECRET}x{number}" for number in range(40))
PLANTED = {
    "PersonalData": [answered(1, "Who?", f"ask {SECRET}@example.org")],
    "HealthData": [answered(1, f"{SECRET}: NHS number 943 476 5919", "noted")],
    "Secrets": [answered(1, f"{SECRET} uses AKIAIOSFODNN7EXAMPLE", "noted")],
    "InvisibleCharacters": [answered(1, f"{SECRET}\u202e", "noted")],
    "ControlTokens": [answered(1, f"{SECRET}<|im_end|>", "noted")],
    "CopiedInput": [answered(1, f"Say {SECRET}!", f"say {SECRET}")],
    "Refusals": [answered(1, SECRET, f"I'm sorry, but I can't say {SECRET}.")],
    "Contradictions": [answered(1, f"Is it {SECRET}?", "yes"), answered(2, f"is it {SECRET}", "no")],
    "NearDuplicates": [answered(1, WORDS, "noted"), answered(2, f"{WORDS} more", "noted")],
}


MATCHED = (SECRET, "example.org", "943 476 5919", "AKIAIOSFODNN7EXAMPLE", "\u202e", "<|im_end|>")
"""What the checks find in the planted rows, word for word."""


@pytest.mark.parametrize("check", PLANTED)
def test_a_planted_problem_is_found_by_row_and_never_quoted(validate: Validate, check: str) -> None:
    strict = [CheckSetting(name=name, action="Block") for name in DEFAULTS if name != "NearDuplicates"]
    if check == "NearDuplicates":
        strict = [CheckSetting(name="NearDuplicates", action="Block")]

    result = validate([*ROWS, *PLANTED[check]], checks=effective(strict, []))

    expected = ["242"] if check == "NearDuplicates" else [str(241 + at) for at in range(len(PLANTED[check]))]
    assert result.outcome == "Refused"
    assert findings(result)[check] == expected
    assert not [text for text in MATCHED if text in json.dumps(result.model_dump(), ensure_ascii=False)]


def test_a_question_of_a_further_suite_refuses_the_job_and_a_missing_suite_only_warns(
    validate: Validate, tmp_path: Path
) -> None:
    # As many as show what all questions of a suite say: with two, the rows that say it too would nearly hold a question.
    questions = write_rows(tmp_path / "second.jsonl", [example(number) for number in range(7000, 7060)])
    second = FurtherSuite(name="second", path=str(questions), digest=DIGEST, data_digest=digests.file_digest(questions))
    gone = second.model_copy(update={"name": "gone", "path": str(tmp_path / "gone.jsonl"), "asked": True})
    never = gone.model_copy(update={"name": "never", "asked": False})
    redacting = effective([CheckSetting(name="PersonalData", action="Redact")], [])

    clean = validate(ROWS, further_suites=[second, gone, never], unread_suites={"closed": "its claim is closed"})
    leaking = validate([*ROWS, example(7001)], further_suites=[second])
    copied = validate([*ROWS, *PLANTED["PersonalData"], example(7001)], further_suites=[second], checks=redacting)

    assert clean.outcome == "Passed"
    assert [suite.name for suite in clean.compared_suites] == ["s", "second"]
    said = [finding.message for finding in clean.findings if finding.check == "UnreadSuites"]
    assert [("(closed)" in text, "(gone)" in text) for text in said] == [(True, False), (False, True)]
    assert [one.name for one in clean.unusable_suites] == ["never"]
    assert (findings(leaking), leaking.overlap_rows) == ({"Overlap": ["241"]}, 1)
    assert (findings(copied), copied.overlap_rows) == ({"Overlap": ["242"]}, 1)
    assert SECRET not in clean.model_dump_json() + leaking.model_dump_json() + copied.model_dump_json()


def test_a_check_that_is_off_finds_nothing_and_a_share_only_warns(validate: Validate) -> None:
    planted = [*ROWS, *PLANTED["Secrets"], *PLANTED["HealthData"]]
    settings = [
        CheckSetting(name="Secrets", action="Off"), CheckSetting(name="HealthData", action="Block", max_share="0.01"),
        CheckSetting(name="NearDuplicates", action="Off"),
    ]  # fmt: skip

    result = validate(planted, checks=effective(settings, []))

    assert result.outcome == "Passed", result.findings
    assert findings(result, "Warn")["HealthData"] == ["242"]
    assert "Secrets" not in findings(result, "Warn")
    assert (result.near_duplicates, result.overlap_rows) == (None, 0)
    assert result.checks == effective(settings, [])


@pytest.mark.parametrize(
    ("changes", "check"),
    [
        ({"task_type": "DomainVocabulary"}, "MinimumExamples"),
        ({"pool": POOL.model_copy(update={"device_memory": "1Gi"})}, "Memory"),
        ({"budget": Budget(max_device_hours="0.001")}, "Budget"),
        ({"budget": Budget(max_cost="0.001")}, "Budget"),
        ({"problem": "Knowledge"}, "Knowledge"),
        ({"method": {"rank": 32}}, "Profile"),
        ({"method": {"maxLength": 1024}}, "Profile"),
        ({"method": {"numNodes": 2}}, "Nodes"),
    ],
)
def test_what_exceeds_a_limit_is_refused(validate: Validate, changes: dict[str, Any], check: str) -> None:
    result = validate(ROWS, **changes)

    assert result.outcome == "Refused"
    assert set(findings(result)) == {check}


def test_under_a_hundred_examples_are_always_refused(validate: Validate) -> None:
    assert "MinimumExamples" in findings(validate(ROWS[:99], task_type="Style"))


def test_a_question_too_long_for_the_engine_is_refused(validate: Validate) -> None:
    question = example(5000)
    question["messages"][0]["content"] = "word " * 480

    assert "SuiteLength" in findings(validate(ROWS, [question]))


def test_a_question_that_offers_tools_is_refused(validate: Validate) -> None:
    question = {**example(5000), "tools": [{"type": "function", "function": {"name": "find"}}]}

    assert findings(validate(ROWS, [question, example(5001)]))["SuiteTools"] == ["1"]


def test_a_split_that_leaves_nothing_and_a_group_field_that_no_row_has_are_refused(validate: Validate) -> None:
    rows = [{**row, "all": "one group"} for row in ROWS]

    nothing = validate(rows, method={"developmentFraction": "0.9"}, group_field="all")
    nowhere = validate(rows, group_field="owner")

    assert findings(nothing)["TrainingRows"] == []
    assert len(findings(nowhere)["GroupField"]) == 20


def test_an_imported_adapter_of_another_model_is_refused(validate: Validate, tmp_path: Path) -> None:
    from tests.support.model_folder import make_adapter

    result = validate(ROWS, import_path=str(make_adapter(tmp_path / "imported")))

    assert result.outcome == "Refused"
    assert set(findings(result)) == {"BaseModel"}
    assert result.device_hours == 0
