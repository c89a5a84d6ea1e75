"""Supervised fine-tuning as TRL's documentation shows it, with the settings of a Tunegate job.

    bare.py SETTINGS

SETTINGS is a JSON file: model, data, output, method (LoRA or QLoRA), rank, alpha, dropout, learningRate, batchSize,
gradientAccumulation, steps, seed.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


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
    steps = settings["steps"]
    trainer = SFTTrainer(
        model=model,
        args=SFTConfig(
            output_dir=settings["output"],
            per_device_train_batch_size=settings["batchSize"],
            gradient_accumulation_steps=settings["gradientAccumulation"],
            max_steps=steps,
            learning_rate=settings["learningRate"],
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
        processing_class=AutoTokenizer.from_pretrained(settings["model"]),
        peft_config=LoraConfig(
            r=settings["rank"],
            lora_alpha=settings["alpha"],
            lora_dropout=settings["dropout"],
            target_modules="all-linear",
            task_type="CAUSAL_LM",
        ),
    )
    trainer.train()
    trainer.save_model()


if __name__ == "__main__":
    main()
