"""Shapes of plain decoder models, read from the headers of their weights: no PyTorch, which takes seconds to load and is
not there where `tunegate plan` runs.

In the families of ``TIED`` every matrix is a linear layer, but for the two embeddings, and stands in the file under the name
of its module (transformers 5.19, compared by a test for each family). Others, and quantized weights, are built by PyTorch.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tunegate.safetensors_files import Tensor
from tunegate_trainer.base_weights import read_tensors

TIED = {
    "llama": False, "mistral": False, "qwen2": False, "qwen3": False, "phi3": False, "gemma": True, "gemma2": True,
    "gemma3_text": True, "granite": False, "smollm3": True, "olmo2": False,
}  # fmt: skip
"""Families, and whether embeddings in and out are one matrix where the configuration does not say."""
INPUT, OUTPUT = "model.embed_tokens.weight", "lm_head.weight"
LAYER = re.compile(r"model\.layers\.(\d+)\.")
NO_PARAMETER = ".rotary_emb.inv_freq"
"""What older files hold beside the weights."""


def read_dense(folder: Path) -> tuple[dict[str, tuple[int, int]], int, int, tuple[int, int]] | None:
    """Return the linear layers (module to inputs and outputs), all parameters, the number of layers, and vocabulary and width.

    None for a model that is of none of the families, or whose files are not as theirs are.
    """
    config = _config(folder)
    family = config.get("model_type")
    if not isinstance(family, str) or family not in TIED or "quantization_config" in config:
        return None
    tied = config.get("tie_word_embeddings", TIED[family])
    if not isinstance(tied, bool):
        return None
    tensors = read_tensors(folder)
    if not tensors:
        return None
    tensors = {name: tensor for name, tensor in tensors.items() if not name.endswith(NO_PARAMETER)}
    if tied:
        tensors.pop(OUTPUT, None)
    layers = {int(match[1]) for name in tensors if (match := LAYER.match(name))}
    if not _as_usual(tensors, config, layers, tied=tied):
        return None
    linears = {
        name.removesuffix(".weight"): (tensor.shape[1], tensor.shape[0])
        for name, tensor in tensors.items()
        if len(tensor.shape) == 2 and name not in (INPUT, OUTPUT)
    }
    vocabulary, width = tensors[INPUT].shape
    return linears, sum(tensor.size for tensor in tensors.values()), len(layers), (vocabulary, width)


def _config(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / "config.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return config if isinstance(config, dict) else {}


def _as_usual(tensors: Mapping[str, Tensor], config: Mapping[str, Any], layers: set[int], *, tied: bool) -> bool:
    """Whether all that the configuration names is there, under the usual names, and nothing else."""
    embedding, output = tensors.get(INPUT), tensors.get(OUTPUT)
    named = {"hidden_size": 1, "vocab_size": 0}
    return (
        embedding is not None
        and (tied or (output is not None and output.shape == embedding.shape))
        and all(name.endswith((".weight", ".bias")) for name in tensors)
        and all(name.startswith("model.") or name == OUTPUT for name in tensors)
        and all(len(tensor.shape) <= 2 and tensor.dtype in ("F16", "BF16", "F32") for tensor in tensors.values())
        and layers == set(range(len(layers)))
        and config.get("num_hidden_layers", len(layers)) == len(layers)
        and all(config.get(name, embedding.shape[axis]) == embedding.shape[axis] for name, axis in named.items())
    )
