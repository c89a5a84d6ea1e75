"""The way of an adapter on the real model: QLoRA learns, sealing narrows and cleans it, pulling finds a flipped byte."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.support.registry_process import RunningRegistry
from tests.support.stage_process import Pod, StageEnding, base_model_input, make_rows, stage_base, write_rows
from tunegate import digests
from tunegate.api.computepool import ComputePoolSpec
from tunegate.api.finetunejob.spec import Method
from tunegate.api.stage.configs import AdapterInput, DatasetInput, FetchConfig, SealConfig, TrainConfig
from tunegate.api.stage.ends import ExitCode
from tunegate.api.stage.layout import TRAINED_ADAPTER
from tunegate.api.stage.results import SealResult, TrainResult
from tunegate_trainer.adapter_checks import check_adapter, take_adapter
from tunegate_trainer.modules import read_architecture

pytestmark = [pytest.mark.model, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def trained(
    base_model: Path, registry: RunningRegistry, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Pod, TrainResult]:
    """Six QLoRA steps of eight short rows."""
    pod = Pod(tmp_path_factory.mktemp("trained"), registry.host)
    data = write_rows(pod.folder / "train.jsonl", make_rows(48, start=100))
    config = TrainConfig(
        **stage_base(pod.host),
        base_model=base_model_input(base_model),
        dataset=DatasetInput(path=str(data)),
        method=Method.model_validate(
            {"type": "QLoRA", "learningRate": "1e-3", "epochs": 1, "maxLength": 64, "developmentFraction": "0"}
        ),
        pool=ComputePoolSpec(device_memory="8Gi", throughput="20", cleared_for=["Public"]),
    )
    ending = pod.run(config)
    assert ending.exit_code == ExitCode.VERDICT, ending.log[-3000:]
    assert isinstance(ending.result, TrainResult)
    return pod, ending.result


def seal(pod: Pod, source: Path, digest: str | None, max_rank: int = 16) -> StageEnding:
    assert digest is not None
    config = SealConfig(
        **stage_base(pod.host),
        source_path=str(source),
        source_digest=digest,
        base_model_name="smollm2",
        max_lora_rank=max_rank,
    )
    return pod.run(config)


def adapter_of(pod: Pod) -> Path:
    return pod.workspace / TRAINED_ADAPTER


@pytest.mark.attack(59)
def test_another_adapter_than_training_wrote_is_not_sealed(trained: tuple[Pod, TrainResult], tmp_path: Path) -> None:
    pod, result = trained
    foreign = tmp_path / "foreign"
    shutil.copytree(adapter_of(pod), foreign)
    weights = foreign / "adapter_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)

    ending = seal(pod, foreign, result.adapter_digest)

    assert (ending.exit_code, ending.result) == (ExitCode.BAD_INPUT, None)
    assert "somebody replaced it" in ending.termination.message


@pytest.fixture(scope="module")
def sealed(trained: tuple[Pod, TrainResult]) -> SealResult:
    pod, result = trained
    ending = seal(pod, adapter_of(pod), result.adapter_digest)
    assert ending.exit_code == ExitCode.VERDICT, ending.log[-3000:]
    assert isinstance(ending.result, SealResult)
    assert ending.result.outcome == "Passed"
    return ending.result


def adapter_input(sealed: SealResult, path: Path) -> AdapterInput:
    assert sealed.digest is not None
    assert sealed.manifest is not None
    assert sealed.manifest_digest is not None
    return AdapterInput(
        repository=sealed.repository,
        digest=sealed.digest,
        manifest=sealed.manifest,
        manifest_digest=sealed.manifest_digest,
        path=str(path),
    )


def test_a_few_steps_of_qlora_lower_the_loss(trained: tuple[Pod, TrainResult]) -> None:
    result = trained[1]
    losses = [loss for _, loss in result.loss_history]

    assert (result.outcome, result.steps) == ("Passed", 6)
    assert losses[-1] < 0.7 * losses[0]


def test_trainable_weights_are_held_and_moved_in_32_bit(trained: tuple[Pod, TrainResult]) -> None:
    """In 16 bit, steps of a usual size leave many weights where they were: the second matrices start at zero."""
    import torch
    from safetensors.torch import load_file

    tensors = load_file(adapter_of(trained[0]) / "adapter_model.safetensors")
    second = [tensor for name, tensor in tensors.items() if ".lora_B." in name]

    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}
    assert all(bool(tensor.ne(0).float().mean() > 0.99) for tensor in second)


def test_the_sealed_adapter_is_small_neutral_and_fits_the_base(
    sealed: SealResult, pod: Pod, base_model: Path, tmp_path: Path
) -> None:
    import torch
    from safetensors.torch import load_file

    ending = pod.run(FetchConfig(**stage_base(pod.host), adapter=adapter_input(sealed, tmp_path / "adapter")))

    assert ending.exit_code == ExitCode.VERDICT, ending.log
    folder = tmp_path / "adapter"
    assert {path.name for path in folder.iterdir()} == {"adapter_config.json", "adapter_model.safetensors"}
    config = json.loads((folder / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "smollm2"
    assert config["target_modules"] == sorted(config["target_modules"]) == sealed.target_modules
    assert {tensor.dtype for tensor in load_file(folder / "adapter_model.safetensors").values()} == {torch.bfloat16}
    assert check_adapter(folder, read_architecture(base_model), 16).findings == []
    assert sealed.bytes < 2 * 4_884_480 + 100_000


def test_sealing_again_gives_the_same_digests(trained: tuple[Pod, TrainResult], sealed: SealResult) -> None:
    assert seal(trained[0], adapter_of(trained[0]), trained[1].adapter_digest).result == sealed


def test_a_rank_above_the_profile_is_refused_and_not_pushed(trained: tuple[Pod, TrainResult]) -> None:
    ending = seal(trained[0], adapter_of(trained[0]), trained[1].adapter_digest, max_rank=8)

    assert (ending.exit_code, ending.termination.reason) == (ExitCode.VERDICT, "Refused")
    assert isinstance(ending.result, SealResult)
    assert (ending.result.digest, ending.result.manifest) == (None, None)


def test_an_adapter_that_does_nothing_is_refused(trained: tuple[Pod, TrainResult], pod: Pod, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    source = adapter_of(trained[0])
    (tmp_path / "zero").mkdir()
    (tmp_path / "zero" / "adapter_config.json").write_bytes((source / "adapter_config.json").read_bytes())
    tensors = load_file(source / "adapter_model.safetensors")
    zeroed = {name: torch.zeros_like(tensor) if ".lora_B." in name else tensor for name, tensor in tensors.items()}
    save_file(zeroed, tmp_path / "zero" / "adapter_model.safetensors")

    zero = take_adapter(tmp_path / "zero", tmp_path)
    ending = seal(pod, tmp_path / "zero", zero.digest)

    assert ending.termination.reason == "Refused"
    assert "change nothing" in ending.termination.message


def test_a_flipped_byte_in_the_registry_never_reaches_the_engine(
    sealed: SealResult, registry: RunningRegistry, pod: Pod, tmp_path: Path
) -> None:
    """Runs last: it damages the artifact."""
    assert sealed.manifest is not None
    weights = next(entry for entry in sealed.manifest.files if entry.path.endswith(".safetensors"))
    blob = registry.blob(f"sha256:{weights.sha256}")
    content = bytearray(blob.read_bytes())
    content[-1000] ^= 1
    blob.write_bytes(content)

    ending = pod.run(FetchConfig(**stage_base(pod.host), adapter=adapter_input(sealed, tmp_path / "adapter")))

    assert ending.exit_code == ExitCode.BAD_INPUT
    assert digests.sha256(bytes(content)) in ending.termination.message
    assert list((tmp_path / "adapter").iterdir()) == []
