"""The one error of the demo: it names the reason and the next step."""

from __future__ import annotations


class DemoFailure(Exception):
    """A step cannot go on. ``next_step`` says what the person may do."""

    def __init__(self, reason: str, next_step: str, details: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.next_step = next_step
        self.details = details
