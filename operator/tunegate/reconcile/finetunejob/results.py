"""What a stage's result means for the job: fields of the status, and whether the job ends with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tunegate.api.evaluationsuite import MetricName, unanswered
from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.finetunejob.status import (
    AdapterStatus,
    ArmScore,
    DatasetStatus,
    EstimatedSavings,
    Estimates,
    Gate,
    GuardrailScore,
    MetricScore,
    UnusableSuiteStatus,
)
from tunegate.api.numbers import agreeing, count_of, plain
from tunegate.api.reasons import JobReason
from tunegate.api.stage.findings import Finding, RedactedData
from tunegate.api.stage.results import (
    ArmResult,
    ArmVerdict,
    BaselineResult,
    EvaluateResult,
    Savings,
    SealResult,
    StageResult,
    TrainResult,
    ValidateResult,
)

SHOWN_FINDINGS = 4
MOST_UNUSABLE = 32
SHOWN_PROMPT = 600
"""Characters of a prompt in a message; the whole stands in the result of the baseline."""


@dataclass(frozen=True)
class Final:
    """The end of the job."""

    phase: Literal["Succeeded", "Failed"]
    reason: JobReason
    message: str


@dataclass(frozen=True)
class Verdict:
    """What a result changes."""

    summary: str
    """One sentence for the stage's status."""
    update: Mapping[str, Any] = field(default_factory=dict)
    refused: bool = False
    final: Final | None = None
    blocking: tuple[Finding, ...] = ()
    """What validation refused the job for: it ends unless people may waive all of it."""


def read(job: FineTuneJob, result: StageResult, currency: str) -> Verdict:
    """Return what ``result`` means for ``job``. Raises ``ValueError`` for a result that no stage of a job gives."""
    match result:
        case ValidateResult():
            return _validated(result, currency)
        case BaselineResult():
            return _baselined(job, result)
        case TrainResult():
            return _trained(result)
        case SealResult():
            return _sealed(result)
        case EvaluateResult():
            return _evaluated(result)
    raise ValueError(f"stage {result.stage} is not a stage of a FineTuneJob")


def _validated(result: ValidateResult, currency: str) -> Verdict:
    update = {
        "dataset": DatasetStatus(
            digest=result.dataset_digest,
            redacted_digest=result.redacted.digest if result.redacted else None,
            statement_digest=result.statement_digest,
            rows=result.rows,
            tokens=result.tokens,
            duplicates=result.duplicates,
            near_duplicates=result.near_duplicates,
            overlap_rows=result.overlap_rows,
            development_rows=result.development_rows,
        ),
        "estimates": _estimates(result, currency),
        "documents_digest": result.documents_digest,
        "suite_sketch": result.suite_sketch or None,
        "unusable_suites": [UnusableSuiteStatus(**one.model_dump()) for one in result.unusable_suites[:MOST_UNUSABLE]],
    }
    if result.outcome == "Refused":
        blocking = tuple(finding for finding in result.findings if finding.action == "Block")
        return Verdict(describe(blocking), update, refused=True, blocking=blocking)
    warnings = [finding for finding in result.findings if finding.action == "Warn"]
    warned = f" Warnings: {describe(warnings)}" if warnings else ""
    redacted = f" {_redacted(result.redacted)}" if result.redacted else ""
    return Verdict(f"{count_of(result.rows, 'row')}, {result.tokens} tokens.{redacted}{warned}", update)


def _redacted(data: RedactedData) -> str:
    counts = ", ".join(f"{count} {name}" for name, count in data.replaced.items())
    return f"{data.rows} {agreeing('[row was|rows were]', data.rows)} redacted ({counts}): all stages read the copy {data.digest[:19]}… in the workspace."


def _estimates(result: ValidateResult, currency: str) -> Estimates:
    trains = result.throughput is not None
    low, high = result.usual_cost
    return Estimates(
        trainable_parameters=result.trainable_parameters,
        adapter_bytes=result.adapter_bytes,
        peak_memory_bytes=result.peak_memory_bytes,
        device_hours=plain(result.device_hours),
        cost=plain(result.cost),
        currency=currency,
        cost_of_two_runs=plain(low) if trains else None,
        cost_of_three_runs=plain(high) if trains else None,
        savings=_savings(result.savings) if result.savings else None,
        throughput=None if result.throughput is None else plain(result.throughput),
        throughput_runs=result.throughput_runs,
        smallest_visible_gain=f"{result.smallest_visible_gain:.3f}",
    )


