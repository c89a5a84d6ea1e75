"""The wrapper: starts the training processes through `accelerate launch`, watches them, turns their end into a result.

One shape for one pod or many: the pods of an Indexed Job meet at index 0 (`MASTER_ADDR`, `MASTER_PORT`); there are no
elastic sizes, all start again from the last checkpoint.
"""

from __future__ import annotations

import importlib.metadata
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

from tunegate.api.stage.configs import TrainConfig
from tunegate.api.stage.results import TrainResult
from tunegate.logs import event
from tunegate_trainer.context import Places, StageContext
from tunegate_trainer.data.shards import open_dataset
from tunegate_trainer.endings import BadInput, InputChanged, OutOfMemory, Preempted, StorageFull, Unknown
from tunegate_trainer.inputs import check_base_model
from tunegate_trainer.training import exchange
from tunegate_trainer.training.attempt_times import AttemptLedger
from tunegate_trainer.training.checkpoints import read_key
from tunegate_trainer.training.devices import require_devices
from tunegate_trainer.training.exchange import Outcome, read_outcome
from tunegate_trainer.training.hardware import hardware
from tunegate_trainer.training.meeting import Meeting

log = logging.getLogger(__name__)

DEFAULT_PORT = "29500"
CGROUP_FILES = (Path("/sys/fs/cgroup/memory.events"), Path("/sys/fs/cgroup/memory/memory.oom_control"))
OVERFITTING_RATIO = 1.10
LIBRARIES = ("torch", "transformers", "trl", "peft", "accelerate", "bitsandbytes", "datasets", "tokenizers")


def run(config: TrainConfig, context: StageContext) -> TrainResult | None:
    """Train and return the result; pods of an index above 0 return none, since index 0 speaks for all.

    Raises ``Preempted`` after SIGTERM once a checkpoint is written, ``BadInput``, ``InputChanged``, ``DevicesMissing``,
    ``PeersMissing``, ``OutOfMemory``, ``StorageFull`` or ``Unknown``.
    """
    places = context.places
    read_key(places.checkpoint_key)
    require_devices(config.pool, config.method.num_proc_per_node)
    base = check_base_model(config.base_model, context)
    rows, digest = open_dataset(config.dataset, places.run)
    context.notes.note(dataset=digest)
    if not os.access(places.workspace, os.W_OK):
        raise BadInput(f"workspace {places.workspace} is missing or not writable")
    # The processes read the copy of this pod, of which the digest was compared, and never the volume.
    own = config.dataset.model_copy(update={"path": str(rows.root), "digest": digest})
    told = config.model_copy(update={"dataset": own})
    (places.run / exchange.CONFIG).write_text(told.model_dump_json(by_alias=True))
    (places.run / exchange.BASE).write_text(base.model_dump_json(by_alias=True))
    context.progress.show(5, "waiting for the other pods")
    Meeting(_node_rank(), config.method.num_nodes, *_meeting_place()).wait()
    started, kills = time.monotonic(), oom_kills()
    code = _watch(_command(config, places), places.run, cuda=config.pool.device_resource is not None)
    outcome = read_outcome(places.run)
    if outcome is None and oom_kills() > kills:
        raise OutOfMemory("the pod's memory ran out: lower method.batchSize or method.maxLength, or use a larger pool")
    _raise_unless_verdict(outcome, code)
    if outcome is None or _node_rank() > 0:
        return None
    ledger = AttemptLedger(places.workspace, config.job.attempt)
    ledger.record(time.monotonic() - started)
    return _result(config, outcome, ledger.total)


def _node_rank() -> int:
    return int(os.environ.get("JOB_COMPLETION_INDEX", "0"))


def _meeting_place() -> tuple[str, int]:
    return os.environ.get("MASTER_ADDR", "127.0.0.1"), int(os.environ.get("MASTER_PORT", DEFAULT_PORT))


