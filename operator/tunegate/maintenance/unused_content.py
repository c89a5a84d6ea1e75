"""Which content of the registry nobody names, and how much room it takes. Pure, but for the documents that are followed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from tunegate import digests
from tunegate.api.conditions import from_rfc3339
from tunegate.errors import Terminal
from tunegate.maintenance.named_content import Named, digests_in
from tunegate.reconcile.naming import base_model_repository
from tunegate.registry.artifact import INDEX_TYPE
from tunegate.registry.referrers import tag_of
from tunegate.registry.stored import StoredManifest

Read = Callable[[StoredManifest], str]
"""Returns a manifest, verified, with the document that it holds if that can name content, as one text."""


@dataclass(frozen=True)
class Unused:
    """One manifest that nobody names."""

    stored: StoredManifest
    why: str

    @property
    def place(self) -> str:
        """Where it lies, by digest."""
        return f"{self.stored.repository}@{self.stored.digest}"


@dataclass(frozen=True)
class Space:
    """What can be freed, and why the rest cannot."""

    unused: tuple[Unused, ...]
    freed: int
    """Bytes that only the unused manifests refer to."""
    kept: int
    """Manifests that somebody names."""
    young: int
    """Manifests that nobody names, younger than the margin."""
    ungoverned: int
    """Manifests of namespaces that are not governed: nobody looked whether something there names them."""
    broken: tuple[StoredManifest, ...]
    """Nobody names them and they cannot be read: the registry neither deletes them nor collects garbage beside them."""

    @property
    def list_digest(self) -> str:
        """Digest of the list: deleting takes it, so that nothing else is deleted than what somebody saw."""
        return digests.document_digest([one.place for one in self.unused])


def find_unused(
    stock: Sequence[StoredManifest],
    named: Named,
    read: Read,
    *,
    namespaces: Collection[str],
    margin: timedelta,
    now: datetime,
) -> Space:
    """Return what of ``stock`` nobody names and is older than ``margin``.

    Raises what ``read`` raises, and ``Terminal`` for a manifest that cannot be read although it is named.
    """
    kept = _kept(stock, named, read)
    catalogue = base_model_repository("").split("/")[0]
    young = ungoverned = 0
    unused: list[Unused] = []
    broken: list[StoredManifest] = []
    for stored in sorted(stock, key=lambda one: (one.repository, one.digest)):
        if stored.digest in kept or named.protects(stored.repository):
            continue
        if stored.repository.split("/")[0] not in {*namespaces, catalogue}:
            ungoverned += 1
        elif now - from_rfc3339(stored.pushed) < margin:
            young += 1
        elif stored.problem:
            broken.append(stored)
        else:
            unused.append(Unused(stored, _why(stored, named)))
    gone = {one.place for one in unused}
    left = [one for one in stock if f"{one.repository}@{one.digest}" not in gone]
    still = {digest for one in left for digest in one.blobs}
    blobs = {digest: size for one in unused for digest, size in one.stored.blobs.items() if digest not in still}
    others = len(unused) + young + ungoverned + len(broken)
    return Space(tuple(unused), sum(blobs.values()), len(stock) - others, young, ungoverned, tuple(broken))


def _kept(stock: Sequence[StoredManifest], named: Named, read: Read) -> set[str]:
    """Return the digests of all manifests that are named, directly or by something that is named."""
    places: dict[str, list[StoredManifest]] = {}
    for stored in stock:
        places.setdefault(stored.digest, []).append(stored)
    kept = _followed(places, named, read) | (named.recorded & places.keys())
    protected = {one.digest for one in stock if named.protects(one.repository)}
    while True:
        fixed = kept | protected
        tags = {tag_of(digest) for digest in fixed}
        more = {one.digest for one in stock if one.subject in fixed or tags.intersection(one.tags)}
        more |= {digest for found in fixed | more for one in places.get(found, ()) for digest in one.manifests}
        if (more & places.keys()) <= kept:
            return kept
        kept |= more & places.keys()


def _followed(places: Mapping[str, Sequence[StoredManifest]], named: Named, read: Read) -> set[str]:
    """Return what live objects and releases name, with all that such documents name in turn."""
    waiting, kept = list(named.followed), set[str]()
    waiting += [digest for digest, found in places.items() if any(named.is_in_use(one.repository) for one in found)]
    while waiting:
        digest = waiting.pop()
        if digest in kept or digest not in places:
            continue
        kept.add(digest)
        stored = places[digest][0]
        if stored.problem:
            raise Terminal(
                "Unreadable",
                f"{stored.repository}@{digest} is named, and {stored.problem}: bring it back from a backup",
            )
        waiting += digests_in(read(stored))
    return kept


def _why(stored: StoredManifest, named: Named) -> str:
    if stored.kind == INDEX_TYPE and not stored.tags:
        return "an older list of referrers"
    if named.has_job(stored.repository):
        return "its job took another attempt"
    return "no record and no object names it"
