"""The base model's linear layers: what an adapter can sit on, and how large it gets.

Of plain decoder models the headers of the weights say it. Others are built on PyTorch's meta device: shapes without memory,
seconds even for 70 billion weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tunegate_trainer.dense_models import read_dense
from tunegate_trainer.endings import BadInput


@dataclass(frozen=True)
class Linear:
    """One linear layer."""

    inputs: int
    outputs: int


@dataclass(frozen=True)
class Architecture:
    """Shapes of a base model."""

    linears: Mapping[str, Linear]
    """By full module name, output embeddings left out."""
    parameters: int
    """All weights; tied ones once."""
    layers: int
    hidden: int
    vocabulary: int

    def targets(self, choice: Literal["Attention", "AllLinear"]) -> list[str]:
        """Return the last name parts of the layers that an adapter sits on, sorted."""
        names = [name for name in self.linears if choice == "AllLinear" or _in_attention(name)]
        return sorted({name.rsplit(".", 1)[-1] for name in names})

    def trainable(self, targets: list[str], rank: int) -> int:
        """Return the number of weights of a LoRA adapter: rank x (inputs + outputs) for each layer (arXiv 2106.09685)."""
        chosen = frozenset(targets)
        return sum(
            rank * (linear.inputs + linear.outputs)
            for name, linear in self.linears.items()
            if name.rsplit(".", 1)[-1] in chosen
        )

    @property
    def linear_parameters(self) -> int:
        """Weights of the linear layers: those that NF4 quantizes."""
        return sum(linear.inputs * linear.outputs for linear in self.linears.values())


def _in_attention(name: str) -> bool:
    return any("attn" in part or "attention" in part for part in name.split(".")[:-1])


def read_architecture(folder: Path) -> Architecture:
    """Return the shapes of the model in ``folder``.

    Raises ``BadInput`` for a configuration that transformers can't build, and ``ModuleNotFoundError`` for a model that only
    PyTorch can tell the shapes of, where it is not installed.
    """
    dense = read_dense(folder)
    if dense is None:
        return build_architecture(folder)
    linears, parameters, layers, (vocabulary, width) = dense
    return Architecture(
        {name: Linear(*shape) for name, shape in linears.items()}, parameters, layers, width, vocabulary
    )


def build_architecture(folder: Path) -> Architecture:
    """Return the same by building the model. Raises as ``read_architecture`` does."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    factory: Any = AutoModelForCausalLM
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        with torch.device("meta"):
            model = factory.from_config(config, trust_remote_code=False)
        text = config.get_text_config()
        layers, hidden, vocabulary = (
            int(getattr(text, name)) for name in ("num_hidden_layers", "hidden_size", "vocab_size")
        )
    except MemoryError:
        raise
    except Exception as error:  # Each family of models checks its configuration in its own way.
        raise BadInput(f"base model: its configuration builds no language model ({type(error).__name__})") from error
    head = model.get_output_embeddings()
    linears = {
        name: Linear(module.in_features, module.out_features)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and module is not head
    }
    return Architecture(
        linears=linears,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        layers=layers,
        hidden=hidden,
        vocabulary=vocabulary,
    )
