"""What the wrapper and the training processes of one pod tell each other: a few small files in a folder of the pod.

A stop request is a file and not a signal: launchers answer a signal by killing their workers after half a minute, in
the middle of a checkpoint, and ranks would see it at different steps.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from tunegate.regular_files import read_regular
from tunegate_trainer.endings import Unknown

CONFIG = "train.json"
STOP = "stop"
OUTCOME = "outcome-{rank}.json"
BASE = "base.json"
"""The base model as the wrapper hashed it."""

State = Literal["Finished", "Stopped", "Diverged", "BadInput", "InputChanged", "OutOfMemory", "StorageFull"]
FAILURES: tuple[State, ...] = ("OutOfMemory", "StorageFull", "BadInput", "InputChanged")
"""The first of these that any process left explains why all of them ended."""


@dataclass(frozen=True)
class Outcome:
    """How a process of this pod ended. The pod's first one speaks for all, unless another one says why they ended."""

    state: State
    message: str = ""
    steps: int = 0
    epochs: float = 0.0
    tokens: int = 0
    best_step: int = 0
    loss_history: tuple[tuple[int, float], ...] = ()
    development_history: tuple[tuple[int, float], ...] = ()
    resumed_from_step: int = 0
    foreign_checkpoints: int = 0
    adapter_digest: str | None = None
    world_size: int = 1


def write_outcome(folder: Path, outcome: Outcome, rank: int) -> None:
    """Leave the outcome of the process with this rank in the pod for the wrapper."""
    name = OUTCOME.format(rank=rank)
    draft = folder / f".{name}"
    draft.write_text(json.dumps(asdict(outcome)))
    draft.replace(folder / name)


def read_outcome(folder: Path) -> Outcome | None:
    """Return what the processes left, or nothing when they died without a word. Raises ``Unknown`` when unreadable.

    Memory may run out in any process: the launcher then stops all others, which leave nothing.
    """
    found = {path.name: _read(path) for path in sorted(folder.glob(OUTCOME.format(rank="*")))}
    failed = [outcome for outcome in found.values() if outcome.state in FAILURES]
    if failed:
        return min(failed, key=lambda outcome: FAILURES.index(outcome.state))
    return found.get(OUTCOME.format(rank=0))


def _read(path: Path) -> Outcome:
    try:
        document = json.loads(read_regular(path))
        for history in ("loss_history", "development_history"):
            document[history] = tuple((int(step), float(value)) for step, value in document[history])
        return Outcome(**document)
    except (OSError, ValueError, TypeError, LookupError, OverflowError, RecursionError) as error:
        raise Unknown(f"training left an unreadable outcome, {path.name}") from error


def request_stop(folder: Path) -> None:
    """Ask the training processes to checkpoint and stop after the running step."""
    (folder / STOP).touch()


def stop_requested(folder: Path) -> bool:
    """Tell whether the wrapper asked to stop."""
    return (folder / STOP).exists()
