"""A base model is hashed in full, only when nothing foreign lies in its folder, at every start."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.model_folder import TENSORS, make_model, write_safetensors
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


def refused(pod: Pod, folder: Path) -> list[str]:
    result = hash_stage(pod, folder)
    assert result.outcome == "Refused"
    return [finding.message for finding in result.findings]


def write_index(folder: Path, files: dict[str, str]) -> None:
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}))


def make_sharded(folder: Path) -> Path:
    """A model whose weights are in two shards."""
    make_model(folder)
    (folder / "model.safetensors").unlink()
    write_safetensors(folder / "model-00001-of-00002.safetensors", {"a": (8, 8)})
    write_safetensors(folder / "model-00002-of-00002.safetensors", {"b": (4, 8)})
    write_index(folder, {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"})
    return folder


def test_shards_are_counted_by_their_index(pod: Pod, tmp_path: Path) -> None:
    folder = make_sharded(tmp_path / "model")
    write_safetensors(folder / "left-over.safetensors", {"a": (8, 8)})

    result = hash_stage(pod, folder)

    assert (result.outcome, result.parameters) == ("Passed", 8 * 8 + 4 * 8)


def test_a_shard_that_the_index_names_and_nobody_copied_is_named(pod: Pod, tmp_path: Path) -> None:
    folder = make_sharded(tmp_path / "model")
    (folder / "model-00002-of-00002.safetensors").unlink()

    (message,) = refused(pod, folder)

    assert message.startswith(
        "model.safetensors.index.json names weight files that are not there: model-00002-of-00002"
    )


def test_a_stale_index_beside_the_whole_weights_says_what_to_remove(pod: Pod, tmp_path: Path) -> None:
    folder = make_model(tmp_path / "model")
    write_index(folder, {"a": "model-00001-of-00030.safetensors"})

    (message,) = refused(pod, folder)

    assert message.endswith("or remove model.safetensors.index.json if model.safetensors holds all weights")


def test_two_sets_of_weights_are_refused(pod: Pod, tmp_path: Path) -> None:
    sharded, doubled = make_sharded(tmp_path / "sharded"), make_model(tmp_path / "doubled")
    write_safetensors(sharded / "model.safetensors", {"a": (8, 8), "b": (4, 8)})
    write_safetensors(doubled / "other.safetensors", {"a": (8, 8)})

    assert "beside the shards" in refused(pod, sharded)[0]
    assert "other.safetensors beside model.safetensors" in refused(pod, doubled)[0]


def test_shards_without_an_index_are_refused(pod: Pod, tmp_path: Path) -> None:
    folder = make_sharded(tmp_path / "model")
    (folder / "model.safetensors.index.json").unlink()

    assert "without an index" in refused(pod, folder)[0]


@pytest.mark.parametrize("text", ["{}", "[]", '{"weight_map": {}}', '{"weight_map": {"a": 1}}', "{"])
def test_an_index_that_names_nothing_is_refused(pod: Pod, tmp_path: Path, text: str) -> None:
    folder = make_sharded(tmp_path / "model")
    (folder / "model.safetensors.index.json").write_text(text)

    assert refused(pod, folder) == [
        "model.safetensors.index.json has no weight_map of tensors and their files: copy it again"
    ]


def test_an_index_of_other_shards_is_refused(pod: Pod, tmp_path: Path) -> None:
    folder = make_sharded(tmp_path / "model")
    write_safetensors(folder / "model-00002-of-00002.safetensors", {"c": (4, 8)})

    assert refused(pod, folder) == [
        "model.safetensors.index.json names weights that its files do not hold: b. Copy index and files again"
    ]


def test_weights_in_a_second_format_are_refused_not_counted_twice(pod: Pod, tmp_path: Path) -> None:
    folder = make_model(tmp_path / "model")
    write_safetensors(folder / "consolidated.safetensors", TENSORS)

    result = hash_stage(pod, folder)

    assert result.parameters == 32 * 8 + 8 * 8
    assert [finding.message.split(":")[0] for finding in result.findings] == ["consolidated.safetensors"]


def test_cut_off_weights_and_pointers_to_weights_are_refused(pod: Pod, tmp_path: Path) -> None:
    folder = make_sharded(tmp_path / "model")
    cut = folder / "model-00001-of-00002.safetensors"
    cut.write_bytes(cut.read_bytes()[:-4])
    (folder / "model-00002-of-00002.safetensors").write_text("version https://git-lfs.github.com/spec/v1\nsize 1\n")

    short, pointer = refused(pod, folder)

    assert "model-00001-of-00002.safetensors: cut short" in short
    assert "model-00002-of-00002.safetensors: a Git LFS pointer" in pointer


@pytest.mark.parametrize("name", ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"])
def test_a_cut_off_configuration_or_tokenizer_is_named(pod: Pod, tmp_path: Path, name: str) -> None:
    folder = make_model(tmp_path / "model")
    (folder / name).write_text('{"model_type": ')

    assert refused(pod, folder) == [f"{name} is not a JSON object, or cut short: copy it again"]


def test_a_folder_of_links_gets_the_one_finding_that_helps(pod: Pod, tmp_path: Path) -> None:
    blobs, snapshot = make_model(tmp_path / "blobs"), tmp_path / "snapshot"
    snapshot.mkdir()
    for file in blobs.iterdir():
        (snapshot / file.name).symlink_to(f"../blobs/{file.name}")

    (message,) = refused(pod, snapshot)

    assert message.startswith("links, not files: chat_template.jinja, config.json")
    assert "`cp -rL`" in message


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
