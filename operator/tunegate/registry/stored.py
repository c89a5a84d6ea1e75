"""What lies on the registry's volume, as the program beside the registry tells: one document for a manifest, one for the room.

The registry's own protocol names repositories and tags only, and almost nothing of Tunegate has a tag.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tunegate.api.markers import Digest, StrictModel, Time

WARNING_PERCENT = 80
"""From here on the volume counts as almost full."""
ROOM_CONFIG_MAP = "tunegate-registry-room"
"""Where the operator writes a `Room` down, in the system namespace."""
ROOM_KEY = "room.json"


class StoredManifest(StrictModel):
    """One manifest in one repository."""

    repository: str
    digest: Digest
    pushed: Time
    """When it was last put into this repository."""
    kind: str = ""
    """Its artifact type, else its media type; empty where ``problem`` says why it cannot be read."""
    subject: Digest | None = None
    """The manifest that it says something about."""
    manifests: list[Digest] = []
    """What an index lists."""
    blobs: dict[Digest, int] = {}
    """Bytes of its blobs on the volume, its own included. Repositories share equal blobs."""
    tags: list[str] = []
    """Tags that name it now."""
    problem: str = ""


class StockEnd(StrictModel):
    """The last line of a listing: without it the listing was cut off."""

    manifests_listed: int


class Room(StrictModel):
    """Bytes on the registry's volume."""

    time: Time
    total: Annotated[int, Field(ge=0)]
    free: Annotated[int, Field(ge=0)]
    namespaces: dict[str, int] = {}
    """Bytes by the first part of the repositories' names. What two of them share counts for both."""
    unreferenced: int = 0
    """Bytes that no manifest refers to: garbage, and uploads that go on."""

    @property
    def used_percent(self) -> int:
        """How much of the volume is taken."""
        return 100 * (self.total - self.free) // self.total if self.total else 100
