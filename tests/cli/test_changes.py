"""What a release would change against the one that serves now."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.support import release_evidence
from tests.support.builders import make_evaluationsuite
from tunegate.api.evaluationsuite import EvaluationSuite
from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.modelrelease import ModelRelease
from tunegate.cli.describe.changes import Side, changes

Json = dict[str, Any]
RESULT = release_evidence.digest("9")


def side(policy: str | None = "two-person sha256:1", margin: str = "0.05", **method: Any) -> Side:
    job = release_evidence.finished_job(release_evidence.catalogue(), RESULT)
    job["spec"]["method"] |= method
    suite = make_evaluationsuite(primaryMetric={"name": "ExactMatch", "margin": margin})
    return Side(
        ModelRelease.model_validate(release_evidence.with_metadata(release_evidence.release_of(job))),
        FineTuneJob.model_validate(job),
        EvaluationSuite.model_validate(release_evidence.with_metadata(suite)),
        policy,
    )


def differing(old: Side, new: Side) -> dict[str, tuple[str, str]]:
    return {one.what: (one.then, one.now) for one in changes(old, new)}


def test_nothing_is_said_where_nothing_differs() -> None:
    assert differing(side(), side()) == {}


def test_each_part_that_differs_is_named_with_both_sides() -> None:
    old = side()
    new = side(policy="one-person sha256:2", margin="0.01", rank=64)
    assert new.job is not None
    assert new.job.status.dataset is not None
    data = new.job.status.dataset.model_copy(update={"digest": release_evidence.digest("0")})
    status = new.job.status.model_copy(update={"dataset": data, "base_model_digest": release_evidence.digest("1")})
    new = Side(new.release, new.job.model_copy(update={"status": status}), new.suite, new.policy)
    assert differing(old, new) == {
        "data": (release_evidence.digest("d"), release_evidence.digest("0")),
        "base model": (release_evidence.digest("b"), release_evidence.digest("1")),
        "training: rank": ("16", "64"),
        "margin of the suite": ("0.05", "0.01"),
        "policy": ("two-person sha256:1", "one-person sha256:2"),
    }


def test_rules_are_compared_where_both_statements_were_read() -> None:
    old, new = side(), side(policy="two-person sha256:2")
    rules = {"minMargin": "0.05", "roles": [{"name": "risk", "minApprovals": 2}]}
    looser = {
        "minMargin": "0.05",
        "roles": [{"name": "risk", "minApprovals": 1}],
        "waivers": [{"findings": ["Budget"]}],
    }
    assert differing(replace(old, rules=rules), replace(new, rules=looser)) == {
        "policy": ("two-person sha256:1", "two-person sha256:2"),
        "policy: roles": ("name risk, minApprovals 2", "name risk, minApprovals 1"),
        "policy: waivers": ("-", "findings Budget"),
    }
    assert set(differing(replace(old, rules=rules), new)) == {"policy"}


def test_what_cannot_be_read_is_never_taken_for_equal() -> None:
    old, new = side(policy=None), side(policy=None)
    found = differing(Side(old.release, None, None, None), Side(new.release, None, None, None))
    assert found == dict.fromkeys(
        ("data", "base model", "engine profile", "suite", "training", "margin of the suite", "policy"),
        ("not seen", "not seen"),
    )
