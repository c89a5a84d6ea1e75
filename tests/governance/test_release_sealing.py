"""Sealing: nobody is asked to approve evidence that is not signed, and what was approved before goes on."""

from __future__ import annotations

from dataclasses import replace

from tests.support import release_evidence
from tests.support.release_walk import Walk
from tunegate.api.reasons import ReleaseReason
from tunegate.reconcile.modelrelease.planner import Observed
from tunegate.reconcile.modelrelease.sealing import Signatures
from tunegate.release.evidence import Shortfall

SIGNED = {name: release_evidence.digest("5") for name in ("provenance", "release", "model")} | {"key": "0" * 64}
AWAY = Shortfall(ReleaseReason.WAITING_FOR_REGISTRY, "the evidence cannot be signed yet: the registry is away")


class SealedWalk(Walk):
    """A release of an operator with a key; ``signatures`` is what its signing gives."""

    signatures: Signatures | Shortfall | None = SIGNED

    def observe(self) -> Observed:
        seen = super().observe()
        signs = "ReleaseRequested" in self.types and "EvidenceSealed" not in self.types
        return replace(seen, signatures=self.signatures if signs else None)


def test_evidence_is_signed_and_recorded_before_the_digest_is_shown() -> None:
    walk = SealedWalk()
    walk.step()
    walk.step()
    assert walk.types == ["ReleaseRequested", "EvidenceSealed"]
    assert walk.phase == "PendingEvidence"
    assert "releaseDigest" not in walk.release["status"]
    assert walk.settle() == "PendingApproval"
    assert walk.records[-1].payload == {
        "releaseDigest": walk.release["status"]["releaseDigest"], "repository": walk.job["status"]["adapter"]["repository"],
        **SIGNED,
    }  # fmt: skip


def test_sealing_is_recorded_once() -> None:
    walk = SealedWalk()
    walk.approve()
    assert walk.types.count("EvidenceSealed") == 1


def test_without_signatures_nobody_is_asked_and_it_is_said_why() -> None:
    walk = SealedWalk()
    walk.signatures = AWAY
    walk.step()
    made = walk.step()
    assert (walk.phase, made.requeue_after) == ("PendingEvidence", 15.0)
    condition = walk.condition("EvidenceComplete")
    assert (condition.status, condition.reason) == ("False", "WaitingForRegistry")
    assert "registry is away" in walk.release["status"]["message"]
    walk.signatures = SIGNED
    assert walk.settle() == "PendingApproval"


def test_evidence_that_does_not_fit_together_is_never_signed() -> None:
    walk = SealedWalk()
    walk.signatures = replace(AWAY, reason=ReleaseReason.EVIDENCE_DIFFERS, final=True)
    walk.step()
    walk.step()
    assert walk.phase == "Failed"
    assert walk.types == ["ReleaseRequested"]


def test_release_that_was_approved_before_there_was_a_key_is_signed_and_stays_approved() -> None:
    walk = SealedWalk()
    walk.signatures = None
    walk.approve()
    walk.signatures = AWAY
    assert walk.settle() == "Approved"
    walk.signatures = SIGNED
    assert walk.settle() == "Approved"
    assert walk.types[-1] == "EvidenceSealed"


def test_ledger_that_cannot_be_written_holds_the_question_back() -> None:
    walk = SealedWalk()
    walk.step()
    walk.ledger_works = False
    walk.step()
    assert walk.types == ["ReleaseRequested"]
    walk.ledger_works = True
    assert walk.settle() == "PendingApproval"


def test_rejection_does_not_wait_for_a_signature() -> None:
    walk = SealedWalk()
    walk.settle()
    walk.records = [one for one in walk.records if one.type != "EvidenceSealed"]
    walk.signatures = AWAY
    walk.decide("ravi", decision="Reject", reason="the wrong data was used")
    assert walk.settle() == "Denied"
