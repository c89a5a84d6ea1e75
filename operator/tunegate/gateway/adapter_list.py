"""Which adapters the operator wants this pod to hold: its live document, taken over name by name."""

from __future__ import annotations

from tunegate.api.serving import AdapterEntry, AdaptersDocument


class AdapterList:
    """The adapters by served name.

    A served name stands for one adapter's bytes. So a document that lists others under a name whose bytes were verified before is not the
    operator's: that adapter is refused, until the document names the old bytes again. What was only listed binds nobody, so a forged
    list keeps no release away once the operator's list is back. A document that is gone or not the operator's changes nothing:
    what may answer, the routes say.
    """

    def __init__(self) -> None:
        self._bytes: dict[str, tuple[str, str]] = {}
        """Of every name that was ever verified, the digests of artifact and manifest."""
        self._entries: dict[str, AdapterEntry] = {}
        self.known = False
        """Whether the document was ever read."""
        self.obstacle = ""
        """Why what was read is not followed."""
        self.refused: dict[str, str] = {}
        """Why an adapter of the list is refused, by served name."""

    @property
    def entries(self) -> dict[str, AdapterEntry]:
        """What shall be held, by served name."""
        return self._entries

    def follow(self, document: AdaptersDocument) -> None:
        """Take over what the operator wants now."""
        self.known, self.obstacle = True, ""
        self._entries, self.refused = {}, {}
        for entry in document.adapters:
            name, named = entry.served_name, (entry.digest, entry.manifest_digest)
            first = self._bytes.get(name, named)
            if name in self._entries:
                self.refused[name] = "two adapters have this name"
            elif first != named:
                self.refused[name] = f"the list has {named[0]} under this name, where {first[0]} was before"
            self._entries[name] = entry

    def verified(self, entry: AdapterEntry) -> None:
        """Note that these are the bytes under this name from now on: the container that fetches adapters has compared them."""
        self._bytes.setdefault(entry.served_name, (entry.digest, entry.manifest_digest))

    def close(self, obstacle: str) -> None:
        """Note that what lies there is not the operator's document."""
        self.obstacle = obstacle
