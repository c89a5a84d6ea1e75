"""Planner of a FineTuneJob: from one reading of the world to the next step. Pure; the clock is an argument.

Counters live in the status; the batch/v1 Jobs carry stage and attempt as labels. A Job is created before the status
names it, so a planner that was killed in between finds an attempt one ahead of the status and adopts it. An attempt that
is counted as running and has no Job any more was disrupted. Attempt numbers only grow, and no attempt starts before all
pods of the job have ended: two trainings never write to one workspace.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from tunegate.admission.rules import unguarded
from tunegate.api.conditions import rfc3339
from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.finetunejob.status import JobPhase, StageName
from tunegate.api.reasons import JobReason, StageReason
from tunegate.kube.references import ObjectRef
from tunegate.manifests.stage_job import config_digest
from tunegate.reconcile.approvals import created, human
from tunegate.reconcile.attempt.attempt import Attempt, attempts, config_digest_of, finished
from tunegate.reconcile.attempt.lost_result import Json
from tunegate.reconcile.attempt.pod_end import MOVED_AWAY, Ended, lost, node_of, overdue, pod_over
from tunegate.reconcile.attempt.verdict import OnItsWay, Unreadable, judge
from tunegate.reconcile.finetunejob import waiver as waivers
from tunegate.reconcile.finetunejob.budget import over_budget, reserve
from tunegate.reconcile.finetunejob.comparison import difference
from tunegate.reconcile.finetunejob.configs import attempt_objects, is_own
from tunegate.reconcile.finetunejob.data_rights import past_retention
from tunegate.reconcile.finetunejob.draft import SOON, Draft, order
from tunegate.reconcile.finetunejob.inputs import resolve
from tunegate.reconcile.finetunejob.observed import Observed, StageSettings
from tunegate.reconcile.finetunejob.outcomes import after_the_end, close, count_usage, lose, retry_at, take
from tunegate.reconcile.finetunejob.refusals import Blocked
from tunegate.reconcile.finetunejob.results import Final
from tunegate.reconcile.finetunejob.reuse import baseline_inputs, reuse
from tunegate.reconcile.finetunejob.running import LOOK, PHASES, credential_of_job, overrun, stage_of, watch
from tunegate.reconcile.naming import workspace_claim_name
from tunegate.reconcile.plan import Plan
from tunegate.reconcile.suite_tries import asked, own_alternative

SETTLE = 2.0
"""Seconds between looks at something that Kubernetes is busy removing."""
BLOCKED = 15.0
"""Claims of people carry no label of ours, so no event tells when one appears."""


def plan(seen: Observed, now: datetime, settings: StageSettings) -> Plan:
    """Return the next step. Raises ``Transient`` while a result of an earlier stage can't be read."""
    job = seen.job
    if job.metadata.get("deletionTimestamp"):
        return Plan(uid=job.uid)
    draft = Draft(job, now)
    known = attempts(seen.jobs, seen.pods)
    if job.status.ended:
        after_the_end(draft, seen, known)
        return draft.plan()
    if job.status.observed_generation == 0:
        _first_sight(draft)
    stage = next(name for name in order(job) if draft.stage(name).state != "Done")
    _adopt(draft, stage, known)
    record = draft.stage(stage)
    current = (stage, record.attempt) if record.state == "Running" else None
    draft.deletes += [_ref(a.job) for key, a in known.items() if key != current and a.job and _alive(a.job)]
    waiver = job.status.waiver
    if waiver is not None and waiver.granted_time is None:
        waivers.follow(draft, seen, waiver)
    elif current is not None:
        _follow(draft, seen, known.get(current, Attempt(stage, record.attempt, None, ())))
    elif job.spec.suspend:
        _rest(draft)
    else:
        _start(draft, seen, settings, stage)
    return draft.plan()


def has_to_stop(job: FineTuneJob) -> bool:
    """Tell whether nothing of the job may run: it is suspended, or was deleted and something keeps the object."""
    return job.spec.suspend or bool(job.metadata.get("deletionTimestamp"))


def plan_stop(job: FineTuneJob, jobs: Sequence[Json]) -> Plan | None:
    """Return the step that ends the attempts of a job that has to stop, without waiting for anything; None where none runs.

    ``jobs`` are the batch/v1 Jobs that it owns. The next step finds the attempt gone and enters that it was suspended.
    """
    alive = tuple(_ref(one) for one in jobs if _alive(one))
    return Plan(deletes=alive, requeue_after=SOON, uid=job.uid) if has_to_stop(job) and alive else None


def _first_sight(draft: Draft) -> None:
    spec = draft.job.spec
    payload = {
        "server": spec.server_ref.name,
        "suite": spec.suite_ref.name,
        "source": spec.source,
        "dataset": spec.dataset.uri,
    }
    if spec.dataset.digest:
        payload["datasetDigest"] = spec.dataset.digest
    draft.record("JobRequested", payload | human(spec.requested_by))


