"""Referrers: artifacts that say something about another one, and that mirrors copy together with it.

Source: OCI Distribution Specification 1.1, "Listing Referrers" and "Pushing Manifests with Subject". A registry that keeps no
list of its own, as CNCF distribution 3.0, gets one in a tag that is named by the subject's digest; clients look there too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tunegate import digests
from tunegate.registry import artifact
from tunegate.registry.artifact import INDEX_TYPE, MANIFEST_TYPE, Artifact
from tunegate.registry.client import RegistryClient
from tunegate.registry.failures import Refused

Json = dict[str, Any]


def attach(client: RegistryClient, repository: str, made: Artifact, content: bytes) -> str:
    """Store ``made``, whose one layer is ``content``, beside its subject; return its digest. Again: nothing changes.

    Two writers of one subject's tag may lose an entry: callers attach to one subject one after the other.
    """
    if made.subject is None or len(made.layers) != 1:
        raise ValueError("expected a referrer: a subject and one layer")
    client.push_blob(repository, content, made.layers[0].media_type)
    digest, listed = client.push_manifest(repository, made)
    if not listed:
        _list(client, repository, made.subject.digest, _entry(made))
    return digest


def tag_of(digest: str) -> str:
    """Return the tag under which clients look for the referrers of ``digest``."""
    return digest.replace(":", "-")


def _entry(made: Artifact) -> Json:
    content = artifact.write(made)
    return {
        "mediaType": MANIFEST_TYPE,
        "digest": digests.sha256(content),
        "size": len(content),
        "artifactType": made.artifact_type,
        "annotations": dict(made.annotations),
    }


def _list(client: RegistryClient, repository: str, subject: str, entry: Mapping[str, Any]) -> None:
    """Add an entry to the list in the tag. What others wrote there is kept."""
    tag = tag_of(subject)
    present = _entries(client.pull_index(repository, tag), f"{repository}:{tag}")
    if any(one.get("digest") == entry["digest"] for one in present):
        return
    index = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [*present, entry]}
    client.push_index(repository, tag, digests.canonical(index))


def _entries(content: bytes | None, where: str) -> list[Json]:
    if content is None:
        return []
    try:
        found = json.loads(content)["manifests"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Refused(f"{where}: is no index of referrers ({type(error).__name__})") from error
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise Refused(f"{where}: is no index of referrers")
    return found
