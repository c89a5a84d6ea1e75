"""Tunegate's training process beside a bare TRL script: same model, rows, steps and settings, in turns, on CPUs.

    tests/in_trainer_image.sh --run benchmarks/training/compare.py --model /cache/models/smollm2 --data /cache/licenses/train.jsonl

Each training is a process of its own. The sides take turns, so that a busy machine slows both; the median of each is shown.
CPU seconds are the steadier figure on a shared machine.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from tunegate.api.computepool import ComputePoolSpec
from tunegate.api.finetunejob.spec import Method
from tunegate.api.manifest import Manifest
from tunegate.api.stage.configs import BaseModelInput, DatasetInput, JobIdentity, RegistryTarget, TrainConfig
from tunegate.base_files import hash_folder
from tunegate_trainer.inputs import model_files
from tunegate_trainer.training import exchange
from tunegate_trainer.training.checkpoints import KEY_BYTES
from tunegate_trainer.training.model import load_base

SETTINGS: dict[str, Any] = {
    "rank": 16, "alpha": 32, "dropout": 0.05, "learningRate": 1e-3, "batchSize": 4, "gradientAccumulation": 2, "seed": 7,
}  # fmt: skip
UNUSED = "sha256:" + "0" * 64
SIDES = ("product", "bare")


def make_config(model: Path, data: Path, kind: str, steps: int) -> TrainConfig:
    """Return what a pod would be told. Registry and digests are not used: the wrapper looks at them, not the process."""
    texts = {key: str(value) for key, value in SETTINGS.items() if key in {"dropout", "learningRate"}}
    method = Method.model_validate(
        {**SETTINGS, **texts, "type": kind, "maxSteps": steps, "checkpointSteps": steps, "developmentFraction": "0",
         "maxLength": 2048, "targetModules": "AllLinear", "warmupRatio": "0"}
    )  # fmt: skip
    return TrainConfig(
        job=JobIdentity(namespace="benchmark", name="training", uid="0a1b2c3d-0000-4000-8000-000000000000", attempt=1),
        registry=RegistryTarget(host="localhost", repository="benchmark"),
        base_model=BaseModelInput(
            name="model", path=str(model), context_length=8192, manifest=Manifest(files=[]), manifest_digest=UNUSED
        ),
        dataset=DatasetInput(path=str(data)),
        method=method,
        pool=ComputePoolSpec(device_memory="64Gi", throughput="20", cleared_for=["Public"]),
    )


def prepare_run(run: Path, config: TrainConfig) -> None:
    """Leave what the wrapper leaves for the training process: the configuration, the hashed base model, a key."""
    model = Path(config.base_model.path)
    (run / exchange.CONFIG).write_text(config.model_dump_json(by_alias=True))
    (run / exchange.BASE).write_text(hash_folder(model, model_files(model)[0]).model_dump_json(by_alias=True))
    (run / "key").write_bytes(secrets.token_bytes(KEY_BYTES))


def run_side(side: str, config: TrainConfig, settings: dict[str, Any]) -> dict[str, Any]:
    """Train in a process of its own and return its report. Raises ``RuntimeError`` when it fails."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for name in ("run", "workspace"):
            (folder / name).mkdir()
        prepare_run(folder / "run", config)
        (folder / "settings.json").write_text(json.dumps({**settings, "output": str(folder / "output")}))
        told = {"product": [folder / "run", folder / "workspace"], "bare": [folder / "settings.json"]}[side]
        command = [sys.executable, Path(__file__).with_name("timed.py"), folder / "report.json", side, *told]
        environment = {
            "USER": "tunegate",
            **os.environ,
            "OMP_NUM_THREADS": str(os.cpu_count()),
            "GOMP_SPINCOUNT": "20000",
        }
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode or not (folder / "report.json").exists():
            raise RuntimeError(f"{side} did not finish: {(done.stdout + done.stderr)[-3000:]}")
        report: dict[str, Any] = json.loads((folder / "report.json").read_text())
        return report


def compare(model: Path, data: Path, kind: str, steps: int, rounds: int) -> list[str]:
    """Return the table's rows for one method."""
    dtype = str(load_base(model, Method.model_validate({"type": "LoRA"}), cuda=False).dtype).removeprefix("torch.")
    settings = {**SETTINGS, "model": str(model), "data": str(data), "method": kind, "steps": steps, "dtype": dtype}
    config = make_config(model, data, kind, steps)
    reports: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
    for _ in range(rounds):
        for side in SIDES:
            reports[side].append(run_side(side, config, settings))
    if len({report["tokens"] for found in reports.values() for report in found}) != 1:
        raise RuntimeError(f"the sides read different tokens: {reports}")
    figures = {
        side: [_rate(found, "seconds"), _rate(found, "cpuSeconds"), _peak(found)] for side, found in reports.items()
    }
    ratios = [ours / theirs for ours, theirs in zip(figures["product"], figures["bare"], strict=True)]
    losses = {side: [round(loss, 3) for loss in found[0]["losses"]] for side, found in reports.items()}
    print(f"losses of {kind}: {losses}", file=sys.stderr, flush=True)
    rows = [
        f"| {kind} | {side} | {figures[side][0]:.0f} | {figures[side][1]:.0f} | {figures[side][2]:.2f} |"
        for side in SIDES
    ]
    return [*rows, f"| {kind} | ratio | **{ratios[0]:.2f}** | **{ratios[1]:.2f}** | **{ratios[2]:.2f}** |"]


def _rate(found: list[dict[str, Any]], clock: str) -> float:
    return float(statistics.median(report["tokens"] / report[clock] for report in found))


def _peak(found: list[dict[str, Any]]) -> float:
    return float(statistics.median(report["peakBytes"] for report in found)) / 1e9


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="conversations, one JSON object a line")
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--methods", nargs="+", choices=["LoRA", "QLoRA"], default=["LoRA", "QLoRA"])
    options = parser.parse_args()
    print(f"{options.steps} steps, {options.rounds} rounds, {os.cpu_count()} processors, torch {torch.__version__}\n")
    print("| method | side | tokens a second | tokens a CPU second | peak memory, GB |\n|---|---|---|---|---|")
    for kind in options.methods:
        for row in compare(options.model, options.data, kind, options.steps, options.rounds):
            print(row, flush=True)


if __name__ == "__main__":
    main()
