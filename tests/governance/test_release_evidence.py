"""What has to be there and fit together before a release can be asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.support import release_evidence
from tests.support.release_walk import Walk
from tunegate.api.reasons import ReleaseReason
from tunegate.api.shared import SuiteTries
from tunegate.reconcile.modelrelease.planner import plan
from tunegate.release.evidence import Shortfall
from tunegate.release.statement import differences


@pytest.fixture
def walk() -> Walk:
    return Walk()


def failing(walk: Walk) -> tuple[str, str]:
    phase = walk.settle()
    assert walk.records == []
    return phase, walk.condition("EvidenceComplete").reason


def test_job_without_a_passed_gate_is_not_released(walk: Walk) -> None:
    walk.job["status"]["phase"] = "Failed"
    walk.job["status"]["gate"]["outcome"] = "Inconclusive"
    assert failing(walk) == ("Failed", "JobNotPassed")


@pytest.mark.attack(9)
def test_job_made_again_under_the_name_is_another_job(walk: Walk) -> None:
    walk.job["metadata"]["uid"] = "another"
    assert failing(walk) == ("Failed", "JobNotPassed")


def test_job_without_a_data_statement_is_not_released(walk: Walk) -> None:
    del walk.job["status"]["dataset"]["statementDigest"]
    assert failing(walk) == ("Failed", "JobNotPassed")


def test_job_that_names_another_data_statement_later_differs_from_what_was_approved(walk: Walk) -> None:
    walk.settle()
    walk.job["status"]["dataset"]["statementDigest"] = release_evidence.digest("1")
    assert "job" in walk.observe().changed


def test_unfinished_job_is_waited_for(walk: Walk) -> None:
    walk.job["status"]["phase"] = "Training"
    assert failing(walk) == ("PendingEvidence", "WaitingForJob")


@pytest.mark.attack(28)
def test_evaluation_of_another_adapter_is_no_evidence(walk: Walk) -> None:
    walk.result["adapterManifestDigest"] = release_evidence.digest("1")
    assert failing(walk) == ("Failed", "EvidenceDiffers")


@pytest.mark.attack(14)
def test_evaluation_in_another_profile_is_no_evidence(walk: Walk) -> None:
    walk.world["ModelServer"]["spec"]["profile"]["maxLoraRank"] = 64
    assert failing(walk) == ("Failed", "EvidenceDiffers")


def test_suite_that_the_policy_does_not_name_is_not_accepted(walk: Walk) -> None:
    walk.world["ApprovalPolicy"]["spec"]["requiredSuiteRefs"] = [{"name": "another"}]
    assert failing(walk) == ("Failed", "SuiteNotAccepted")


def test_margin_below_the_policys_is_not_accepted(walk: Walk) -> None:
    walk.world["ApprovalPolicy"]["spec"]["minMargin"] = "0.1"
    assert failing(walk) == ("Failed", "SuiteNotAccepted")


def test_data_that_the_policy_does_not_allow_is_not_released(walk: Walk) -> None:
    walk.world["ApprovalPolicy"]["spec"]["allowedData"] = ["Internal"]
    assert failing(walk) == ("Failed", "DataNotAllowed")


def test_unready_base_model_is_waited_for(walk: Walk) -> None:
    walk.world["BaseModel"]["status"]["phase"] = "Hashing"
    assert failing(walk) == ("PendingEvidence", "WaitingForCatalogue")


def test_requester_without_the_right_to_use_the_server_is_told_what_to_ask_for(walk: Walk) -> None:
    walk.server_allowed = False
    assert failing(walk) == ("PendingEvidence", "NotAllowed")
    assert '"use" on modelservers/' in walk.condition("EvidenceComplete").message
    walk.server_allowed = True
    assert walk.settle() == "PendingApproval"


@pytest.mark.parametrize("reason", [ReleaseReason.WAITING_FOR_REGISTRY, ReleaseReason.DIGEST_MISMATCH])
def test_unreadable_statement_keeps_what_runs(walk: Walk, reason: ReleaseReason) -> None:
    walk.approve()
    walk.serve()
    walk.settle()
    seen = replace(walk.observe(), frozen=None, shortfall=Shortfall(reason, "the registry says no"), changed=())
    made = plan(seen, walk.now)
    assert made.status is not None
    assert made.status["phase"] == "Serving"
    assert made.audit == ()


def test_statement_names_the_source_and_the_redacted_data_that_was_trained_on(walk: Walk) -> None:
    walk.job["status"]["dataset"]["redactedDigest"] = release_evidence.digest("2")
    walk.observe()
    assert walk.stored is not None
    data = walk.stored.statement.data

    assert (data.digest, data.redacted_digest) == (release_evidence.digest("d"), release_evidence.digest("2"))
    walk.job["status"]["dataset"]["redactedDigest"] = release_evidence.digest("3")
    assert differences(walk.stored.statement, walk.live()) == ("job",)


@pytest.mark.attack(14)
def test_release_digest_depends_on_everything_that_matters(walk: Walk) -> None:
    def digest_of(change: Any) -> str:
        other = Walk()
        other.job["metadata"]["uid"] = walk.job["metadata"]["uid"]
        other.release = release_evidence.with_metadata(
            release_evidence.release_of(other.job), uid=walk.release["metadata"]["uid"]
        )
        change(other)
        other.observe()
        assert other.stored is not None
        return other.stored.digest

    def bump(attribute: str, *path: str, value: Any) -> Any:
        def change(other: Walk) -> None:
            target = getattr(other, attribute)
            for key in path[:-1]:
                target = target[key]
            target[path[-1]] = value

        return change

    changes = [
        lambda other: None,
        bump("release", "metadata", "uid", value="other"),
        bump("release", "spec", "intendedUse", value="Something else entirely, and not this."),
        bump("release", "spec", "risk", value="High"),
        bump("release", "spec", "modelName", value="other"),
        bump("job", "spec", "dataset", "source", value="elsewhere"),
        bump("job", "status", "dataset", "digest", value=release_evidence.digest("1")),
        bump("job", "status", "dataset", "redactedDigest", value=release_evidence.digest("2")),
        bump("job", "status", "dataset", "statementDigest", value=release_evidence.digest("1")),
        bump("job", "status", "adapter", "digest", value=release_evidence.digest("1")),
        bump("job", "spec", "requestedBy", value={"username": "somebody"}),
        bump("world", "BaseModel", "spec", "license", value="other"),
        bump("world", "ApprovalPolicy", "spec", "maxApprovalAgeSeconds", value=61),
        lambda other: setattr(other, "tries", SuiteTries(total=40)),
        bump("result", "tuned", value={"ExactMatch": 0.9}),
    ]
    digests = [digest_of(change) for change in changes]
    assert len(set(digests)) == len(changes)
    assert digest_of(lambda other: None) == digests[0]
