"""Tries on suites: the entry that says that one begins, and what people are told of those that the ledger holds."""

from __future__ import annotations

from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.reasons import JobReason
from tunegate.api.shared import SuiteTries, SuiteTry
from tunegate.ledger.tries import Tries, Try

NOT_ENDED = "NotEnded"


def asked(job: FineTuneJob, stage: str, data_digest: str) -> dict[str, str]:
    """Return the payload of the entry `SuiteAsked`: a stage of the job is about to ask the questions of that digest."""
    payload = {
        "stage": stage, "suite": job.spec.suite_ref.name, "suiteData": data_digest, "requestedBy": job.spec.requested_by.username,
    }  # fmt: skip
    return payload | ({"suiteSketch": job.status.suite_sketch} if job.status.suite_sketch else {})


def own_alternative(job: FineTuneJob) -> bool:
    """Whether the baseline asks with a prompt or documents of the job's own: then it is a try too."""
    return job.spec.baseline.prompt is not None or job.spec.baseline.documents is not None


def counted(tries: Tries, namespace: str) -> SuiteTries:
    """Return what readers of a namespace may know: of others' tries only that they were, when, and how they ended."""
    return SuiteTries(total=tries.total, newest=[_told(one, namespace) for one in tries.newest])


def _told(one: Try, namespace: str) -> SuiteTry:
    outcome = NOT_ENDED
    if one.ended is not None:
        payload = one.ended.payload
        outcome = payload.get("gate") or payload.get("reason", JobReason.FINISHED)
    if one.asked.subject.namespace != namespace:
        return SuiteTry(time=one.asked.time, outcome=outcome)
    payload = one.asked.payload
    return SuiteTry(
        time=one.asked.time, job=one.asked.subject.name, requested_by=payload.get("requestedBy", ""),
        suite=payload.get("suite", ""), outcome=outcome,
    )  # fmt: skip
