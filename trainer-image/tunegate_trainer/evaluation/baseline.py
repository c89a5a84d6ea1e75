"""Stage `baseline`: what the base model and the cheap alternatives reach, before a training device is touched."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Literal

from tunegate import digests
from tunegate.api.evaluationsuite import EvaluationSuiteSpec
from tunegate.api.normalization import NORMALIZATION
from tunegate.api.stage.configs import BaselineConfig, EngineConfigBase
from tunegate.api.stage.layout import ANSWERS_MEDIA_TYPE, BASE_SERVED_NAME, ENGINE_PORT
from tunegate.api.stage.results import ArmResult, BaselineResult
from tunegate.logs import event
from tunegate_trainer.context import StageContext
from tunegate_trainer.evaluation import answers, prompts
from tunegate_trainer.evaluation.arms import ArmAnswers, Author, ask_everybody
from tunegate_trainer.evaluation.documents import cut, load_documents, passage_characters
from tunegate_trainer.evaluation.engine import CONCURRENCY, Engine
from tunegate_trainer.evaluation.questions import Suite, Training, load_suite, load_training
from tunegate_trainer.evaluation.scoring import answered, class_scores, metrics_of, scores
from tunegate_trainer.inputs import recorded_base_model

log = logging.getLogger(__name__)

PROTOCOL = "tunegate-evaluation/1"
"""Version of prompts, decoding and metrics; part of the cache key."""


def run(
    config: BaselineConfig, context: StageContext, *, engine_url: str = f"http://127.0.0.1:{ENGINE_PORT}"
) -> BaselineResult:
    """Let every arm answer the suite, keep the answers and return the scores. Raises ``StageEnd`` without a verdict."""
    recorded_base_model(config.base_model, context)
    suite, training = load_inputs(config, context)
    documents = load_documents(config.documents) if config.documents else None
    if documents:
        context.notes.note(documents=documents.digest)
    metrics = metrics_of(config.suite.spec)
    author = Author(config.author_prompt, _passages(config, documents.texts) if documents else ())
    arms = asyncio.run(_ask(config, context, suite, training, author, engine_url))
    results = []
    for arm in arms:
        results.append(
            ArmResult(
                name=arm.name,
                scores=scores(metrics, arm.texts, suite.expected),
                class_scores=class_scores(metrics, arm.texts, suite.expected),
                answered=answered(arm.texts),
                seconds=round(arm.seconds, 1),
            )
        )
        log.info(
            "arm answered",
            extra=event("ArmAnswered", arm=arm.name, seconds=round(arm.seconds, 1), questions=len(arm.texts)),
        )
    best, outcome = verdict(config.suite.spec, results)
    best_prompting, _ = verdict(config.suite.spec, [arm for arm in results if arm.name.startswith("Base")])
    document = answers.write({arm.name: arm.replies for arm in arms}, suite, metrics[0])
    repository = f"{config.registry.repository}/answers"
    context.progress.show(100, f"best alternative: {best.name}")
    return BaselineResult(
        outcome=outcome,
        best_arm=best.name,
        arms=results,
        questions=len(suite.rows),
        cache_key=cache_key(config, suite, training, documents.digest if documents else None),
        documents_digest=documents.digest if documents else None,
        answers_digest=context.registry.push_document(repository, document, ANSWERS_MEDIA_TYPE),
        prompt=prompts.describe(best_prompting.name, config.suite.spec.few_shot, config.author_prompt),
    )


def load_inputs(config: EngineConfigBase, context: StageContext) -> tuple[Suite, Training]:
    """Return the questions and the training split, from private copies, and note their digests. Raises ``BadInput``."""
    scratch = context.places.run
    training = load_training(
        config.dataset, scratch, development_fraction=config.development_fraction, seed=config.seed
    )
    suite = load_suite(config.suite, scratch)
    profile = digests.document_digest(config.profile.to_dict())
    context.notes.note(dataset=training.digest, suite=suite.digest, profile=profile)
    return suite, training


def verdict(
    spec: EvaluationSuiteSpec, arms: list[ArmResult]
) -> tuple[ArmResult, Literal["Passed", "PromptingSuffices"]]:
    """Return the best alternative on the primary metric and whether it makes tuning needless.

    Alternatives without a language model count like prompts: what solves the task for nothing needs no tuning.
    """
    metric = spec.primary_metric.name
    best = max(arms, key=lambda arm: arm.scores[metric])
    return best, "PromptingSuffices" if best.scores[metric] >= float(spec.quality_bar) else "Passed"


def cache_key(config: EngineConfigBase, suite: Suite, training: Training, documents_digest: str | None) -> str:
    """Return the digest of everything that the answers of the arms depend on."""
    return digests.document_digest(
        {
            "protocol": PROTOCOL,
            "concurrency": CONCURRENCY,
            "normalization": NORMALIZATION,
            "profile": config.profile.to_dict(),
            "baseModel": config.base_model.manifest_digest,
            "suite": suite.digest,
            "training": training.digest,
            "groupField": config.dataset.group_field or "",
            "developmentFraction": config.development_fraction,
            "seed": config.seed,
            "authorPrompt": config.author_prompt or "",
            "documents": documents_digest or "",
        }
    )


def _passages(config: BaselineConfig, texts: Sequence[str]) -> list[str]:
    longest = passage_characters(config.profile.max_model_len, config.suite.spec.task.max_tokens)
    return [passage for text in texts for passage in cut(text, longest)]


async def _ask(
    config: BaselineConfig, context: StageContext, suite: Suite, training: Training, author: Author, engine_url: str
) -> list[ArmAnswers]:
    def show(done: int, total: int, arm: str) -> None:
        context.progress.show(100 * done / total, f"asking {arm}", step=done, total_steps=total)

    context.progress.show(0, "waiting for the engine")
    async with Engine(engine_url) as engine:
        await engine.wait_until_ready([BASE_SERVED_NAME])
        return await ask_everybody(
            engine,
            config.suite.spec,
            suite,
            training,
            author=author,
            seed=config.seed,
            show=show,
        )
