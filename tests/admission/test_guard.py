"""The operator's guard on a real API server: rules that a cluster-admin takes away, and what then cannot happen."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml

from tests.conftest import ClientFactory
from tests.support.governed_namespace import World, as_list, render, scoped
from tests.support.guard import Guarded
from tunegate.admission.guard import ACTING, Guard, GuardedLedger
from tunegate.admission.rules import Rule, parse, subject_of, unguarded, windows
from tunegate.errors import Waiting
from tunegate.kube.client import KubeClient
from tunegate.ledger.entry import AuditEntry, AuditSubject
from tunegate.ledger.writer import LedgerWriter

pytestmark = pytest.mark.cluster
Json = dict[str, Any]


@dataclass
class Watched(Guarded):
    """One policy with its binding, in a name of its own, and a guard that looks after them."""

    objects: list[Json]
    expected: tuple[Rule, ...]

    def apply(self) -> None:
        self.world.kubectl(
            "admin", "apply", "--server-side", "--force-conflicts", "-f", "-", stdin=as_list(self.objects)
        ).passes()


@pytest.fixture
def rules(kubeconfig: Callable[[str], str]) -> Iterator[tuple[World, list[Json]]]:
    name = f"t-guard-{secrets.token_hex(3)}"
    world = World(name, f"{name}-system", kubeconfig)
    approver = [
        one
        for one in render(name)
        if one["metadata"]["name"] == "tunegate-approver" and one["kind"].startswith("ValidatingAdmissionPolicy")
    ]
    objects = scoped(approver, name, name)
    world.kubectl("admin", "create", "namespace", world.system).passes()
    yield world, objects
    world.kubectl("admin", "delete", "--ignore-not-found", "--wait=false", "-f", "-", stdin=as_list(objects)).passes()
    world.kubectl("admin", "delete", "namespace", world.system, "--wait=false").passes()


@pytest.fixture
async def watched(rules: tuple[World, list[Json]], operator_kube: KubeClient) -> Watched:
    world, objects = rules
    ledger = LedgerWriter(operator_kube)
    expected = parse(yaml.safe_dump_all(objects))
    guard = Guard(operator_kube, ledger, expected, namespace=world.system, lease="guard")
    return Watched(world, guard, ledger, objects, expected)


@pytest.mark.attack(31)
async def test_nothing_new_is_recorded_before_the_rules_were_seen_in_force(
    watched: Watched, operator_kube: KubeClient
) -> None:
    subject = AuditSubject("ModelRelease", watched.world.namespace, "release", f"uid-{watched.world.namespace}")
    guarded = GuardedLedger(watched.ledger, watched.guard)
    with pytest.raises(Waiting, match="is missing"):
        await guarded.append(AuditEntry("ReleaseApproved", "operator", subject, "1"))
    with pytest.raises(Waiting, match="is missing"):
        await guarded.append(AuditEntry("RolloutStarted", "operator", subject, "1"))
    # What takes something away needs no rule.
    await guarded.append(AuditEntry("RouteClosed", "operator", subject, "1"))

    watched.apply()
    with pytest.raises(Waiting, match="created earlier is checked again"):
        await guarded.append(AuditEntry("ReleaseApproved", "operator", subject, "1"))
    later = Guard(operator_kube, watched.ledger, watched.expected, namespace=watched.world.system, lease="guard")
    await GuardedLedger(watched.ledger, later).append(AuditEntry("ReleaseApproved", "operator", subject, "1"))
    assert [one.type for one in await guarded.of_subject(subject.uid)] == ["RouteClosed", "ReleaseApproved"]
    assert await watched.types() == ["AdmissionDrift", "AdmissionVerified"]


@pytest.mark.attack(31)
@pytest.mark.parametrize(
    ("kind", "patch", "words"),
    [
        ("validatingadmissionpolicybinding", [{"op": "replace", "path": "/spec/validationActions", "value": ["Audit"]}], "validationActions"),
        ("validatingadmissionpolicy", [{"op": "replace", "path": "/spec/validations/0/expression", "value": "true"}], "expression"),
        ("validatingadmissionpolicy", [{"op": "replace", "path": "/spec/failurePolicy", "value": "Ignore"}], "failurePolicy"),
        (
            "validatingadmissionpolicy",
            [{"op": "add", "path": "/spec/matchConditions", "value": [{"name": "never", "expression": "false"}]}],
            "matchConditions",
        ),
    ],
)  # fmt: skip
async def test_an_altered_rule_is_found_and_the_time_without_it_is_known(
    watched: Watched, kind: str, patch: list[Json], words: str
) -> None:
    watched.apply()
    assert await watched.look() is None
    name = watched.objects[0]["metadata"]["name"]
    watched.world.kubectl("admin", "patch", kind, name, "--type=json", "-p", json.dumps(patch)).passes()
    assert words in (await watched.look() or "")
    made = datetime.now(UTC)
    watched.world.kubectl("admin", "delete", kind, name).passes()
    watched.apply()
    assert await watched.look() is None
    assert await watched.types() == ["AdmissionVerified", "AdmissionDrift", "AdmissionVerified"]
    times = windows(await watched.ledger.of_subject(subject_of(watched.world.system).uid))
    assert unguarded(made.replace(microsecond=0), times)
    # The rule is there, but a server may not act by it yet.
    assert unguarded(datetime.now(UTC), times)
    assert not unguarded(datetime.now(UTC) + ACTING + timedelta(seconds=1), times)


@pytest.mark.attack(31)
async def test_a_rule_that_was_away_while_nobody_looked_is_found_out(
    watched: Watched, operator_kube: KubeClient
) -> None:
    watched.apply()
    assert await watched.look() is None
    name = watched.objects[0]["metadata"]["name"]
    await asyncio.sleep(1.1)
    watched.world.kubectl("admin", "delete", "validatingadmissionpolicybinding", name).passes()
    away = datetime.now(UTC).replace(microsecond=0)
    watched.apply()

    # Another process, which knows of the one before only what it left in the cluster.
    later = Guard(
        operator_kube,
        watched.ledger,
        watched.expected,
        namespace=watched.world.system,
        lease="guard",
    )
    await later.resume()
    await later.look()
    assert later.frozen is None
    assert await watched.types() == ["AdmissionVerified", "AdmissionVerified"]
    window = windows(await watched.ledger.of_subject(subject_of(watched.world.system).uid))[-1]
    assert window.since <= away <= window.until


async def test_rules_that_stay_leave_one_record(watched: Watched) -> None:
    watched.apply()
    for _ in range(3):
        assert await watched.look() is None
    assert await watched.types() == ["AdmissionVerified"]


async def test_rules_that_cannot_be_read_are_not_in_force(watched: Watched, client_of: ClientFactory) -> None:
    kube = await client_of("outsider")
    blind = Guard(kube, watched.ledger, watched.expected, namespace=watched.world.system, lease="guard")
    await blind.try_look()
    assert "cannot be read" in (blind.frozen or "")
