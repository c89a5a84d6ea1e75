"""Training through the real entry point: it learns, stops cleanly, goes on exactly, and many pods equal one."""

from __future__ import annotations

import shutil
import signal
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.ports import free_port
from tests.support.stage_process import (
    Pod,
    StageEnding,
    StageProcess,
    base_model_input,
    make_rows,
    stage_base,
    write_rows,
)
from tunegate.api.computepool import ComputePoolSpec
from tunegate.api.finetunejob.spec import Method
from tunegate.api.stage.configs import DatasetInput, TrainConfig
from tunegate.api.stage.ends import ExitCode, ProgressReport
from tunegate.api.stage.results import TrainResult
from tunegate.digests import file_digest

pytestmark = [pytest.mark.model, pytest.mark.timeout(900)]

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


def wait_for_step(port: int, step: int) -> ProgressReport:
    """Ask the pod for its progress, as the operator does, until it has done ``step`` steps."""
    for _ in range(3000):
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


def test_training_stopped_by_sigterm_goes_on_to_the_same_weights(
    uninterrupted: tuple[Pod, TrainResult], small_model: Path, pod: Pod
) -> None:
    """SIGTERM in the middle: exit 75 with a checkpoint; the next attempt ends with bit-identical weights and losses."""
    reference, expected = uninterrupted
    port = free_port()
    first = pod.start(make_config(pod, small_model, rows=40), PROGRESS_PORT=str(port))
    wait_for_step(port, 6)
    first.process.send_signal(signal.SIGTERM)
    ending = first.end()

    assert (ending.exit_code, ending.termination.reason) == (ExitCode.PREEMPTED, "Preempted"), ending.log[-3000:]
    # What a kill in the middle of a checkpoint leaves behind must not stop the next attempt.
    (pod.workspace / "checkpoints" / "checkpoint-23").mkdir()

    result = train_result(pod.run(make_config(pod, small_model, rows=40, attempt=2)))

    assert 6 <= result.resumed_from_step < 24
    assert_same_weights(weights_of(reference), weights_of(pod))
    assert result.loss_history == expected.loss_history
    assert result.development_history == expected.development_history
    assert result.tokens == expected.tokens
    assert not any((pod.workspace / "checkpoints").glob("*checkpoint-23*"))


def test_a_finished_training_that_runs_again_reports_the_same(
    uninterrupted: tuple[Pod, TrainResult], small_model: Path
) -> None:
    """The pod died between the last step and pushing its result: the next attempt has nothing left to train."""
    pod, expected = uninterrupted
    before = weights_of(pod)

    result = train_result(pod.run(make_config(pod, small_model, rows=40, attempt=2)))

    assert result.resumed_from_step == result.steps == 24
    assert (result.loss_history, result.best_step, result.tokens) == (
        expected.loss_history,
        expected.best_step,
        expected.tokens,
    )
    assert_same_weights(before, weights_of(pod))


def test_two_pods_over_gloo_reach_the_loss_of_one(small_model: Path, registry: object, tmp_path: Path) -> None:
    """Same rows, same global batch: the last loss differs by less than 5 % (the two draw other batches of the rows)."""
    host = registry.host  # type: ignore[attr-defined]
    alone = Pod(tmp_path / "alone", host)
    settings: dict[str, Any] = {"dropout": "0", "epochs": 8, "development_fraction": "0", "checkpoint_steps": 1000}
    one = train_result(alone.run(make_config(alone, small_model, 16, batch_size=8, **settings)))
    first, second = Pod(tmp_path / "first", host), Pod(tmp_path / "second", host)
    second.workspace = first.workspace
    config = make_config(first, small_model, 16, batch_size=4, num_nodes=2, **settings)
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "OMP_NUM_THREADS": "1"}
    pods = [pod.start(config, JOB_COMPLETION_INDEX=str(index), **meeting) for index, pod in enumerate((first, second))]
    main, peer = (process.end() for process in pods)
    two = train_result(main)

    assert (peer.exit_code, peer.termination.reason, peer.result) == (ExitCode.VERDICT, "Completed", None)
    assert (one.world_size, two.world_size) == (1, 2)
    assert one.steps == two.steps == 16
    assert one.tokens == two.tokens
    assert two.training_loss == pytest.approx(one.training_loss, rel=0.05)
    assert two.training_loss < 0.8 * two.loss_history[0][1]


def test_two_pods_take_the_best_checkpoint_that_one_of_them_sealed(
    small_model: Path, registry: object, tmp_path: Path
) -> None:
    """It is the last one, of which the second pod wrote nothing and which it has to find whole."""
    host = registry.host  # type: ignore[attr-defined]
    first, second = Pod(tmp_path / "first", host), Pod(tmp_path / "second", host)
    second.workspace = first.workspace
    config = make_config(first, small_model, 16, batch_size=2, num_nodes=2, epochs=1, checkpoint_steps=1)
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    pods = [pod.start(config, JOB_COMPLETION_INDEX=str(index), **meeting) for index, pod in enumerate((first, second))]
    main, peer = (process.end() for process in pods)
    result = train_result(main)

    assert (peer.exit_code, peer.termination.reason) == (ExitCode.VERDICT, "Completed"), peer.log[-3000:]
    assert (result.outcome, result.world_size) == ("Passed", 2)
    assert result.best_step == result.steps > 1


