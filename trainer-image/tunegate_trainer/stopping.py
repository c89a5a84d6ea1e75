"""SIGTERM during a stage: it is a stop, whatever it interrupts, and never a verdict."""

from __future__ import annotations

from types import FrameType

from tunegate_trainer.endings import Preempted

STOPPED = "stopped by SIGTERM: the stage runs again from its last kept state"


class StopRequest:
    """The handler of SIGTERM. It interrupts what runs, and remembers that it did.

    Python drops an exception that is raised within a finalizer or a callback of a library in C, and a library may turn it into an
    error of its own. So an ending is looked at again: once a stop was asked for, there is no other.
    """

    def __init__(self) -> None:
        self.came = False

    def on_signal(self, _signal: int, _frame: FrameType | None) -> None:
        """Interrupt the stage. Raises ``Preempted``."""
        self.came = True
        raise Preempted(STOPPED)

    def check(self) -> None:
        """Raise ``Preempted`` when a stop was asked for and has not been noticed."""
        if self.came:
            raise Preempted(STOPPED)
