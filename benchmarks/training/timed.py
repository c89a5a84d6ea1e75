"""One side of the comparison, in a process of its own: it writes what its training loop took and read.

The clock runs while ``Trainer.train`` does, without checkpoints, which have a clock of their own. Loading libraries, the model and
the rows is outside both.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import resource
import runpy
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

IGNORED = -100


class Clock:
    """Wall and CPU seconds (user and system, all threads of this process) of what runs under it."""

    def __init__(self) -> None:
        self.seconds = self.cpu_seconds = 0.0

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Count while the block runs."""
        started, worked = time.monotonic(), time.process_time()
        yield
        self.seconds += time.monotonic() - started
        self.cpu_seconds += time.process_time() - worked

    def around(self, method: Any) -> Any:
        """Return a method that counts its calls' time."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.running():
                return method(*args, **kwargs)

        return timed


def train(report: Path, side: str, dtype: str, arguments: list[str]) -> None:
    """Patch the loop with clocks, run the side, write the report. What it prints goes to a file beside the report.

    ``side`` is `product` or `every`, with the folders of the run and its workspace as arguments, or `bare` with its settings.
    `every` is the product with all positions through the output layer, as a bare TRL script has them. ``dtype`` `float32`
    forbids the product bfloat16.
    """
    with report.with_suffix(".log").open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    from transformers import Trainer
    from transformers.trainer_callback import CallbackHandler
    from trl import SFTTrainer

    found: dict[str, Any] = {}
    whole, checkpoints = Clock(), Clock()
    batches: list[str] = []
    labelled: list[int] = []
    loop, step = Trainer.train, SFTTrainer.training_step

    def timed(trainer: Any, *args: Any, **kwargs: Any) -> Any:
        found.update(describe_weights(trainer.model))
        with whole.running():
            result = loop(trainer, *args, **kwargs)
        found["optimizer"] = trainer.args.optim.value
        found["tokens"] = int(trainer._total_train_tokens)
        history = [entry for entry in trainer.state.log_history if "loss" in entry]
        found["losses"] = [entry["loss"] for entry in history]
        found["gradients"] = [entry["grad_norm"] for entry in history]
        return result

    def read(trainer: Any, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        batches.append(digest_batch(inputs))
        labelled.append(int((inputs["labels"] != IGNORED).sum()))
        return step(trainer, model, inputs, *args, **kwargs)

    patched: Any = SFTTrainer
    Trainer.train, patched.training_step = timed, read
    patched._save_checkpoint = checkpoints.around(patched._save_checkpoint)
    CallbackHandler.on_save = checkpoints.around(CallbackHandler.on_save)
    run_side(side, dtype, arguments)
    found.update(
        seconds=whole.seconds - checkpoints.seconds,
        cpuSeconds=whole.cpu_seconds - checkpoints.cpu_seconds,
        checkpointCpuSeconds=checkpoints.cpu_seconds,
        batches=batches,
        labelled=sum(labelled),
        peakBytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    )
    report.write_text(json.dumps(found))


def run_side(side: str, dtype: str, arguments: list[str]) -> None:
    """Train as the side does. A product that fails ends this process."""
    if side == "bare":
        sys.argv = ["bare.py", *arguments]
        runpy.run_path(str(Path(__file__).with_name("bare.py")), run_name="__main__")
        return
    from tunegate_trainer.training import model, worker

    product: Any = model
    if dtype == "float32":
        product._cpu_has_bfloat16 = lambda: False
    if side == "every":
        worker.score_answers_only = lambda: None
    run, workspace = arguments
    sys.argv = ["worker", "--run", run, "--workspace", workspace, "--checkpoint-key", f"{run}/key"]
    code = worker.main()
    if code:
        sys.exit(code)


def digest_batch(inputs: Any) -> str:
    """Return SHA-256 of what a batch holds, padding included."""
    names = ("input_ids", "labels", "attention_mask")
    return hashlib.sha256(json.dumps([inputs[name].tolist() for name in names]).encode()).hexdigest()


def describe_weights(model: Any) -> dict[str, str]:
    """Return the type of the frozen weights that are not quantized, and SHA-256 of names, types and values of the trainable ones."""
    digest = hashlib.sha256()
    frozen = ""
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            digest.update(f"{name} {parameter.dtype}".encode())
            digest.update(parameter.detach().float().numpy().tobytes())
        elif parameter.is_floating_point():
            frozen = str(parameter.dtype).removeprefix("torch.")
    return {"dtype": frozen, "adapter": digest.hexdigest()}
