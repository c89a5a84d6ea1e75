"""One training process: started by `accelerate launch` in every pod, as often as the pod has devices.

python -m tunegate_trainer.training.worker --run DIR --workspace DIR --checkpoint-key FILE
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import resource
import shutil
import sys
from pathlib import Path
from typing import Any

import torch

from tunegate.api.manifest import HashedFolder
from tunegate.api.stage.configs import TrainConfig
from tunegate.api.stage.layout import TRAINED_ADAPTER
from tunegate.base_files import changed
from tunegate.logs import event
from tunegate_trainer.adapter_checks import take_adapter
from tunegate_trainer.data.conversations import ChatTokenizer, Encoded
from tunegate_trainer.data.rows import read_sound_rows
from tunegate_trainer.data.shards import find_shards
from tunegate_trainer.data.splitting import split
from tunegate_trainer.endings import BadInput, InputChanged
from tunegate_trainer.files import remove
from tunegate_trainer.full_storage import storage_full, where_full
from tunegate_trainer.logs import start_logging
from tunegate_trainer.modules import read_architecture
from tunegate_trainer.training import exchange
from tunegate_trainer.training.answer_positions import score_answers_only
from tunegate_trainer.training.attempt_times import AttemptLedger
from tunegate_trainer.training.callbacks import (
    KeepTime,
    ResumeIntact,
    SealCheckpoints,
    ShowProgress,
    StopOnDivergence,
    StopTogether,
)
from tunegate_trainer.training.checkpoints import Checkpoint, Found, newest_complete, read_checkpoint, read_key
from tunegate_trainer.training.exchange import Outcome, write_outcome
from tunegate_trainer.training.model import adapter_config, load_base, widen_trainable
from tunegate_trainer.validation.estimates import checkpoint_interval, training_steps

log = logging.getLogger("tunegate_trainer.training")

CHECKPOINTS = "checkpoints"
PROGRESS_FILE = "progress.json"
HISTORY_POINTS = 500


def main() -> int:
    """Train, and leave an outcome for the wrapper. Unknown errors end the process with a traceback in the log."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("run", "workspace", "checkpoint-key"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    options = parser.parse_args()
    start_logging("Train")
    config = TrainConfig.model_validate_json((options.run / exchange.CONFIG).read_bytes())
    try:
        outcome = train(config, options)
    except BadInput as error:
        outcome = Outcome("BadInput", str(error))
    except InputChanged as error:
        outcome = Outcome("InputChanged", str(error))
    except (MemoryError, torch.OutOfMemoryError) as error:
        outcome = Outcome("OutOfMemory", type(error).__name__)
    except Exception as error:
        if not storage_full(error, options.workspace):
            raise
        log.error("storage is full", exc_info=error, extra=event("StorageFull"))
        outcome = Outcome("StorageFull", where_full(options.workspace))
    write_outcome(options.run, outcome, int(os.environ.get("LOCAL_RANK", "0")))
    return 1 if outcome.state in exchange.FAILURES else 0


def train(config: TrainConfig, options: argparse.Namespace) -> Outcome:
    """Train from the newest complete checkpoint, or from the start, and save the best adapter when all steps are done."""
    from transformers import PrinterCallback

    # Not whether torch sees a device: where the pool promises one, a training without it has to fail.
    cuda = config.pool.device_resource is not None
    folder = Path(config.base_model.path)
    tokenizer = ChatTokenizer(folder)
    training, development = encode_rows(config, tokenizer)
    workspace: Path = options.workspace
    arguments = make_arguments(config, workspace, rows=len(training), develop=bool(development), cuda=cuda)
    key = read_key(options.checkpoint_key)
    base = HashedFolder.model_validate_json((options.run / exchange.BASE).read_bytes())
    found = choose_checkpoint(workspace / CHECKPOINTS, key, arguments)
    resume = found.newest
    score_answers_only()
    trainer: Any = make_trainer(key)(
        model=load_base(folder, config.method, cuda=cuda),
        args=arguments,
        train_dataset=_dataset(training),
        eval_dataset=_dataset(development) if development else None,
        processing_class=tokenizer.tokenizer,
        peft_config=adapter_config(config.method, read_architecture(folder)),
    )
    check_base(base, arguments)
    widen_trainable(trainer.model)
    stop, divergence = StopTogether(options.run), StopOnDivergence()
    earlier = resume.tokens if resume else 0

    def tokens() -> int:
        return earlier + int(trainer._total_train_tokens)

    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(stop)
    trainer.add_callback(divergence)
    trainer.add_callback(SealCheckpoints(key, tokens, lambda: check_base(base, arguments)))
    if resume is not None:
        trainer.add_callback(ResumeIntact(resume))
    _report(config, options, trainer)
    trainer.train(resume_from_checkpoint=str(resume.folder) if resume else None)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    log.info(
        "training ends", extra=event("TrainingEnded", peak_resident_bytes=peak, peak_device_bytes=_device_peak(cuda))
    )
    state = "Diverged" if divergence.diverged else "Stopped" if stop.stopped else "Finished"
    if state == "Finished" and trainer.state.global_step < trainer.state.max_steps:
        raise RuntimeError(f"training ended at step {trainer.state.global_step} of {trainer.state.max_steps}")
    check_base(base, arguments)
    digest = _save_adapter(trainer, options.run, workspace) if state == "Finished" else None
    return _outcome(trainer, state, tokens(), found, digest)


