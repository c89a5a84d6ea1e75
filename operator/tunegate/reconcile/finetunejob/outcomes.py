"""How attempts and jobs end: verdicts taken, losses counted against their budgets, and what is freed afterwards."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from tunegate.api.conditions import rfc3339
from tunegate.api.finetunejob.status import StageName, StageStatus
from tunegate.api.markers import TEXT_CHARACTERS
from tunegate.api.numbers import count_of, plain
from tunegate.api.reasons import JobReason, StageReason
from tunegate.api.stage.results import TrainResult
from tunegate.kube.references import ObjectRef
from tunegate.reconcile.attempt.attempt import Attempt, attempt_seconds, finished
from tunegate.reconcile.attempt.images import run_images
from tunegate.reconcile.attempt.pod_end import AWAY, MOVED_AWAY, OUTSIDE, Ended
from tunegate.reconcile.finetunejob.configs import is_own
from tunegate.reconcile.finetunejob.draft import Draft
from tunegate.reconcile.finetunejob.observed import Observed
from tunegate.reconcile.finetunejob.results import Final, Verdict, read
from tunegate.reconcile.naming import checkpoint_secret_name, registry_secret_name, workspace_claim_name
from tunegate.reconcile.suite_tries import asked
from tunegate.reconcile.throughputs import measured

FIRST_DELAY = 10.0
LONGEST_DELAY = 600.0
"""Seconds. A registry that is down for an hour is waited for; an attempt every few seconds would help nobody."""

_MEMORY_ADVICE: dict[str, str] = {
    "Train": "Create a new job with a smaller batchSize (and more gradientAccumulation), a smaller maxLength, or method "
    "QLoRA; or ask for a larger stageResources.memory of the ComputePool.",
    "Baseline": "Ask the platform team for more resources.memory or less profile.kvCacheMemory of the ModelServer.",
    "Evaluate": "Ask the platform team for more resources.memory or less profile.kvCacheMemory of the ModelServer.",
}
_STORAGE_ADVICE = "Create a new job with a larger workspace.size, or with less data; ask the platform team if the pod's own storage is bounded."
_CALMER = "Create a new job when the cluster is calmer, or with a larger limit."
_DISRUPTION_ADVICE: dict[StageReason, str] = {
    StageReason.DEVICES_MISSING: "Ask the platform team to look at the pool's nodes: driver, device plugin, runtime class. "
    "Then create a new job.",
    StageReason.PEERS_MISSING: "Ask the platform team whether the pool has room for all nodes of the training at a time, and "
    "whether its pods reach each other. Then create a new job, or one with a smaller method.numNodes.",
    StageReason.NODE_LOST: "Ask the platform team to look at the pool's nodes. Then create a new job.",
    StageReason.REGISTRY_FULL: "Ask the platform team to make room in the registry (docs/operate.md, Room in the registry). Then "
    "create a new job.",
    StageReason.UNAVAILABLE: "Create a new job when what was away is there again.",
}


def take(draft: Draft, seen: Observed, attempt: Attempt, ended: Ended) -> Verdict:
    """Enter the verdict of a stage into the draft and return it: what validation refused has no end yet."""
    if ended.result is None:
        raise AssertionError("only an attempt with a result has a verdict")
    stage = ended.result.stage
    if stage == "Hash":
        raise AssertionError("an attempt's result is of the attempt's stage")
    currency = seen.pool.spec.currency if seen.pool else ""
    verdict = read(draft.job, ended.result, currency)
    draft.set_stage(
        stage,
        state="Refused" if verdict.refused else "Done",
        completion_time=rfc3339(draft.now),
        result_digest=ended.result_digest,
        images=run_images(attempt.pods),
        reason=StageReason.REFUSED if verdict.refused else StageReason.COMPLETED,
        message=verdict.summary,
    )
    draft.set(progress=None, **verdict.update)
    count_usage(draft, attempt)
    if isinstance(ended.result, TrainResult):
        if ended.result.foreign_checkpoints:
            draft.note("Warning", "ForeignCheckpoints", _foreign(ended.result.foreign_checkpoints))
        draft.set(throughput=measured(draft.job.status.estimates, draft.stage("Train"), ended.result))
    if ended.result.stage == "Seal" and not verdict.refused:
        _record_sealed(draft, verdict.update["adapter"].to_dict())
    if verdict.final is not None:
        close(draft, verdict.final)
    if verdict.final is not None or verdict.refused:
        return verdict
    text = f"{stage[0].upper()}{stage[1:]} done: {verdict.summary}"
    draft.set(message=text[:TEXT_CHARACTERS])
    draft.note("Normal", "StageDone", text)
    return verdict


def _foreign(count: int) -> str:
    return (
        f"{count_of(count, 'checkpoint')} in the workspace without this job's key, not read: the volume comes from elsewhere, or "
        "somebody wrote to it. Look for foreign-checkpoint-* there."
    )


def lose(draft: Draft, attempt: Attempt, ended: Ended) -> None:
    """Count a lost attempt and decide whether there will be another."""
    stage = next(name for name in draft.stages if name == attempt.stage)
    record = draft.stage(stage)
    count_usage(draft, attempt)
    outside = ended.reason in OUTSIDE
    changes = {
        "disruptions": record.disruptions + outside,
        "errors": record.errors + (not outside),
        "completion_time": rfc3339(draft.now),
        "reason": ended.reason,
        "message": f"attempt {attempt.number}: {ended.message or ended.reason}",
    }
    draft.set(progress=None)
    draft.set_stage(stage, state="Waiting", **changes)
    final = _out_of_tries(draft, stage, ended, before=record.reason)
    if final is not None:
        draft.set_stage(stage, state="Failed")
        close(draft, final)
        return
    text = f"Attempt {attempt.number} of {stage} ended: {ended.reason}{': ' + ended.message if ended.message else ''}."
    draft.set(message=f"{text} It is tried again."[:TEXT_CHARACTERS])
    draft.note("Warning", "AttemptLost", text)


def _out_of_tries(draft: Draft, stage: StageName, ended: Ended, *, before: str | None) -> Final | None:
    """Return the end of the job if there is to be no other attempt; ``before`` is how the last but one ended.

    The first time that memory runs out the stage is tried once more: from inside, a process that was killed by somebody
    looks the same. The second time in a row it is believed. So is a disk that is full: something else may have filled it.
    """
    record, limits = draft.stage(stage), draft.job.spec.limits
    said = f": {ended.message.rstrip('.')}" if ended.message else ""
    if ended.reason == StageReason.BAD_INPUT:
        text = f"Stage {stage} refused its input{said}. Put the input right and create a new job."
        return Final("Failed", JobReason.BAD_INPUT, text)
    again = before == StageReason.OUT_OF_MEMORY
    if ended.reason == StageReason.OUT_OF_MEMORY and (again or record.errors > limits.max_errors):
        advice = _MEMORY_ADVICE.get(stage, "Ask for a larger stageResources.memory of the ComputePool.")
        return Final("Failed", JobReason.OUT_OF_MEMORY, f"Stage {stage} ran out of memory{said}. {advice}")
    if ended.reason == StageReason.DEADLINE_EXCEEDED:
        text = (
            f"Stage {stage} took too long{said}. Create a new job with a larger limits.maxSeconds, or with less to do."
        )
        return Final("Failed", JobReason.DEADLINE_EXCEEDED, text)
    again = before == StageReason.STORAGE_FULL
    if ended.reason == StageReason.STORAGE_FULL and (again or record.errors > limits.max_errors):
        return Final("Failed", JobReason.STORAGE_FULL, f"Stage {stage} ran out of disk{said}. {_STORAGE_ADVICE}")
    look = f"Look at: kubectl logs job/{record.job_name} -c stage -n {draft.job.namespace}"
    if record.errors > limits.max_errors:
        text = f"Stage {stage} failed {count_of(record.errors, 'time')}, more than limits.maxErrors allows; the last time{said}. {look}"
        return Final("Failed", JobReason.ERROR_BUDGET_SPENT, text)
    if record.disruptions > limits.max_disruptions:
        text = (
            f"Stage {stage} was disrupted {count_of(record.disruptions, 'time')}, more than limits.maxDisruptions allows; the "
            f"last time{said}. {_DISRUPTION_ADVICE.get(ended.reason, _CALMER)}"
        )
        return Final("Failed", JobReason.DISRUPTION_BUDGET_SPENT, text)
    return None


def retry_at(record: StageStatus) -> datetime | None:
    """Return when the next attempt may start: at once after a disruption, with growing delays after errors."""
    if record.completion_time is None:
        return None
    count = 0
    if record.reason is not None and record.reason not in MOVED_AWAY:
        count = record.disruptions if record.reason in AWAY else record.errors
    delay = min(LONGEST_DELAY, FIRST_DELAY * 2 ** (count - 1)) if count else 0.0
    return datetime.fromisoformat(record.completion_time) + timedelta(seconds=delay)


def count_usage(draft: Draft, attempt: Attempt) -> None:
    """Add what an attempt of training used: running time of its pods times its processes, at the attempt's price."""
    method = draft.job.spec.method
    if attempt.stage != "Train" or method is None:
        return
    start = draft.stage("Train").start_time
    seconds = attempt_seconds(attempt, datetime.fromisoformat(start) if start else None, draft.now)
    hours = seconds / 3600 * method.num_nodes * method.num_proc_per_node
    status = draft.job.status
    draft.set(device_hours=f"{float(status.device_hours or 0) + hours:.4f}")
    if status.pool is not None:
        draft.set(cost=f"{float(status.cost or 0) + hours * float(status.pool.price_per_device_hour):.4f}")