def _adopt(draft: Draft, stage: StageName, known: dict[tuple[str, int], Attempt]) -> None:
    """Take over an attempt whose creation the status does not know of."""
    record = draft.stage(stage)
    found = known.get((stage, record.attempt + 1))
    if record.state == "Waiting" and found is not None:
        job_name = found.job["metadata"]["name"] if found.job else None
        _count_attempt(draft, stage, job_name, config_digest_of(found))


def _count_attempt(draft: Draft, stage: StageName, job_name: str | None, config: str | None) -> None:
    """Enter a new attempt, made with the configuration of digest ``config``.

    Reason and message stay: they tell how the attempt before ended.
    """
    draft.set_stage(
        stage,
        state="Running",
        attempt=draft.stage(stage).attempt + 1,
        job_name=job_name,
        config_digest=config,
        start_time=None,
        completion_time=None,
    )
    draft.set(progress=None)


def _follow(draft: Draft, seen: Observed, attempt: Attempt) -> None:
    """The status counts ``attempt`` as running: see whether it does."""
    verdict = judge(attempt, seen.results, draft.now)
    if isinstance(verdict, OnItsWay) and not verdict.leaving and not draft.job.spec.suspend:
        verdict = overrun(draft, seen, attempt) or verdict
    if isinstance(verdict, Unreadable):
        phase = PHASES[stage_of(attempt)]
        draft.tell(phase, f"The result {verdict.digest} can't be read from the registry; it is tried again.")
        draft.again(LOOK)
    elif isinstance(verdict, Ended) and draft.job.spec.suspend and verdict.reason in MOVED_AWAY:
        _stop(draft, attempt, leaving=True)
    elif isinstance(verdict, Ended):
        if verdict.remains and attempt.job is not None:
            draft.deletes.append(_ref(attempt.job))
        stage = stage_of(attempt)
        if verdict.result is not None and (
            differs := difference(seen, stage, verdict.result, draft.stage(stage).config_digest)
        ):
            verdict = Ended(StageReason.RESULT_DIFFERS, differs)
        if verdict.result is not None:
            taken = take(draft, seen, attempt, verdict)
            if taken.refused and taken.final is None:
                waivers.ask(draft, seen, taken.blocking)
        else:
            lose(draft, attempt, verdict)
        draft.again(SOON)
    elif draft.job.spec.suspend:
        _stop(draft, attempt, leaving=verdict.leaving)
    elif verdict.leaving:
        draft.tell(PHASES[stage_of(attempt)], f"Attempt {attempt.number} of {attempt.stage} is being deleted.")
        draft.again(SETTLE)
    else:
        watch(draft, seen, attempt)


def _stop(draft: Draft, attempt: Attempt, *, leaving: bool) -> None:
    """Suspend: end the attempt without counting it as lost."""
    if attempt.job is not None and not leaving:
        draft.deletes.append(_ref(attempt.job))
    stage = stage_of(attempt)
    count_usage(draft, attempt)
    draft.set_stage(
        stage,
        state="Waiting",
        completion_time=rfc3339(draft.now),
        reason=StageReason.PREEMPTED,
        message="stopped because spec.suspend is set",
    )
    _rest(draft)


def _rest(draft: Draft) -> None:
    text = (
        "Suspended: nothing runs, the workspace is kept. Set spec.suspend to false to go on from the last checkpoint."
    )
    draft.set(progress=None)
    draft.tell("Suspended", text)
    draft.condition("Scheduled", "False", JobReason.SUSPENDED, text)
    if draft.condition("Complete", "Unknown", JobReason.SUSPENDED, text):
        draft.note("Normal", JobReason.SUSPENDED, text)


