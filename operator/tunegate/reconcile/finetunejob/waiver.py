"""A job that validation refused, where the policy lets people answer for what was found: asked, granted or rejected.

The findings stand in the status, written by the operator alone; everything else is read live in every pass, so that a
policy that changes meanwhile asks again. A granted waiver stands: the job goes on, and the release that follows shows it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from tunegate.api.approvalpolicy import ApprovalPolicySpec
from tunegate.api.auditrecord import EventType
from tunegate.api.conditions import rfc3339
from tunegate.api.finetunejob.status import JobWaiver, WaiverFinding
from tunegate.api.markers import TEXT_CHARACTERS
from tunegate.api.reasons import JobReason, StageReason
from tunegate.api.stage.findings import Finding
from tunegate.ledger.entry import OPERATOR
from tunegate.reconcile import approvals
from tunegate.reconcile.finetunejob.draft import SOON, Draft
from tunegate.reconcile.finetunejob.observed import Observed
from tunegate.reconcile.finetunejob.outcomes import close
from tunegate.reconcile.finetunejob.results import Final, describe, told
from tunegate.reconcile.plan import AuditEntry
from tunegate.release.ballot import Question, Verdict
from tunegate.release.counting import count
from tunegate.release.requesters import needed
from tunegate.release.waiver import applying, not_waivable, waiver_digest

POLICY = 15.0
"""Seconds between looks at a policy that does not exist."""


def ask(draft: Draft, seen: Observed, blocking: Sequence[Finding]) -> None:
    """Validation refused the job: ask people if the policy lets them waive all that was found, else end the job."""
    policy = seen.policy.spec if seen.policy else None
    checks = [finding.check for finding in blocking]
    fixed = not_waivable(checks, policy.waivers if policy else ())
    if policy is None or fixed or not checks:
        _refuse(draft, describe(blocking), fixed if len(fixed) < len(set(checks)) else ())
        return
    _judge(draft, seen, policy, _summed(blocking))


def follow(draft: Draft, seen: Observed, waiver: JobWaiver) -> None:
    """The job waits for a waiver: see whether it has it."""
    if seen.policy is None:
        text = "The namespace's ApprovalPolicy does not exist (any more): it says who may waive. Ask the platform team."
        draft.tell("PendingWaiver", text)
        draft.condition("Waived", "Unknown", JobReason.WAITING_FOR_POLICY, text)
        draft.again(POLICY)
        return
    fixed = not_waivable([finding.check for finding in waiver.findings], seen.policy.spec.waivers)
    if fixed:
        draft.condition("Waived", "False", JobReason.VALIDATION_REFUSED, "the policy does not allow it any more")
        _refuse(draft, " ".join(f"{one.check}: {one.message}" for one in waiver.findings), fixed)
        return
    _judge(draft, seen, seen.policy.spec, waiver.findings)


def _judge(draft: Draft, seen: Observed, policy: ApprovalPolicySpec, findings: Sequence[WaiverFinding]) -> None:
    """Count the approvals. ``policy`` lists all ``findings``."""
    asked = _question(draft, findings, policy)
    votes = approvals.votes(seen.approvals, asked.roles, seen.authorized, seen.windows)
    verdict = approvals.complete(count(asked, votes, draft.now), seen.unreadable)
    waiver = JobWaiver(
        digest=asked.digest or "",
        findings=list(findings),
        rules=list(applying([finding.check for finding in findings], policy.waivers)),
        identity=policy.identity,
        **approvals.tally(verdict),
    )
    draft.set(waiver=waiver)
    draft.audit += approvals.recorded(draft.subject, seen.approvals)
    if verdict.outcome == "Rejected":
        _reject(draft, waiver, verdict)
    elif verdict.outcome == "Quorum":
        _grant(draft, waiver, verdict)
    else:
        _wait(draft, waiver, verdict, seen.unreadable)


def _question(draft: Draft, findings: Sequence[WaiverFinding], policy: ApprovalPolicySpec) -> Question:
    job, data, result = draft.job, draft.get("dataset"), draft.stage("Validate").result_digest
    if data is None or result is None:
        raise AssertionError("a job that validation refused has a result, which names the data")
    rules = applying([finding.check for finding in findings], policy.waivers)
    return Question(
        subject_uid=job.uid,
        digest=waiver_digest(job, data.digest, result, findings, rules, policy.identity),
        requesters=frozenset({approvals.account(job.spec.requested_by)}),
        contributors=approvals.contributors(job.spec.contributors),
        roles=needed(rules, job.spec.requested_by),
        max_age=timedelta(seconds=policy.max_approval_age_seconds),
        identity=policy.identity,
    )


def _summed(blocking: Sequence[Finding]) -> list[WaiverFinding]:
    """Return one finding for each check; a check may have found several kinds of one thing."""
    checks = dict.fromkeys(finding.check for finding in blocking)
    found = {check: [finding for finding in blocking if finding.check == check] for check in checks}
    return [
        WaiverFinding.model_validate({
            "check": check,
            "count": sum(finding.count for finding in group),
            "message": " ".join(map(told, group))[:TEXT_CHARACTERS],
        })
        for check, group in found.items()
    ]  # fmt: skip


def _refuse(draft: Draft, found: str, fixed: Sequence[str]) -> None:
    """End the job; ``fixed`` are the findings that nobody may waive, where others might have been waived."""
    hard = f" Under the namespace's policy nobody can waive {', '.join(fixed)}." if fixed else ""
    text = f"Validation refused the job: {found}{hard} Fix this, then create a new job."
    close(draft, Final("Failed", JobReason.VALIDATION_REFUSED, text))


def _wait(draft: Draft, waiver: JobWaiver, verdict: Verdict, unreadable: Sequence[str]) -> None:
    job = draft.job
    command = f"tunegate approve job/{job.name} -n {job.namespace} --reason TEXT"
    text = f"Validation found {_named(waiver)}; {approvals.asking(verdict, command, unreadable)}. Or fix this, then create a new job."
    draft.tell("PendingWaiver", text)
    draft.condition("Waived", "False", JobReason.WAITING_FOR_WAIVER, text)
    draft.condition("Scheduled", "False", JobReason.WAITING_FOR_WAIVER, text)
    if draft.condition("Complete", "Unknown", JobReason.WAITING_FOR_WAIVER, text):
        draft.note("Warning", JobReason.WAITING_FOR_WAIVER, text)
    expiry = approvals.seconds_to_expiry(verdict, draft.now)
    if expiry is not None:
        draft.again(expiry)


def _grant(draft: Draft, waiver: JobWaiver, verdict: Verdict) -> None:
    """Let the job go on. The worker writes the ledger first, and while it cannot, the job waits."""
    counted = approvals.counted_payload(verdict)
    _record(draft, "WaiverGranted", OPERATOR, f"{waiver.digest} {counted['approvals']}", waiver, counted)
    text = f"{_named(waiver)} waived by {counted['approvers']}: the job goes on."
    found = draft.stage("Validate").message
    draft.set(waiver=waiver.model_copy(update={"granted_time": rfc3339(draft.now)}))
    draft.set_stage("Validate", state="Done", reason=StageReason.COMPLETED, message=f"{text} {found}")
    draft.tell("Baselining", text)
    draft.condition("Waived", "True", JobReason.WAIVER_GRANTED, text)
    draft.note("Normal", JobReason.WAIVER_GRANTED, text)
    draft.again(SOON)


def _reject(draft: Draft, waiver: JobWaiver, verdict: Verdict) -> None:
    stop = verdict.stops[0]
    _record(draft, "WaiverRejected", stop.account.username, "stop", waiver, approvals.stop_payload(stop))
    text = (
        f"Refused by {stop.account.username} ({stop.role}), who rejected the waiver of {_named(waiver)}: this is final. "
        f"The reason: tunegate describe job/{draft.job.name} -n {draft.job.namespace}. "
        "Fix what was found, then create a new job."
    )
    draft.condition("Waived", "False", JobReason.WAIVER_REJECTED, text)
    close(draft, Final("Failed", JobReason.WAIVER_REJECTED, text))


def _record(draft: Draft, type_: EventType, actor: str, key: str, waiver: JobWaiver, decided: dict[str, str]) -> None:
    data = draft.get("dataset")
    payload = {
        "waiverDigest": waiver.digest,
        "findings": ", ".join(f"{finding.check} {finding.count}" for finding in waiver.findings),
        "datasetDigest": data.digest if data else "",
        "validateResult": draft.stage("Validate").result_digest or "",
    }
    draft.audit.append(AuditEntry(type=type_, actor=actor, subject=draft.subject, key=key, payload=payload | decided))


def _named(waiver: JobWaiver) -> str:
    return ", ".join(finding.check for finding in waiver.findings)
