"""Training through the real entry point: it learns, stops cleanly, goes on exactly, and many pods equal one."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import httpx
import pytest

from tests.trainer.stage_process import Pod, StageEnding, base_model_input, make_rows, stage_base, write_rows
from tunegate.api.computepool import ComputePoolSpec
from tunegate.api.finetunejob import Method
from tunegate.api.stages import DatasetInput, ExitCode, ProgressReport, TrainConfig, TrainResult

pytestmark = [pytest.mark.model, pytest.mark.timeout(400)]

POOL = ComputePoolSpec(device_memory="8Gi", throughput="20", cleared_for=["Public"])


def make_config(pod: Pod, model: Path, rows: int, attempt: int = 1, **method: object) -> TrainConfig:
    """A LoRA training of short rows; ``method`` overrides its settings."""
    data = write_rows(pod.folder / "train.jsonl", make_rows(rows))
    settings: dict[str, object] = {
        "type": "LoRA", "rank": 4, "alpha": 8, "dropout": "0.1", "learning_rate": "1e-3", "epochs": 3, "batch_size": 4,
        "max_length": 128, "checkpoint_steps": 4, "development_fraction": "0.2",
    }  # fmt: skip
    return TrainConfig(
        **stage_base(pod.host, attempt),
        base_model=base_model_input(model),
        dataset=DatasetInput(path=str(data), group_field="document"),
        method=Method.model_validate({**settings, **method}),
        pool=POOL,
    )


def train_result(ending: StageEnding) -> TrainResult:
    assert ending.exit_code == ExitCode.VERDICT, ending.log[-3000:]
    assert isinstance(ending.result, TrainResult)
    return ending.result


def weights_of(pod: Pod) -> dict[str, object]:
    from safetensors.torch import load_file

    return dict(load_file(pod.workspace / "adapter" / "adapter_model.safetensors"))


def assert_same_weights(first: dict[str, object], second: dict[str, object]) -> None:
    import torch

    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_step(port: int, step: int, process: object) -> ProgressReport:
    """Ask the pod for its progress, as the operator does, until it has done ``step`` steps."""
    for _ in range(1200):
        try:
            answer = httpx.get(f"http://127.0.0.1:{port}/progress", trust_env=False)
            report = ProgressReport.model_validate_json(answer.content)
            if report.step >= step:
                return report
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise AssertionError("the training made no progress")


@pytest.fixture(scope="module")
def uninterrupted(
    small_model: Path, registry: object, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Pod, TrainResult]:
    """One run of 24 steps without a break, to compare with."""
    pod = Pod(tmp_path_factory.mktemp("uninterrupted"), registry.host)  # type: ignore[attr-defined]
    return pod, train_result(pod.run(make_config(pod, small_model, rows=40)))


def test_a_finished_training_reports_losses_and_leaves_an_adapter_only(uninterrupted: tuple[Pod, TrainResult]) -> None:
    pod, result = uninterrupted

    assert result.outcome == "Passed"
    assert result.steps == len(result.loss_history) == 24
    assert result.loss_history[-1][1] < result.loss_history[0][1]
    assert result.development_loss == min(loss for _, loss in result.development_history)
    assert result.tokens > 0
    assert result.seconds > 0
    assert sorted(path.name for path in (pod.workspace / "adapter").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
