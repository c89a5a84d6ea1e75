"""What happens between steps: agree on stopping, show progress, notice divergence, seal checkpoints."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback
from transformers.trainer_utils import rotate_checkpoints

from tunegate.api.stage.ends import ProgressReport
from tunegate.logs import event
from tunegate_trainer.progress import write_report
from tunegate_trainer.training.checkpoints import PREFIX, Checkpoint, seal_checkpoint
from tunegate_trainer.training.divergence import Divergence
from tunegate_trainer.training.exchange import stop_requested

log = logging.getLogger(__name__)

PROGRESS_SECONDS = 1.0
KEPT_CHECKPOINTS = 2
"""The newest ones that stay; the best one is among them, or stays in the place of the older one."""


class StopTogether(TrainerCallback):  # type: ignore[misc,unused-ignore]
    """Stop after the step in which any rank was asked to; all ranks leave at the same step, with a checkpoint."""

    def __init__(self, run: Path) -> None:
        self._run = run
        self.stopped = False

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        wish = torch.tensor([1 if stop_requested(self._run) else 0], device=args.device)
        if torch.distributed.is_initialized():
            torch.distributed.all_reduce(wish, op=torch.distributed.ReduceOp.MAX)
        if wish.item() and state.global_step < state.max_steps:
            self.stopped = True
            control.should_save = True
            control.should_training_stop = True
        return control


class StopOnDivergence(TrainerCallback):  # type: ignore[misc,unused-ignore]
    """End a training that has diverged: no later step repairs it."""

    def __init__(self) -> None:
        self._divergence = Divergence()
        self.diverged = False

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> Any:
        if not self.diverged and self._divergence.log(logs or {}):
            control.should_training_stop = True
            self._tell()
        return control

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if not self.diverged and self._divergence.end():
            self._tell()

    def _tell(self) -> None:
        self.diverged = True
        log.warning("training diverged", extra=event("TrainingDiverged", why=self._divergence.reason))


class ShowProgress(TrainerCallback):  # type: ignore[misc,unused-ignore]
    """Leave progress and losses for the pod's server, which the operator asks."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._started = time.monotonic()
        self._first = 0
        self._shown = 0.0
        self._loss: float | None = None
        self._checked = 0
        self._to_check = 0
        self._checking_since = 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._started, self._first = time.monotonic(), state.global_step
        self._show(state)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._checked = 0
        if time.monotonic() - self._shown >= PROGRESS_SECONDS:
            self._show(state)

    def on_prediction_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        loader = kwargs.get("eval_dataloader")
        self._to_check = len(loader) if loader is not None else 0
        if self._checked == 0:
            self._checking_since = time.monotonic()
        self._checked += 1
        if time.monotonic() - self._shown >= PROGRESS_SECONDS:
            self._show(state)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        names = {"loss": "train/loss", "eval_loss": "train/development_loss", "learning_rate": "train/learning_rate"}
        numbers = {names[key]: float(value) for key, value in (logs or {}).items() if key in names}
        self._loss = numbers.get("train/loss", self._loss)
        if numbers and state.is_world_process_zero:
            log.info("step", extra=event("TrainingStep", step=state.global_step, of=state.max_steps, **numbers))
        self._show(state)

    def _show(self, state: Any) -> None:
        done, total = state.global_step, max(1, state.max_steps)
        spent = time.monotonic() - self._started
        left = spent / (done - self._first) * (total - done) if done > self._first else None
        finite = self._loss is not None and math.isfinite(self._loss)
        report = ProgressReport(
            stage="Train",
            percent=min(100, 100 * done // total),
            step=done,
            total_steps=state.max_steps,
            loss=self._loss if finite else None,
            remaining_seconds=self._checks_left() if done >= total else None if left is None else int(left),
            message=self._beside(done, total),
        )
        write_report(self._file, report)
        self._shown = time.monotonic()

    def _checks_left(self) -> int | None:
        """Return the seconds that the development rows still take after the last step; None where nobody can tell."""
        if self._checked < 2 or self._to_check <= self._checked:
            return None
        spent = time.monotonic() - self._checking_since
        return int(spent / (self._checked - 1) * (self._to_check - self._checked))

    def _beside(self, done: int, total: int) -> str:
        """Return what is done besides steps."""
        if self._checked:
            of = f" of {self._to_check}" if self._to_check else ""
            return f"{self._checked}{of} batches of development rows"
        return "the last checkpoint is saved, and the best one chosen" if done >= total else ""


class SealCheckpoints(TrainerCallback):  # type: ignore[misc,unused-ignore]
    """Once every rank has written its part of a checkpoint, rank 0 writes the manifest that makes it complete.

    The base model is looked at first: what was trained on other weights is no checkpoint to go on from. Older checkpoints
    are removed last: one that was never sealed takes no whole one's place. No rank goes on before, since all of them read
    the best checkpoint when the training ends.
    """

    def __init__(self, key: bytes, tokens: Callable[[], int], check_base: Callable[[], None]) -> None:
        """``tokens`` gives the training tokens so far; ``check_base`` raises, in all ranks, when the base model changed."""
        self._key = key
        self._tokens = tokens
        self._check_base = check_base

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if torch.distributed.is_initialized():
            torch.distributed.barrier()
        self._check_base()
        if state.is_world_process_zero:
            folder = Path(args.output_dir) / f"{PREFIX}{state.global_step}"
            seal_checkpoint(
                folder, self._key, step=state.global_step, tokens=self._tokens(), world_size=args.world_size
            )
            rotate_checkpoints(args.output_dir, KEPT_CHECKPOINTS, state.best_model_checkpoint)
        if torch.distributed.is_initialized():
            torch.distributed.barrier()


class ResumeIntact(TrainerCallback):  # type: ignore[misc,unused-ignore]
    """Compare the checkpoint once more when all of it has been loaded, before the first step that goes on from it."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint: Checkpoint | None = checkpoint

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self._checkpoint is not None:
            self._checkpoint.still()
            self._checkpoint = None

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """A finished training that runs again does no step."""
        self.on_step_begin(args, state, control)


class KeepTime(TrainerCallback):  # type: ignore[misc,unused-ignore]
    """Record the time of this attempt every few seconds, so that a kill loses little of it."""

    def __init__(self, record: Callable[[float], None]) -> None:
        self._record = record
        self._started = time.monotonic()
        self._kept = 0.0

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        now = time.monotonic()
        if now - self._kept >= 5 or state.global_step >= state.max_steps:
            self._kept = now
            self._record(now - self._started)
