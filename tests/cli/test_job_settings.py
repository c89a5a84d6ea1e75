"""`--set FIELD=VALUE` of `retry` and `clone`, and what a new job takes over from an old one."""

from __future__ import annotations

from argparse import ArgumentTypeError
from typing import Any

import pytest

from tests.support.builders import make_finetunejob
from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.cli.jobs.rerun import new_spec, next_name
from tunegate.cli.jobs.settings import applied, setting

ERIN, RAVI = {"username": "erin", "groups": ["tunegate:engineers"]}, {"username": "ravi", "groups": []}
LONG = "a" * 40


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("method.rank=32", 32), ("method.learningRate=0.0001", 0.0001), ("method.learningRate=1e-4", 0.0001),
        ("spec.method.type=QLoRA", "QLoRA"), ("baseline.reuse=false", False), ("baseline.prompt=12", "12"),
        ("method.maxSteps=null", None), ("budget={maxCost: '5'}", {"maxCost": "5"}), ("suiteRef.name=other", "other"),
        ("contributors=[{username: dana}]", [{"username": "dana"}]), ("dataset.expirationDate=2027-01-31", "2027-01-31"),
    ],
)  # fmt: skip
def test_a_value_is_read_as_its_field_wants_it(text: str, value: Any) -> None:
    assert setting(text).value == value


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("method.learnRate=1", "did you mean learningRate?"), ("methods.rank=1", "did you mean method?"),
        ("method.rank", "expected FIELD=VALUE"), ("method.rank=many", "valid integer"), ("method.rank=0", "greater than"),
        ("method.type=Full", "'QLoRA' or 'LoRA'"), ("requestedBy.username=ravi", "filled in by this command"),
        ("derivedFrom.name=x", "filled in by this command"), ("contributors.0=x", "has no fields of its own"),
        ("suspend.now=true", "has no fields of its own"), ("dataset.digest=abc", "pattern"),
    ],
)  # fmt: skip
def test_what_the_api_would_refuse_is_refused_by_its_field(text: str, says: str) -> None:
    with pytest.raises(ArgumentTypeError, match=says.replace("?", r"\?").replace("(", r"\(")):
        setting(text)


def test_one_field_changes_and_all_others_stay() -> None:
    spec = make_finetunejob()["spec"]
    changed = applied(spec, [setting("method.rank=32"), setting("budget.maxCost=5"), setting("dataset.steward=dana")])
    assert changed["method"] == {"type": "LoRA", "rank": 32}
    assert changed["budget"] == {"maxCost": 5}
    assert changed["dataset"] == {**spec["dataset"], "steward": "dana"}
    assert {key: changed[key] for key in ("intent", "suiteRef", "serverRef")} == {
        key: spec[key] for key in ("intent", "suiteRef", "serverRef")
    }
    assert "budget" not in spec, "the old spec is not written to"
    assert "method" not in applied(spec, [setting("method=null")])


@pytest.mark.parametrize(
    ("name", "taken", "following"),
    [
        ("holders", [], "holders-2"), ("holders", ["holders", "holders-2", "holders-3"], "holders-4"),
        ("holders-2", ["holders", "holders-2"], "holders-3"), ("v-1", ["v-1"], "v-2"), ("a-09", [], "a-09-2"),
        (LONG, [LONG], "a" * 38 + "-2"), ("a" * 37 + "-bc", [], "a" * 37 + "-2"),
    ],
)  # fmt: skip
def test_a_retry_has_the_next_free_name_that_the_api_takes(name: str, taken: list[str], following: str) -> None:
    assert next_name(name, taken) == following


def job(**changes: Any) -> FineTuneJob:
    made = make_finetunejob(requestedBy=ERIN, **changes)
    made["metadata"]["uid"] = "u-1"
    return FineTuneJob.model_validate(made)


def test_a_new_job_names_the_old_one_and_starts_unsuspended_in_the_callers_name() -> None:
    old = job(suspend=True)
    spec = new_spec(old, {**make_finetunejob(requestedBy=ERIN)["spec"], "suspend": True}, ERIN, [])
    assert spec["derivedFrom"] == {"name": "job", "uid": "u-1"}
    assert spec["requestedBy"] == ERIN
    assert "suspend" not in spec
    assert "contributors" not in spec, "nobody is named twice"


def test_whoever_chose_the_settings_before_may_not_approve_what_comes_of_them() -> None:
    """Otherwise two people approve each other's settings by retrying each other's jobs."""
    old = make_finetunejob(requestedBy={**ERIN, "personId": "E-1001"}, contributors=[{"username": "dana"}])["spec"]
    spec = new_spec(job(), old, RAVI, [])
    assert spec["contributors"] == [{"username": "dana"}, {"username": "erin", "personId": "E-1001"}]
    again = new_spec(job(), {**spec, "requestedBy": RAVI}, ERIN, [])
    assert again["contributors"] == [*spec["contributors"], {"username": "ravi"}]
