"""What the wrapper and the training processes of one pod tell each other: three small files in a folder of the pod.

A stop request is a file and not a signal: launchers answer a signal by killing their workers after half a minute, in
the middle of a checkpoint, and ranks would see it at different steps.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from tunegate_trainer.endings import Unknown

CONFIG = "train.json"
STOP = "stop"
OUTCOME = "outcome.json"
BASE = "base.json"
"""The base model as the wrapper hashed it."""

State = Literal["Finished", "Stopped", "Diverged", "BadInput", "InputChanged", "OutOfMemory"]


@dataclass(frozen=True)
class Outcome:
    """How the processes of this pod ended, written by the pod's first one."""

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


def write_outcome(folder: Path, outcome: Outcome) -> None:
    """Leave the outcome for the wrapper."""
    draft = folder / f".{OUTCOME}"
    draft.write_text(json.dumps(asdict(outcome)))
    draft.replace(folder / OUTCOME)


def read_outcome(folder: Path) -> Outcome | None:
    """Return what the processes left, or nothing when they died without a word. Raises ``Unknown`` when unreadable."""
    try:
        document = json.loads((folder / OUTCOME).read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise Unknown("training left an unreadable outcome") from error
    for history in ("loss_history", "development_history"):
        document[history] = tuple((int(step), float(value)) for step, value in document[history])
    return Outcome(**document)


def request_stop(folder: Path) -> None:
    """Ask the training processes to checkpoint and stop after the running step."""
    (folder / STOP).touch()


def stop_requested(folder: Path) -> bool:
    """Tell whether the wrapper asked to stop."""
    return (folder / STOP).exists()
