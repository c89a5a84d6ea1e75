"""A base model is hashed in full, only when nothing foreign lies in its folder, at every start."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.model_folder import make_model
from tests.support.stage_process import Pod, base_model_input, stage_base, stage_context
from tunegate import digests
from tunegate.api.stage.configs import HashConfig
from tunegate.api.stage.ends import ExitCode
from tunegate.api.stage.results import HashResult
from tunegate_trainer.endings import BadInput
from tunegate_trainer.inputs import check_base_model


def hash_stage(pod: Pod, folder: Path, expected: str | None = None) -> HashResult:
    config = HashConfig(**stage_base(pod.host), path=str(folder), expected_manifest_digest=expected)
    ending = pod.run(config)
    assert ending.exit_code == ExitCode.VERDICT, ending.log
    assert isinstance(ending.result, HashResult)
    assert ending.termination.reason == ("Completed" if ending.result.outcome == "Passed" else "Refused")
    return ending.result


def test_hashing_names_files_and_counts_weights(pod: Pod, tmp_path: Path) -> None:
    folder = make_model(tmp_path / "model")
    (folder / "README.md").write_text("a card")

    result = hash_stage(pod, folder)

    assert result.outcome == "Passed"
    assert result.parameters == 32 * 8 + 8 * 8
    assert [entry.path for entry in result.manifest.files] == [
        "chat_template.jinja", "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
    ]  # fmt: skip
    assert result.manifest_digest == digests.manifest_digest(base_model_input(folder).manifest)
    assert result.bytes == sum(entry.size for entry in result.manifest.files)


def test_an_unexpected_digest_is_refused(pod: Pod, tmp_path: Path) -> None:
    result = hash_stage(pod, make_model(tmp_path / "model"), "sha256:" + "0" * 64)

    assert (result.outcome, [finding.check for finding in result.findings]) == ("Refused", ["Digest"])


def test_code_pickles_and_a_missing_template_are_refused_together(pod: Pod, tmp_path: Path) -> None:
    folder = make_model(tmp_path / "model")
    (folder / "pytorch_model.bin").write_bytes(b"x")
    (folder / "modeling.py").write_text("")
    (folder / "chat_template.jinja").unlink()
    (folder / "config.json").write_text('{"auto_map": {"AutoModel": "modeling.Own"}}')

    result = hash_stage(pod, folder)

    assert result.outcome == "Refused"
    assert {finding.check for finding in result.findings} == {"Files", "Code", "ChatTemplate"}


@pytest.mark.parametrize("name", ["adapter_config.json", "model.gguf", "weights.pt", "original", "link.json"])
def test_a_file_added_later_stops_every_stage(tmp_path: Path, name: str) -> None:
    folder = make_model(tmp_path / "model")
    model = base_model_input(folder)
    check_base_model(model, stage_context(tmp_path))
    if name == "original":
        (folder / name).mkdir()
    elif name == "link.json":
        (folder / name).symlink_to("/etc/hostname")
    else:
        (folder / name).write_text("{}")

    with pytest.raises(BadInput, match=name.replace(".", r"\.")):
        check_base_model(model, stage_context(tmp_path))


def test_changed_bytes_stop_every_stage(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "model")
    model = base_model_input(folder)
    (folder / "chat_template.jinja").write_text("{{ evil   }}")

    with pytest.raises(BadInput, match="chat_template"):
        check_base_model(model, stage_context(tmp_path))


def test_a_manifest_with_another_digest_stops_every_stage(tmp_path: Path) -> None:
    model = base_model_input(make_model(tmp_path / "model"))

    with pytest.raises(BadInput, match="manifest"):
        check_base_model(model.model_copy(update={"manifest_digest": "sha256:" + "1" * 64}), stage_context(tmp_path))
