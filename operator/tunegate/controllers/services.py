"""What a controller is given: one bundle, made once by the runtime, and what it must offer in return."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from tunegate.api.auditrecord import AuditRecordSpec
from tunegate.controllers.measurements import Measurements
from tunegate.controllers.recent import Recent
from tunegate.deadlines import Threads
from tunegate.kube.client import KubeClient, ObjectKey
from tunegate.ledger.entry import AuditEntry
from tunegate.ledger.tries import Tries
from tunegate.reconcile.plan import Plan
from tunegate.registry.failures import Unavailable
from tunegate.settings import Settings
from tunegate.sketch import Sketch

if TYPE_CHECKING:
    from tunegate.admission.guard import Guard
    from tunegate.ledger.seal import KeyRing
    from tunegate.rbac.watch import PowerWatch
    from tunegate.registry.client import RegistryClient
    from tunegate.registry.tokens import TokenSigner
    from tunegate.registry.volume_client import VolumeClient
    from tunegate.tracking.mlflow import Tracking


REGISTRY_THREADS = 8
"""Calls of the registry at a time, of all controllers together."""


class Ledger(Protocol):
    """Where audit entries go."""

    async def append(self, entry: AuditEntry) -> Any:
        """Record the entry, once: an entry with a known event id is a success. Raises ``Transient``."""

    async def of_subject(self, uid: str) -> Sequence[AuditRecordSpec]:
        """Return what is recorded about the object of that UID, oldest first."""

    async def of_namespace(
        self, kind: str, namespace: str, types: Collection[str], since: datetime
    ) -> Sequence[AuditRecordSpec]:
        """Return what of some types is recorded since then about objects of that kind and namespace, oldest first."""

    async def tries(self, data_digest: str, sketch: Sketch | None = None) -> Tries:
        """Return the tries on questions of that digest, or of which that sketch shows enough."""


@dataclass(frozen=True)
class Services:
    """Clients shared by all controllers."""

    kube: KubeClient
    settings: Settings
    registry: RegistryClient
    """Synchronous: call it through ``registry_threads``."""
    ledger: Ledger
    tracking: Tracking | None
    """None where no MLflow is configured."""
    guard: Guard | None = None
    """Looks after the admission rules; None where the settings name no file of them."""
    powers: PowerWatch | None = None
    """Looks who could get around the rules; None where the settings say that nobody does."""
    signer: TokenSigner | None = None
    """Signs registry tokens; None where the site's own registry and credential are used."""
    registry_volume: VolumeClient | None = None
    """Says how full the registry's volume is; None where the site's own registry is used. Synchronous."""
    keys: KeyRing | None = None
    """Sign the ledger and the evidence of releases; None: nothing is signed."""
    registry_threads: Threads = field(default_factory=lambda: Threads("the registry", REGISTRY_THREADS, Unavailable))
    measurements: Measurements = field(default_factory=Measurements)
    """What ended jobs have measured."""
    surplus: dict[tuple[str, ObjectKey], str] = field(default_factory=dict)
    """What the last pass found to be more than a namespace keeps: kind and key, and the UID that is meant."""
    recent: Recent = field(default_factory=Recent)
    """Answers that jobs share for a moment; as it is made here, none."""


class Controller(Protocol):
    """One per kind and writer; ``tunegate.controllers.all`` lists them all."""

    kind: ClassVar[str]
    """Kind of ``tunegate.io`` that it reconciles."""
    manager: ClassVar[str]
    """Field manager of its status: a controller owns exactly the status fields that it applies."""
    shows_progress: ClassVar[bool]
    """It shows elsewhere how far an object is. One that does not is not told of a change of progress or wording alone: it wrote
    that itself, or looks again by the clock."""

    async def reconcile(self, key: ObjectKey) -> Plan | None:
        """Look at the world and say what to do; None when the object is gone.

        Raises ``Waiting``, ``Transient`` or ``Terminal``; anything else is a defect and retried with back-off.
        """


@runtime_checkable
class Stopping(Protocol):
    """What a controller offers besides, of something that can be told to stop."""

    async def stop(self, key: ObjectKey) -> Plan | None:
        """Return what has to end at once, from API objects alone: no ledger, registry, pod or MLflow is asked.

        None when nothing has to. The same is looked at first in every ``reconcile``. Raises as that does.
        """
