"""Resync: a periodic live listing of every kind, so that nothing depends on having seen every event."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from typing import Any

from tunegate.api.kinds import KINDS
from tunegate.api.markers import API_VERSION
from tunegate.controllers.dispatch.routing import Routing, Target
from tunegate.controllers.dispatch.triggers import UNWATCHED
from tunegate.controllers.quotas import Quotas
from tunegate.kube.client import KubeClient

logger = logging.getLogger(__name__)

COUNTED = frozenset({"Approval", "FineTuneJob", "ModelRelease"})
"""Kinds that people make, in bounded numbers."""
PhaseCount = Mapping[tuple[str, str], int]


async def resync(
    kube: KubeClient, namespaces: tuple[str, ...], routing: Routing, quotas: Quotas | None = None
) -> tuple[list[Target], PhaseCount]:
    """List all kinds in the governed namespaces; return every key and the number of objects by (kind, phase).

    ``quotas`` is told what there is.

    Keys that were known but are not listed come back too: their controllers see that the object is gone.
    Raises ``Transient`` or ``Terminal`` when a listing fails: half a listing replaces nothing of the failed kind.
    """
    targets: list[Target] = []
    phases: Counter[tuple[str, str]] = Counter()
    counted: list[dict[str, Any]] = []
    for model in KINDS:
        kind = model.KIND.kind
        if kind in UNWATCHED:
            continue
        objects: list[dict[str, Any]] = []
        if model.KIND.scope == "Cluster":
            objects = await kube.list(API_VERSION, kind)
        else:
            for namespace in namespaces:
                objects += await kube.list(API_VERSION, kind, namespace)
        phases.update((kind, str((obj.get("status") or {}).get("phase") or "None")) for obj in objects)
        targets += routing.relist(kind, objects)
        if kind in COUNTED:
            counted += objects
    if quotas is not None:
        quotas.relist(counted)
    return targets, phases
