"""What the ledger says about a release: the entries to append, and how recorded ones are read back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tunegate.api.approval import Approval
from tunegate.api.auditrecord import AuditRecordSpec, EventType
from tunegate.api.conditions import rfc3339
from tunegate.api.modelrelease import ModelRelease, OverrideOutcome
from tunegate.ledger.entry import OPERATOR, AuditEntry, AuditSubject
from tunegate.reconcile.approvals import counted_payload, human, stop_payload
from tunegate.release.ballot import Verdict, Vote
from tunegate.release.content import is_recorded
from tunegate.release.statement import ReleaseStatement


@dataclass(frozen=True)
class Frozen:
    """A release statement as it lies in the registry."""

    statement: ReleaseStatement
    digest: str
    """SHA-256 of the stored bytes: the release digest."""
    repository: str
    oci_digest: str
    """Digest of the artifact that holds them."""


def subject_of(release: ModelRelease) -> AuditSubject:
    """Return the release as the subject of an entry."""
    return AuditSubject("ModelRelease", release.namespace, release.name, release.uid)


def requested(release: ModelRelease, frozen: Frozen) -> AuditEntry:
    """The statement is made: from here on approvals can name it. Once per release."""
    statement = frozen.statement
    return AuditEntry(
        type="ReleaseRequested",
        actor=release.spec.requested_by.username,
        subject=subject_of(release),
        key="statement",
        payload={
            "releaseDigest": frozen.digest,
            "statement": frozen.oci_digest,
            "repository": frozen.repository,
            "job": f"{statement.job.name} {statement.job.uid}",
            "adapter": statement.adapter.digest,
            "adapterManifest": statement.adapter.manifest_digest,
            "baseModel": f"{statement.base_model.name} {statement.base_model.manifest_digest}",
            "data": statement.data.digest,
            "evaluation": statement.evaluation.result_digest,
            "policy": f"{statement.policy.name} {statement.policy.digest}",
            **human(release.spec.requested_by),
        },
    )


def evidence_sealed(release: ModelRelease, frozen: Frozen, signatures: Mapping[str, str]) -> AuditEntry:
    """The evidence is signed, and the signatures lie beside the adapter: from here on people are asked. Once per release."""
    return AuditEntry(
        type="EvidenceSealed",
        actor=OPERATOR,
        subject=subject_of(release),
        key="signatures",
        payload={
            "releaseDigest": frozen.digest, "repository": frozen.statement.adapter.repository, **signatures,
        },
    )  # fmt: skip


def approved(release: ModelRelease, release_digest: str, verdict: Verdict) -> AuditEntry:
    """Enough people agreed. Once per set of counted approvals."""
    counted = counted_payload(verdict)
    return AuditEntry(
        type="ReleaseApproved",
        actor=OPERATOR,
        subject=subject_of(release),
        key=counted["approvals"],
        payload={"releaseDigest": release_digest, **counted},
    )


def stopped(release: ModelRelease, type_: EventType, vote: Vote) -> AuditEntry:
    """The release was denied or revoked. Once per release and kind of stop."""
    return AuditEntry(
        type=type_,
        actor=vote.account.username,
        subject=subject_of(release),
        key="stop",
        payload=stop_payload(vote),
    )


def override_granted(release: ModelRelease, release_digest: str, verdict: Verdict, overrides: Verdict) -> AuditEntry:
    """Enough people broke the glass. Once per release. Raises ``AssertionError`` without a quorum of overrides."""
    if overrides.next_expiry is None:
        raise AssertionError("overrides that count end some time")
    return AuditEntry(
        type="BreakGlassGranted",
        actor=OPERATOR,
        subject=subject_of(release),
        key="override",
        payload={
            "releaseDigest": release_digest,
            **counted_payload(overrides),
            "expirationTime": rfc3339(overrides.next_expiry),
            "missing": ", ".join(f"{slots} of role {role}" for role, slots in verdict.missing),
        },
    )


def override_ended(release: ModelRelease, outcome: OverrideOutcome) -> AuditEntry:
    """A release is not served by an override any more. Once per release."""
    return AuditEntry(
        type="BreakGlassEnded",
        actor=OPERATOR,
        subject=subject_of(release),
        key="override",
        payload={"outcome": outcome},
    )


def last(records: Iterable[AuditRecordSpec], type_: EventType) -> AuditRecordSpec | None:
    """Return the newest record of a type."""
    found = None
    for record in records:
        if record.type == type_:
            found = record
    return found


def standing_approval(records: Sequence[AuditRecordSpec], withdrawn: frozenset[str]) -> AuditRecordSpec | None:
    """Return the newest ReleaseApproved of which no approval was taken back. Expiry does not end it."""
    for record in reversed(records):
        if record.type == "ReleaseApproved" and withdrawn.isdisjoint(record.payload["approvals"].split(",")):
            return record
    return None


def lost_records(records: Iterable[AuditRecordSpec], approvals: Sequence[Approval]) -> tuple[str, ...]:
    """Return the names of approvals that the ledger holds but that are gone or say something else now.

    When they were made counts too: until when they hold, and whether the admission rules were in force, rests on it.
    """
    live = {one.uid: one for one in approvals}
    decided = (
        (record, live.get(record.payload["approval"])) for record in records if record.type == "ApprovalRecorded"
    )
    return tuple(
        record.payload["name"]
        for record, one in decided
        if one is None or not is_recorded(one, record.payload, record.subject.namespace)
    )
