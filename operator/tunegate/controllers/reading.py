"""Reads one object of ours as its model."""

from __future__ import annotations

from typing import TypeVar

from tunegate.api.markers import API_VERSION, Resource
from tunegate.kube.client import KubeClient, ObjectRef

T = TypeVar("T", bound=Resource)


async def read(kube: KubeClient, model: type[T], name: str, namespace: str = "") -> T | None:
    """Return the object as it is now, or None if there is none. Raises ``Transient`` or ``Terminal``."""
    found = await kube.get(ObjectRef(API_VERSION, model.KIND.kind, name, namespace))
    return None if found is None else model.model_validate(found)
