"""What a decision is refused for before anybody is asked to confirm it."""

from __future__ import annotations

from argparse import Namespace

import pytest

from tests.support import release_evidence
from tunegate.api.approval import CountedApproval
from tunegate.api.modelrelease import ModelRelease
from tunegate.cli.decide import refusals
from tunegate.cli.failure import CommandFailure


def release(phase: str, digest: str | None = release_evidence.digest("7")) -> ModelRelease:
    document = release_evidence.with_metadata(
        release_evidence.release_of(
            release_evidence.finished_job(release_evidence.catalogue(), release_evidence.digest("9"))
        )
    )
    return ModelRelease.model_validate({**document, "status": {"phase": phase, "releaseDigest": digest}})


@pytest.mark.parametrize(
    ("decision", "reason", "words"),
    [
        ("Reject", "no license", None),
        ("Reject", "too short", "reason needs at least 10 characters for Reject, Withdraw, Revoke and Override"),
        ("Approve", "ok", None),
        ("Approve", "", "say why"),
        ("Approve", "x" * 2048, None),
        ("Approve", "x" * 2049, "at most 2048 characters"),
    ],
)
def test_a_reason_of_the_wrong_length_is_refused_in_the_words_of_the_api(
    decision: str, reason: str, words: str | None
) -> None:
    if words is None:
        refusals.check_reason(decision, reason)
        return
    with pytest.raises(CommandFailure, match=words):
        refusals.check_reason(decision, reason)


@pytest.mark.parametrize("decision", ["Approve", "Withdraw", "Override"])
@pytest.mark.parametrize("phase", ["Denied", "Revoked", "Failed"])
def test_what_is_final_takes_no_approval_and_says_what_can_still_be_done(phase: str, decision: str) -> None:
    with pytest.raises(
        CommandFailure, match=f"is {phase}.*may be asked for again: tunegate create release --from-job "
    ):
        refusals.check_release(release(phase), decision)


@pytest.mark.parametrize("decision", ["Reject", "Revoke"])
@pytest.mark.parametrize("phase", ["Denied", "Failed", "PendingEvidence"])
def test_a_stop_is_taken_at_any_time(phase: str, decision: str) -> None:
    refusals.check_release(release(phase, digest=None), decision)


def test_whoever_is_in_none_of_the_groups_of_a_role_is_warned(capsys: pytest.CaptureFixture[str]) -> None:
    refusals.warn_of_groups("risk", {"model-risk"}, ["engineers"])
    assert "role risk takes members of model-risk; you are in engineers" in capsys.readouterr().err
    refusals.warn_of_groups("risk", {"model-risk"}, ["engineers", "model-risk"])
    refusals.warn_of_groups("risk", set(), ["engineers"])
    assert capsys.readouterr().err == ""


FIRST = CountedApproval(name="holders-1-approve-x", username="ravi", role="risk", time="2026-12-01T12:00:00Z")


def test_a_second_approval_of_a_person_in_a_role_is_refused_unless_it_prolongs_the_first(
    capsys: pytest.CaptureFixture[str],
) -> None:
    at_once = Namespace(yes=True, expires=None)
    with pytest.raises(CommandFailure, match="holders-1-approve-x.*one person counts once.*give --expires"):
        refusals.check_second([FIRST], "ravi", "risk", at_once)
    assert capsys.readouterr().err == ""
    for options in (Namespace(yes=True, expires=3600), Namespace(yes=False, expires=None)):
        refusals.check_second([FIRST], "ravi", "risk", options)
        assert "This may not count: you approved this as risk at 2026-12-01" in capsys.readouterr().err
    for username, role in (("cora", "risk"), ("ravi", "compliance")):
        refusals.check_second([FIRST], username, role, at_once)
    assert capsys.readouterr().err == ""
