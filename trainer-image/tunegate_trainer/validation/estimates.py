"""What a training will take: memory, device time, money. Pure arithmetic, sources named."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from tunegate.api.finetunejob.spec import Economics, Method
from tunegate.api.stage.results import RUNS, Savings
from tunegate_trainer.modules import Architecture

NF4_BITS = 4.127
"""NF4 with double quantization, bits a weight (arXiv 2305.14314, section 3)."""
ADAM_BYTES = 8
"""Two float32 moments for each trainable weight."""
ACTIVATION_BYTES = 34
"""Bytes of one layer for each token and hidden unit in 16 bit, attention scores not kept (arXiv 2205.05198, eq. 2)."""
LOGIT_BYTES = 6
"""Scores over the vocabulary kept whole: 16 bit and a copy in 32 for the loss. Between what Qwen's published trainings
show (1 to 11; benchmarks/memory)."""
CPU_LOGIT_BYTES = 4
"""The same on CPUs, where all is in 32 bit already."""
CPU_INPUT_BYTES = 10
CPU_OUTPUT_BYTES = 16
"""Bytes for each token and unit of an adapted linear layer in 32 bit without checkpointing: a copy of the input behind
dropout with its mask, the output and what the next operation makes of it, and as much again for the backward pass and
the allocator. Measured on a model of 135 million weights: 2.2 GB at 150 tokens a batch, 3.1 at 380, 6.1 to 7.2 at 1200."""
CPU_RUNTIME = 1_200_000_000
"""Python, PyTorch and the tokenizer; measured 0.9 to 1.2 GB in the resident set before the weights."""
CPU_SLACK = 300_000_000
"""The part of it that not every process takes."""
CPU_ACTIVATIONS_SPARED = 0.25
"""Share by which the activations on a CPU may turn out smaller than estimated."""
CUDA_RUNTIME = 1_500_000_000
"""CUDA context, kernels and the allocator's slack."""
CUDA_SLACK = 1_000_000_000
"""The part of it that is the allocator's slack, which a full device does without."""
EVALUATION_SHARE = 1 / 3
"""A forward pass costs a third of a training step (forward and two backward passes)."""


@dataclass(frozen=True)
class TokenCounts:
    """What one epoch sees."""

    rows: int
    tokens: int
    longest: int
    development_tokens: int


def memory_parts(
    architecture: Architecture, method: Method, trainable: int, longest: int, *, cuda: bool
) -> dict[str, int]:
    """Return peak bytes of one training process by part; their sum is the high end.

    ``longest`` is the longest sequence in tokens. On CUDA, gradient checkpointing keeps one 16-bit activation for each
    layer and recomputes one layer at a time; on CPUs all layers are kept, which is faster.
    """
    wide = 2 if cuda else 4
    quantized = architecture.linear_parameters if method.type == "QLoRA" else 0
    tokens = method.batch_size * min(longest, method.max_length)
    if cuda:
        kept = tokens * architecture.hidden * (2 * architecture.layers + ACTIVATION_BYTES)
    else:
        layers = architecture.linears.values()
        kept = tokens * sum(CPU_INPUT_BYTES * layer.inputs + CPU_OUTPUT_BYTES * layer.outputs for layer in layers)
    return {
        "weights": int(quantized * NF4_BITS / 8) + (architecture.parameters - quantized) * wide,
        "adapter": 4 * trainable,
        "gradients": 4 * trainable,
        "optimizer": ADAM_BYTES * trainable,
        "activations": kept,
        "logits": (LOGIT_BYTES if cuda else CPU_LOGIT_BYTES) * tokens * architecture.vocabulary,
        "runtime": CUDA_RUNTIME if cuda else CPU_RUNTIME,
    }


def least_memory(parts: Mapping[str, int], *, cuda: bool) -> int:
    """Return the low end of the peak in bytes: the loss calculated in chunks, so that no logits are kept, and no slack."""
    spared = CUDA_SLACK if cuda else CPU_SLACK + int(CPU_ACTIVATIONS_SPARED * parts["activations"])
    return sum(parts.values()) - parts["logits"] - spared


LEAST_CHECKPOINTS = 3
"""Of a training that has development rows."""


def training_steps(method: Method, rows: int) -> int:
    """Return the number of optimizer steps for ``rows`` training rows."""
    batch = method.batch_size * method.gradient_accumulation * method.num_nodes * method.num_proc_per_node
    steps = max(1, math.ceil(rows / batch)) * method.epochs
    return min(steps, method.max_steps) if method.max_steps else steps


def checkpoint_interval(method: Method, steps: int, *, develop: bool) -> int:
    """Return after how many steps there is a checkpoint, and with development rows their loss.

    A training that ends before its first checkpoint would have one development loss, which is no curve and chooses nothing:
    it has ``LEAST_CHECKPOINTS`` all the same.
    """
    if develop and steps < method.checkpoint_steps:
        return math.ceil(steps / LEAST_CHECKPOINTS)
    return min(method.checkpoint_steps, steps)


def device_hours(architecture: Architecture, method: Method, counts: TokenCounts, throughput: float) -> float:
    """Return hours over all devices: tokens by ``throughput`` (tokens per second of one device for a billion parameters),
    scaled by model size (6 FLOPs a weight and token, arXiv 2001.08361), with the evaluations on the development split."""
    steps = training_steps(method, counts.rows)
    batch = method.batch_size * method.gradient_accumulation * method.num_nodes * method.num_proc_per_node
    seen = min(steps * batch, counts.rows * method.epochs)
    trained = seen * counts.tokens / max(1, counts.rows)
    interval = checkpoint_interval(method, steps, develop=counts.development_tokens > 0)
    evaluations = math.ceil(steps / interval) if counts.development_tokens else 0
    tokens = trained + EVALUATION_SHARE * evaluations * counts.development_tokens
    speed = throughput / (architecture.parameters / 1e9)
    return tokens / speed / 3600 if speed > 0 else math.inf


def savings(economics: Economics, cost: float) -> Savings:
    """Return what a month saves and the months until it has paid for the usual number of runs of ``cost`` each.

    Only prices per token and training are estimated: people, review and idle serving devices are not.
    """
    replaced = float(economics.replaced_price_per_thousand_tokens)
    own = float(economics.own_price_per_thousand_tokens)
    monthly = economics.monthly_tokens / 1000 * (replaced - own)
    low, high = RUNS
    months = (low * cost / monthly, high * cost / monthly) if monthly > 0 else None
    return Savings(monthly=monthly, break_even_months=months)
