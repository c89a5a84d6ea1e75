"""Approvals and the ledger: every decision is the recorded one, and counting them again gives what was recorded.

The order is the ledger's: a count saw the decisions that are recorded before it. Which rights RBAC backed at that moment
cannot be asked again, so the approvals that the record names are taken as backed, and no others.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pydantic import ValidationError

from tunegate.admission.rules import Window, windows
from tunegate.api.approval import Approval
from tunegate.api.auditrecord import AuditRecordSpec
from tunegate.api.conditions import from_rfc3339, rfc3339
from tunegate.api.markers import API_VERSION
from tunegate.api.modelrelease import ModelRelease
from tunegate.digests import canonical
from tunegate.errors import wrong_fields
from tunegate.evidence import layout
from tunegate.evidence.story import Difference
from tunegate.keys import PublicKey
from tunegate.ledger import chain
from tunegate.ledger.sequence import ordered
from tunegate.ledger.verify import verify
from tunegate.reconcile.approvals import account, contributors, votes
from tunegate.reconcile.modelrelease.ledger_entries import Frozen, last
from tunegate.reconcile.modelrelease.questions import override_question, overrides, question
from tunegate.release.ballot import Question, Verdict
from tunegate.release.content import is_recorded
from tunegate.release.counting import count
from tunegate.release.requesters import needed
from tunegate.release.statement import ReleaseStatement, WaiverPart

METADATA = ("creationTimestamp", "name", "namespace", "uid")
"""What the ledger holds of an Approval beside its spec; the API server's other fields say nothing about the decision."""
LONGEST = timedelta(seconds=31_536_000)
"""The longest life that a policy can give an approval: a waiver does not say which policy it was counted under."""


def approval_lines(approvals: Sequence[Approval]) -> bytes:
    """Return the file of approvals: one RFC 8785 object a line, oldest first."""
    ordered = sorted(approvals, key=lambda one: (str(one.metadata["creationTimestamp"]), one.name, one.uid))
    return b"".join(canonical(_plain(one)) + b"\n" for one in ordered)


def ledger_lines(objects: Sequence[dict[str, Any]]) -> bytes:
    """Return the file of records, as the cluster has them but for what it adds: one RFC 8785 object a line, by name."""
    ordered = sorted(objects, key=lambda one: str(one["metadata"]["name"]))
    kept = [
        {**one, "metadata": {key: one["metadata"][key] for key in ("name", "labels") if key in one["metadata"]}}
        for one in ordered
    ]
    return b"".join(canonical(one) + b"\n" for one in kept)


def read_approvals(content: bytes) -> tuple[tuple[Approval, ...], list[Difference]]:
    """Return the decisions, and what is wrong with the file."""
    approvals: list[Approval] = []
    for number, line in enumerate(content.split(b"\n")[:-1], start=1):
        try:
            approval = Approval.model_validate_json(line)
        except ValidationError as error:
            return (), [Difference(layout.APPROVALS, f"line {number} cannot be read: {wrong_fields(error)}")]
        if not all(isinstance(approval.metadata.get(key), str) for key in METADATA):
            return (), [Difference(layout.APPROVALS, f"line {number} lacks one of {', '.join(METADATA)}")]
        if not _is_time(approval.metadata["creationTimestamp"]):
            return (), [Difference(layout.APPROVALS, f"line {number}: creationTimestamp is no time")]
        approvals.append(approval)
    if approval_lines(approvals) != content:
        text = "is not as it was written: order, spaces, or fields that no digest covers"
        return (), [Difference(layout.APPROVALS, text)]
    return tuple(approvals), []


@dataclass(frozen=True)
class Ledger:
    """The records, and the keys that signed them: whoever trusts one of the keys may trust the others."""

    records: tuple[AuditRecordSpec, ...] = ()
    signers: tuple[PublicKey, ...] = ()


