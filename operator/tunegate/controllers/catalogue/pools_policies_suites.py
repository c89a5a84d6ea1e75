"""Controllers of the kinds that only describe: they read a few objects and write a status."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, ClassVar

from tunegate.api.approvalpolicy import ApprovalPolicy
from tunegate.api.computepool import ComputePool
from tunegate.api.evaluationsuite import EvaluationSuite
from tunegate.controllers.reading import read
from tunegate.controllers.services import Services
from tunegate.digests import document_digest
from tunegate.kube.client import FIELD_MANAGER, ObjectKey, ObjectRef
from tunegate.manifests.sources import ClaimPath
from tunegate.reconcile.catalogue.pools_policies_suites import plan_policy, plan_pool, plan_suite
from tunegate.reconcile.plan import Plan
from tunegate.reconcile.suite_questions import closed, questions_place
from tunegate.reconcile.suite_tries import counted


class ComputePoolController:
    """Counts the nodes and devices of pools, and keeps what trainings on them measured."""

    kind: ClassVar[str] = ComputePool.KIND.kind
    manager: ClassVar[str] = FIELD_MANAGER
    shows_progress: ClassVar[bool] = False

    def __init__(self, services: Services) -> None:
        self._kube = services.kube
        self._measurements = services.measurements

    async def reconcile(self, key: ObjectKey) -> Plan | None:
        """Observe and plan; None when the object is gone."""
        pool = await read(self._kube, ComputePool, key.name)
        if pool is None:
            return None
        nodes = await self._kube.list("v1", "Node", labels=pool.spec.node_selector)
        return plan_pool(pool, nodes, self._measurements.runs(pool.name), datetime.now(UTC))


class ApprovalPolicyController:
    """Records the digest of policies."""

    kind: ClassVar[str] = ApprovalPolicy.KIND.kind
    manager: ClassVar[str] = FIELD_MANAGER
    shows_progress: ClassVar[bool] = False

    def __init__(self, services: Services) -> None:
        self._kube = services.kube

    async def reconcile(self, key: ObjectKey) -> Plan | None:
        """Observe and plan; None when the object is gone."""
        policy = await read(self._kube, ApprovalPolicy, key.name)
        return None if policy is None else plan_policy(policy, datetime.now(UTC))


class EvaluationSuiteController:
    """Records the digest of suites and the tries on their questions."""

    kind: ClassVar[str] = EvaluationSuite.KIND.kind
    manager: ClassVar[str] = FIELD_MANAGER
    shows_progress: ClassVar[bool] = False

    def __init__(self, services: Services) -> None:
        self._kube = services.kube
        self._ledger = services.ledger
        self._measurements = services.measurements

    async def reconcile(self, key: ObjectKey) -> Plan | None:
        """Observe and plan; None when the object is gone."""
        suite = await read(self._kube, EvaluationSuite, key.name, key.namespace)
        if suite is None:
            return None
        tries = counted(await self._ledger.tries(suite.spec.data.digest), key.namespace)
        digest = document_digest(suite.spec.to_dict())
        unusable = self._measurements.unusable(key.namespace, key.name, digest)
        place = questions_place(suite)
        why = place if isinstance(place, str) else None
        if isinstance(place, ClaimPath):
            why = closed(place.claim, await self._claim(key.namespace, place.claim), own=False)
        return plan_suite(suite, tries, datetime.now(UTC), unread=why, unusable=unusable)

    async def _claim(self, namespace: str, name: str) -> dict[str, Any] | None:
        return await self._kube.get(ObjectRef("v1", "PersistentVolumeClaim", name, namespace))