def usage(draft: Draft) -> str:
    """Say what the training took beside what was expected; empty when nothing was trained."""
    hours, cost, pool, expected = (draft.get(name) for name in ("device_hours", "cost", "pool", "estimates"))
    if hours is None:
        return ""
    price = f" ({cost} {pool.currency})" if cost is not None and pool is not None else ""
    estimate = float(expected.device_hours) if expected is not None else 0.0
    beside = f", {plain(float(hours) / estimate)} times the estimate" if estimate > 0 else ""
    return f" Training took {hours} device hours{price}{beside}."


def close(draft: Draft, final: Final) -> None:
    """End the job, for good."""
    final = replace(final, message=final.message + usage(draft))
    passed = final.phase == "Succeeded"
    draft.set(completion_time=rfc3339(draft.now), progress=None)
    draft.tell(final.phase, final.message)
    draft.condition("Complete", "True" if passed else "False", final.reason, final.message)
    draft.condition("Failed", "False" if passed else "True", final.reason, final.message)
    draft.condition("Scheduled", "False", JobReason.FINISHED, "the job is over: no pod of it runs any more")
    draft.note("Normal" if passed else "Warning", final.reason, final.message)
    if final.reason == JobReason.PROMPTING_SUFFICES and draft.job.status.suite_data_digest is not None:
        draft.record("SuiteAsked", asked(draft.job, "Baseline", draft.job.status.suite_data_digest))
    _record_finished(draft, final)


