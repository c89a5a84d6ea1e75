"""Triggers: kopf's watch streams become keys. The only file with kopf's decorators.

Handlers of ``on.event`` are never retried and see ghosts after a re-list, so they decide nothing: they hand the object
to ``report`` and return. Everything that follows is read live.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import kopf

from tunegate.api.kinds import KINDS
from tunegate.api.markers import GROUP, MANAGED_BY_LABEL, VERSION
from tunegate.reconcile.naming import FINALIZER, MANAGED_BY
from tunegate.settings import Settings

Source = Literal["resource", "child"]
Report = Callable[[Source, Mapping[str, Any], bool], None]
"""Called with where the object belongs, the object, and whether it was deleted. Must not block or raise."""

UNWATCHED = frozenset({"AuditRecord", "Usage"})
"""No decision of ours hangs on an entry of the ledger, and there are many; the operator writes usages and reads none."""
PAGE = 10
"""Objects in a page of a watch stream's first listing. All streams list at the same time, and pages are parsed whole."""
IDLE_SECONDS = 0.1
"""How long kopf keeps an object in memory after its last event."""
CHILDREN = (
    ("", "v1", "pods"),
    ("", "v1", "persistentvolumeclaims"),
    ("batch", "v1", "jobs"),
    ("apps", "v1", "deployments"),
)


class NoDifferences(kopf.DiffBaseStorage):
    """Spares kopf the copies of each object that its other kinds of handlers compare: ours get every event anyway."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        """Return nothing to compare."""
        return kopf.BodyEssence()

    def fetch(self, **_: Any) -> None:
        """Know no earlier state."""

    def store(self, **_: Any) -> None:
        """Keep nothing."""


def registry(report: Report, settings: Settings) -> kopf.OperatorRegistry:
    """Return kopf's handlers for our kinds and for the children that carry our label."""
    handlers = kopf.OperatorRegistry()

    @kopf.on.login(registry=handlers)
    def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
        if settings.kubeconfig is not None:
            return kopf.login_with_kubeconfig(**kwargs)
        return kopf.login_with_service_account(**kwargs)

    for model in KINDS:
        if model.KIND.kind not in UNWATCHED:

            @kopf.on.event(GROUP, VERSION, model.KIND.plural, id=model.KIND.plural, registry=handlers)
            async def resource(event: kopf.RawEvent, **_: Any) -> None:
                report("resource", event["object"], event["type"] == "DELETED")

    for group, version, plural in CHILDREN:

        @kopf.on.event(group, version, plural, id=plural, labels={MANAGED_BY_LABEL: MANAGED_BY}, registry=handlers)
        async def child(event: kopf.RawEvent, **_: Any) -> None:
            report("child", event["object"], event["type"] == "DELETED")

    return handlers


def configuration() -> kopf.OperatorSettings:
    """Return kopf's settings: no scanning of the cluster, no events, nothing written to any object."""
    settings = kopf.OperatorSettings()
    settings.scanning.disabled = True
    settings.peering.standalone = True
    settings.posting.enabled = False
    settings.persistence.finalizer = FINALIZER
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 5
    settings.watching.server_timeout = 600
    settings.watching.chunk_size = PAGE
    settings.queueing.idle_timeout = IDLE_SECONDS
    settings.persistence.diffbase_storage = NoDifferences()
    for group, _, plural in CHILDREN:
        settings.watching.label_selectors[group, plural] = f"{MANAGED_BY_LABEL}={MANAGED_BY}"
    return settings
