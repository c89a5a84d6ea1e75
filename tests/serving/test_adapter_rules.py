"""Adapters whose settings and weights disagree: one list of rules, for the trainer and for the serving pod."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.model_folder import ARCHITECTURE, make_adapter
from tunegate.adapter_rules import obstacle
from tunegate_trainer.adapter_checks import check_adapter
from tunegate_trainer.endings import BadInput

Q = "base_model.model.model.layers.0.self_attn.q_proj"
UP = "base_model.model.model.layers.0.mlp.up_proj"


def pair(module: str, a: int, b: int, inputs: int = 8, outputs: int = 8) -> dict[str, tuple[int, ...]]:
    return {f"{module}.lora_A.weight": (a, inputs), f"{module}.lora_B.weight": (outputs, b)}


def refusals(folder: Path) -> tuple[str, set[str]]:
    """What the serving pod says first, and the kinds of the trainer's findings."""
    return obstacle(folder, 16) or "", {finding.check for finding in check_adapter(folder, ARCHITECTURE, 16).findings}


@pytest.mark.parametrize(
    ("config", "said", "check"),
    [
        ({"lora_alpha": None}, "lora_alpha is missing", "Settings"),
        ({"lora_alpha": "16"}, "lora_alpha is not a number above 0", "Settings"),
        ({"lora_alpha": True}, "lora_alpha is not a number above 0", "Settings"),
        ({"lora_alpha": 0}, "lora_alpha is not a number above 0", "Settings"),
        ({"lora_alpha": float("nan")}, "lora_alpha is not a number above 0", "Settings"),
        ({"lora_dropout": 2**64}, "lora_dropout cannot be read alike by all readers", "Settings"),
        ({"lora_dropout": float("inf")}, "lora_dropout cannot be read alike by all readers", "Settings"),
        ({"target_modules": ["q_\ud800"]}, "target_modules cannot be read alike by all readers", "Settings"),
        ({"target_modules": 1.5}, "target_modules is missing or not a list", "Settings"),
        ({"lora_alpha": 10**400}, "lora_alpha is not a number above 0", "Settings"),
        ({"r": "4"}, "r (the rank) is missing or not a whole number", "Rank"),
        ({"r": None}, "r (the rank) is missing or not a whole number", "Rank"),
        ({"r": True}, "r (the rank) is missing or not a whole number", "Rank"),
        ({"target_modules": None}, "target_modules is missing", "Settings"),
        ({"target_modules": []}, "target_modules names no layer", "Settings"),
        ({"use_rslora": "yes"}, "use_rslora must be true or false", "Settings"),
        ({"rank_pattern": ["q_proj"]}, "rank_pattern is not an object", "Rank"),
        ({"rank_pattern": {"q_proj": "8"}}, "rank_pattern: 'q_proj' has rank 8", "Rank"),
        ({"rank_pattern": {"(": 4}}, "rank_pattern: '(' is not a layer's name", "Rank"),
        ({"alpha_pattern": {"q_proj": "8"}}, "alpha_pattern: 'q_proj' must have a number above 0", "Settings"),
        ({"init_lora_weights": "pissa_niter_4"}, "changed the base model's weights", "Initialization"),
    ],
)
def test_settings_that_the_engine_cannot_load_are_named(
    tmp_path: Path, config: dict[str, Any], said: str, check: str
) -> None:
    message, kinds = refusals(make_adapter(tmp_path / "a", **config))

    assert said in message
    assert kinds == {check}


def test_a_file_without_the_key_is_like_one_with_nothing_in_it(tmp_path: Path) -> None:
    folder = make_adapter(tmp_path / "a")
    config = json.loads((folder / "adapter_config.json").read_text())
    del config["lora_alpha"]
    (folder / "adapter_config.json").write_text(json.dumps(config))

    assert "lora_alpha is missing" in refusals(folder)[0]


@pytest.mark.parametrize("start", [True, False, None, "gaussian", "eva", "EVA", "orthogonal", "mica", "lora_ga"])
def test_an_initialization_that_leaves_the_base_model_alone_is_accepted(tmp_path: Path, start: object) -> None:
    assert refusals(make_adapter(tmp_path / "a", init_lora_weights=start, eva_config={"rho": 2.0})) == ("", set())


