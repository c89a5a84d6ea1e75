"""Reads objects of ours as their models: one, or a list.

An object may hold what this version does not know: a newer one wrote it and was rolled back, or somebody changed it by
hand. It is said at that object and at those that name it; nobody else waits for it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from tunegate.api.markers import API_VERSION, Resource
from tunegate.api.reasons import OwnershipReason
from tunegate.errors import Terminal, wrong_fields, wrong_places
from tunegate.kube.client import KubeClient, ObjectRef
from tunegate.logs import event

T = TypeVar("T", bound=Resource)
log = logging.getLogger(__name__)


async def read(kube: KubeClient, model: type[T], name: str, namespace: str = "") -> T | None:
    """Return the object as it is now, or None if there is none. Raises ``Transient`` or ``Terminal``."""
    found = await kube.get(ObjectRef(API_VERSION, model.KIND.kind, name, namespace))
    return None if found is None else understood(model, found)


def understood(model: type[T], raw: Mapping[str, Any]) -> T:
    """Return the object as its model. Raises ``Terminal`` when it cannot be read."""
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        metadata = raw.get("metadata") or {}
        place = "/".join(str(part) for part in (metadata.get("namespace"), metadata.get("name")) if part)
        text = (
            f"{model.KIND.kind} {place} cannot be read by this version of Tunegate: {wrong_fields(error)}. "
            "Correct them, or install the version that wrote them"
        )
        raise Terminal(OwnershipReason.UNREADABLE, text) from error


def parsed(model: type[T], objects: Iterable[Mapping[str, Any]]) -> tuple[T, ...]:
    """Return the objects that can be read.

    One that was written under other rules is named in the log and left out: it must not stop what is done for the others.
    """
    found = []
    for raw in objects:
        try:
            found.append(model.model_validate(raw))
        except ValidationError as error:
            metadata = raw.get("metadata") or {}
            log.error(
                "an object cannot be read and is left out",
                extra=event(
                    "ObjectUnreadable",
                    kind=model.KIND.kind,
                    named=f"{metadata.get('namespace', '')}/{metadata.get('name', '')}",
                    wrong_fields=sorted(set(wrong_places(error)))[:10],
                ),
            )
    return tuple(found)