def _command(config: TrainConfig, places: Places) -> list[str]:
    nodes, processes = config.method.num_nodes, config.method.num_nodes * config.method.num_proc_per_node
    # On CPUs too, `--multi_gpu` is how accelerate starts several processes; the backend follows the device.
    kind = ["--multi_gpu"] if processes > 1 else [] if config.pool.device_resource else ["--cpu"]
    host, port = _meeting_place()
    rendezvous = [
        "--machine_rank", str(_node_rank()), "--main_process_ip", host, "--main_process_port", str(port),
    ]  # fmt: skip
    return [
        sys.executable, "-m", "tunegate_trainer.training.start", *kind,
        "--num_processes", str(processes), "--num_machines", str(nodes), *(rendezvous if processes > 1 else []),
        "--mixed_precision", "no", "--dynamo_backend", "no",
        "--module", "tunegate_trainer.training.worker",
        "--run", str(places.run), "--workspace", str(places.workspace),
        "--checkpoint-key", str(places.checkpoint_key),
    ]  # fmt: skip


def _watch(command: list[str], run: Path, *, cuda: bool) -> int:
    """Run the command to its end; SIGTERM becomes a request to checkpoint and stop, for which we wait."""

    def on_sigterm(_signal: int, _frame: FrameType | None) -> None:
        log.info("SIGTERM: training will stop after this step", extra=event("TrainingStops"))
        exchange.request_stop(run)

    signal.signal(signal.SIGTERM, on_sigterm)
    # Libraries ask for the user's name; a pod's user has none.
    environment = {"USER": "tunegate", **os.environ}
    if "--multi_gpu" in command and not cuda:
        environment["ACCELERATE_USE_CPU"] = "true"
    # Its own session: a signal to our process group must not reach the workers before they have checkpointed.
    process = subprocess.Popen(command, env=environment, start_new_session=True)
    try:
        return process.wait()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def oom_kills(files: tuple[Path, ...] = CGROUP_FILES) -> int:
    """Return how often the kernel killed a process of this container for memory.

    The launcher hides how a worker died, so the control group is asked (version 2, else version 1).
    """
    for path in files:
        if path.is_file():
            words = dict(line.split() for line in path.read_text().splitlines() if len(line.split()) == 2)
            return int(words.get("oom_kill", 0))
    return 0


def _raise_unless_verdict(outcome: Outcome | None, code: int) -> None:
    if outcome is None:
        raise Unknown(f"training processes ended with code {code} and without a word (see the pod's log)")
    if outcome.state == "BadInput":
        raise BadInput(outcome.message)
    if outcome.state == "InputChanged":
        raise InputChanged(outcome.message)
    if outcome.state == "OutOfMemory":
        raise OutOfMemory("memory ran out: lower method.batchSize or method.maxLength, or use a larger pool")
    if outcome.state == "StorageFull":
        raise StorageFull(outcome.message)
    if outcome.state == "Stopped":
        raise Preempted(f"stopped at step {outcome.steps} with a checkpoint")
    if code != 0:
        raise Unknown(f"training processes ended with code {code} (see the pod's log)")


def _result(config: TrainConfig, outcome: Outcome, seconds: float) -> TrainResult:
    losses = [value for _, value in outcome.loss_history]
    development = [value for _, value in outcome.development_history]
    return TrainResult(
        outcome="Diverged" if outcome.state == "Diverged" else "Passed",
        steps=outcome.steps,
        epochs=round(outcome.epochs, 4),
        tokens=outcome.tokens,
        training_loss=losses[-1] if losses else 0.0,
        development_loss=min(development, default=None),
        best_step=outcome.best_step,
        overfitting=bool(development) and development[-1] > OVERFITTING_RATIO * min(development),
        loss_history=list(outcome.loss_history),
        development_history=list(outcome.development_history),
        seconds=round(seconds, 3),
        resumed_from_step=outcome.resumed_from_step,
        foreign_checkpoints=outcome.foreign_checkpoints,
        world_size=outcome.world_size,
        adapter_digest=outcome.adapter_digest,
        hyperparameters=_hyperparameters(config),
        libraries={name: importlib.metadata.version(name) for name in LIBRARIES},
        hardware=hardware(),
    )


def _hyperparameters(config: TrainConfig) -> dict[str, str]:
    return {key: str(value) for key, value in config.method.to_dict().items()}