@pytest.mark.parametrize(
    ("tensors", "said", "check"),
    [
        (
            pair(Q, 64, 64),
            "another rank than adapter_config.json says (model.layers.0.self_attn.q_proj: 64 instead",
            "Rank",
        ),
        (pair(Q, 8, 8), "q_proj: 8 instead of 4", "Rank"),
        (pair(Q, 4, 2), "A has rank 4, B has rank 2", "Tensors"),
        ({**pair(Q, 4, 4), "base_model.model.model.embed_tokens.weight": (32, 8)}, "embedding", "Unsupported"),
        (
            {**pair(Q, 4, 4), "base_model.model.model.embed_tokens.lora_embedding_A": (4, 32)},
            "embedding",
            "Unsupported",
        ),
        ({**pair(Q, 4, 4), **pair("base_model.model.lm_head", 4, 4, outputs=32)}, "output layer", "Unsupported"),
        ({**pair(Q, 4, 4), f"{Q}.lora_magnitude_vector.weight": (8,)}, "no LoRA matrices of a layer", "Tensors"),
        ({f"{Q}.lora_A.weight": (4, 8)}, "only one of the two", "Tensors"),
        ({f"{Q}.lora_A.weight": (4, 8), f"{Q}.lora_B.weight": (8, 4, 1)}, "do not fit each other", "Tensors"),
        ({}, "no LoRA matrices at all", "Tensors"),
    ],
)
def test_weights_that_are_not_what_the_settings_say_are_named(
    tmp_path: Path, tensors: dict[str, tuple[int, ...]], said: str, check: str
) -> None:
    message, kinds = refusals(make_adapter(tmp_path / "a", tensors))

    assert said in message
    assert check in kinds


@pytest.mark.parametrize("key", ["q_proj", "self_attn.q_proj", r"model\.layers\.[0-9]+\.self_attn\.q_proj", ".*attn.*"])
def test_a_rank_of_one_layer_is_found_as_the_engine_finds_it(tmp_path: Path, key: str) -> None:
    tensors = {**pair(Q, 8, 8), **pair(UP, 4, 4, outputs=16)}

    assert refusals(make_adapter(tmp_path / "a", tensors, rank_pattern={key: 8})) == ("", set())
    assert "up_proj: 4 instead of 8" in refusals(make_adapter(tmp_path / "b", tensors, r=8, rank_pattern={key: 8}))[0]


def test_a_name_that_would_be_searched_for_hours_is_refused_at_once(tmp_path: Path) -> None:
    tensors = pair("base_model.model." + "x" * 200_000 + "!", 4, 4)
    folder = make_adapter(tmp_path / "a", tensors, rank_pattern={"x*x*": 8})
    begun = time.process_time()

    said, checks = refusals(folder)

    assert time.process_time() - begun < 5
    assert "tensors that are no LoRA matrices" in said
    assert "Tensors" in checks


def test_a_key_that_would_be_searched_for_hours_is_refused_at_once(tmp_path: Path) -> None:
    started = time.monotonic()

    message, _ = refusals(make_adapter(tmp_path / "a", rank_pattern={"([a-z._0-9]+)+[a-z._0-9]+!": 4}))

    assert "is not a layer's name" in message
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: data[:-40], "cut short"),
        (lambda data: data + b"more", "too long"),
        (lambda data: data[:30], "cut short in its header"),
        (lambda data: b"", "not a safetensors file"),
        (lambda data: b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "Git LFS pointer"),
        (lambda data: data.replace(b'"F32"', b'"X32"'), "no known way"),
        (lambda data: data.replace(b"[128, 256]", b"[120, 248]"), "overlap"),
    ],
)
def test_a_broken_file_of_weights_is_bad_input_before_anything_is_spent(tmp_path: Path, change: Any, said: str) -> None:
    folder = make_adapter(tmp_path / "a")
    file = folder / "adapter_model.safetensors"
    file.write_bytes(change(file.read_bytes()))

    assert said in (obstacle(folder, 16) or "")
    with pytest.raises(BadInput, match="adapter_model.safetensors"):
        check_adapter(folder, ARCHITECTURE, 16)


def test_settings_that_are_no_json_object_are_bad_input(tmp_path: Path) -> None:
    for number, text in enumerate(("[1]", "{", "[" * 100_000)):
        folder = make_adapter(tmp_path / str(number))
        (folder / "adapter_config.json").write_text(text)

        assert "adapter_config.json" in (obstacle(folder, 16) or "")
        with pytest.raises(BadInput, match="adapter_config.json"):
            check_adapter(folder, ARCHITECTURE, 16)
