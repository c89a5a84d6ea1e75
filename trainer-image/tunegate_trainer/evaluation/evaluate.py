"""Stage `evaluate`: the sealed adapter answers the suite where it will serve, and the gate judges."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from tunegate import digests
from tunegate.api.answers import TUNED
from tunegate.api.asked import AskedAs
from tunegate.api.evaluationsuite import ArmName
from tunegate.api.stage.configs import EvaluateConfig
from tunegate.api.stage.layout import (
    ANSWERS_MEDIA_TYPE,
    BASE_SERVED_NAME,
    ENGINE_PORT,
    RESULT_MEDIA_TYPE,
    TUNED_SERVED_NAME,
)
from tunegate.api.stage.probe import Probe
from tunegate.api.stage.results import STAGE_RESULT, BaselineResult, EvaluateResult
from tunegate.logs import event
from tunegate.probes import MIN_ITEMS
from tunegate.registry.adapters import verify
from tunegate_trainer.context import StageContext
from tunegate_trainer.endings import BadInput
from tunegate_trainer.evaluation import answers, gate
from tunegate_trainer.evaluation.arms import tuned_asks
from tunegate_trainer.evaluation.baseline import cache_key, load_inputs
from tunegate_trainer.evaluation.engine import Engine, Reply
from tunegate_trainer.evaluation.probing import record_probe
from tunegate_trainer.evaluation.questions import Suite, Training, shared_system_prompt
from tunegate_trainer.evaluation.scoring import class_scores, metrics_of, scores
from tunegate_trainer.inputs import recorded_base_model

log = logging.getLogger(__name__)


def run(
    config: EvaluateConfig, context: StageContext, *, engine_url: str = f"http://127.0.0.1:{ENGINE_PORT}"
) -> EvaluateResult:
    """Ask the tuned model, judge it against the baseline's answers and record the probe.

    Raises ``StageEnd`` when an input is not what was promised or the engine is missing: then there is no verdict.
    """
    base = recorded_base_model(config.base_model, context)
    if digests.manifest_digest(config.adapter.manifest) != config.adapter.manifest_digest:
        raise BadInput(f"adapter: the manifest does not have the digest {config.adapter.manifest_digest}")
    verify(Path(config.adapter.path), config.adapter.manifest)
    context.notes.note(adapter=digests.manifest_digest(config.adapter.manifest))
    suite, training = load_inputs(config, context)
    task = config.suite.spec.task
    metrics = metrics_of(config.suite.spec)
    kept = _baseline_answers(config, context, suite, training)
    arms = {name: [reply.text for reply in given] for name, given in kept.items()}
    replies, probe = asyncio.run(_ask(config, context, suite, arms["BasePlain"], engine_url))
    tuned = [reply.text for reply in replies]
    try:
        given = gate.Answers(suite.expected, suite.groups, tuned, arms)
        verdict = gate.judge(config.suite.spec, given, floor=config.min_margin)
    except ValueError as error:
        raise BadInput(f"suite: {error}") from error
    outcome, reasons = verdict.outcome, list(verdict.reasons)
    if len(probe.items) < MIN_ITEMS:
        outcome = gate.worst([outcome, "Inconclusive"])
        reasons.append(
            f"Only {len(probe.items)} answers tell adapter and base model apart, {MIN_ITEMS} are needed for serving "
            "to recognize the adapter: it changes too little, or the suite has too few questions."
        )
    document = answers.write({TUNED: replies, **{str(arm): given for arm, given in kept.items()}}, suite, metrics[0])
    log.info(
        "gate judged", extra=event("GateJudged", outcome=outcome, questions=len(tuned), probe_items=len(probe.items))
    )
    return EvaluateResult(
        outcome=outcome,
        metric=config.suite.spec.primary_metric.name,
        margin=verdict.margin,
        minimum=verdict.minimum,
        tuned=scores(metrics, tuned, suite.expected),
        tuned_classes=class_scores(metrics, tuned, suite.expected),
        arms=[
            arm.model_copy(update={"scores": scores(metrics, arms[arm.name], suite.expected)}) for arm in verdict.arms
        ],
        guardrails=verdict.guardrails,
        questions=len(suite.rows),
        groups=verdict.groups,
        resamples=config.suite.spec.resamples,
        seed=config.suite.spec.seed,
        adapter_manifest_digest=digests.manifest_digest(config.adapter.manifest),
        base_model_digest=base.manifest_digest,
        profile_digest=digests.document_digest(config.profile.to_dict()),
        suite_digest=suite.digest,
        answers_digest=context.registry.push_document(
            f"{config.registry.repository}/answers", document, ANSWERS_MEDIA_TYPE
        ),
        probe=probe,
        asked_as=AskedAs(
            max_tokens=task.max_tokens,
            system_prompt=shared_system_prompt(suite),
            json_schema=task.json_schema if task.decoding == "Guided" else None,
        ),
        reasons=reasons,
    )


def _baseline_answers(
    config: EvaluateConfig, context: StageContext, suite: Suite, training: Training
) -> dict[ArmName, list[Reply]]:
    """Return the arms' replies of the baseline stage. Raises ``BadInput`` unless they belong to these inputs."""
    repository = config.baseline_repository
    content = context.registry.pull_document(
        f"{repository}/results", config.baseline_result, media_type=RESULT_MEDIA_TYPE
    )  # whose bytes have that digest: the client compares
    context.notes.note(baseline_result=config.baseline_result)
    try:
        result = STAGE_RESULT.validate_json(content)
    except ValidationError as error:
        raise BadInput("baselineResult: not a stage result of this version") from error
    if not isinstance(result, BaselineResult):
        raise BadInput(f"baselineResult: is the result of stage {result.stage}")
    if result.cache_key != cache_key(config, suite, training, config.documents_digest):
        raise BadInput("baselineResult: belongs to another profile, base model, suite, data set, prompt or documents")
    document = context.registry.pull_document(
        f"{repository}/answers", result.answers_digest, media_type=ANSWERS_MEDIA_TYPE
    )
    found = answers.read(document, suite)
    expected: list[ArmName] = [arm.name for arm in result.arms]
    if set(found) != set(expected):
        raise BadInput("baselineResult: the kept answers are not those of its arms")
    return {name: found[name] for name in expected}


async def _ask(
    config: EvaluateConfig, context: StageContext, suite: Suite, base: Sequence[str], engine_url: str
) -> tuple[list[Reply], Probe]:
    total = len(suite.rows)

    def seen(done: int) -> None:
        context.progress.show(90 * done / total, "asking the tuned model", step=done, total_steps=total)

    context.progress.show(0, "waiting for the engine")
    async with Engine(engine_url) as engine:
        await engine.wait_until_ready([BASE_SERVED_NAME, TUNED_SERVED_NAME])
        asks = tuned_asks(suite, config.suite.spec)
        replies = await engine.ask_all(TUNED_SERVED_NAME, asks, seed=config.seed, seen=seen)
    context.progress.show(92, "measuring the probe by which servers know the adapter")
    return replies, await record_probe(engine_url, suite, replies, base)
