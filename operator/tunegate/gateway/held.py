"""One adapter of a pod on its way from the list into the engine and out of it."""

from __future__ import annotations

from dataclasses import dataclass

from tunegate.api.modelserver import LeftOutCause
from tunegate.api.serving import AdapterEntry, AdapterState, Fetched, GatewayAdapter

RETRY_SECONDS = 60.0
"""Between two tries to take up an adapter that is left out for its files, or whose probe could not be asked."""
SOON_SECONDS = 2.0
"""Between two tries of what is only out of reach now."""
FOREVER = float("inf")


@dataclass
class Held:
    """State of one adapter. Times are of the event loop's clock."""

    entry: AdapterEntry
    state: AdapterState = "Loading"
    cause: LeftOutCause | None = None
    reason: str = ""
    fetched: Fetched | None = None
    """Its folder and probe, once every byte of it was verified."""
    not_before: float = 0.0
    """When the next try may begin."""
    leaves_at: float | None = None
    """When requests that it still answers are cut; None: it is wanted."""

    @property
    def judged(self) -> bool:
        """Whether it is known, for better or worse, what becomes of it."""
        return self.state in ("Ready", "LeftOut")

    def take(self, entry: AdapterEntry) -> None:
        """Begin again with another entry, for the same bytes."""
        self.entry, self.fetched, self.leaves_at = entry, None, None
        self.begin()

    def begin(self) -> None:
        """Forget what was found out in the engine."""
        self.state, self.cause, self.reason, self.not_before = "Loading", None, "", 0.0

    def wait(self, reason: str, until: float) -> None:
        """Note why it is not there yet."""
        self.reason, self.not_before = reason[:1000], until

    def leave_out(self, cause: LeftOutCause, reason: str, until: float = FOREVER) -> None:
        """Note that it is not served, and when that is looked at again."""
        self.state, self.cause = "LeftOut", cause
        self.wait(reason, until)

    def shown(self) -> GatewayAdapter:
        """Return what the operator is told."""
        entry = self.entry
        return GatewayAdapter(
            served_name=entry.served_name,
            release=entry.release,
            digest=entry.digest,
            state=self.state,
            cause=self.cause,
            reason=self.reason,
        )