def _device_peak(cuda: bool) -> int:
    return int(torch.cuda.max_memory_allocated()) if cuda else 0


def encode_rows(config: TrainConfig, tokenizer: ChatTokenizer) -> tuple[list[Encoded], list[Encoded]]:
    """Return training and development rows as tokens; rows above `maxLength` are left out, as validation reported.

    ``config.dataset`` is the copy of this pod, whose digest the wrapper compared while it was made.
    """
    rows = read_sound_rows(find_shards("data set", Path(config.dataset.path)))
    development = split(rows, config.dataset.group_field, config.method.seed, float(config.method.development_fraction))
    sides: tuple[list[Encoded], list[Encoded]] = ([], [])
    for row, aside in zip(rows, development, strict=True):
        tokens = tokenizer.encode(row)
        if len(tokens.input_ids) <= config.method.max_length:
            sides[bool(aside)].append(tokens)
    training, development_rows = map(len, sides)
    log.info(
        "rows read",
        extra=event(
            "RowsRead",
            training=training,
            development=development_rows,
            left_out_as_too_long=len(rows) - training - development_rows,
        ),
    )
    if not sides[0]:
        raise BadInput(
            f"data set: none of the {len(rows)} rows is left to train on, with method.maxLength {config.method.max_length}"
        )
    return sides


def _dataset(rows: list[Encoded]) -> Any:
    from datasets import Dataset

    return Dataset.from_dict({"input_ids": [row.input_ids for row in rows], "labels": [row.labels for row in rows]})


def make_arguments(config: TrainConfig, workspace: Path, *, rows: int, develop: bool, cuda: bool) -> Any:
    """Return the trainer's settings; what TRL would choose badly for adapters (learning rate, cutting) is set here."""
    from trl import SFTConfig

    method = config.method
    steps = training_steps(method, rows)
    interval = checkpoint_interval(method, steps, develop=develop)
    return SFTConfig(
        output_dir=str(workspace / CHECKPOINTS),
        per_device_train_batch_size=method.batch_size,
        per_device_eval_batch_size=method.batch_size,
        gradient_accumulation_steps=method.gradient_accumulation,
        num_train_epochs=method.epochs,
        max_steps=method.max_steps or -1,
        learning_rate=float(method.learning_rate),
        lr_scheduler_type="linear",
        # As a number of steps: the trainer takes a ratio of 1 for one step.
        warmup_steps=math.ceil(steps * float(method.warmup_ratio)),
        optim="adamw_torch_fused" if cuda else "adamw_torch",
        bf16=cuda,
        use_cpu=not cuda,
        gradient_checkpointing=cuda,
        max_length=None,
        packing=False,
        seed=method.seed,
        logging_steps=1 if steps <= 200 else 10,
        logging_nan_inf_filter=False,
        eval_strategy="steps" if develop else "no",
        eval_steps=interval,
        save_strategy="steps",
        save_steps=interval,
        load_best_model_at_end=develop,
        metric_for_best_model="eval_loss" if develop else None,
        greater_is_better=False if develop else None,
        ddp_backend=None if cuda or "WORLD_SIZE" not in os.environ else "gloo",
        ddp_find_unused_parameters=False,
        dataloader_pin_memory=cuda,
        report_to="none",
        disable_tqdm=True,
    )


