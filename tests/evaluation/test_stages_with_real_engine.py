"""Stages `baseline` and `evaluate` against a real vLLM with the real small model, a real registry and a real adapter.

The adapter is made of random numbers: it earns nothing, so the gate must not pass, but it changes every answer, so the
probe must recognize it and must not take the base model for it.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.ports import free_port
from tests.support.registry_process import running_registry
from tests.support.small_adapter import write_adapter
from tests.support.stage_process import REPOSITORY, base_model_input, stage_base
from tests.support.suites import SCHEMA, suite_spec, write_rows
from tunegate import digests
from tunegate.api.answers import of_lines
from tunegate.api.asked import keeping_to
from tunegate.api.modelserver import EngineProfile
from tunegate.api.stage.configs import (
    AdapterInput,
    BaselineConfig,
    DatasetInput,
    DocumentsInput,
    EvaluateConfig,
    SuiteInput,
)
from tunegate.api.stage.layout import ANSWERS_MEDIA_TYPE, RESULT_MEDIA_TYPE
from tunegate.api.stage.results import BaselineResult
from tunegate.manifests.engine import engine_args, engine_command, engine_env
from tunegate.probes import Scored, matches
from tunegate.registry.adapters import read_manifest
from tunegate.registry.client import RegistryClient
from tunegate.registry.failures import DigestMismatch
from tunegate_trainer.context import Places, StageContext
from tunegate_trainer.endings import BadInput
from tunegate_trainer.evaluation import answers, baseline, evaluate
from tunegate_trainer.evaluation.engine import Engine
from tunegate_trainer.evaluation.questions import load_suite
from tunegate_trainer.inputs import record_base_model
from tunegate_trainer.progress import ProgressBoard

pytestmark = [pytest.mark.model, pytest.mark.timeout(1200)]

PROFILE = EngineProfile(
    image=f"engine@sha256:{'0' * 64}", device="CPU", dtype="Float32", max_model_len=512, max_lora_rank=8,
    max_loras=1, enforce_eager=True, kv_cache_memory="1Gi",
)  # fmt: skip
ROWS = [
    (f"Copyright {1990 + n} Maker {n}", json.dumps({"holder": f"Maker {n}", "years": str(1990 + n)}), f"m{n}")
    for n in range(24)
]


@dataclass(frozen=True)
class Site:
    """Everything that the two stages need."""

    url: str
    context: StageContext
    fields: dict[str, Any]
    adapter: Path


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    cache = Path(os.environ.get("TUNEGATE_CACHE", str(Path.home() / ".cache/tunegate")))
    base = Path(os.environ.get("TUNEGATE_TEST_MODEL", str(cache / "models" / "smollm2")))
    folder = tmp_path_factory.mktemp("evaluation")
    adapter = write_adapter(folder / "adapter", base)
    with running_registry(folder / "registry") as registry, running_engine(folder, base, adapter) as url:
        client = RegistryClient(registry.host, plain_http=True)
        (folder / "run").mkdir()
        fields = stage_base(registry.host)
        context = StageContext(
            Places(**{name: folder / name for name in Places.__dataclass_fields__}),
            client,
            ProgressBoard("test"),
        )
        model = base_model_input(base)
        fields |= {"base_model": model, "profile": PROFILE, **inputs(folder)}
        record_base_model(model, context)
        yield Site(url, context, fields, adapter)
        client.close()


def inputs(folder: Path) -> dict[str, Any]:
    spec = suite_spec(
        data={
            "uri": "pvc://d/suite.jsonl",
            "digest": write_rows(folder / "suite.jsonl", ROWS[:12]),
            "groupField": "group",
        },
        task={"type": "Extraction", "maxTokens": 24, "jsonSchema": json.dumps(SCHEMA), "decoding": "Guided"},
        fewShot={"shots": 3},
        baselines={
            "nearestNeighbor": True,
            "regex": r"Copyright (?P<years>\d{4}) (?P<holder>.+)",
            "regexTemplate": '{{"holder": "{holder}", "years": "{years}"}}',
            "retrievedShots": True,
        },
    )
    suite = SuiteInput(
        name="s", path=str(folder / "suite.jsonl"), digest=digests.document_digest(spec.to_dict()), spec=spec
    )
    digest = write_rows(folder / "train.jsonl", ROWS[12:])
    manuals = folder / "documents"
    manuals.mkdir()
    # Of one paragraph each, longer than a passage, and in all more than the engine's context.
    for number in range(4):
        (manuals / f"{number}.md").write_text(
            f"Copyright statements of Maker {number} name the holder and the years. " * 30
        )
    return {
        "dataset": DatasetInput(path=str(folder / "train.jsonl"), digest=digest, group_field="group"),
        "suite": suite,
        "author_prompt": "Answer with one line of JSON: the holder and the years.",
    }


@contextmanager
def running_engine(folder: Path, base: Path, adapter: Path) -> Iterator[str]:
    """Start vLLM on loopback with the adapter as `tuned`; give its address at once: the stages wait for it."""
    port = free_port()
    arguments = engine_args(PROFILE, str(base), "base", lora_modules=[("tuned", str(adapter))], port=port)
    environment = {one["name"]: one["value"] for one in engine_env(PROFILE)}
    environment |= {"PATH": os.environ["PATH"], "HOME": str(folder), "OMP_WAIT_POLICY": "PASSIVE"}
    with (folder / "engine.log").open("wb") as log:
        process = subprocess.Popen([*engine_command(), *arguments], stdout=log, stderr=log, env=environment)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=60)


@pytest.fixture(scope="module")
def measured(site: Site) -> tuple[BaselineResult, str]:
    """The baseline's result and its digest in the registry."""
    documents = DocumentsInput(path=str(Path(site.fields["suite"].path).parent / "documents"))
    config = BaselineConfig(**site.fields, documents=documents)
    result = baseline.run(config, site.context, engine_url=site.url)
    content = result.model_dump_json(by_alias=True, exclude_none=True).encode()
    return result, site.context.registry.push_document(f"{REPOSITORY}/results", content, RESULT_MEDIA_TYPE)


