"""Tunegate's training process beside a bare TRL script: same model, rows, steps and settings, in turns, on CPUs.

    tests/in_trainer_image.sh --run benchmarks/training/compare.py --model /cache/models/smollm2 --texts /cache/licenses/train.jsonl

Each training is a process of its own. The sides take turns, so that a busy machine slows both; the ratio is taken in each round.
A comparison of unequal trainings is refused: see ``check_same`` and ``check_losses``.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import multiprocessing
import os
import secrets
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timed
from rows import write_rows

from tunegate.api.computepool import ComputePoolSpec
from tunegate.api.finetunejob.spec import Method
from tunegate.api.manifest import Manifest
from tunegate.api.stage.configs import BaseModelInput, DatasetInput, JobIdentity, RegistryTarget, TrainConfig
from tunegate.base_files import hash_folder
from tunegate_trainer.inputs import model_files
from tunegate_trainer.training import exchange
from tunegate_trainer.training.checkpoints import KEY_BYTES

SETTINGS: dict[str, Any] = {
    "rank": 16, "alpha": 32, "dropout": 0.05, "learningRate": 2e-4, "seed": 7,
}  # fmt: skip
ROWS = 64
LAST_DIGIT = 1e-4
"""Of a loss as it is printed."""
UNUSED = "sha256:" + "0" * 64
LIBRARIES = ("torch", "transformers", "trl", "peft", "bitsandbytes")
NARROW = "bare, bfloat16 adapter"
"""As TRL leaves it for quantized models: another arithmetic, so other losses."""
Report = dict[str, Any]
PROCESSES = multiprocessing.get_context("forkserver")
"""Each training's process begins with the libraries loaded, and nothing else done."""
PROCESSES.set_forkserver_preload(
    ["datasets", "bitsandbytes", "peft", "trl.trainer.sft_trainer", "tunegate_trainer.training.worker"]
)


class Unequal(Exception):
    """Two sides did not do the same training."""


@dataclass(frozen=True)
class Case:
    """What both sides train: one method on one set of rows."""

    model: Path
    data: Path
    method: str
    steps: int
    batch: int
    accumulation: int
    dtype: str
    """`own`, which is what the product chooses on this processor, or `float32`."""

    @property
    def common(self) -> dict[str, Any]:
        """Return the settings that go by the same name on both sides."""
        return {**SETTINGS, "batchSize": self.batch, "gradientAccumulation": self.accumulation}

    def config(self) -> TrainConfig:
        """Return what a pod would be told. Registry and digests are not used: the wrapper looks at them, not the process."""
        texts = {key: str(value) for key, value in SETTINGS.items() if key in {"dropout", "learningRate"}}
        method = Method.model_validate(
            {**self.common, **texts, "type": self.method, "maxSteps": self.steps, "checkpointSteps": self.steps,
             "developmentFraction": "0", "maxLength": 2048, "targetModules": "AllLinear", "warmupRatio": "0"}
        )  # fmt: skip
        return TrainConfig(
            job=JobIdentity(
                namespace="benchmark", name="training", uid="0a1b2c3d-0000-4000-8000-000000000000", attempt=1
            ),
            registry=RegistryTarget(host="localhost", repository="benchmark"),
            base_model=BaseModelInput(
                name="model",
                path=str(self.model),
                context_length=8192,
                manifest=Manifest(files=[]),
                manifest_digest=UNUSED,
            ),
            dataset=DatasetInput(path=str(self.data)),
            method=method,
            pool=ComputePoolSpec(device_memory="64Gi", throughput="20", cleared_for=["Public"]),
        )

    def settings(self, product: Report, *, wide: bool) -> dict[str, Any]:
        """Return what the bare script is told: type of the base and optimizer as the product has them."""
        return {
            **self.common,
            "model": str(self.model),
            "data": str(self.data),
            "method": self.method,
            "steps": self.steps,
            "dtype": product["dtype"],
            "optimizer": product["optimizer"],
            "wideAdapter": wide,
        }


def run_product(case: Case, side: str) -> Report:
    """Train as a pod's process does; ``side`` is `product`, or `every` with all positions scored."""
    config = case.config()
    with tempfile.TemporaryDirectory() as place:
        run, workspace = Path(place) / "run", Path(place) / "workspace"
        run.mkdir()
        workspace.mkdir()
        (run / exchange.CONFIG).write_text(config.model_dump_json(by_alias=True))
        (run / exchange.BASE).write_text(
            hash_folder(case.model, model_files(case.model)[0]).model_dump_json(by_alias=True)
        )
        (run / "key").write_bytes(secrets.token_bytes(KEY_BYTES))
        return run_timed(case, side, Path(place), [run, workspace])


def run_bare(case: Case, product: Report, *, wide: bool) -> Report:
    """Train with the bare script."""
    with tempfile.TemporaryDirectory() as place:
        settings = Path(place) / "settings.json"
        settings.write_text(json.dumps({**case.settings(product, wide=wide), "output": f"{place}/output"}))
        return run_timed(case, "bare", Path(place), [settings])


def run_timed(case: Case, side: str, place: Path, told: list[Path]) -> Report:
    """Train in a process of its own and return its report. Raises ``RuntimeError`` when it fails."""
    report = place / "report.json"
    process = PROCESSES.Process(target=timed.train, args=(report, side, case.dtype, [str(path) for path in told]))
    process.start()
    process.join()
    if process.exitcode or not report.exists():
        raise RuntimeError(f"{side} did not finish: {report.with_suffix('.log').read_text()[-3000:]}")
    found: Report = json.loads(report.read_text())
    return found


