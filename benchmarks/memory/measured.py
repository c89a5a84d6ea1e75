"""Peak resident set of short trainings on CPUs beside the memory estimate.

    tests/in_trainer_image.sh --run benchmarks/memory/measured.py --model /cache/models/smollm2

Each row is the real training process (`tunegate_trainer.training.worker`) over synthetic rows of one length, started
alone. Ends with 1 when a peak lies more than 15 % outside the range.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import subprocess
import sys
import tempfile
from pathlib import Path

from tunegate.api.computepool import ComputePoolSpec
from tunegate.api.finetunejob.spec import Method
from tunegate.api.manifest import Manifest
from tunegate.api.stage.configs import BaseModelInput, DatasetInput, JobIdentity, RegistryTarget, TrainConfig
from tunegate.base_files import hash_folder
from tunegate_trainer.data.conversations import ChatTokenizer
from tunegate_trainer.data.rows import read_sound_rows
from tunegate_trainer.data.shards import find_shards
from tunegate_trainer.inputs import model_files
from tunegate_trainer.modules import read_architecture
from tunegate_trainer.training import exchange
from tunegate_trainer.training.checkpoints import KEY_BYTES
from tunegate_trainer.validation.estimates import least_memory, memory_parts

LIMIT = 0.15
STEPS = 3
CASES = [(kind, batch, words) for kind in ("LoRA", "QLoRA") for batch, words in ((1, 100), (4, 100), (8, 30), (8, 100))]
"""Method, batch size and words of each row's answer."""
UNUSED = "sha256:" + "0" * 64


def write_rows(path: Path, count: int, words: int) -> None:
    """Write ``count`` distinct chat rows whose answers have ``words`` short words."""
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"Item {number}: say it"},
                {"role": "assistant", "content": " ".join(["word"] * words)},
            ]
        }
        for number in range(count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def make_config(model: Path, data: Path, method: Method) -> TrainConfig:
    """Return what a pod would be told. Registry and digests are not used: the wrapper looks at them, not the process."""
    return TrainConfig(
        job=JobIdentity(namespace="benchmark", name="memory", uid="0a1b2c3d-0000-4000-8000-000000000000", attempt=1),
        registry=RegistryTarget(host="localhost", repository="benchmark"),
        base_model=BaseModelInput(
            name="model", path=str(model), context_length=8192, manifest=Manifest(files=[]), manifest_digest=UNUSED
        ),
        dataset=DatasetInput(path=str(data)),
        method=method,
        pool=ComputePoolSpec(device_memory="64Gi", throughput="20", cleared_for=["Public"]),
    )


def peak_of_training(config: TrainConfig, folder: Path) -> int:
    """Train in a process of its own; return its peak resident set in bytes. Raises ``RuntimeError`` when it fails."""
    run, workspace = folder / "run", folder / "workspace"
    run.mkdir()
    workspace.mkdir()
    model = Path(config.base_model.path)
    (run / exchange.CONFIG).write_text(config.model_dump_json(by_alias=True))
    (run / exchange.BASE).write_text(hash_folder(model, model_files(model)[0]).model_dump_json(by_alias=True))
    (run / "key").write_bytes(secrets.token_bytes(KEY_BYTES))
    places = ["--run", str(run), "--workspace", str(workspace), "--checkpoint-key", str(run / "key")]
    command = [sys.executable, "-m", "tunegate_trainer.training.worker", *places]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, env={"USER": "tunegate", **os.environ}
        )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    outcome = exchange.read_outcome(run)
    if outcome is None or outcome.state != "Finished":
        raise RuntimeError(f"training did not finish: {(folder / 'log').read_text()[-2000:]}")
    return usage.ru_maxrss * 1024


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    model: Path = parser.parse_args().model
    architecture, tokenizer = read_architecture(model), ChatTokenizer(model)
    outside = False
    print("| method | batch | tokens of a row | estimate, GB | measured, GB |\n|---|---|---|---|---|")
    for kind, batch, words in CASES:
        method = Method.model_validate(
            {"type": kind, "batchSize": batch, "maxSteps": STEPS, "checkpointSteps": STEPS, "developmentFraction": "0"}
        )
        with tempfile.TemporaryDirectory() as folder:
            data = Path(folder) / "train.jsonl"
            write_rows(data, STEPS * batch, words)
            longest = max(
                len(tokenizer.encode(row).input_ids) for row in read_sound_rows(find_shards("data set", data))
            )
            peak = peak_of_training(make_config(model, data, method), Path(folder))
        trainable = architecture.trainable(architecture.targets(method.target_modules), method.rank)
        parts = memory_parts(architecture, method, trainable, longest, cuda=False)
        least, most = least_memory(parts, cuda=False), sum(parts.values())
        outside |= not (1 - LIMIT) * least <= peak <= (1 + LIMIT) * most
        print(
            f"| {kind} | {batch} | {longest} | {least / 1e9:.2f} to {most / 1e9:.2f} | {peak / 1e9:.2f} |", flush=True
        )
    return int(outside)


if __name__ == "__main__":
    sys.exit(main())
