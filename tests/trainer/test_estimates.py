"""Estimates against published and counted figures, and the limits that they are held to."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks.memory.published import MODELS, llama

from tunegate.api.computepool import ComputePoolSpec
from tunegate.api.evaluationsuite import EvaluationSuiteSpec
from tunegate.api.finetunejob.spec import Budget, Economics, Method
from tunegate.api.modelserver import EngineProfile
from tunegate_trainer.evaluation.power import smallest_visible_gain
from tunegate_trainer.modules import Architecture
from tunegate_trainer.validation import estimates, limits

ROOT = Path(__file__).parents[2]
PROFILE = EngineProfile(image="registry/engine@sha256:" + "0" * 64, max_model_len=2048, max_lora_rank=16)
POOL = ComputePoolSpec(
    device_resource="nvidia.com/gpu", devices_per_node=2, device_memory="24G", max_nodes=2, throughput="16000",
    price_per_device_hour="2.5", cleared_for=["Public"],
)  # fmt: skip
SUITE = EvaluationSuiteSpec.model_validate(
    {
        "data": {"uri": "pvc://data/suite.jsonl", "digest": "sha256:" + "0" * 64},
        "task": {"type": "Extraction"},
        "primaryMetric": {"name": "ExactMatch"},
    }
)


LLAMA_8B = MODELS["Llama-3.1-8B"]


def method(**settings: object) -> Method:
    return Method.model_validate({"type": "QLoRA", "batchSize": 1, **settings})


def test_trainable_weights_are_those_of_public_models() -> None:
    assert LLAMA_8B.parameters == 8_030_261_248
    assert LLAMA_8B.trainable(LLAMA_8B.targets("AllLinear"), 16) == 41_943_040
    assert LLAMA_8B.targets("Attention") == ["k_proj", "o_proj", "q_proj", "v_proj"]


def test_device_hours_follow_tokens_and_model_size() -> None:
    """16,000 tokens a second for a billion weights are 2,000 for eight: 1.5 million tokens take 12.5 minutes."""
    counts = estimates.TokenCounts(rows=500, tokens=500_000, longest=1000, development_tokens=0)

    hours = estimates.device_hours(LLAMA_8B, method(epochs=3), counts, 16_000)

    assert hours == pytest.approx(1_500_000 / (16_000 / 8.030261248) / 3600, rel=1e-6)


@pytest.mark.parametrize(
    ("steps", "every", "develop", "interval"),
    [
        (30, 50, True, 10),
        (31, 50, True, 11),
        (1, 50, True, 1),
        (30, 50, False, 30),
        (30, 30, True, 30),
        (30, 12, True, 12),
    ],
)
def test_a_training_that_ends_before_its_first_checkpoint_has_a_development_curve_all_the_same(
    steps: int, every: int, *, develop: bool, interval: int
) -> None:
    assert estimates.checkpoint_interval(method(checkpointSteps=every), steps, develop=develop) == interval


def test_an_evaluation_for_each_checkpoint_is_in_the_estimate() -> None:
    counts = estimates.TokenCounts(rows=30, tokens=30_000, longest=200, development_tokens=30_000)
    few = estimates.device_hours(LLAMA_8B, method(epochs=1, checkpointSteps=30), counts, 16_000)
    assert estimates.device_hours(LLAMA_8B, method(epochs=1), counts, 16_000) > few


def test_a_step_limit_shortens_the_estimate() -> None:
    counts = estimates.TokenCounts(rows=100, tokens=10_000, longest=200, development_tokens=0)
    whole = estimates.device_hours(LLAMA_8B, method(epochs=1, batchSize=10), counts, 16_000)

    assert estimates.device_hours(LLAMA_8B, method(epochs=1, batchSize=10, maxSteps=5), counts, 16_000) == whole / 2


@pytest.mark.parametrize(("questions", "gain"), [(100, 0.140), (112, 0.132), (500, 0.063), (0, 1.0)])
def test_the_smallest_visible_gain_shrinks_with_the_root_of_the_questions(questions: int, gain: float) -> None:
    assert smallest_visible_gain(questions) == pytest.approx(gain, abs=0.001)


def test_a_job_that_does_not_fit_the_pool_says_what_to_do() -> None:
    findings = limits.check_pool(method(numNodes=3, numProcPerNode=4), POOL, 25_000_000_000, 30_000_000_000)

    assert [finding.check for finding in findings] == ["Memory", "Nodes", "Devices"]
    assert "maxLength" in findings[0].message


@pytest.mark.parametrize(
    ("least", "peak", "actions"),
    [
        (20_000_000_000, 24_000_000_000, []),
        (24_000_000_000, 24_000_000_001, ["Warn"]),
        (24_000_000_001, 30_000_000_000, ["Block"]),
    ],
)
def test_only_what_can_not_fit_is_refused_and_what_may_not_fit_is_a_warning(
    least: int, peak: int, actions: list[str]
) -> None:
    found = limits.check_pool(method(), POOL, least, peak)

    assert [finding.action for finding in found] == actions
    assert all(f"{least / 1e9:.1f} to {peak / 1e9:.1f} GB" in finding.message for finding in found)


def test_published_peaks_are_estimated_within_a_fifth() -> None:
    script = ROOT / "benchmarks/memory/published.py"

    paths = os.pathsep.join(str(ROOT / name) for name in ("operator", "trainer-image"))
    environment = {**os.environ, "PYTHONPATH": paths}
    table = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False, env=environment)

    assert table.returncode == 0, table.stdout + table.stderr
    assert table.stdout.strip() in (script.parent / "README.md").read_text()


@pytest.mark.parametrize(
    ("replaced", "own", "monthly", "months"),
    [("0.03", "0.01", 200.0, (1.0, 1.5)), ("0.01", "0.01", 0.0, None), ("0.01", "0.03", -200.0, None)],
)
def test_a_training_pays_when_the_savings_reach_the_cost_of_two_to_three_runs_or_never(
    replaced: str, own: str, monthly: float, months: tuple[float, float] | None
) -> None:
    economics = Economics(
        replaced_price_per_thousand_tokens=replaced, own_price_per_thousand_tokens=own, monthly_tokens=10_000_000
    )

    found = estimates.savings(economics, 100.0)

    assert found.monthly == pytest.approx(monthly)
    assert found.break_even_months == (months if months is None else pytest.approx(months))


def test_an_estimate_above_the_budget_is_refused() -> None:
    assert limits.check_budget(Budget(max_device_hours="1", max_cost="5"), 0.9, 4.9, "USD") == []
    assert len(limits.check_budget(Budget(max_device_hours="1", max_cost="5"), 1.1, 5.1, "USD")) == 2


def test_the_profile_bounds_rank_and_length() -> None:
    findings = limits.check_profile(method(rank=32, maxLength=4096), PROFILE, 2048)

    assert len(findings) == 3
    assert all(finding.action == "Block" for finding in findings)


@pytest.mark.parametrize(("task", "least"), [("Style", 100), ("Format", 200), ("DomainVocabulary", 500)])
def test_too_few_examples_are_refused_by_task(task: str, least: int) -> None:
    def checks(count: int) -> list[str]:
        found = limits.check_examples(task, count, {}, SUITE)  # type: ignore[arg-type]
        return [finding.action for finding in found]

    assert checks(least - 1) == ["Block"]
    assert checks(least) == ["Warn"]
    assert checks(5 * least) == []


def test_every_class_needs_examples() -> None:
    assert limits.check_examples("Classification", 1000, dict.fromkeys(range(10), 100), SUITE) == []
    found = limits.check_examples("Classification", 1000, dict.fromkeys(range(30), 33), SUITE)
    assert [(finding.check, finding.count) for finding in found] == [("MinimumPerClass", 30)]


@pytest.mark.parametrize(
    ("kind", "batch", "length", "measured"),
    [("LoRA", 1, 150, 2.19e9), ("QLoRA", 8, 48, 3.11e9), ("QLoRA", 8, 150, 6.86e9), ("LoRA", 8, 150, 7.19e9)],
)
def test_peak_memory_on_a_cpu_is_within_a_quarter_of_what_was_measured(
    kind: str, batch: int, length: int, measured: float
) -> None:
    """Peak resident set of trainings of SmolLM2-135M (embeddings tied) on two cores."""
    small = llama(30, 576, 1536, 192, 49_152)
    tied = Architecture(small.linears, small.parameters - 576 * 49_152, 30, 576, 49_152)
    chosen = method(type=kind, batchSize=batch, maxLength=256)

    parts = estimates.memory_parts(tied, chosen, 4_884_480, length, cuda=False)

    assert sum(parts.values()) == pytest.approx(measured, rel=0.25)
    assert estimates.least_memory(parts, cuda=False) < measured
