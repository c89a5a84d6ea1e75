"""A baseline that an earlier job of the namespace has measured already: taken over instead of asking the base model again.

What the answers depend on is reduced to one digest. The stage that evaluates later compares the result's own, finer key
(`cache_key`), so a mistake here ends a job and can never let it be judged by foreign answers.
"""

from __future__ import annotations

from collections.abc import Iterable

from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.reasons import StageReason
from tunegate.digests import document_digest
from tunegate.kube.references import ObjectRef
from tunegate.reconcile.attempt.attempt import Attempt
from tunegate.reconcile.attempt.pod_end import Ended
from tunegate.reconcile.finetunejob.comparison import difference
from tunegate.reconcile.finetunejob.draft import Draft
from tunegate.reconcile.finetunejob.inputs import Inputs, engine_spec, resolve
from tunegate.reconcile.finetunejob.observed import Observed, ReusableBaseline, StageSettings
from tunegate.reconcile.finetunejob.outcomes import take
from tunegate.reconcile.finetunejob.refusals import Blocked
from tunegate.reconcile.naming import registry_secret_name


def baseline_inputs(job: FineTuneJob, inputs: Inputs, settings: StageSettings) -> str:
    """Return the digest of everything that the answers of the baseline depend on, the stage's program included."""
    fraction, seed = engine_spec(job.spec)
    dataset = job.status.dataset
    return document_digest(
        {
            "image": settings.trainer_image,
            "profile": inputs.profile_digest,
            "baseModel": inputs.base_digest,
            "suite": inputs.suite_digest,
            "dataset": (dataset.redacted_digest or dataset.digest) if dataset else "",
            "groupField": job.spec.dataset.group_field or "",
            "developmentFraction": fraction,
            "seed": seed,
            "authorPrompt": job.spec.baseline.prompt or "",
            "documents": job.status.documents_digest or "",
        }
    )


def wanted_baseline(seen: Observed, settings: StageSettings) -> str | None:
    """Return the digest of the inputs that an earlier baseline has to have, if the job would take one now."""
    status = seen.job.status
    validated, baseline = status.stage("Validate").state == "Done", status.stage("Baseline")
    untried = baseline.state == "Waiting" and baseline.attempt == 0
    if not (validated and untried and seen.job.spec.baseline.reuse):
        return None
    inputs = resolve(seen)
    return None if isinstance(inputs, Blocked) else baseline_inputs(seen.job, inputs, settings)


def measured_by(wanted: str, job: FineTuneJob, others: Iterable[FineTuneJob]) -> FineTuneJob | None:
    """Return the job with the newest baseline that had these inputs, or None."""
    found = [
        other
        for other in others
        if other.uid != job.uid
        and other.status.stage("Baseline").inputs == wanted
        and other.status.stage("Baseline").result_digest is not None
    ]
    return max(found, key=lambda one: (one.status.stage("Baseline").completion_time or "", one.name), default=None)


def reuse(draft: Draft, seen: Observed, earlier: ReusableBaseline) -> bool:
    """Enter the earlier result as this job's baseline, or return false when it is not about the same inputs.

    The credential is made again, since it must open one place more.
    """
    job = draft.job
    if (differs := difference(seen, "Baseline", earlier.result, earlier.config_digest)) is not None:
        draft.note("Warning", "ResultDiffers", f"The baseline of job {earlier.job} is measured again: {differs}.")
        return False
    draft.set_stage("Baseline", inputs=earlier.inputs, repository=earlier.repository)
    ended = Ended(StageReason.COMPLETED, result=earlier.result, result_digest=earlier.digest)
    take(draft, seen, Attempt("Baseline", 0, None, ()), ended)
    summary = draft.stage("Baseline").message
    draft.set_stage(
        "Baseline",
        images=list(earlier.images),
        message=f"Measured by job {earlier.job} with the same inputs: {summary}",
    )
    if seen.credential_exists:
        draft.deletes.append(ObjectRef("v1", "Secret", registry_secret_name(job.name, job.uid), job.namespace))
    return True