def check_same(one: Report, other: Report) -> None:
    """Raise ``Unequal`` unless both began with the same adapter and read the same batches in the same order."""
    for name in ("batches", "adapter", "dtype", "optimizer", "tokens"):
        if one[name] != other[name]:
            raise Unequal(f"{name} differ: {one[name]} and {other[name]}")


def check_losses(every: Report, product: Report, bare: Report) -> None:
    """Raise ``Unequal`` unless the losses agree as far as the same arithmetic goes (README.md says why not further).

    With all positions scored, the product is the bare script: losses and gradient norms agree bit by bit at each step. With
    the answers' positions alone, the loss before the first change of the weights agrees to the last printed digit, and in
    float32 that of each step.
    """
    for name in ("losses", "gradients"):
        if every[name] != bare[name]:
            raise Unequal(f"{name} with all positions differ: {every[name]} and {bare[name]}")
    compared = None if product["dtype"] == "float32" else 1
    pairs = list(zip(product["losses"], bare["losses"], strict=True))[:compared]
    if any(abs(ours - theirs) >= LAST_DIGIT / 2 for ours, theirs in pairs):
        raise Unequal(f"losses differ: {product['losses']} and {bare['losses']}")


def measure(case: Case, rounds: int, *, narrow: bool) -> dict[str, list[Report]]:
    """Train all sides in turns, in every second round backwards. Raises ``Unequal`` when product and bare script are."""
    every = run_product(case, "every")
    sides: dict[str, Callable[[], Report]] = {
        "product": lambda: run_product(case, "product"),
        "bare": lambda: run_bare(case, every, wide=True),
    }
    if narrow and case.method == "QLoRA":
        sides[NARROW] = lambda: run_bare(case, every, wide=False)
    reports: dict[str, list[Report]] = {side: [] for side in sides}
    for number in range(rounds):
        for side in list(sides)[:: -1 if number % 2 else 1]:
            reports[side].append(sides[side]())
        product, bare = reports["product"][-1], reports["bare"][-1]
        check_same(every, product)
        check_same(every, bare)
        check_losses(every, product, bare)
    return reports


def table_rows(case: Case, reports: dict[str, list[Report]]) -> list[str]:
    """Return a row for each side, with medians, and one with the ratios of the rounds: their median, least and greatest."""
    product = reports["product"]
    begin = f"| {case.method} | {product[0]['labelled'] / product[0]['tokens']:.0%}"
    rows = []
    for side, found in reports.items():
        wall, cpu, peak, saved = (statistics.median(map(figure, found)) for figure in FIGURES)
        rows.append(f"{begin} | {side} | {wall:.0f} | {cpu:.1f} | {peak:.2f} | {saved:.2f} |")
    for side in list(reports)[1:]:
        texts = []
        for figure in FIGURES[:3]:
            ratios = [figure(ours) / figure(theirs) for ours, theirs in zip(product, reports[side], strict=True)]
            texts.append(f"**{statistics.median(ratios):.2f}** ({min(ratios):.2f}-{max(ratios):.2f})")
        rows.append(f"{begin} | product / {side} | {' | '.join(texts)} | |")
    return rows


def _per_second(report: Report) -> float:
    return float(report["tokens"] / report["seconds"])


def _per_cpu_second(report: Report) -> float:
    return float(report["tokens"] / report["cpuSeconds"])


def _peak(report: Report) -> float:
    return float(report["peakBytes"] / 1e9)


def _saving(report: Report) -> float:
    return float(report["checkpointCpuSeconds"])


FIGURES: tuple[Callable[[Report], float], ...] = (_per_second, _per_cpu_second, _peak, _saving)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument(
        "--texts", type=Path, required=True, help="conversations, one JSON object a line: rows are made of them"
    )
    parser.add_argument("--shares", type=int, nargs="+", default=[10, 50], help="percent of the words that are answers")
    parser.add_argument("--methods", nargs="+", choices=["LoRA", "QLoRA"], default=["LoRA", "QLoRA"])
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--batch", type=int, default=4, help="rows in one pass")
    parser.add_argument("--accumulation", type=int, default=2, help="passes in one step")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--dtype", choices=["own", "float32"], default="own")
    parser.add_argument(
        "--narrow", action="store_true", help="also QLoRA with the adapter in bfloat16, as TRL leaves it"
    )
    options = parser.parse_args()
    # Threads that wait sleep: spinning would count as work, the more of it the busier the machine is.
    os.environ.update(OMP_NUM_THREADS=str(options.threads), OMP_WAIT_POLICY="PASSIVE", USER="tunegate")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in LIBRARIES)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    print(f"{os.cpu_count()} processors, {memory:.0f} GB, load {os.getloadavg()[0]:.0f} at the beginning; {versions}")
    rows = f"{options.accumulation} times {options.batch} rows"
    print(
        f"{options.rounds} rounds of {options.steps} steps of {rows}, {options.threads} threads, {options.dtype} type\n"
    )
    print("| method | labelled | side | tokens a second | tokens a CPU second | peak memory, GB | checkpoint, CPU s |")
    print("|---|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as place:
        for share in options.shares:
            data = Path(place) / f"{share}.jsonl"
            write_rows(options.texts, data, share / 100, ROWS)
            for method in options.methods:
                case = Case(
                    options.model, data, method, options.steps, options.batch, options.accumulation, options.dtype
                )
                reports = measure(case, options.rounds, narrow=options.narrow)
                for row in table_rows(case, reports):
                    print(row, flush=True)
                losses = {side: [round(loss, 4) for loss in found[0]["losses"]] for side, found in reports.items()}
                print(f"losses of {method}, {share} %: {losses}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
