"""What checks of the data found, without the text that they matched."""

from __future__ import annotations

from typing import Literal

from tunegate.api.markers import Digest, StrictModel

FindingAction = Literal["Block", "Redact", "Warn"]


class Finding(StrictModel):
    """One thing that a check found. Never the text itself: counts and places of rows only."""

    check: str
    action: FindingAction
    count: int
    rows: list[str] = []
    """The first 20 places: the row's number from 1, in a folder of files with the file's name and a colon before it."""
    message: str

    def places(self, most: int = 20) -> str:
        """Return the first places for people, and how many of them are not there; ``most``: the room for them."""
        given = self.rows[:most]
        cut = f", … ({len(given)} of {self.count} row numbers)" if self.count > len(given) > 0 else ""
        return ", ".join(given) + cut


class RedactedData(StrictModel):
    """The data set that took the source's place: ``REDACTED_FILE`` of the job's workspace."""

    digest: Digest
    rows: int
    """Rows that were changed."""
    replaced: dict[str, int]
    """Placeholder to how often it was put in."""


class ComparedSuite(StrictModel):
    """A suite whose questions were looked for in the rows."""

    name: str
    digest: Digest
    """SHA-256 of the RFC 8785 JSON of its spec, which names the questions' digest."""
    questions: int


class UnusableSuite(StrictModel):
    """A suite whose questions are missing, broken or not the frozen ones, and that was never asked."""

    name: str
    digest: Digest
    """As in ``ComparedSuite``."""
    problem: str
