"""What a stage is given beside its configuration."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from tunegate.registry.client import RegistryClient
from tunegate_trainer.progress import ProgressBoard
from tunegate_trainer.taking import InputNotes


@dataclass(frozen=True)
class Places:
    """Where the pod mounts things; tests give others."""

    config: Path
    termination: Path
    registry_auth: Path
    ca: Path
    store: Path
    workspace: Path
    base_record: Path
    """What `check-base` left about the base model, in pods with an engine."""
    checkpoint_key: Path
    run: Path
    """Folder of this attempt's own files (progress, stop request, copies of its inputs), never shared between pods."""


@dataclass(frozen=True)
class StageContext:
    """The stage's connections to the outside."""

    places: Places
    registry: RegistryClient
    progress: ProgressBoard
    notes: InputNotes = field(default_factory=InputNotes)
