"""The memory estimate beside peaks that others published, as a table; ends with 1 when one is more than 20 % off.

    PYTHONPATH=operator:trainer-image python benchmarks/memory/published.py

Shapes are those of the models' public config.json on the Hugging Face Hub. Sources of the peaks: the READMEs of
QwenLM/Qwen (2023) and meta-pytorch/torchtune, the resource tables of Lightning-AI/litgpt (October 2023),
huggingface/trl#6859. Figures are taken in the unit that the source names.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Literal

from tunegate.api.finetunejob.spec import Method
from tunegate_trainer.modules import Architecture, Linear
from tunegate_trainer.validation.estimates import ACTIVATION_BYTES, least_memory, memory_parts

LIMIT = 0.20
GIB = 2**30 / 1e9

End = Literal["low", "high", "no checkpoints"]
"""Loss in chunks; logits kept whole; logits kept and, unlike in our trainer, all layers' activations too."""


def llama(layers: int, hidden: int, intermediate: int, kv: int, vocabulary: int) -> Architecture:
    """Shapes of a model built like Llama: gated MLP, embeddings not tied; ``kv`` is the width of keys and values."""
    shapes = {
        "self_attn.q_proj": Linear(hidden, hidden), "self_attn.k_proj": Linear(hidden, kv),
        "self_attn.v_proj": Linear(hidden, kv), "self_attn.o_proj": Linear(hidden, hidden),
        "mlp.gate_proj": Linear(hidden, intermediate), "mlp.up_proj": Linear(hidden, intermediate),
        "mlp.down_proj": Linear(intermediate, hidden),
    }  # fmt: skip
    linears = {f"model.layers.{layer}.{name}": shape for layer in range(layers) for name, shape in shapes.items()}
    weights = sum(linear.inputs * linear.outputs for linear in linears.values())
    norms = (2 * layers + 1) * hidden
    return Architecture(linears, weights + 2 * vocabulary * hidden + norms, layers, hidden, vocabulary)


MODELS = {
    "Qwen-7B": llama(32, 4096, 11008, 4096, 151_936),
    "Qwen-14B": llama(40, 5120, 13696, 5120, 152_064),
    "Qwen-72B": llama(80, 8192, 24576, 8192, 152_064),
    "Llama-2-7B": llama(32, 4096, 11008, 4096, 32_000),
    "Llama-2-13B": llama(40, 5120, 13824, 5120, 32_000),
    "Llama-3.1-8B": llama(32, 4096, 14336, 1024, 128_256),
    "Qwen3-8B": llama(36, 4096, 12288, 1024, 151_936),
}


@dataclass(frozen=True)
class Peak:
    """One published peak, in GB of 10^9 bytes, of a training on one GPU; ``tokens`` in one batch."""

    source: str
    model: str
    method: Literal["LoRA", "QLoRA"]
    rank: int
    targets: Literal["Attention", "AllLinear"]
    tokens: int
    end: End
    gigabytes: float

    def estimate(self) -> float:
        """Return the estimate in GB for the end of the range that the source's training is at."""
        shape = MODELS[self.model]
        method = Method.model_validate(
            {"type": self.method, "batchSize": 1, "maxLength": self.tokens, "rank": self.rank}
        )
        trainable = shape.trainable(shape.targets(self.targets), self.rank)
        parts = memory_parts(shape, method, trainable, self.tokens, cuda=True)
        if self.end == "low":
            return least_memory(parts, cuda=True) / 1e9
        if self.end == "no checkpoints":
            parts["activations"] = self.tokens * shape.hidden * shape.layers * ACTIVATION_BYTES
        return sum(parts.values()) / 1e9


def _qwen(model: str, method: Literal["LoRA", "QLoRA"], peaks: dict[int, float]) -> list[Peak]:
    return [Peak("Qwen", model, method, 64, "AllLinear", tokens, "high", peak) for tokens, peak in peaks.items()]


PEAKS = [
    *_qwen("Qwen-7B", "LoRA", {256: 20.1, 1024: 21.5, 2048: 23.8, 8192: 36.6}),
    *_qwen("Qwen-7B", "QLoRA", {256: 11.5, 1024: 12.3, 2048: 13.9, 4096: 16.9, 8192: 23.5}),
    *_qwen("Qwen-14B", "LoRA", {256: 34.6, 2048: 37.4}),
    *_qwen("Qwen-14B", "QLoRA", {1024: 18.9, 2048: 19.9, 4096: 23.0, 8192: 27.9}),
    *_qwen("Qwen-72B", "QLoRA", {1024: 62.9, 2048: 64.1, 8192: 75.6}),
    Peak("trl", "Qwen3-8B", "LoRA", 16, "AllLinear", 2048, "low", 16.7),
    Peak("trl", "Qwen3-8B", "LoRA", 16, "AllLinear", 8192, "low", 19.7),
    Peak("torchtune", "Llama-3.1-8B", "LoRA", 8, "AllLinear", 4096, "low", 16.2 * GIB),
    Peak("torchtune", "Llama-3.1-8B", "QLoRA", 8, "AllLinear", 4096, "low", 7.4 * GIB),
    Peak("litgpt", "Llama-2-7B", "LoRA", 8, "Attention", 1304, "no checkpoints", 21.30),
    Peak("litgpt", "Llama-2-7B", "QLoRA", 8, "Attention", 1304, "no checkpoints", 13.84),
    Peak("litgpt", "Llama-2-13B", "LoRA", 8, "Attention", 1304, "no checkpoints", 38.12),
    Peak("litgpt", "Llama-2-13B", "QLoRA", 8, "Attention", 1304, "no checkpoints", 22.55),
]


def main() -> int:
    """Print the table."""
    worst = 0.0
    print("| source | model | method, rank | tokens | compared with | published, GB | estimate, GB | off |")
    print("|---|---|---|---|---|---|---|---|")
    for peak in PEAKS:
        estimate = peak.estimate()
        off = estimate / peak.gigabytes - 1
        worst = max(worst, abs(off))
        print(
            f"| {peak.source} | {peak.model} | {peak.method}, {peak.rank} | {peak.tokens} | {peak.end} "
            f"| {peak.gigabytes:.1f} | {estimate:.1f} | {off:+.0%} |"
        )
    return int(worst > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
