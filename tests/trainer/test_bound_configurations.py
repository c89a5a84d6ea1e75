"""A stage does what its pod was made for: another configuration is refused before anything is read, and results say which."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.model_folder import make_model
from tests.support.stage_process import Pod, StageProcess, base_model_input, stage_base, stage_context
from tunegate import digests
from tunegate.api.manifest import HashedFolder
from tunegate.api.stage.configs import CheckBaseConfig, HashConfig, StageConfigBase
from tunegate.api.stage.ends import ExitCode
from tunegate.api.stage.results import HashResult
from tunegate_trainer.endings import InputChanged, Unknown
from tunegate_trainer.entry import main
from tunegate_trainer.inputs import record_base_model, recorded_base_model

FOREIGN = "sha256:" + "0" * 64


def config_digest(process: StageProcess) -> str:
    return digests.file_digest(process.folder / "stage.json")


@pytest.mark.attack(51, 52)
@pytest.mark.parametrize("stage", ["Hash", "CheckBase"])
def test_another_configuration_is_refused_before_anything_is_read(pod: Pod, tmp_path: Path, stage: str) -> None:
    folder = make_model(tmp_path / "model")
    base = stage_base("nowhere.invalid:1")
    made: StageConfigBase = (
        HashConfig(**base, path=str(folder))
        if stage == "Hash"
        else CheckBaseConfig(**base, base_model=base_model_input(folder))
    )

    ending = pod.start(made, promised=FOREIGN).end()

    assert (ending.exit_code, ending.termination.reason) == (ExitCode.CONFIGURATION_DIFFERS, "ConfigurationDiffers")
    assert FOREIGN in ending.termination.message
    assert "stage starts" not in ending.log
    assert not (pod.folder / "base.json").exists()


@pytest.mark.attack(51, 52)
def test_there_is_no_way_to_run_a_stage_without_the_digest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--config", str(tmp_path / "stage.json"), "--termination", str(tmp_path / "termination")])
    assert ended.value.code == 2
    assert "--config-digest" in capsys.readouterr().err


@pytest.mark.attack(52)
def test_a_result_names_its_configuration_and_what_was_really_read(pod: Pod, tmp_path: Path) -> None:
    folder = make_model(tmp_path / "model")

    process = pod.start(HashConfig(**stage_base(pod.host), path=str(folder)))
    result = process.end().result

    assert isinstance(result, HashResult)
    assert result.config_digest == config_digest(process)
    assert result.inputs.to_dict() == {"baseModel": base_model_input(folder).manifest_digest}


@pytest.mark.attack(58)
def test_weights_of_the_same_size_are_found_before_an_engine_reads_them(pod: Pod, tmp_path: Path) -> None:
    folder = make_model(tmp_path / "model")
    model = base_model_input(folder)
    weights = folder / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)

    ending = pod.run(CheckBaseConfig(**stage_base(pod.host), base_model=model))

    assert (ending.exit_code, ending.termination.reason) == (ExitCode.BAD_INPUT, "BadInput")
    assert "model.safetensors has other bytes than the catalogue admitted" in ending.termination.message
    assert not (pod.folder / "base.json").exists()


@pytest.mark.attack(58)
def test_what_was_hashed_before_the_engine_is_what_the_stage_goes_by(pod: Pod, tmp_path: Path) -> None:
    folder = make_model(tmp_path / "model")
    model = base_model_input(folder)
    ending = pod.run(CheckBaseConfig(**stage_base(pod.host), base_model=model))
    assert ending.exit_code == ExitCode.VERDICT, ending.log

    found = HashedFolder.model_validate_json((pod.folder / "base.json").read_bytes())

    assert (found.root, found.manifest_digest) == (str(folder), model.manifest_digest)
    assert [file.path for file in found.files] == [entry.path for entry in model.manifest.files]


@pytest.mark.attack(58)
@pytest.mark.parametrize("when", ["before the stage", "while it asks"])
def test_weights_that_were_swapped_and_put_back_around_the_engine_are_noticed(tmp_path: Path, when: str) -> None:
    """The bytes are right whenever anybody hashes them; in between the engine may have read others."""
    folder = make_model(tmp_path / "model")
    model, context = base_model_input(folder), stage_context(tmp_path)
    record_base_model(model, context)
    weights = folder / "model.safetensors"

    def swap_and_put_back() -> None:
        kept = tmp_path / "kept"
        weights.rename(kept)
        weights.write_bytes(b"other weights")
        kept.rename(weights)

    if when == "before the stage":
        swap_and_put_back()
        with pytest.raises(InputChanged, match=r"model\.safetensors was replaced or written to"):
            recorded_base_model(model, context)
        return
    recorded_base_model(model, context)
    assert context.notes.settle().base_model == model.manifest_digest
    swap_and_put_back()
    with pytest.raises(InputChanged, match=r"model\.safetensors was replaced or written to"):
        context.notes.settle()


@pytest.mark.attack(58)
def test_a_stage_with_an_engine_needs_the_record(tmp_path: Path) -> None:
    model = base_model_input(make_model(tmp_path / "model"))
    with pytest.raises(Unknown, match="check-base"):
        recorded_base_model(model, stage_context(tmp_path))