def read_ledger(
    content: bytes, noted: chain.Head | None, keys: Sequence[PublicKey] = ()
) -> tuple[Ledger, list[Difference]]:
    """Return the ledger, and what is wrong with it. ``noted`` is a head that somebody wrote down, ``keys`` are the reader's."""
    objects = []
    for number, line in enumerate(content.split(b"\n")[:-1], start=1):
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            found = None
        if not (isinstance(found, dict) and isinstance(found.get("metadata"), dict)):
            return Ledger(), [Difference(layout.LEDGER, f"line {number} is no audit record")]
        objects.append(found)
    specs: list[Mapping[str, Any]] = []
    report = verify(ordered(objects), keys=keys, noted=noted, note=specs.append)
    if report.problems:
        return Ledger(), [Difference(layout.LEDGER, str(problem)) for problem in report.problems]
    records = tuple(AuditRecordSpec.model_validate(spec) for spec in specs)
    if ledger_lines([chain.record_object(spec) for spec in records]) != content:
        text = "is not as it was written: order, spaces, or fields that no hash covers"
        return Ledger(), [Difference(layout.LEDGER, text)]
    return Ledger(records, report.signers), []


def check(
    statement: ReleaseStatement, digest: str, approvals: Sequence[Approval], records: Sequence[AuditRecordSpec]
) -> list[Difference]:
    """Compare the decisions with the ledger, and count them again."""
    release = [one for one in records if one.subject.uid == statement.release.uid]
    job = [one for one in records if one.subject.uid == statement.job.uid]
    found = _requested(statement, digest, release) + _recorded(approvals, [*release, *job])
    if found:
        return found
    body = {"namespace": statement.release.namespace, "name": statement.release.name, "uid": statement.release.uid}
    subject = ModelRelease(kind="ModelRelease", metadata=body, spec=statement.release.spec)
    frozen = Frozen(statement, digest, repository="", oci_digest="")
    asked = {
        "ReleaseApproved": question(subject, frozen, None), "BreakGlassGranted": override_question(subject, frozen)
    }  # fmt: skip
    for record in (one for one in release if one.type in asked):
        if record.payload.get("releaseDigest") != digest:
            found.append(
                _misfit(record, f"approves {record.payload.get('releaseDigest')}, the release digest is {digest}")
            )
        found += _again(record, asked[record.type], approvals, release, windows_before(record, records))
    if statement.job.waiver is not None:
        found += _waiver(statement, statement.job.waiver, approvals, records)
    return found


def _is_time(text: str) -> bool:
    try:
        from_rfc3339(text)
    except (ValueError, OverflowError):
        return False
    return True


def _plain(approval: Approval) -> dict[str, Any]:
    spec = approval.spec.to_dict()
    for field in ("uid", "authTime"):
        if not spec["approver"].get(field):
            spec["approver"].pop(field, None)
    return {
        "apiVersion": API_VERSION,
        "kind": Approval.KIND.kind,
        "metadata": {key: approval.metadata[key] for key in METADATA},
        "spec": spec,
    }


def _misfit(record: AuditRecordSpec, text: str) -> Difference:
    return Difference(layout.LEDGER, f"{chain.record_name(record.sequence)} {text}")


def _requested(statement: ReleaseStatement, digest: str, records: Sequence[AuditRecordSpec]) -> list[Difference]:
    """The ledger says what was asked for before anybody could agree to it."""
    request = last(records, "ReleaseRequested")
    if request is None:
        return [Difference(layout.LEDGER, f"no record says that release {statement.release.uid} was requested")]
    stated = {
        "releaseDigest": digest,
        "adapter": statement.adapter.digest,
        "adapterManifest": statement.adapter.manifest_digest,
        "data": statement.data.digest,
        "evaluation": statement.evaluation.result_digest,
    }
    return [
        _misfit(request, f"says {name} {request.payload.get(name)}, {layout.STATEMENT} gives {value}")
        for name, value in stated.items()
        if request.payload.get(name) != value
    ]


