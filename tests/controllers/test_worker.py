"""The worker on the real API server: it acts in the order of the plan, and turns every end into an outcome."""

from __future__ import annotations

from typing import Any, ClassVar, cast

import pytest

from tests.builders import make_finetunejob
from tests.controllers.watched import Memory, Watched
from tunegate.api.markers import API_VERSION
from tunegate.controllers.worker import Worker
from tunegate.errors import Terminal, Transient, Waiting
from tunegate.kube.client import KubeClient, ObjectKey, ObjectRef
from tunegate.ledger.entry import AuditEntry, AuditSubject
from tunegate.reconcile.plan import EventNote, Plan

pytestmark = pytest.mark.cluster
Json = dict[str, Any]


class Scripted:
    """A controller that answers with what it is given."""

    kind: ClassVar[str] = "FineTuneJob"
    manager: ClassVar[str] = "tunegate-operator"

    def __init__(self, answer: Plan | Exception | None) -> None:
        self.answer = answer

    async def reconcile(self, key: ObjectKey) -> Plan | None:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def worker(controller: Any, kube: KubeClient | Watched, ledger: Memory | None = None) -> Worker:
    return Worker(controller, cast(KubeClient, kube), ledger or Memory())


def config_map(namespace: str, name: str) -> Json:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}}


async def full_plan(kube: KubeClient, namespace: str) -> tuple[ObjectKey, Plan]:
    job = await kube.create(make_finetunejob(namespace=namespace))
    old = await kube.create(config_map(namespace, "old"))
    uid = job["metadata"]["uid"]
    subject = AuditSubject("FineTuneJob", namespace, "job", uid)
    return ObjectKey(namespace, "job"), Plan(
        audit=(AuditEntry("JobRequested", "engineer", subject, key="1"),),
        deletes=(ObjectRef.of(old),),
        creates=(config_map(namespace, "made"),),
        applies=(config_map(namespace, "applied"),),
        status={"phase": "Validating", "message": "m", "conditions": []},
        events=(EventNote("Normal", "StageRunning", "began"),),
        requeue_after=7.0,
        uid=uid,
    )


async def test_it_acts_in_the_order_of_the_plan_and_then_writes_nothing_more(kube: KubeClient, namespace: str) -> None:
    key, plan = await full_plan(kube, namespace)
    watched, ledger = Watched(kube), Memory()

    outcome = await worker(Scripted(plan), watched, ledger).run(key)

    order = ["delete ConfigMap", "create ConfigMap", "apply ConfigMap", "apply status", "create_event FineTuneJob"]
    assert order == watched.writes
    assert ("done", 7.0, 1) == (outcome.result, outcome.after, len(ledger.entries))
    again = Watched(kube)
    await worker(Scripted(Plan(status=plan.status, creates=plan.creates)), again).run(key)
    assert [] == again.writes


async def test_while_the_ledger_cannot_be_written_nothing_is_done(kube: KubeClient, namespace: str) -> None:
    key, plan = await full_plan(kube, namespace)
    watched = Watched(kube)

    outcome = await worker(Scripted(plan), watched, Memory(working=False)).run(key)

    assert ("transient", []) == (outcome.result, watched.writes)


async def test_an_object_made_again_under_the_name_gets_no_status_of_the_old_one(
    kube: KubeClient, namespace: str
) -> None:
    await kube.create(make_finetunejob(namespace=namespace))
    plan = Plan(status={"phase": "Succeeded"}, uid="of-the-old-one")

    outcome = await worker(Scripted(plan), kube).run(ObjectKey(namespace, "job"))

    live = await kube.get(ObjectRef(API_VERSION, "FineTuneJob", "job", namespace))
    assert live is not None
    assert ("transient", None) == (outcome.result, live.get("status"))


@pytest.mark.parametrize(
    ("answer", "result", "after"),
    [
        (None, "done", None),
        (Waiting("Hashing", "not yet", requeue_after=9.0), "waiting", 9.0),
        (Transient("away", retry_after=3.0), "transient", 3.0),
        (ValueError("a defect"), "defect", None),
    ],
    ids=["gone", "waiting", "transient", "defect"],
)
async def test_every_end_becomes_an_outcome(
    answer: Exception | None, result: str, after: float | None, kube: KubeClient, namespace: str
) -> None:
    outcome = await worker(Scripted(answer), kube).run(ObjectKey(namespace, "job"))

    assert (result, after) == (outcome.result, outcome.after)


async def test_what_needs_a_person_is_said_once_on_the_object(kube: KubeClient, namespace: str) -> None:
    await kube.create(make_finetunejob(namespace=namespace))
    subject = worker(Scripted(Terminal("Refused", "the quota forbids it")), kube)

    outcomes = [await subject.run(ObjectKey(namespace, "job")) for _ in range(3)]

    events = await kube.list("v1", "Event", namespace, fields="involvedObject.name=job")
    assert ["terminal"] * 3 == [outcome.result for outcome in outcomes]
    assert ["the quota forbids it"] == [event["message"] for event in events]