def evaluate_config(site: Site, baseline_digest: str, **changes: Any) -> EvaluateConfig:
    manifest = read_manifest(site.adapter)
    adapter = AdapterInput(
        repository=f"{REPOSITORY}/adapter",
        digest="sha256:" + "0" * 64,
        manifest=manifest,
        manifest_digest=digests.manifest_digest(manifest),
        path=str(site.adapter),
    )
    fields = {**site.fields, "adapter": adapter, "baseline_result": baseline_digest, "min_margin": "0.05", **changes}
    return EvaluateConfig(**{"baseline_repository": site.fields["registry"].repository, **fields})


def test_every_alternative_answers_every_question(site: Site, measured: tuple[BaselineResult, str]) -> None:
    result, _ = measured
    scores = {arm.name: arm.scores for arm in result.arms}
    assert set(scores) == {
        "NearestNeighbor", "Regex", "BasePlain", "BaseFewShot", "BasePlainGuided", "BaseFewShotGuided",
        "BaseRetrievedShotsGuided", "BaseAuthorPromptGuided", "BaseRetrievalGuided",
    }  # fmt: skip
    assert scores["Regex"]["ExactMatch"] == 1
    assert scores["NearestNeighbor"]["ExactMatch"] == 0
    assert (result.outcome, result.best_arm) == ("PromptingSuffices", "Regex")
    assert scores["BaseFewShotGuided"]["SchemaValidity"] >= scores["BasePlain"]["SchemaValidity"]
    document = site.context.registry.pull_document(
        f"{REPOSITORY}/answers", result.answers_digest, media_type=ANSWERS_MEDIA_TYPE
    )
    kept = answers.read(document, load_suite(site.fields["suite"], site.context.places.run))
    assert {len(replies) for replies in kept.values()} == {12}
    assert all(reply.text.lstrip().startswith("{") for reply in kept["BasePlainGuided"])
    assert kept["BaseRetrievalGuided"] != kept["BaseAuthorPromptGuided"], "the passages make no difference"
    assert not all(reply.text.lstrip().startswith("{") for reply in kept["BasePlain"])


def test_adapter_that_earns_nothing_fails_and_the_probe_recognizes_it(
    site: Site, measured: tuple[BaselineResult, str]
) -> None:
    config = evaluate_config(site, measured[1], documents_digest=measured[0].documents_digest)
    result = evaluate.run(config, site.context, engine_url=site.url)
    assert result.outcome == "Fail"
    assert result.adapter_manifest_digest == config.adapter.manifest_digest
    assert {arm.name for arm in result.arms} == {arm.name for arm in measured[0].arms}
    assert any("did not earn" in reason for reason in result.reasons)
    assert len(result.probe.items) >= 1
    document = site.context.registry.pull_document(
        f"{REPOSITORY}/answers", result.answers_digest, media_type=ANSWERS_MEDIA_TYPE
    )
    head, questions = of_lines(document)
    assert head.arms == ["Tuned", *(arm.name for arm in result.arms)], "one document holds all that was compared"
    assert [one.answers["Regex"].score for one in questions] == [1] * 12
    assert all(one.answers["Tuned"].answer.lstrip().startswith("{") for one in questions), (
        "the suite's decoding is Guided"
    )
    assert result.asked_as is not None
    assert result.asked_as.response_format == keeping_to(SCHEMA)
    assert sum(one.answers["Tuned"].score for one in questions) == pytest.approx(12 * result.tuned["ExactMatch"])

    async def score(tuned: str) -> list[Scored]:
        async with Engine(site.url) as engine:
            return await engine.score_all(tuned, "base", [(item.messages, item.answer) for item in result.probe.items])

    assert matches(result.probe, asyncio.run(score("tuned"))).matched
    refused = matches(result.probe, asyncio.run(score("base")))
    assert not refused.matched
    assert "like the base model" in refused.reason


def test_baseline_of_other_inputs_is_refused(site: Site, measured: tuple[BaselineResult, str]) -> None:
    found = measured[0].documents_digest
    for changes in ({"seed": 18, "documents_digest": found}, {"documents_digest": None}):
        with pytest.raises(BadInput, match="another profile"):
            evaluate.run(evaluate_config(site, measured[1], **changes), site.context, engine_url=site.url)


def test_adapter_with_a_flipped_byte_is_not_asked(
    site: Site, measured: tuple[BaselineResult, str], tmp_path: Path
) -> None:
    copy = tmp_path / "adapter"
    shutil.copytree(site.adapter, copy)
    weights = copy / "adapter_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    config = evaluate_config(site, measured[1])
    config = config.model_copy(update={"adapter": config.adapter.model_copy(update={"path": str(copy)})})
    with pytest.raises(DigestMismatch, match=r"adapter_model\.safetensors"):
        evaluate.run(config, site.context, engine_url=site.url)