def _start(draft: Draft, seen: Observed, settings: StageSettings, stage: StageName) -> None:
    """Begin the next attempt, unless something has to happen first."""
    if unguarded(created(draft.job), seen.windows):
        text = "The job was made while the admission rules were not in force: who asked for it cannot be told. Create a new job."
        _wait(draft, stage, Blocked(JobReason.RULES_NOT_IN_FORCE, text, final=True))
        return
    if (ended := past_retention(draft.job.spec.dataset, draft.now.date())) is not None:
        _wait(draft, stage, Blocked(JobReason.NOT_ALLOWED, ended, final=True))
        return
    inputs = resolve(seen)
    if isinstance(inputs, Blocked):
        _wait(draft, stage, inputs)
        return
    if (blocked := over_budget(seen, inputs, stage, draft.now)) is not None:
        _wait(draft, stage, blocked)
        return
    busy = [pod for pod in seen.pods if not pod_over(pod)] + [job for job in seen.jobs if not finished(job)]
    claim = seen.claims.get(workspace_claim_name(draft.job.name, draft.job.uid))
    if kept := [pod for pod in seen.pods if overdue(pod, draft.now)]:
        _wait(draft, stage, Blocked(JobReason.NODE_LOST, _how_to_free(kept[0])))
        return
    if busy:
        draft.tell(_phase(draft, stage), "Waiting for the pods of the attempt before to end.")
        draft.again(SETTLE)
        return
    if claim is not None and claim["metadata"].get("deletionTimestamp"):
        text = "The workspace volume is being deleted; a new one follows and training starts from the beginning."
        _wait(draft, stage, Blocked(JobReason.WAITING_FOR_VOLUME, text))
        return
    dataset = draft.job.status.dataset
    if claim is None and dataset is not None and dataset.redacted_digest:
        text = "The workspace volume is gone, and with it the redacted data set. Create a new job."
        _wait(draft, stage, Blocked(JobReason.BAD_INPUT, text, final=True))
        return
    if stage == "Baseline" and seen.earlier is not None and reuse(draft, seen, seen.earlier):
        draft.again(SOON)
        return
    due = retry_at(draft.stage(stage))
    if due is not None and due > draft.now:
        seconds = (due - draft.now).total_seconds()
        record = draft.stage(stage)
        text = f"Stage {stage} is tried again after a pause: {record.message or record.reason}."
        draft.tell(_phase(draft, stage), text)
        draft.again(seconds)
        return
    if seen.fresh_credential is not None and seen.credential_exists:
        # The pod must not start with the old one, and applying comes after creating: so this first.
        draft.applies.append(credential_of_job(seen, seen.fresh_credential))
        draft.again(SOON)
        return
    if seen.fresh_credential is not None:
        draft.creates.append(credential_of_job(seen, seen.fresh_credential))
    if stage == "Train" and seen.checkpoint_secret is not None and not is_own(draft.job, seen.checkpoint_secret):
        name = seen.checkpoint_secret["metadata"]["name"]
        text = (
            f"Secret {name} was not made by Tunegate for this job, and its key would be somebody else's: delete it, and the "
            "job goes on."
        )
        _wait(draft, stage, Blocked(JobReason.WAITING_FOR_SECRET, text))
        return
    number = draft.stage(stage).attempt + 1
    objects = attempt_objects(seen, inputs, settings, stage, number)
    draft.creates += objects
    questions = inputs.suite.spec.data.digest
    if stage == "Evaluate" or (stage == "Baseline" and own_alternative(draft.job)):
        draft.record("SuiteAsked", asked(draft.job, stage, questions))
    if stage == "Train" and number == 1 and inputs.policy.spec.budget is not None:
        reserve(draft, inputs.policy.spec.budget)
    made = objects[-1]
    _count_attempt(draft, stage, made["metadata"]["name"], config_digest(made["spec"]["template"]["spec"]))
    if stage == "Baseline":
        draft.set_stage(stage, inputs=baseline_inputs(draft.job, inputs, settings))
    draft.set(
        base_model_digest=inputs.base_digest,
        profile_digest=inputs.profile_digest,
        suite_digest=inputs.suite_digest,
        suite_data_digest=questions,
        pool=inputs.pool_terms,
    )
    text = f"{stage[0].upper()}{stage[1:]}: attempt {number} was created."
    draft.tell("Queued" if stage == "Train" else PHASES[stage], text)
    draft.condition("Complete", "Unknown", JobReason.STAGE_RUNNING, text)
    draft.condition("Scheduled", "Unknown", JobReason.STAGE_RUNNING, text)
    draft.note("Normal", "StageStarted", text)
    draft.again(SETTLE)


def _wait(draft: Draft, stage: StageName, blocked: Blocked) -> None:
    if blocked.final:
        close(draft, Final("Failed", blocked.reason, blocked.message))
        return
    draft.tell(_phase(draft, stage), blocked.message)
    draft.condition("Scheduled", "False", blocked.reason, blocked.message)
    if draft.condition("Complete", "Unknown", blocked.reason, blocked.message):
        draft.note("Warning", blocked.reason, blocked.message)
    draft.again(BLOCKED)


def _phase(draft: Draft, stage: StageName) -> JobPhase:
    """Return the phase of a stage that does not run: Pending before the very first attempt."""
    if all(record.attempt == 0 for record in draft.stages.values()):
        return "Pending"
    return "Queued" if stage == "Train" else PHASES[stage]


def _how_to_free(pod: Json) -> str:
    """Two trainings must never write to one workspace, and the API server cannot tell whether the pod still does."""
    name, node, namespace = pod["metadata"]["name"], node_of(pod), pod["metadata"].get("namespace", "")
    said = lost(pod).message
    return (
        f"{said[0].upper()}{said[1:]}. The next attempt waits until that pod is gone: it may still write to the workspace. If the "
        f"node is off for good: kubectl delete node {node}. If it is off for now: kubectl delete pod {name} -n {namespace} --force"
    )


def _alive(job: Json) -> bool:
    return not finished(job) and not job["metadata"].get("deletionTimestamp")


def _ref(obj: Json) -> ObjectRef:
    metadata = obj["metadata"]
    return ObjectRef("batch/v1", "Job", metadata["name"], metadata["namespace"], metadata.get("uid", ""))
