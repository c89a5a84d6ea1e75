"""LoRA adapters made of random numbers: enough to change what the small base model says, at once and without training."""

from __future__ import annotations

import json
from pathlib import Path

PEFT_PREFIX = "base_model.model.model.layers"
"""How PEFT names the tensors of a causal language model of the Llama family."""


def write_adapter(folder: Path, base: Path, *, seed: int = 7, rank: int = 8, prefix: str = PEFT_PREFIX) -> Path:
    """Write an adapter on the attention's query and value projections; another ``prefix`` makes one that vLLM ignores."""
    import numpy
    from safetensors.numpy import save_file

    config = json.loads((base / "config.json").read_text())
    hidden, layers = config["hidden_size"], config["num_hidden_layers"]
    head = hidden // config["num_attention_heads"]
    random = numpy.random.default_rng(seed)
    tensors = {}
    for layer in range(layers):
        for module, out in (("q_proj", hidden), ("v_proj", head * config["num_key_value_heads"])):
            name = f"{prefix}.{layer}.self_attn.{module}"
            tensors[f"{name}.lora_A.weight"] = random.normal(0, 0.05, (rank, hidden)).astype("float32")
            tensors[f"{name}.lora_B.weight"] = random.normal(0, 0.2, (out, rank)).astype("float32")
    folder.mkdir(parents=True)
    save_file(tensors, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps(adapter_config(rank), indent=1))
    return folder


def adapter_config(rank: int = 8) -> dict[str, object]:
    """Return the configuration file's content, as PEFT writes it for a plain LoRA."""
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": rank,
        "lora_alpha": 2 * rank,
        "lora_dropout": 0.0,
        "target_modules": ["q_proj", "v_proj"],
        "bias": "none",
        "base_model_name_or_path": "base",
    }
