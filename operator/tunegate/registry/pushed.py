"""Pushed data in the registry: written by the exchange, read by exchange and operator. See ``tunegate.api.pushed``."""

from __future__ import annotations

from collections.abc import Iterator

from tunegate import digests
from tunegate.api.pushed import (
    DATA_TYPE,
    PART_TYPE,
    RECORD_TYPE,
    WITHDRAWN_TYPE,
    Push,
    Pushed,
    PushedKind,
    PushedPlace,
    from_annotations,
    records_repository,
    said_of,
    withdrawal,
    withdrawn,
)
from tunegate.registry.artifact import EMPTY, EMPTY_TYPE, Artifact, Layer, write
from tunegate.registry.client import RegistryClient
from tunegate.registry.failures import Missing, Refused


def absent_parts(client: RegistryClient, repository: str, push: Push) -> list[str]:
    """Return which parts of a push the repository does not have, or has with another size."""
    parts = {part.digest: part.size for file in push.files for part in file.parts}
    return [digest for digest, size in parts.items() if client.blob_size(repository, digest) != size]


def write_push(client: RegistryClient, namespace: str, kind: PushedKind, name: str, push: Push, by: Pushed) -> Pushed:
    """Store the manifest of a push whose parts are there, then the record that completes it; return what is recorded.

    ``by``: everything that is recorded, but for the digest, which the manifest has.
    """
    layers = tuple(
        Layer(PART_TYPE, part.digest, part.size, title=file.path) for file in push.files for part in file.parts
    )
    made = Artifact(DATA_TYPE, layers, annotations=said_of(by))
    place = PushedPlace(namespace=namespace, kind=kind, name=name, digest=digests.sha256(write(made)))
    pushed = by.model_copy(update={"place": place})
    client.push_manifest(place.repository, made)
    client.push_manifest(place.records, _record(RECORD_TYPE, said_of(pushed)), tag=place.tag)
    return pushed


def withdraw(client: RegistryClient, place: PushedPlace, by: str, time: str) -> None:
    """Record that nobody may use the data any more. The bytes stay: what was trained on them stays verifiable."""
    client.push_manifest(place.records, _record(WITHDRAWN_TYPE, withdrawal(by, time)), tag=place.withdrawn_tag)


def read_push(client: RegistryClient, place: PushedPlace, known: Pushed | None = None) -> Pushed | None:
    """Return what was pushed at an address, verified by its digest, and whether it was withdrawn; None: nothing was.

    ``known``: what was read there before. It never changes, so only whether it was withdrawn is asked. Raises
    ``RegistryError``; ``Refused`` for content that no push made.
    """
    pushed = known or _recorded(client, place)
    if pushed is None or pushed.withdrawn_by is not None:
        return pushed
    taken_back = client.pull_tagged(place.records, place.withdrawn_tag)
    return pushed if taken_back is None else withdrawn(pushed, taken_back.annotations)


def _recorded(client: RegistryClient, place: PushedPlace) -> Pushed | None:
    if client.pull_tagged(place.records, place.tag) is None:
        return None
    try:
        found = client.pull_artifact(place.repository, place.digest)
    except Missing:
        return None
    if found.artifact_type != DATA_TYPE:
        raise Refused(f"{place.uri}: is {found.artifact_type!r}, pushed data is {DATA_TYPE!r}")
    return _said(place, found)


def count_pushes(client: RegistryClient, namespace: str, kind: PushedKind) -> int:
    """Return how many pushes of a kind the namespace has, withdrawn ones included."""
    return sum(1 for _ in _places(client, namespace, kind))


def list_pushes(client: RegistryClient, namespace: str, kind: PushedKind, name: str = "") -> list[Pushed]:
    """Return the pushes of a namespace, or those of one name."""
    found = []
    tags = client.tags(records_repository(namespace, kind))
    gone = {tag for tag in tags if tag.endswith(".withdrawn")}
    for place in _of_tags(tags, namespace, kind):
        if name and place.name != name:
            continue
        record = client.pull_tagged(place.records, place.tag)
        if record is None:
            continue
        pushed = _said(place, record)
        if place.withdrawn_tag in gone and (taken_back := client.pull_tagged(place.records, place.withdrawn_tag)):
            pushed = withdrawn(pushed, taken_back.annotations)
        found.append(pushed)
    return sorted(found, key=lambda one: (one.place.name, one.pushed_time))


def _places(client: RegistryClient, namespace: str, kind: PushedKind) -> Iterator[PushedPlace]:
    return _of_tags(client.tags(records_repository(namespace, kind)), namespace, kind)


def _of_tags(tags: list[str], namespace: str, kind: PushedKind) -> Iterator[PushedPlace]:
    for tag in tags:
        name, _, digest = tag.partition(".")
        if len(digest) == 64:
            yield PushedPlace(namespace=namespace, kind=kind, name=name, digest=f"sha256:{digest}")


def _said(place: PushedPlace, found: Artifact) -> Pushed:
    try:
        return from_annotations(place, found.annotations)
    except ValueError as error:
        raise Refused(f"{place.uri}: its annotations are not those of a push") from error


def _record(kind: str, said: dict[str, str]) -> Artifact:
    # Some registries refuse a manifest without layers: the empty configuration is also its layer.
    return Artifact(kind, (Layer(EMPTY_TYPE, digests.sha256(EMPTY), len(EMPTY)),), annotations=said)
