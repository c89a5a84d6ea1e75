"""A running attempt as people see it: phase, progress, and what it waits for."""

from __future__ import annotations

from datetime import datetime

from tunegate.api.conditions import rfc3339
from tunegate.api.finetunejob.status import JobPhase, Progress, StageName, StageStatus
from tunegate.api.numbers import duration
from tunegate.api.reasons import JobReason, StageReason
from tunegate.manifests.workspace import credential_secret
from tunegate.reconcile.attempt.attempt import Attempt
from tunegate.reconcile.attempt.lost_result import Json
from tunegate.reconcile.attempt.placement import Placement, place
from tunegate.reconcile.attempt.pod_end import Ended
from tunegate.reconcile.finetunejob.configs import common_labels, owner_of
from tunegate.reconcile.finetunejob.draft import Draft
from tunegate.reconcile.finetunejob.observed import Observed
from tunegate.reconcile.naming import registry_secret_name

POLL = 5.0
"""Seconds between questions to a running stage for its progress."""
LOOK = 10.0
_NO_ROOM = (JobReason.WAITING_FOR_DEVICE, JobReason.WAITING_FOR_QUOTA)

PHASES: dict[StageName, JobPhase] = {
    "Validate": "Validating",
    "Baseline": "Baselining",
    "Train": "Training",
    "Seal": "Sealing",
    "Evaluate": "Evaluating",
}


def stage_of(attempt: Attempt) -> StageName:
    """Return the stage of an attempt as the API names it."""
    return next(name for name in PHASES if name == attempt.stage)


def overrun(draft: Draft, seen: Observed, attempt: Attempt) -> Ended | None:
    """Return how an attempt ends that takes longer than its job allows, or whose stage says that nothing goes on.

    A stage that does not answer is not taken for one that stands still: the network between may be closed.
    """
    stage, limits = stage_of(attempt), draft.job.spec.limits
    start, report = draft.stage(stage).start_time, seen.progress
    if limits.max_seconds is not None and start is not None:
        seconds = int((draft.now - datetime.fromisoformat(start)).total_seconds())
        if seconds > limits.max_seconds:
            text = f"it ran for {seconds} s, limits.maxSeconds allows {limits.max_seconds}"
            return Ended(StageReason.DEADLINE_EXCEEDED, text, remains=True)
    if report is not None and report.stage == stage and report.unchanged_seconds > limits.max_seconds_without_progress:
        text = (
            f"no progress for {report.unchanged_seconds} s at {report.percent} %, "
            f"limits.maxSecondsWithoutProgress allows {limits.max_seconds_without_progress}"
        )
        return Ended(StageReason.STALLED, text, remains=True)
    return None


def watch(draft: Draft, seen: Observed, attempt: Attempt) -> None:
    """Tell how a running attempt stands, and keep its registry credential fresh."""
    job, stage = draft.job, stage_of(attempt)
    method = job.spec.method
    nodes = method.num_nodes if method and stage == "Train" else 1
    placement = place(attempt, nodes, seen.pod_refusal)
    queued = not placement.at_work and (stage == "Train" or placement.reason in _NO_ROOM)
    phase: JobPhase = "Queued" if queued else PHASES[stage]
    record = draft.stage(stage)
    if placement.at_work and record.start_time is None:
        draft.set_stage(stage, start_time=rfc3339(draft.now))
    if record.job_name is None and attempt.job is not None:
        draft.set_stage(stage, job_name=attempt.job["metadata"]["name"])
    progress = _progress(seen, stage) if placement.at_work else None
    draft.set(progress=progress)
    text = _sentence(PHASES[stage], record, placement, progress, seen)
    draft.tell(phase, text)
    draft.condition("Complete", "Unknown", placement.reason, placement.message)
    changed = draft.condition("Scheduled", placement.scheduled, placement.reason, placement.message)
    if changed and placement.scheduled == "False":
        draft.note("Warning", placement.reason, text)
    if seen.fresh_credential is not None:
        (draft.applies if seen.credential_exists else draft.creates).append(
            credential_of_job(seen, seen.fresh_credential)
        )
    draft.again(POLL if placement.at_work else LOOK)


def _progress(seen: Observed, stage: StageName) -> Progress | None:
    """Return the stage's progress; within an attempt the percentage never falls."""
    report, old = seen.progress, seen.job.status.progress
    if report is None or report.stage != stage:
        return old
    return Progress(
        percent=max(old.percent if old else 0, min(100, report.percent)),
        step=report.step,
        total_steps=report.total_steps,
        loss=None if report.loss is None else f"{report.loss:.4f}",
        remaining_seconds=report.remaining_seconds,
    )


def _sentence(
    phase: JobPhase, record: StageStatus, placement: Placement, progress: Progress | None, seen: Observed
) -> str:
    lead = phase if record.attempt == 1 else f"{phase}, attempt {record.attempt}"
    if progress is None:
        return f"{lead}: {placement.message.rstrip('.?')}{'?' if placement.message.endswith('?') else '.'}"
    parts = [f"step {progress.step} of {progress.total_steps}"] if progress.total_steps else []
    parts.append(f"{progress.percent} %")
    if progress.loss is not None:
        parts.append(f"loss {progress.loss}")
    if progress.remaining_seconds:
        parts.append(f"about {duration(progress.remaining_seconds)} left")
    said = seen.progress.message.rstrip(".") if seen.progress else ""
    return f"{lead}: {', '.join(parts)}{'; ' + said if said else ''}."


def credential_of_job(seen: Observed, content: str) -> Json:
    """Return the Secret that all stages of the job log in to the registry with."""
    job = seen.job
    return credential_secret(
        registry_secret_name(job.name, job.uid),
        job.namespace,
        docker_config=content,
        labels=common_labels(job),
        owner=owner_of(job),
    )