def test_a_pool_that_promises_devices_where_there_are_none_trains_nothing(small_model: Path, pod: Pod) -> None:
    config = make_config(pod, small_model, rows=8)
    promised = POOL.model_copy(update={"device_resource": "nvidia.com/gpu"})

    ending = pod.run(config.model_copy(update={"pool": promised}))

    assert (ending.exit_code, ending.termination.reason) == (ExitCode.DEVICES_MISSING, "DevicesMissing"), ending.log
    assert "torch sees no device" in ending.termination.message
    assert not any(pod.workspace.iterdir())


def test_a_workspace_without_room_for_checkpoints_is_an_end_of_its_own(
    small_model: Path, pod: Pod, small_disk: Path
) -> None:
    pod.workspace = small_disk
    (small_disk / "filler").write_bytes(bytes(8 * 1024 * 1024 - 128 * 1024))

    ending = pod.run(make_config(pod, small_model, rows=40))

    assert (ending.exit_code, ending.termination.reason) == (ExitCode.STORAGE_FULL, "StorageFull"), ending.log[-3000:]
    assert "workspace.size" in ending.termination.message


@pytest.mark.parametrize(
    ("overflows", "by"),
    [("model.norm.weight", 1e37), ("model.embed_tokens.weight", 1e25)],
    ids=["loss is no number", "loss stays that of equal logits"],
)
def test_numbers_that_overflow_are_a_verdict_and_no_retry(
    small_model: Path, pod: Pod, tmp_path: Path, overflows: str, by: float
) -> None:
    """As of a learning rate out of hand, which does not always end in a loss that is no number: vast numbers become zeros in a
    norm."""
    from safetensors.torch import load_file, save_file

    overflowing = shutil.copytree(small_model, tmp_path / "overflowing")
    weights = load_file(overflowing / "model.safetensors")
    weights[overflows] *= by
    save_file(weights, overflowing / "model.safetensors", metadata={"format": "pt"})

    result = train_result(pod.run(make_config(pod, overflowing, 16, epochs=2, development_fraction="0")))

    assert result.outcome == "Diverged", result.loss_history


def started(pod: Pod, process: StageProcess, scratch: Path) -> None:
    """Wait until everything was compared and the training processes are being started, which read some seconds later."""
    for _ in range(3000):
        if list(scratch.glob("stage-*/train.json")):
            return
        assert process.process.poll() is None, (process.folder / "log").read_text()[-3000:]
        time.sleep(0.02)
    raise AssertionError("the training did not begin")


@pytest.mark.attack(56)
def test_rows_that_are_swapped_between_check_and_reading_are_not_trained_on(small_model: Path, pod: Pod) -> None:
    config = make_config(pod, small_model, 16, epochs=1, development_fraction="0")
    data = Path(config.dataset.path)
    promised = file_digest(data)
    scratch = pod.folder / "scratch"
    scratch.mkdir()

    process = pod.start(config, TMPDIR=str(scratch))
    started(pod, process, scratch)
    write_rows(data, make_rows(4, start=900))
    result = train_result(process.end())

    assert (result.steps, result.inputs.dataset) == (4, promised)
    assert file_digest(data) != promised


@pytest.mark.attack(58)
def test_base_weights_that_are_swapped_while_it_trains_end_it_without_a_checkpoint(small_model: Path, pod: Pod) -> None:
    """The same bytes are put in their place again: in between the training may have read others."""
    folder = pod.folder / "model"
    shutil.copytree(small_model, folder)
    config = make_config(pod, folder, 16, epochs=1, development_fraction="0", checkpoint_steps=2)
    scratch = pod.folder / "scratch"
    scratch.mkdir()

    process = pod.start(config, TMPDIR=str(scratch))
    started(pod, process, scratch)
    weights = folder / "model.safetensors"
    shutil.copy(weights, folder / "copy")
    (folder / "copy").rename(weights)
    ending = process.end()

    assert (ending.exit_code, ending.termination.reason) == (ExitCode.INPUT_CHANGED, "InputChanged"), ending.log[-3000:]
    assert "model.safetensors" in ending.termination.message
    assert not list(pod.workspace.glob("checkpoints/*/tunegate.json"))
    assert not (pod.workspace / "adapter").exists()


def test_whole_checkpoints_stay_until_the_next_one_is_sealed(small_model: Path, pod: Pod) -> None:
    """The base model changes, so that the next checkpoint is written and never sealed."""
    folder = pod.folder / "model"
    shutil.copytree(small_model, folder)
    port = free_port()
    config = make_config(pod, folder, 16, epochs=20, development_fraction="0", checkpoint_steps=2)

    process = pod.start(config, PROGRESS_PORT=str(port))
    wait_for_step(port, 5)
    (folder / "model.safetensors").touch()
    ending = process.end()

    checkpoints = sorted(pod.workspace.glob("checkpoints/checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    assert (ending.exit_code, ending.termination.reason) == (ExitCode.INPUT_CHANGED, "InputChanged"), ending.log[-3000:]
    assert [(path / "tunegate.json").exists() for path in checkpoints] == [True, True, False]


@pytest.mark.attack(59)
def test_a_whole_checkpoint_of_another_job_is_not_gone_on_from(
    uninterrupted: tuple[Pod, TrainResult], small_model: Path, pod: Pod
) -> None:
    other, _ = uninterrupted
    shutil.copytree(other.workspace / "checkpoints", pod.workspace / "checkpoints")
    (pod.folder / "checkpoint-key").write_bytes(bytes(reversed(range(32))))

    result = train_result(pod.run(make_config(pod, small_model, 16, epochs=1, development_fraction="0")))

    assert (result.resumed_from_step, result.steps) == (0, 4)
    assert result.foreign_checkpoints > 0
    assert len(list((pod.workspace / "checkpoints").glob("foreign-checkpoint-*"))) == result.foreign_checkpoints
