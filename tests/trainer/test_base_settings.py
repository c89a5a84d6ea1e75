"""Admission and training take the same chat template, by the rule of the engine's tokenizer."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.support.model_folder import make_model
from tests.support.stage_process import Pod, stage_base
from tunegate.api.stage.configs import HashConfig
from tunegate.api.stage.results import HashResult
from tunegate_trainer.base_settings import chat_template, stop_tokens
from tunegate_trainer.endings import BadInput
from tunegate_trainer.inputs import model_files

TEXT = "{{ messages }}"
FILES: list[tuple[dict[str, Any], str]] = [
    ({}, "no chat template"),
    ({"chat_template.jinja": " \n"}, "no chat template"),
    ({"tokenizer_config.json": {"chat_template": ""}}, "no chat template"),
    ({"tokenizer_config.json": {"chat_template": [{"name": "default", "template": TEXT}]}}, "several chat templates"),
    ({"chat_template.json": {"chat_template": TEXT}}, "chat_template.json is read by processors of images only"),
    ({"chat_template.json": {"chat_template": "x"}, "chat_template.jinja": TEXT}, "has another chat template"),
    ({"tokenizer_config.json": "["}, "tokenizer_config.json is not a JSON object"),
]


def write(folder: Path, files: dict[str, Any]) -> Path:
    folder.mkdir(exist_ok=True)
    for name in ("chat_template.jinja", "chat_template.json", "tokenizer_config.json"):
        (folder / name).unlink(missing_ok=True)
    for name, content in files.items():
        (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


@pytest.mark.parametrize(
    "files",
    [
        {"chat_template.jinja": TEXT},
        {"tokenizer_config.json": {"chat_template": TEXT}},
        {"chat_template.jinja": TEXT, "tokenizer_config.json": {"chat_template": "older"}},
        {"chat_template.jinja": TEXT, "chat_template.json": {"chat_template": TEXT}},
    ],
)
def test_the_template_is_the_tokenizers(tmp_path: Path, files: dict[str, Any]) -> None:
    assert chat_template(write(tmp_path / "model", files)) == TEXT


@pytest.mark.parametrize(("files", "reason"), FILES)
def test_what_training_could_not_render_with_is_refused(tmp_path: Path, files: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadInput, match=reason):
        chat_template(write(tmp_path / "model", files))


@pytest.mark.parametrize(("files", "reason"), [FILES[0], FILES[3], FILES[4]])
def test_admission_refuses_what_training_would_refuse(
    pod: Pod, tmp_path: Path, files: dict[str, Any], reason: str
) -> None:
    model = write(make_model(tmp_path / "model"), files)

    ending = pod.run(HashConfig(**stage_base(pod.host), path=str(model)))

    assert isinstance(ending.result, HashResult), ending.log
    assert [finding.check for finding in ending.result.findings] == ["ChatTemplate"]
    assert reason in ending.result.findings[0].message


@pytest.mark.parametrize("name", ["chat_template.jinja", "tokenizer_config.json", "generation_config.json"])
def test_a_pipe_or_a_folder_in_the_place_of_a_file_is_refused_and_not_waited_for(tmp_path: Path, name: str) -> None:
    folder = make_model(tmp_path / "model")
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    for _ in range(2):
        with pytest.raises(BadInput, match=f"{name} cannot be read"):
            (stop_tokens if name.startswith("generation") else chat_template)(folder)
        if (folder / name).is_fifo():
            (folder / name).unlink()
            (folder / name).mkdir()


def test_a_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "model")
    Path(os.fsdecode(os.fsencode(folder) + b"/odd\xff.safetensors")).write_bytes(b"x")
    with pytest.raises(BadInput, match=r"'odd.udcff\.safetensors' is not UTF-8"):
        model_files(folder)
