"""Removes an ended job or release that is more than its namespace keeps: its evidence is stored and recorded first.

The deletion itself is the one that people make: Kubernetes removes what the object owns, its workspace included.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from tunegate.api.markers import API_VERSION, Resource
from tunegate.api.stage.layout import OBJECT_MEDIA_TYPE
from tunegate.controllers.dispatch.facts import Target
from tunegate.controllers.services import Services
from tunegate.deadlines import REGISTRY_CALL_SECONDS
from tunegate.digests import canonical
from tunegate.kube.client import ObjectKey, ObjectRef
from tunegate.ledger.entry import OPERATOR, AuditEntry, AuditSubject
from tunegate.logs import event
from tunegate.reconcile.history import OPEN_ONLY, ended, ever_approved, settled_time
from tunegate.reconcile.naming import job_repository, statement_repository
from tunegate.reconcile.plan import Plan
from tunegate.registry.failures import RegistryError

logger = logging.getLogger(__name__)
Json = Mapping[str, Any]
KEPT_METADATA = ("name", "namespace", "uid", "creationTimestamp", "labels", "annotations")
ENDS = frozenset({"JobFinished", "ReleaseDenied", "ReleaseRevoked"})
"""Records of which one has to be there: what nobody recorded is not removed."""


class Removals:
    """Looks live at what the last pass marked (``tunegate.controllers.dispatch.surplus``)."""

    def __init__(self, services: Services) -> None:
        self._kube = services.kube
        self._registry = services.registry
        self._threads = services.registry_threads
        self._ledger = services.ledger
        self._marks = services.surplus

    async def plan(self, resource: Resource) -> Plan | None:
        """Return the step that removes the object, None where it stays, as it does while its evidence cannot be stored."""
        target: Target = (resource.kind, ObjectKey(resource.namespace, resource.name))
        if self._marks.get(target) != resource.uid:
            return None
        raw = await self._kube.get(ObjectRef(API_VERSION, resource.kind, resource.name, resource.namespace))
        if raw is None or not _may_go(raw, resource.uid) or await self._is_named(raw):
            return None
        records = await self._ledger.of_subject(resource.uid)
        if not any(record.type in ENDS for record in records):
            return None
        repository = _repository(resource)
        try:
            copy = await self._threads.call(
                REGISTRY_CALL_SECONDS, self._registry.push_document, repository, _content(raw), OBJECT_MEDIA_TYPE
            )
        except RegistryError as error:
            logger.warning(
                "the object stays, since what is kept of it cannot be stored now: %s",
                error,
                extra=event("RemovalWaits", error=error),
            )
            return None
        subject = AuditSubject(resource.kind, resource.namespace, resource.name, resource.uid)
        payload = {"phase": str(raw["status"]["phase"]), "repository": repository, "copy": copy}
        ref = ObjectRef(API_VERSION, resource.kind, resource.name, resource.namespace, resource.uid)
        entry = AuditEntry("HistoryRemoved", OPERATOR, subject, "history", payload)
        return Plan(audit=(entry,), deletes=(ref,), uid=resource.uid)

    async def _is_named(self, raw: Json) -> bool:
        """Tell whether a release names the job, or a job that has not ended has taken over its baseline."""
        if raw["kind"] != "FineTuneJob":
            return False
        name, namespace, uid = (raw["metadata"][key] for key in ("name", "namespace", "uid"))
        async for page in self._kube.pages(API_VERSION, "ModelRelease", namespace):
            if any(one["spec"]["jobRef"]["uid"] == uid or one["spec"]["jobRef"]["name"] == name for one in page):
                return True
        own = job_repository(namespace, name, uid)
        async for page in self._kube.pages(API_VERSION, "FineTuneJob", namespace, fields=OPEN_ONLY["FineTuneJob"]):
            stages = [stage for job in page for stage in (job.get("status") or {}).get("stages") or ()]
            if any(str(stage.get("repository") or "").startswith(own) for stage in stages):
                return True
        return False


def _may_go(raw: Json, uid: str) -> bool:
    settled = settled_time(raw)
    still = raw["metadata"]["uid"] == uid and "deletionTimestamp" not in raw["metadata"]
    over = settled is not None and settled <= datetime.now(UTC)
    return still and over and ended(raw) and not ever_approved(raw)


def _repository(resource: Resource) -> str:
    if resource.kind == "FineTuneJob":
        return f"{job_repository(resource.namespace, resource.name, resource.uid)}/results"
    return statement_repository(resource.namespace, resource.name, resource.uid)


def _content(raw: Json) -> bytes:
    """Return what is kept of the object: all that it says, without what the API server adds."""
    metadata = {key: raw["metadata"][key] for key in KEPT_METADATA if key in raw["metadata"]}
    return canonical({**{key: raw[key] for key in ("apiVersion", "kind", "spec", "status")}, "metadata": metadata})