def _savings(savings: Savings) -> EstimatedSavings:
    return EstimatedSavings(monthly=plain(savings.monthly), break_even_months=break_even(savings))


def break_even(savings: Savings) -> str:
    """Say after how many months the usual runs are paid."""
    if savings.break_even_months is None:
        return "never"
    low, high = savings.break_even_months
    return f"{plain(low)} to {plain(high)}"


def told(finding: Finding) -> str:
    """Return a finding as a sentence with its first places."""
    rows = ", ".join(finding.rows[:10])
    more = ", …" if len(finding.rows) > 10 or finding.count > len(finding.rows) > 0 else ""
    return f"{finding.message}{f' (rows {rows}{more})' if rows else ''}.".replace("..", ".")


def describe(findings: Sequence[Finding]) -> str:
    """Return the first findings as text."""
    parts = [f"{finding.check}: {told(finding)}" for finding in findings[:SHOWN_FINDINGS]]
    rest = len(findings) - SHOWN_FINDINGS
    return " ".join([*parts, f"And {rest} more in the result document."] if rest > 0 else parts)


def _baselined(job: FineTuneJob, result: BaselineResult) -> Verdict:
    scores = "; ".join(
        f"{named(arm, result.questions)} "
        + ", ".join(f"{metric} {score:.3f}" for metric, score in sorted(arm.scores.items()))
        for arm in result.arms
    )
    summary = f"{result.questions} questions, best cheap alternative {result.best_arm}: {scores}."
    if result.outcome == "PromptingSuffices" and job.spec.on_prompting_suffices == "Stop":
        text = (
            f"{result.best_arm} reaches the suite's quality bar without tuning, so nothing was trained. "
            f"{_instead(result)} Or set onPromptingSuffices: Continue in a new job."
        )
        return Verdict(summary, final=Final("Succeeded", JobReason.PROMPTING_SUFFICES, text))
    return Verdict(summary)


def _instead(result: BaselineResult) -> str:
    """Say what to use in place of a tuned model."""
    simple = {
        "NearestNeighbor": "Answer with the most similar training row (BM25).",
        "Regex": "Use the suite's regular expression.",
        "Classifier": "Use a TF-IDF classifier with logistic regression, trained on the same rows.",
    }
    prompt = result.prompt if len(result.prompt) <= SHOWN_PROMPT else f"{result.prompt[:SHOWN_PROMPT]}…"
    model = "the base model"
    if result.best_arm.startswith("BaseRetrieval"):
        model = "retrieval: the base model, with passages found in baseline.documents (BM25) and"
    return simple.get(result.best_arm) or f"Use {model} with this prompt: {prompt}"


def _trained(result: TrainResult) -> Verdict:
    if result.outcome == "Diverged":
        text = (
            f"Training diverged: after {result.steps} steps the loss is not a number, or gradients are zero because numbers "
            "overflowed. Create a new job with a lower learningRate (half of it) or a longer warmupRatio."
        )
        return Verdict(
            "The loss or its gradients are of no use.",
            refused=True,
            final=Final("Failed", JobReason.TRAINING_DIVERGED, text),
        )
    loss = f"{result.steps} steps, training loss {result.training_loss:.3f}"
    if result.development_loss is not None:
        loss += f", development loss {result.development_loss:.3f} (best at step {result.best_step})"
    if result.foreign_checkpoints:
        loss += f", foreign checkpoints ignored: {result.foreign_checkpoints}"
    if result.resumed_from_step:
        loss += f", resumed from step {result.resumed_from_step}"
    over = " It overfits: fewer epochs or more data would do better." if result.overfitting else ""
    return Verdict(f"{loss}.{over}")


def _sealed(result: SealResult) -> Verdict:
    if result.outcome == "Refused" or not result.digest or not result.manifest_digest:
        found = describe(result.findings) or "no reason given."
        text = f"The adapter can't be sealed: {found} Fix this, then create a new job."
        return Verdict(found, refused=True, final=Final("Failed", JobReason.SEAL_REFUSED, text))
    adapter = AdapterStatus(
        repository=result.repository,
        digest=result.digest,
        manifest_digest=result.manifest_digest,
        bytes=result.bytes,
        rank=result.rank,
    )
    return Verdict(f"{result.bytes} bytes, rank {result.rank}, {result.digest}.", {"adapter": adapter})


