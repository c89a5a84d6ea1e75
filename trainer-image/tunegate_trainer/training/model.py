"""The base model as training holds it, and the adapter on top: 4 bits for QLoRA, 16 or 32 for LoRA."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from tunegate.api.finetunejob.spec import Method
from tunegate_trainer.modules import Architecture


def load_base(folder: Path, method: Method, *, cuda: bool) -> Any:
    """Return the frozen base model on this process's device.

    QLoRA: NF4 with double quantization (arXiv 2305.14314). Arithmetic is in bfloat16 where the device has it, else in
    float32: without such instructions a CPU takes several times longer in 16 bit. Only safetensors are read and no code
    that comes with a model ever runs.
    """
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    dtype = torch.bfloat16 if cuda or _cpu_has_bfloat16() else torch.float32
    quantization = None
    if method.type == "QLoRA":
        quantization = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
        )
    device: Any = int(os.environ.get("LOCAL_RANK", "0")) if cuda else "cpu"
    factory: Any = AutoModelForCausalLM
    model = factory.from_pretrained(
        folder,
        local_files_only=True,
        trust_remote_code=False,
        use_safetensors=True,
        dtype=dtype,
        quantization_config=quantization,
        device_map={"": device},
        # Exact with packed and padded rows, and in PyTorch itself: other kernels would be fetched from a hub.
        attn_implementation="sdpa",
    )
    model.config.use_cache = False
    return model


def _cpu_has_bfloat16() -> bool:
    flags = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags")), "")
    return bool({"avx512_bf16", "amx_bf16"} & set(flags.split()))


def adapter_config(method: Method, architecture: Architecture) -> Any:
    """Return PEFT's description of the adapter: nothing in it that vLLM could not load."""
    from peft import LoraConfig

    return LoraConfig(
        r=method.rank,
        lora_alpha=method.alpha,
        lora_dropout=float(method.dropout),
        target_modules=architecture.targets(method.target_modules),
        bias="none",
        task_type="CAUSAL_LM",
    )


def widen_trainable(model: Any) -> None:
    """Hold trainable weights in float32.

    TRL casts the adapter of a quantized model to bfloat16, where most updates of a usual learning rate round to
    nothing. Not for sharded training, which needs one type throughout.
    """
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(torch.float32)
