"""Digests that were stored stay what they are: each file in `golden/` holds a document of the first form, and its digest.

A field that is added with a default must not change them: its default is None, or it is declared by `later`. A digest that
changes all the same is a new form: give it another version, and keep the file of the old one for as long as it can be met.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import Field

from tunegate.api.approval import Approval
from tunegate.api.approvalpolicy import ApprovalPolicySpec
from tunegate.api.auditrecord import AuditRecordSpec
from tunegate.api.datastatement import DataStatement
from tunegate.api.evaluationsuite import EvaluationSuiteSpec
from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.finetunejob.status import WaiverFinding
from tunegate.api.markers import ApiModel, later
from tunegate.api.modelserver import EngineProfile
from tunegate.api.stage import layout
from tunegate.digests import document_digest
from tunegate.ledger import chain
from tunegate.release import content, waiver
from tunegate.release.statement import ReleaseStatement

GOLDEN = Path(__file__).parent / "golden"
Json = dict[str, Any]


def of_waiver(document: Json) -> str:
    findings = [WaiverFinding(check="MinimumExamples", count=60, message="60 examples, at least 100")]
    rules = ApprovalPolicySpec.model_validate(document["policy"]).waivers
    job = FineTuneJob.model_validate(document["job"])
    return waiver.waiver_digest(job, document["data"], document["validation"], findings, rules)


DIGESTS: dict[str, Callable[[Json], str]] = {
    "approval": lambda one: content.approval_digest(Approval.model_validate(one)),
    "approval-policy": lambda one: document_digest(ApprovalPolicySpec.model_validate(one).to_dict()),
    "audit-record": lambda one: chain.record_hash(AuditRecordSpec.model_validate(one)),
    "data-statement": lambda one: document_digest(DataStatement.model_validate(one).to_dict()),
    "engine-profile": lambda one: document_digest(EngineProfile.model_validate(one).to_dict()),
    "evaluation-suite": lambda one: document_digest(EvaluationSuiteSpec.model_validate(one).to_dict()),
    "release-statement": lambda one: ReleaseStatement.model_validate(one).digest,
    "waiver": of_waiver,
}
"""By the beginning of a file's name."""
FILES = sorted(GOLDEN.glob("*.json"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_stored_digest_is_found_again(path: Path) -> None:
    golden = json.loads(path.read_text())
    assert DIGESTS[path.stem.partition(".")[0]](golden["document"]) == golden["digest"]


def test_every_document_with_a_digest_has_a_small_and_a_full_one() -> None:
    assert {path.stem for path in FILES} == {f"{name}.{size}" for name in DIGESTS for size in ("small", "full")}


def test_documents_say_the_version_of_their_form() -> None:
    assert {ReleaseStatement.model_fields["version"].default, DataStatement.model_fields["version"].default} == {1}
    assert (content.FORM, waiver.FORM) == ("tunegate.io/approval/v1", "tunegate.io/waiver/v1")
    assert chain.DOMAIN == b"tunegate.io/audit-record/v1\n"
    named = [value for name, value in vars(layout).items() if name.endswith("_MEDIA_TYPE")]
    assert [value for value in named if not any(f".v{number}" in value for number in range(1, 10))] == []


class First(ApiModel):
    """A document as it was."""

    name: Annotated[str, Field(max_length=9)]


class Grown(First):
    """The same, with fields that came later."""

    strict: bool = later(False)
    owner: Annotated[str, Field(max_length=9)] | None = None


def test_a_field_that_came_later_changes_no_digest_until_it_is_used() -> None:
    before = document_digest(First(name="a").to_dict())
    assert document_digest(Grown(name="a").to_dict()) == before
    assert document_digest(Grown.model_validate({"name": "a", "strict": False}).to_dict()) == before
    assert document_digest(Grown(name="a", strict=True).to_dict()) != before
