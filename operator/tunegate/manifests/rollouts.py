"""A rollout of a ModelServer: what its pods are made from, kept whole as long as nobody asks for another.

An operator of another version may write a container otherwise, or offer other images. What serves must not be restarted by
that alone: so the template of the pods is kept in a ConfigMap together with a digest of what people decide about it (``inputs``),
and applied again as it was made until these are others.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from tunegate.api.markers import GROUP, RESERVED, ApiModel, Digest
from tunegate.digests import document_digest, sha256

Json = Mapping[str, Any]
ROLLOUT_ANNOTATION = f"{GROUP}/rollout"
"""On the Deployment: digest of the rollout that it was made from."""
ROLLOUT_FILE = "rollout.json"
_SHOWN = 10
"""Hex digits of a digest in a name."""


class _Stored(ApiModel):
    """The rollout's document. Unknown fields are left alone: a later version may have written them."""

    inputs: Digest
    configuration: Digest
    template: dict[str, Any]


@dataclass(frozen=True)
class Rollout:
    """The pods of one rollout."""

    inputs: str
    """Digest of everything that people, pool and registry say about the pods, and nothing that the operator's version does."""
    configuration: str
    """Digest of ``documents``."""
    template: Json
    """Of the Deployment."""
    documents: Mapping[str, str] = field(compare=False)
    """What the pods mount: file name to content."""
    text: str = field(default="", compare=False)
    """The document as it is stored; empty: it is yet to be written."""

    @property
    def content(self) -> str:
        """The document in the ConfigMap: stored bytes are hashed as they are stored."""
        said = {"inputs": self.inputs, "configuration": self.configuration, "template": self.template}
        return self.text or json.dumps(said, sort_keys=True)

    @property
    def digest(self) -> str:
        """Names the rollout."""
        return sha256(self.content.encode())

    @property
    def images(self) -> dict[str, str]:
        """Image of each container, by its name."""
        return images_of(self.template)


def images_of(template: Json) -> dict[str, str]:
    """Return the image of each container of a pod's template, by the container's name."""
    containers = [*(template["spec"].get("initContainers") or ()), *(template["spec"].get("containers") or ())]
    return {str(one["name"]): str(one["image"]) for one in containers}


def documents_name(server: str, configuration: str) -> str:
    """Return the name of the immutable ConfigMap that pods mount: those of an older rollout keep the one they were made with."""
    return f"{RESERVED}server-{server}-{configuration.removeprefix('sha256:')[:_SHOWN]}"


def rollout_name(server: str, digest: str) -> str:
    """Return the name of the immutable ConfigMap that holds a rollout's document."""
    return f"{RESERVED}rollout-{server}-{digest.removeprefix('sha256:')[:_SHOWN]}"


def stored_rollout(server: str, digest: str, config_maps: Mapping[str, Json]) -> Rollout | None:
    """Return the rollout of that digest from the server's own ConfigMaps, by name.

    None where a part of it is gone, altered or of a form that this version does not know: then the pods are made again.
    """
    text = _data(config_maps, rollout_name(server, digest)).get(ROLLOUT_FILE, "")
    if sha256(text.encode()) != digest:
        return None
    try:
        found = _Stored.model_validate_json(text)
        images_of(found.template)
    except (ValidationError, KeyError, TypeError):
        return None
    documents = _data(config_maps, documents_name(server, found.configuration))
    if document_digest(documents) != found.configuration:
        return None
    return Rollout(found.inputs, found.configuration, found.template, documents, text)


def _data(config_maps: Mapping[str, Json], name: str) -> dict[str, str]:
    return dict((config_maps.get(name) or {}).get("data") or {})
