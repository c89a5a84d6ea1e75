"""Planners of the kinds that only describe: ComputePool, ApprovalPolicy and EvaluationSuite."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from tunegate.api.approvalpolicy import ApprovalPolicy, ApprovalPolicyStatus
from tunegate.api.computepool import ComputePool, ComputePoolStatus
from tunegate.api.conditions import Condition, ConditionStatus, rfc3339, set_condition
from tunegate.api.evaluationsuite import EvaluationSuite, EvaluationSuiteStatus
from tunegate.api.markers import TEXT_CHARACTERS, Resource
from tunegate.api.numbers import count_of
from tunegate.api.reasons import CatalogueReason
from tunegate.api.shared import Conditions, SuiteTries
from tunegate.api.suite_checks import suite_problems
from tunegate.digests import document_digest
from tunegate.keys import ALLOWED
from tunegate.reconcile.measurements import PoolRun, UnusableQuestions
from tunegate.reconcile.plan import EventNote, Plan
from tunegate.reconcile.throughputs import learn
from tunegate.release.signature import unreadable

POOL_LOOK_AGAIN = 60.0
"""Seconds between counts: nodes are not watched, since their status changes all the time."""


def plan_pool(pool: ComputePool, nodes: Sequence[Mapping[str, Any]], runs: Iterable[PoolRun], now: datetime) -> Plan:
    """Count the usable ones of ``nodes`` (those that match the pool's selector) and their devices, and learn from ``runs``
    how fast they are."""
    usable = [node for node in nodes if _usable(node)]
    devices = sum(_devices(pool, node) for node in usable)
    unusable = f" Not ready or cordoned: {len(nodes) - len(usable)} more." if len(nodes) > len(usable) else ""
    if usable and devices:
        ready, reason = True, CatalogueReason.NODES_FOUND
        message = f"{count_of(len(usable), 'node')} with {count_of(devices, 'device')}.{unusable}"
    elif usable:
        ready, reason = False, CatalogueReason.NO_NODES
        message = f"{count_of(len(usable), 'node')} with the labels of spec.nodeSelector, none offers {pool.spec.device_resource}.{unusable}"
    else:
        ready, reason = False, CatalogueReason.NO_NODES
        message = f"No usable node matches spec.nodeSelector {dict(pool.spec.node_selector)}.{unusable}"
    status = ComputePoolStatus(
        observed_generation=pool.generation,
        message=message[:TEXT_CHARACTERS],
        conditions=_ready(pool, pool.status.conditions, "True" if ready else "False", reason, message, now),
        phase="Ready" if ready else "Empty",
        nodes=len(usable),
        devices=devices,
        throughputs=learn(pool, runs),
    )
    changed = pool.status.observed_generation > 0 and pool.status.phase != status.phase
    events = (EventNote("Normal" if ready else "Warning", reason, message),) if changed else ()
    return Plan(status=status.to_dict(), events=events, requeue_after=POOL_LOOK_AGAIN, uid=pool.uid)


def plan_policy(policy: ApprovalPolicy, now: datetime) -> Plan:
    """Record the digest of the policy's content: what a release freezes. A signer's key that can't be read is told."""
    digest = document_digest(policy.spec.to_dict())
    ready: ConditionStatus = "True"
    message, reason = "New releases freeze this content; open ones keep theirs.", CatalogueReason.DIGEST_RECORDED
    glass = policy.spec.break_glass
    signers = unreadable([*policy.spec.roles, *policy.spec.waivers, *([glass.asked] if glass else [])])
    if signers:
        ready, reason = "False", CatalogueReason.BAD_INPUT
        text = f"signers[].publicKey of {', '.join(signers)} is not {ALLOWED}: what they sign does not count."
        message = text[:TEXT_CHARACTERS]
    status = ApprovalPolicyStatus(
        observed_generation=policy.generation,
        message=message,
        conditions=_ready(policy, policy.status.conditions, ready, reason, message, now),
        digest=digest,
        quorum=", ".join(f"{role.min_approvals} x {role.name}" for role in policy.spec.roles)[:TEXT_CHARACTERS],
    )
    changed = policy.status.digest not in (None, digest)
    told = EventNote("Normal", CatalogueReason.DIGEST_RECORDED, f"The content changed: digest {digest}")
    events = (told,) if changed else ()
    return Plan(status=status.to_dict(), events=events, uid=policy.uid)


def plan_suite(
    suite: EvaluationSuite,
    tries: SuiteTries,
    now: datetime,
    *,
    unread: str | None = None,
    unusable: UnusableQuestions | None = None,
) -> Plan:
    """Record the suite's digest, the tries on its questions by whatever name they were asked, and what is wrong with it.

    A suite whose text shows that it cannot be asked is not ready, nor is one that was never asked and whose questions a
    validation found missing or not the frozen ones (``unusable``). ``unread``: why the validation of other jobs cannot read
    its questions; that is a warning, since jobs of its own may read them.
    """
    compared = _compared(suite, unread, now)
    ready: ConditionStatus = "True"
    message, reason = f"Tries on these questions: {tries.told()}.", CatalogueReason.DIGEST_RECORDED
    if problems := suite_problems(suite.spec):
        ready, reason = "False", CatalogueReason.BAD_INPUT
        message = f"{'; '.join(problems)}. A suite never changes: create another one, and delete this one."
    elif unusable is not None and not tries.total:
        ready, reason = "False", CatalogueReason.DIGEST_MISMATCH
        message = (
            f"data: job {unusable.job} looked at {suite.spec.data.uri}: {unusable.problem}. Put the frozen file there, or create "
            "another suite and delete this one."
        )
    elif unread is not None:
        message += f" Warning: {compared.message}"
    message = message[:TEXT_CHARACTERS]
    conditions = _ready(suite, suite.status.conditions, ready, reason, message, now)
    status = EvaluationSuiteStatus(
        observed_generation=suite.generation,
        message=message,
        conditions=set_condition(conditions, compared),
        digest=document_digest(suite.spec.to_dict()),
        tries=tries,
    )
    return Plan(status=status.to_dict(), uid=suite.uid)


def _compared(suite: EvaluationSuite, unread: str | None, now: datetime) -> Condition:
    """Return whether the rows of other jobs are compared with the questions."""
    status: ConditionStatus = "True"
    reason, message = CatalogueReason.QUESTIONS_READABLE, "Jobs of the namespace compare their rows with the questions."
    if unread is not None:
        status, reason = "False", CatalogueReason.QUESTIONS_UNREADABLE
        message = f"Other jobs may be trained on these questions, since their validation cannot read them: {unread}."
    return Condition(
        type="QuestionsCompared",
        status=status,
        reason=reason,
        message=message[:TEXT_CHARACTERS],
        last_transition_time=rfc3339(now),
        observed_generation=suite.generation,
    )


def _ready(
    obj: Resource, old: Conditions, status: ConditionStatus, reason: CatalogueReason, message: str, now: datetime
) -> Conditions:
    condition = Condition(
        type="Ready",
        status=status,
        reason=reason,
        message=message,
        last_transition_time=rfc3339(now),
        observed_generation=obj.generation,
    )
    return set_condition(old, condition)


def _usable(node: Mapping[str, Any]) -> bool:
    if (node.get("spec") or {}).get("unschedulable"):
        return False
    conditions = (node.get("status") or {}).get("conditions") or []
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _devices(pool: ComputePool, node: Mapping[str, Any]) -> int:
    """Return the devices that the node offers; on a CPU pool, how many training processes a node takes."""
    if pool.spec.device_resource is None:
        return pool.spec.devices_per_node
    allocatable = (node.get("status") or {}).get("allocatable") or {}
    return min(int(allocatable.get(pool.spec.device_resource, 0)), pool.spec.devices_per_node)
