"""The guard and CRDs on a real API server: what a cluster-admin can make of one, and what then cannot happen.

Each test has a CRD of its own, in a group of its own, with exactly the schema of ours: the group that all tests share
stays as it is.
"""

from __future__ import annotations

import asyncio
import copy
import json
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.conftest import ClientFactory
from tests.support.builders import make_approval
from tests.support.governed_namespace import World
from tests.support.guard import Guarded
from tunegate.admission.definitions import definitions
from tunegate.admission.guard import Guard, GuardedLedger
from tunegate.admission.rules import DEFINITION, DEFINITIONS_API, Rule, differences, subject_of, unguarded, windows
from tunegate.errors import Waiting
from tunegate.kube.client import KubeClient
from tunegate.ledger.entry import AuditEntry, AuditSubject
from tunegate.ledger.writer import LedgerWriter

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
Json = dict[str, Any]
SPEC = "/spec/versions/0/schema/openAPIV3Schema/properties/spec"
WEBHOOK = {
    "strategy": "Webhook",
    "webhook": {"conversionReviewVersions": ["v1"], "clientConfig": {"url": "https://convert.example.invalid"}},
}


def in_group(rule: Rule, group: str) -> Rule:
    """Return the CRD under another group and other names: kubectl finds ours by their short names as before."""
    spec = copy.deepcopy(dict(rule.spec))
    names = {"plural": f"own{spec['names']['plural']}", "kind": f"Own{spec['names']['kind']}"}
    names |= {"singular": names["kind"].lower(), "listKind": f"{names['kind']}List"}
    return Rule(DEFINITION, f"{names['plural']}.{group}", {**spec, "group": group, "names": names})


async def until(holds: Callable[[], object], what: str) -> None:
    """Wait: the API server takes some seconds to apply a CRD that changed."""
    deadline = time.monotonic() + 180
    while not holds():
        assert time.monotonic() < deadline, f"not within 180 s: {what}"
        await asyncio.sleep(0.3)


def manifest(rule: Rule) -> Json:
    return {"apiVersion": DEFINITIONS_API, "kind": DEFINITION, "metadata": {"name": rule.name}, "spec": rule.spec}


@dataclass
class Defined(Guarded):
    """A CRD of this test, and the guard that looks after it."""

    rule: Rule

    def later_guard(self, kube: KubeClient) -> Guard:
        return Guard(kube, self.ledger, [self.rule], namespace=self.world.system, lease="guard")

    def alter(self, *operations: Json) -> None:
        self.world.kubectl(
            "admin", "patch", "crd", self.rule.name, "--type=json", "-p", json.dumps(operations)
        ).passes()

    def put_back(self) -> None:
        """As docs/operate.md has it."""
        self.world.kubectl("admin", "replace", "-f", "-", stdin=manifest(self.rule)).passes()

    def approve(self, name: str) -> bool:
        """Create an approval; a CRD is served a moment after it says so."""
        obj = make_approval(name, self.world.system)
        obj |= {"apiVersion": f"{self.rule.spec['group']}/v1alpha1", "kind": self.rule.spec["names"]["kind"]}
        return self.world.kubectl("admin", "create", "-f", "-", stdin=obj).code == 0

    def edited(self, name: str) -> bool:
        """Try to make another decision of an approval that exists."""
        change = json.dumps({"spec": {"decision": "Approve", "reason": f"never said {secrets.token_hex(3)}"}})
        target = (self.rule.name, name, "-n", self.world.system)
        return self.world.kubectl("admin", "patch", *target, "--type=merge", "-p", change).code == 0


@pytest.fixture
def crd(kubeconfig: Callable[[str], str]) -> Iterator[tuple[World, Rule]]:
    name = f"t-guard-{secrets.token_hex(3)}"
    world = World(name, f"{name}-system", kubeconfig)
    ours = next(one for one in definitions() if one.name == "approvals.tunegate.io")
    rule = in_group(ours, f"{name}.example")
    try:
        world.kubectl("admin", "create", "namespace", world.system).passes()
        world.kubectl("admin", "create", "-f", "-", stdin=manifest(rule)).passes()
        world.kubectl("admin", "wait", "crd", rule.name, "--for=condition=Established", "--timeout=120s").passes()
        yield world, rule
    finally:
        world.kubectl("admin", "delete", "crd", rule.name, "--ignore-not-found", "--wait=false")
        world.kubectl("admin", "delete", "namespace", world.system, "--ignore-not-found", "--wait=false")


@pytest.fixture
async def defined(crd: tuple[World, Rule], operator_kube: KubeClient) -> Defined:
    world, rule = crd
    ledger = LedgerWriter(operator_kube)
    guard = Guard(operator_kube, ledger, [rule], namespace=world.system, lease="guard")
    return Defined(world, guard, ledger, rule)