def _recorded(approvals: Sequence[Approval], records: Sequence[AuditRecordSpec]) -> list[Difference]:
    """Each decision has one record, each record its decision, and they say the same."""
    recorded = {one.payload.get("approval", ""): one for one in records if one.type == "ApprovalRecorded"}
    found = []
    for approval in approvals:
        record = recorded.pop(approval.uid, None)
        if record is None:
            text = f"{approval.name} is recorded nowhere in the ledger, or stands here twice"
            found.append(Difference(layout.APPROVALS, f"{text}. Made moments ago? Then export again"))
            continue
        if not is_recorded(approval, record.payload, record.subject.namespace):
            text = f"{approval.name} is not the decision that {chain.record_name(record.sequence)} recorded"
            found.append(Difference(layout.APPROVALS, text))
    for record in recorded.values():
        text = f"{record.payload.get('name')} is missing, recorded as {chain.record_name(record.sequence)}"
        found.append(Difference(layout.APPROVALS, text))
    return found


def windows_before(record: AuditRecordSpec, records: Sequence[AuditRecordSpec]) -> tuple[Window, ...]:
    """Return the times without admission rules that were known when ``record`` was written."""
    return windows(one for one in records if one.sequence < record.sequence)


def _again(
    record: AuditRecordSpec,
    asked: Question,
    approvals: Sequence[Approval],
    records: Sequence[AuditRecordSpec],
    times: Sequence[Window],
) -> list[Difference]:
    """Count what was recorded before ``record``: it must be the quorum that ``record`` says it was."""
    earlier = {
        one.payload["approval"] for one in records if one.type == "ApprovalRecorded" and one.sequence < record.sequence
    }
    named = frozenset(record.payload.get("approvals", "").split(","))
    known = [one for one in votes(approvals, asked.roles, named, times) if one.uid in earlier]
    if record.type == "BreakGlassGranted":
        known = overrides(known)
    verdict = count(asked, known, from_rfc3339(record.time))
    counted = {one.vote.uid for one in verdict.counted}
    if verdict.outcome == "Quorum" and counted == named:
        return _until(record, verdict)
    missing = "".join(f", {slots} of role {role} missing" for role, slots in verdict.missing)
    reasons = "".join(
        f"; {one.vote.name}: {one.reason}"
        for one in verdict.dropped
        if one.vote.uid in named and one.vote.uid in earlier
    )
    return [_misfit(record, f"says there was a quorum; counted again it is {verdict.outcome}{missing}{reasons}")]


def _until(record: AuditRecordSpec, verdict: Verdict) -> list[Difference]:
    """An override ends when the first of those who gave it said, or when the policy says: whichever comes first."""
    if record.type != "BreakGlassGranted" or verdict.next_expiry is None:
        return []
    said, is_ = record.payload.get("expirationTime"), rfc3339(verdict.next_expiry)
    return [] if said == is_ else [_misfit(record, f"says that the override ends {said}; counted again it is {is_}")]


def _waiver(
    statement: ReleaseStatement,
    waiver: WaiverPart,
    approvals: Sequence[Approval],
    records: Sequence[AuditRecordSpec],
) -> list[Difference]:
    job = [one for one in records if one.subject.uid == statement.job.uid]
    granted = [one for one in job if one.type == "WaiverGranted" and one.payload.get("waiverDigest") == waiver.digest]
    if not granted:
        return [Difference(layout.LEDGER, f"no record says that the waiver {waiver.digest} was granted")]
    asked = Question(
        subject_uid=statement.job.uid,
        digest=waiver.digest,
        requesters=frozenset({account(statement.job.requested_by)}),
        contributors=contributors(statement.job.contributors),
        roles=needed(waiver.rules, statement.job.requested_by),
        max_age=LONGEST,
        identity=waiver.identity,
    )
    return _again(granted[-1], asked, approvals, job, windows_before(granted[-1], records))
