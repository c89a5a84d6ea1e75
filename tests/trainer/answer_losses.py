"""A script for `torchrun`: the same training twice, with all positions scored and with the answers' alone.

    answer_losses.py MODEL REPORT

Rank 0 writes for both runs the losses and the scored positions as JSON; and the first loss of a step over all rows, as it is logged
and as plain PyTorch calculates it.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

IGNORED = -100
STEPS = 3
ACCUMULATED = 3
ROWS = 24


def rows() -> dict[str, list[list[int]]]:
    """Return rows of unequal lengths and answers; one has no answer at all."""
    import torch

    generator = torch.Generator().manual_seed(5)
    inputs, labels = [], []
    for number in range(ROWS):
        prompt, answer = 6 + 5 * (number % 4), 0 if number == 7 else 1 + 3 * (number % 5)
        tokens = torch.randint(20, 4000, (prompt + answer,), generator=generator).tolist()
        inputs.append(tokens)
        labels.append([IGNORED] * prompt + tokens[prompt:])
    return {"input_ids": inputs, "labels": labels}


def train(model: Path, folder: str, *, batch: int, steps: int) -> dict[str, Any]:
    """Return losses and the numbers of positions that reached the output layer."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer
    from trl.trainer import utils

    scored: list[int] = []
    kernel: Any = utils._ChunkedLogProbFunction

    class Counting:
        @staticmethod
        def apply(hidden: Any, *others: Any) -> Any:
            scored.append(hidden.shape[0])
            return kernel.apply(hidden, *others)

    utils._ChunkedLogProbFunction = Counting
    torch.manual_seed(1)
    factory: Any = AutoModelForCausalLM
    data = Dataset.from_dict(rows())
    arguments = SFTConfig(
        output_dir=folder, per_device_train_batch_size=batch, gradient_accumulation_steps=ACCUMULATED, max_steps=steps, learning_rate=1e-2,
        logging_steps=1, seed=3, use_cpu=True, bf16=False, report_to="none", disable_tqdm=True, save_strategy="no",
        max_length=None, ddp_find_unused_parameters=False, eval_strategy="steps", eval_steps=steps,
    )  # fmt: skip
    trainer: Any = SFTTrainer(
        model=factory.from_pretrained(model, dtype=torch.float32), args=arguments, train_dataset=data, eval_dataset=data,
        processing_class=AutoTokenizer.from_pretrained(model),
        peft_config=LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"], lora_dropout=0.0),
    )  # fmt: skip
    trainer.train()
    utils._ChunkedLogProbFunction = kernel
    history = trainer.state.log_history
    return {
        "losses": [entry["loss"] for entry in history if "loss" in entry],
        "evaluation": [entry["eval_loss"] for entry in history if "eval_loss" in entry],
        "accuracy": [entry["mean_token_accuracy"] for entry in history if "mean_token_accuracy" in entry],
        "tokens": trainer._total_train_tokens,
        "scored": sum(scored),
        "adapter": float(sum(p.double().abs().sum() for p in trainer.model.parameters() if p.requires_grad)),
        "world": trainer.args.world_size,
    }


def plain_loss(model: Path) -> float:
    """Return the untrained model's loss over all rows' answers, from whole logits, weighted by tokens."""
    import torch
    from transformers import AutoModelForCausalLM

    factory: Any = AutoModelForCausalLM
    base = factory.from_pretrained(model, dtype=torch.float32)
    total, count = 0.0, 0
    made = rows()
    for tokens, labels in zip(made["input_ids"], made["labels"], strict=True):
        with torch.no_grad():
            logits = base(input_ids=torch.tensor([tokens])).logits[0, :-1]
        targets = torch.tensor(labels[1:])
        total += float(torch.nn.functional.cross_entropy(logits, targets, ignore_index=IGNORED, reduction="sum"))
        count += int((targets != IGNORED).sum())
    return total / count


def main() -> None:
    """Train twice and report."""
    from tunegate_trainer.training.answer_positions import score_answers_only

    model, report = Path(sys.argv[1]), Path(sys.argv[2])
    processes = int(os.environ["WORLD_SIZE"])
    with tempfile.TemporaryDirectory() as folder:
        every = train(model, folder, batch=2, steps=STEPS)
        score_answers_only()
        answers = train(model, folder, batch=2, steps=STEPS)
        whole = train(model, folder, batch=ROWS // ACCUMULATED // processes, steps=1)
    if os.environ["RANK"] == "0":
        found = {"every": every, "answers": answers, "whole": whole["losses"][0], "plain": plain_loss(model)}
        report.write_text(json.dumps(found))


if __name__ == "__main__":
    main()