def _evaluated(result: EvaluateResult) -> Verdict:
    gate = _gate(result)
    final = _final(result)
    return Verdict(f"{result.metric} {result.tuned[result.metric]:.3f}: {result.outcome}.", {"gate": gate}, final=final)


def _gate(result: EvaluateResult) -> Gate:
    arms = [
        ArmScore(
            name=arm.name,
            score=f"{arm.score:.4f}",
            difference=f"{arm.difference:+.4f}",
            lower=f"{arm.lower:+.4f}",
            upper=f"{arm.upper:+.4f}",
            outcome=arm.outcome,
            answered=arm.answered,
            metrics=_metrics(arm.scores),
        )
        for arm in result.arms
    ]
    guardrails = [
        GuardrailScore(name=entry.name, tuned=f"{entry.tuned:.4f}", base=f"{entry.base:.4f}", held=entry.held)
        for entry in result.guardrails
    ]
    return Gate(
        outcome=result.outcome,
        metric=result.metric,
        tuned=f"{result.tuned[result.metric]:.4f}",
        questions=result.questions,
        adapter_digest=result.adapter_manifest_digest,
        metrics=_metrics(result.tuned),
        arms=arms,
        guardrails=guardrails,
        asked_as=result.asked_as,
    )


def _metrics(scores: Mapping[MetricName, float]) -> list[MetricScore]:
    return [MetricScore(name=name, score=f"{score:.4f}") for name, score in sorted(scores.items())]


def _final(result: EvaluateResult) -> Final:
    tuned = result.tuned[result.metric]
    nearest = min(result.arms, key=lambda arm: arm.difference, default=None)
    lead = f"{result.metric} of the tuned model is {tuned:.3f} on {result.questions} questions. "
    if result.outcome == "Pass":
        beaten = f"It beats every cheap alternative; the nearest is {_against(nearest)}. " if nearest else ""
        text = f"Gate passed. {lead}{beaten}{_silent(result)}Next: create a ModelRelease that names this job."
        return Final("Succeeded", JobReason.GATE_PASSED, text)
    causes = _causes(result, tuned)
    if result.outcome == "Inconclusive":
        advice = (
            "The suite is too small to tell. Add questions to a new suite, or improve the data until the gain is clearer; "
            "trying again on the same suite proves nothing."
        )
        return Final("Failed", JobReason.GATE_INCONCLUSIVE, f"Gate inconclusive. {lead}{causes}{advice}")
    advice = "Use that alternative, or add and clean training examples of what the model gets wrong, in a new job."
    return Final("Failed", JobReason.GATE_FAILED, f"Gate failed. {lead}{causes}{advice}")


def named(arm: ArmResult | ArmVerdict, questions: int) -> str:
    """Return an alternative's name, and behind it on how few questions it had an answer."""
    silent = unanswered(arm.name, arm.answered, questions)
    return f"{arm.name} ({silent})" if silent else arm.name


def _silent(result: EvaluateResult) -> str:
    """Name the alternatives that answered nothing: they were not beaten."""
    nothing = [named(arm, result.questions) for arm in result.arms if arm.answered == 0]
    return f"{', '.join(nothing)} answered nothing: to beat it says nothing. " if nothing else ""


def _causes(result: EvaluateResult, tuned: float) -> str:
    short = [arm for arm in result.arms if arm.outcome == result.outcome] or [
        arm for arm in result.arms if arm.outcome != "Pass"
    ]
    parts = [f"Against {_against(arm)}, a margin of {result.margin:.3f} is required. " for arm in short[:2]]
    if tuned < result.minimum:
        parts.append(f"The minimum is {result.minimum:.3f}. ")
    parts += [
        f"Guardrail {entry.name} got worse: {entry.tuned:.3f} after {entry.base:.3f}. "
        for entry in result.guardrails
        if not entry.held
    ]
    return "".join(parts) or "".join(f"{reason.rstrip('.')}. " for reason in result.reasons[:3])


def _against(arm: ArmVerdict) -> str:
    return f"{arm.name} ({arm.score:.3f}): difference {arm.difference:+.3f}, 95 % interval {arm.lower:+.3f} to {arm.upper:+.3f}"