def make_trainer(key: bytes) -> Any:
    """Return TRL's trainer, with the one difference that the best checkpoint has to be this job's when it is loaded."""
    from trl import SFTTrainer

    class SealedBest(SFTTrainer):  # type: ignore[misc,unused-ignore]
        def _load_best_model(self) -> None:
            best = Path(self.state.best_model_checkpoint)
            found = read_checkpoint(best, key)
            if not isinstance(found, Checkpoint):
                raise InputChanged(f"{best.name}: the best checkpoint is not the one that this job wrote")
            super()._load_best_model()
            found.still()

    return SealedBest


def check_base(base: HashedFolder, arguments: Any) -> None:
    """Raise ``InputChanged`` in every rank when a rank finds that the base model is not the hashed one any more."""
    gone = changed(base)
    seen = torch.tensor([0 if gone is None else 1], device=arguments.device)
    if torch.distributed.is_initialized():
        torch.distributed.all_reduce(seen, op=torch.distributed.ReduceOp.MAX)
    if seen.item():
        raise InputChanged(f"base model: {gone or 'a file'} was replaced or written to after it was hashed")


def choose_checkpoint(root: Path, key: bytes, arguments: Any) -> Found:
    """Return what lies in the workspace. Rank 0 chooses the checkpoint, so that all ranks take the same one, and every
    rank compares for itself what it will read: by its own mount."""
    found = newest_complete(root, key) if arguments.process_index == 0 else Found(None, 0)
    if torch.distributed.is_initialized():
        told = [(found.newest.folder if found.newest else None, found.foreign)]
        torch.distributed.broadcast_object_list(told, src=0)
        folder, foreign = told[0]
        if arguments.process_index > 0 and folder is not None:
            own = read_checkpoint(folder, key)
            if not isinstance(own, Checkpoint):
                raise InputChanged(f"{folder.name}: is another checkpoint here than rank 0 has chosen")
            found = Found(own, foreign)
    if found.newest is not None:
        log.info("going on from a checkpoint", extra=event("TrainingResumed", step=found.newest.step))
        if found.newest.world_size != arguments.world_size:
            log.warning(
                "another number of processes wrote the checkpoint: not reproducible bit by bit",
                extra=event("ProcessesChanged"),
            )
    return found


def _report(config: TrainConfig, options: argparse.Namespace, trainer: Any) -> None:
    """Add progress in each pod's first process, time keeping in rank 0."""
    if trainer.args.local_process_index == 0:
        trainer.add_callback(ShowProgress(options.run / PROGRESS_FILE))
    if trainer.args.process_index == 0:
        trainer.add_callback(KeepTime(AttemptLedger(options.workspace, config.job.attempt).record))


def _save_adapter(trainer: Any, run: Path, workspace: Path) -> str | None:
    """Put the adapter, and nothing else that libraries add, into the workspace: whole or not at all.

    Return the digest of its manifest, as it was written in this pod's own space; ranks above 0 return none.
    """
    if trainer.args.process_index != 0:
        return None
    own, draft, target = run / TRAINED_ADAPTER, workspace / f".{TRAINED_ADAPTER}", workspace / TRAINED_ADAPTER
    trainer.model.save_pretrained(own)
    (own / "README.md").unlink(missing_ok=True)
    digest = take_adapter(own, run).digest
    for folder in (draft, target):
        remove(folder)
    shutil.copytree(own, draft)
    draft.rename(target)
    return digest


def _points(trainer: Any, name: str) -> list[tuple[int, float]]:
    """Return (step, value) of what was logged; what is no number belongs into no JSON document."""
    entries = [(entry["step"], float(entry[name])) for entry in trainer.state.log_history if name in entry]
    return [(int(step), value) for step, value in entries if math.isfinite(value)]


def _outcome(trainer: Any, state: Any, tokens: int, found: Found, adapter_digest: str | None) -> Outcome:
    losses = _points(trainer, "loss")
    development = _points(trainer, "eval_loss")
    stride = max(1, -(-len(losses) // HISTORY_POINTS))
    best = min(development, key=lambda point: point[1])[0] if development else trainer.state.global_step
    return Outcome(
        state=state,
        steps=trainer.state.global_step,
        epochs=float(trainer.state.epoch or 0.0),
        tokens=tokens,
        best_step=best,
        loss_history=tuple(losses[::stride]),
        development_history=tuple(development),
        resumed_from_step=found.newest.step if found.newest else 0,
        foreign_checkpoints=found.foreign,
        adapter_digest=adapter_digest,
        world_size=trainer.args.world_size,
    )


if __name__ == "__main__":
    sys.exit(main())
