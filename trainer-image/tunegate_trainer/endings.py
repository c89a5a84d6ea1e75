"""How a stage can end without a verdict: one exception per exit code. Raise them; the entry point does the rest."""

from __future__ import annotations

from tunegate.api.reasons import StageReason
from tunegate.api.stage.ends import ExitCode


class StageEnd(Exception):
    """An end without a verdict. The message goes to the pod's termination message: it never quotes a row of the data."""

    exit_code: int
    reason: StageReason

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class BadInput(StageEnd):
    """The configuration or a mounted input is not what was promised; trying again is futile."""

    exit_code = ExitCode.BAD_INPUT
    reason = StageReason.BAD_INPUT


class ConfigurationDiffers(StageEnd):
    """The mounted configuration is not the one that the pod was made with. Nothing else was read."""

    exit_code = ExitCode.CONFIGURATION_DIFFERS
    reason = StageReason.CONFIGURATION_DIFFERS


class InputChanged(StageEnd):
    """A file was put in the place of one that had been hashed, or written to."""

    exit_code = ExitCode.INPUT_CHANGED
    reason = StageReason.INPUT_CHANGED


class Unavailable(StageEnd):
    """Something outside (registry, engine) is missing for now; trying again is right."""

    exit_code = ExitCode.UNAVAILABLE
    reason = StageReason.UNAVAILABLE


class RegistryFull(StageEnd):
    """The registry has no room for what the stage made: trying again is right once there is some."""

    exit_code = ExitCode.REGISTRY_FULL
    reason = StageReason.REGISTRY_FULL


class OutOfMemory(StageEnd):
    """Host or device memory ran out."""

    exit_code = ExitCode.OUT_OF_MEMORY
    reason = StageReason.OUT_OF_MEMORY


class StorageFull(StageEnd):
    """The workspace, or the pod's own storage, has no room left."""

    exit_code = ExitCode.STORAGE_FULL
    reason = StageReason.STORAGE_FULL


class DevicesMissing(StageEnd):
    """The pool promises devices, and the container has none, too few or smaller ones."""

    exit_code = ExitCode.DEVICES_MISSING
    reason = StageReason.DEVICES_MISSING


class PeersMissing(StageEnd):
    """The pods of one training did not find each other in time."""

    exit_code = ExitCode.PEERS_MISSING
    reason = StageReason.PEERS_MISSING


class Preempted(SystemExit):
    """SIGTERM came; whatever could be kept was kept.

    Not a ``StageEnd``, since it is raised at any moment: code that catches ``Exception`` would take it for a fault of what it
    was about to do. Of the other exceptions, an event loop passes only ``SystemExit`` and ``KeyboardInterrupt`` on.
    """

    exit_code = ExitCode.PREEMPTED
    reason = StageReason.PREEMPTED

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Unknown(StageEnd):
    """An error that nobody foresaw. The message names its type only: its text may quote data."""

    exit_code = 1
    reason = StageReason.UNKNOWN