def after_the_end(draft: Draft, seen: Observed, known: dict[tuple[str, int], Attempt]) -> None:
    """Free what a finished job no longer needs: the credential at once, volume and pods after the job's time to live."""
    job = draft.job
    if job.status.suite_tries is None and seen.tries.total:
        draft.set(suite_tries=seen.tries)
    if seen.credential_exists:
        draft.deletes.append(ObjectRef("v1", "Secret", registry_secret_name(job.name, job.uid), job.namespace))
    if seen.checkpoint_secret is not None and is_own(job, seen.checkpoint_secret):
        draft.deletes.append(ObjectRef("v1", "Secret", checkpoint_secret_name(job.name, job.uid), job.namespace))
    present = [a.job for a in known.values() if a.job and not a.job["metadata"].get("deletionTimestamp")]
    expired = False
    if job.spec.ttl_seconds_after_finished is not None and job.status.completion_time:
        end = datetime.fromisoformat(job.status.completion_time)
        left = (end + timedelta(seconds=job.spec.ttl_seconds_after_finished) - draft.now).total_seconds()
        expired = left <= 0
        if not expired:
            draft.again(left)
    # Finished pods hold their volumes too, so they go together with the workspace.
    gone = [found for found in present if expired or not finished(found)]
    draft.deletes += [ObjectRef("batch/v1", "Job", found["metadata"]["name"], job.namespace) for found in gone]
    name = workspace_claim_name(job.name, job.uid)
    claim = seen.claims.get(name)
    if expired and claim is not None and not claim["metadata"].get("deletionTimestamp"):
        draft.deletes.append(ObjectRef("v1", "PersistentVolumeClaim", name, job.namespace))


def _record_sealed(draft: Draft, adapter: dict[str, object]) -> None:
    status = draft.job.status
    payload = {key: str(adapter[key]) for key in ("repository", "digest", "manifestDigest")}
    if status.base_model_digest:
        payload["baseModelDigest"] = status.base_model_digest
    if status.dataset:
        payload["datasetDigest"] = status.dataset.digest
        if status.dataset.redacted_digest:
            payload["redactedDigest"] = status.dataset.redacted_digest
    draft.record("AdapterSealed", payload)


def _record_finished(draft: Draft, final: Final) -> None:
    status = draft.plan().status or {}
    payload = {"phase": final.phase, "reason": str(final.reason)}
    for key in (
        "baseModelDigest",
        "profileDigest",
        "suiteDigest",
        "suiteDataDigest",
        "documentsDigest",
        "deviceHours",
        "cost",
    ):
        if key in status:
            payload[key] = status[key]
    for key, (section, name) in {
        "datasetDigest": ("dataset", "digest"),
        "redactedDigest": ("dataset", "redactedDigest"),
        "dataStatement": ("dataset", "statementDigest"),
        "adapterDigest": ("adapter", "manifestDigest"),
        "gate": ("gate", "outcome"),
        "currency": ("pool", "currency"),
    }.items():
        if name in status.get(section, {}):
            payload[key] = status[section][name]
    for stage in draft.stages.values():
        if stage.result_digest:
            payload[f"{stage.name}Result"] = stage.result_digest
    draft.record("JobFinished", payload)
