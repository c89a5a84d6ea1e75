"""Supervised fine-tuning as TRL's documentation shows it, with the settings of a Tunegate job.

    bare.py SETTINGS

SETTINGS is a JSON file: model, data, output, method (LoRA or QLoRA), rank, alpha, dropout, learningRate, batchSize,
gradientAccumulation, steps, seed, dtype, wideAdapter.

Two lines are not from the documentation, since the comparison needs the same labels and the same weights on both sides; they run
before the training begins. TRL also labels what the template writes after the end of the answer, and it rounds the adapter of a
quantized model to bfloat16 (`wideAdapter: false` leaves it so).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

IGNORED = -100


def main() -> None:
    """Train and leave the adapter in the output folder."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig
    from trl import SFTConfig, SFTTrainer

    settings: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text())
    dtype = getattr(torch, settings["dtype"])
    quantization = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
    )
    factory: Any = AutoModelForCausalLM
    model = factory.from_pretrained(
        settings["model"],
        dtype=dtype,
        quantization_config=quantization if settings["method"] == "QLoRA" else None,
        device_map={"": "cpu"},
    )
    conversations = [json.loads(line)["messages"] for line in Path(settings["data"]).read_text().splitlines()]
    data = Dataset.from_list([{"prompt": turns[:-1], "completion": turns[-1:]} for turns in conversations])
    tokenizer: Any = AutoTokenizer.from_pretrained(settings["model"])
    steps = settings["steps"]
    trainer: Any = SFTTrainer(
        model=model,
        args=SFTConfig(
            output_dir=settings["output"],
            per_device_train_batch_size=settings["batchSize"],
            gradient_accumulation_steps=settings["gradientAccumulation"],
            max_steps=steps,
            learning_rate=settings["learningRate"],
            optim=settings["optimizer"],
            seed=settings["seed"],
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            logging_steps=1,
            save_steps=steps,
            max_length=None,
            report_to="none",
        ),
        train_dataset=data,
        processing_class=tokenizer,
        peft_config=LoraConfig(
            r=settings["rank"],
            lora_alpha=settings["alpha"],
            lora_dropout=settings["dropout"],
            target_modules="all-linear",
            task_type="CAUSAL_LM",
        ),
    )
    trainer.train_dataset = trainer.train_dataset.map(lambda row: label_to_the_end(row, tokenizer.eos_token_id))
    if settings["wideAdapter"]:
        for parameter in trainer.model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.to(torch.float32)
    trainer.train()
    trainer.save_model()


def label_to_the_end(row: dict[str, list[int]], end: int) -> dict[str, list[int]]:
    """Return a row's labels without those after the last token that ends a turn."""
    length = len(row["labels"]) - row["labels"][::-1].index(end)
    return {"labels": row["labels"][:length] + [IGNORED] * (len(row["labels"]) - length)}


if __name__ == "__main__":
    main()
