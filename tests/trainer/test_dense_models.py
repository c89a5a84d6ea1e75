"""Shapes from the headers of weights, compared with those of the model that transformers builds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.model_folder import write_safetensors
from tunegate_trainer.dense_models import TIED, read_dense

SMALL = {
    "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "head_dim": 4, "vocab_size": 64, "max_position_embeddings": 32, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip


def write(folder: Path, tensors: dict[str, tuple[int, ...]], **config: Any) -> Path:
    folder.mkdir(exist_ok=True)
    write_safetensors(folder / "model.safetensors", tensors)
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", **config}))
    return folder


PLAIN = {
    "model.embed_tokens.weight": (32, 8),
    "model.layers.0.self_attn.q_proj.weight": (8, 8),
    "model.layers.0.self_attn.q_proj.bias": (8,),
    "model.layers.0.mlp.up_proj.weight": (16, 8),
    "model.norm.weight": (8,),
    "lm_head.weight": (32, 8),
}


def test_matrices_but_for_the_embeddings_are_linear_layers(tmp_path: Path) -> None:
    linears = {"model.layers.0.self_attn.q_proj": (8, 8), "model.layers.0.mlp.up_proj": (8, 16)}
    assert read_dense(write(tmp_path / "untied", PLAIN)) == (linears, 256 + 64 + 8 + 128 + 8 + 256, 1, (32, 8))
    assert read_dense(write(tmp_path / "tied", PLAIN, tie_word_embeddings=True)) == (linears, 464, 1, (32, 8))


@pytest.mark.parametrize(
    ("tensors", "config"),
    [
        (PLAIN, {"model_type": "mamba"}),
        (PLAIN, {"quantization_config": {"bits": 4}}),
        (PLAIN, {"num_hidden_layers": 2}),
        (PLAIN, {"num_hidden_layers": "1"}),
        (PLAIN, {"model_type": ["llama"]}),
        (PLAIN, {"hidden_size": 9}),
        (PLAIN, {"tie_word_embeddings": "yes"}),
        ({**PLAIN, "model.layers.0.experts": (4, 8, 8)}, {}),
        ({**PLAIN, "visual.patch.weight": (4, 8)}, {}),
        ({name: shape for name, shape in PLAIN.items() if name != "lm_head.weight"}, {}),
    ],
)
def test_anything_unusual_is_left_to_the_library(tensors: Any, config: dict[str, Any], tmp_path: Path) -> None:
    assert read_dense(write(tmp_path / "model", tensors, **config)) is None


@pytest.mark.model
@pytest.mark.parametrize("family", sorted(TIED))
@pytest.mark.parametrize("tied", [None, True, False])
def test_shapes_are_those_of_the_model_that_transformers_builds(family: str, tied: bool | None, tmp_path: Path) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    from tunegate_trainer.modules import build_architecture, read_architecture

    chosen = {} if tied is None else {"tie_word_embeddings": tied}
    factory: Any = AutoModelForCausalLM
    factory.from_config(AutoConfig.for_model(family, **SMALL, **chosen)).save_pretrained(tmp_path)

    assert read_dense(tmp_path) is not None
    assert read_architecture(tmp_path) == build_architecture(tmp_path)


@pytest.mark.model
def test_shapes_of_the_small_real_model_are_the_same(base_model: Path) -> None:
    from tunegate_trainer.modules import build_architecture, read_architecture

    assert read_dense(base_model) is not None
    assert read_architecture(base_model) == build_architecture(base_model)
