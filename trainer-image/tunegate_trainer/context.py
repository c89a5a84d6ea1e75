"""What a stage is given beside its configuration."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tunegate.registry.client import RegistryClient
from tunegate_trainer.progress import ProgressBoard


@dataclass(frozen=True)
class Places:
    """Where the pod mounts things; tests give others."""

    config: Path
    termination: Path
    registry_auth: Path
    ca: Path
    store: Path
    workspace: Path
    run: Path
    """Folder of this attempt's own small files (progress, stop request), never shared between pods."""


@dataclass(frozen=True)
class StageContext:
    """The stage's connections to the outside."""

    places: Places
    registry: RegistryClient
    progress: ProgressBoard
