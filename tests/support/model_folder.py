"""Small folders that look like models and adapters, made without torch."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path

from tunegate_trainer.modules import Architecture, Linear

TENSORS = {"model.embed_tokens.weight": (32, 8), "model.layers.0.self_attn.q_proj.weight": (8, 8)}
ARCHITECTURE = Architecture(
    linears={"model.layers.0.self_attn.q_proj": Linear(8, 8), "model.layers.0.mlp.up_proj": Linear(8, 16)},
    parameters=320,
    layers=1,
    hidden=8,
    vocabulary=32,
)


def write_safetensors(path: Path, tensors: Mapping[str, tuple[int, ...]]) -> None:
    """Write float32 zeros of the given shapes in the safetensors format."""
    header: dict[str, object] = {}
    position = 0
    for name, shape in tensors.items():
        size = 4
        for extent in shape:
            size *= extent
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [position, position + size]}
        position += size
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(position))


def make_model(folder: Path) -> Path:
    """A folder with all that a base model needs."""
    folder.mkdir()
    write_safetensors(folder / "model.safetensors", TENSORS)
    (folder / "config.json").write_text('{"model_type": "llama"}')
    (folder / "tokenizer.json").write_text("{}")
    (folder / "tokenizer_config.json").write_text("{}")
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    return folder


def make_adapter(folder: Path, tensors: Mapping[str, tuple[int, ...]] | None = None, **config: object) -> Path:
    """A rank-4 adapter on `q_proj` of ``ARCHITECTURE``."""
    folder.mkdir()
    module = "base_model.model.model.layers.0.self_attn.q_proj"
    usual = {f"{module}.lora_A.weight": (4, 8), f"{module}.lora_B.weight": (8, 4)}
    write_safetensors(folder / "adapter_model.safetensors", usual if tensors is None else tensors)
    settings = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "bias": "none", "target_modules": ["q_proj"], **config}
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    return folder
