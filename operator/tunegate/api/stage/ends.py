"""How a stage ends, and what it says of itself while it runs.

A stage that reached a verdict, good or bad, exits 0 with a result and writes a ``Termination`` to ``TERMINATION_PATH``; any
other exit code is an attempt without a verdict (see ``ExitCode``).
"""

from __future__ import annotations

from enum import IntEnum

from tunegate.api.markers import Digest, StrictModel


class ExitCode(IntEnum):
    """How a stage process ends."""

    VERDICT = 0
    """A result was pushed; its `outcome` says which."""
    BAD_INPUT = 3
    """The configuration or a mounted input is not what was promised (wrong digest, missing file): trying again is futile."""
    UNAVAILABLE = 4
    """Something outside is missing for now (registry, engine): try again."""
    OUT_OF_MEMORY = 5
    CONFIGURATION_DIFFERS = 6
    """The mounted configuration is not the one whose digest stands in the pod's arguments; nothing else was read."""
    INPUT_CHANGED = 7
    """Something was put in the place of an input after it was hashed."""
    STORAGE_FULL = 8
    """The workspace has no room."""
    DEVICES_MISSING = 9
    """The pool promises devices and the container has none, too few or smaller ones."""
    PEERS_MISSING = 10
    """The pods of one training did not find each other in time."""
    REGISTRY_FULL = 11
    """The registry has no room for what the stage made: try again when there is some."""
    PREEMPTED = 75
    """Stopped by SIGTERM with a checkpoint written (EX_TEMPFAIL of sysexits.h): go on later."""


class ProgressReport(StrictModel):
    """What a stage says about itself while it runs."""

    stage: str
    percent: int
    step: int = 0
    total_steps: int = 0
    loss: float | None = None
    remaining_seconds: int | None = None
    message: str = ""
    unchanged_seconds: int = 0
    """How long all of the above has been the same."""


class Termination(StrictModel):
    """The pod's last word, at most 4096 bytes: the kubelet keeps it in the pod's status."""

    reason: str
    """A word from ``tunegate.api.reasons.StageReason``."""
    message: str = ""
    result_digest: Digest | None = None