async def test_what_the_api_server_fills_into_our_crds_is_no_difference(operator_kube: KubeClient) -> None:
    own = [in_group(rule, f"t-guard-{secrets.token_hex(3)}.example") for rule in definitions()]
    live = [await operator_kube.create(manifest(rule), dry_run=True) for rule in own]
    assert all(one["spec"]["conversion"] == {"strategy": "None"} for one in live)
    assert differences(own, live) == []


@pytest.mark.attack(44)
async def test_nothing_new_happens_while_approvals_can_be_edited_and_what_was_made_meanwhile_does_not_count(
    defined: Defined, operator_kube: KubeClient
) -> None:
    subject = AuditSubject("ModelRelease", defined.world.namespace, "release", f"uid-{defined.world.namespace}")
    assert await defined.look() is None
    await until(lambda: defined.approve("before"), "an approval is admitted")
    assert not defined.edited("before")

    running = asyncio.create_task(defined.guard.run(0.5))
    defined.alter({"op": "remove", "path": f"{SPEC}/x-kubernetes-validations"})
    try:
        await until(lambda: "x-kubernetes-validations was removed" in (defined.guard.frozen or ""), "frozen")
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
    # This is what the rule was good for.
    await until(lambda: defined.edited("before"), "the approval can be edited")
    made = datetime.now(UTC).replace(microsecond=0)
    guarded = GuardedLedger(defined.ledger, defined.guard)
    for held_back in ("ReleaseApproved", "RolloutStarted", "AdapterListed", "RouteOpened", "ShadowOpened"):
        with pytest.raises(Waiting, match="x-kubernetes-validations was removed"):
            await guarded.append(AuditEntry(held_back, "operator", subject, "1"))
    await guarded.append(AuditEntry("RouteClosed", "operator", subject, "1"))

    defined.put_back()
    await until(lambda: not defined.edited("before"), "the approval can no longer be edited")
    assert await defined.look() is None
    later = GuardedLedger(defined.ledger, defined.later_guard(operator_kube))
    await later.append(AuditEntry("ReleaseApproved", "operator", subject, "1"))
    assert await defined.types() == ["AdmissionVerified", "AdmissionDrift", "AdmissionVerified"]
    assert unguarded(made, windows(await defined.ledger.of_subject(subject_of(defined.world.system).uid)))


@pytest.mark.attack(44)
@pytest.mark.parametrize(
    ("operation", "words"),
    [
        ({"op": "add", "path": f"{SPEC}/x-kubernetes-preserve-unknown-fields", "value": True}, "preserve-unknown-fields was added"),
        ({"op": "add", "path": f"{SPEC}/properties/decision/enum/-", "value": "Perhaps"}, "decision.enum was changed"),
        ({"op": "replace", "path": "/spec/conversion", "value": WEBHOOK}, "spec.conversion was added"),
        ({"op": "add", "path": "/spec/versions/0/subresources", "value": {"status": {}}}, "subresources was added"),
    ],
)  # fmt: skip
async def test_a_crd_that_was_altered_is_found_and_can_be_put_back(
    defined: Defined, operation: Json, words: str
) -> None:
    assert await defined.look() is None
    defined.alter(operation)
    assert words in (await defined.look() or "")
    defined.put_back()
    assert await defined.look() is None


@pytest.mark.attack(44)
async def test_a_crd_that_was_edited_and_put_back_while_nobody_looked_is_found_out(
    defined: Defined, operator_kube: KubeClient
) -> None:
    assert await defined.look() is None
    await asyncio.sleep(1.1)
    defined.alter({"op": "remove", "path": f"{SPEC}/x-kubernetes-validations"})
    away = datetime.now(UTC).replace(microsecond=0)
    defined.put_back()
    later = defined.later_guard(operator_kube)
    await later.resume()
    await later.look()
    assert later.frozen is None
    assert await defined.types() == ["AdmissionVerified", "AdmissionVerified"]
    assert unguarded(away, windows(await defined.ledger.of_subject(subject_of(defined.world.system).uid)))


@pytest.mark.attack(44)
async def test_a_crd_that_was_deleted_is_told_with_what_is_lost(defined: Defined) -> None:
    assert await defined.look() is None
    defined.world.kubectl("admin", "delete", "crd", defined.rule.name).passes()
    told = await defined.look() or ""
    assert f"{defined.rule.name} is missing, and every object of its kind with it" in told
    assert "who deletes a CRD deletes every object of its kind" in told


async def test_crds_that_cannot_be_read_are_not_in_force(defined: Defined, client_of: ClientFactory) -> None:
    blind = defined.later_guard(await client_of("outsider"))
    await blind.try_look()
    assert "cannot be read" in (blind.frozen or "")
