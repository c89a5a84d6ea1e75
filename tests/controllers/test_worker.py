"""The worker on the real API server: it acts in the order of the plan, and turns every end into an outcome."""

from __future__ import annotations

from typing import Any, ClassVar, cast

import pytest

from tests.support.builders import make_finetunejob
from tests.support.recording_client import Memory, Watched
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
    shows_progress: ClassVar[bool] = False

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


def named(kind: str, name: str, namespace: str, **content: Any) -> Json:
    api = {"RoleBinding": "rbac.authorization.k8s.io/v1", "Deployment": "apps/v1"}.get(kind, "v1")
    labels = {"app.kubernetes.io/managed-by": "tunegate"}
    metadata = {"name": name, "namespace": namespace, "labels": labels}
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **content}


def service(namespace: str, name: str) -> Json:
    return named(
        "Service", name, namespace, spec={"type": "ClusterIP", "selector": {"a": "b"}, "ports": [{"port": 80}]}
    )


async def status_of(kube: KubeClient, namespace: str) -> Json:
    live = await kube.get(ObjectRef(API_VERSION, "FineTuneJob", "job", namespace))
    assert live is not None
    return dict(live.get("status") or {})


@pytest.mark.attack(52)
async def test_a_foreign_object_stops_what_needs_it_and_is_told_in_status_event_and_ledger(
    kube: KubeClient, namespace: str
) -> None:
    job = await kube.create(make_finetunejob(namespace=namespace))
    await kube.create(config_map(namespace, "first") | {"data": {"config.json": "theirs"}})
    plan = Plan(
        creates=(named("ConfigMap", "first", namespace), named("ConfigMap", "second", namespace)),
        status={"phase": "Validating", "message": "attempt 1 was created", "conditions": []},
        uid=job["metadata"]["uid"],
    )
    key, ledger = ObjectKey(namespace, "job"), Memory()
    subject = worker(Scripted(plan), kube, ledger)
    outcomes = [await subject.run(key) for _ in range(2)]
    assert ["waiting", "waiting"] == [one.result for one in outcomes]
    assert outcomes[0].after
    assert await kube.get(ObjectRef("v1", "ConfigMap", "second", namespace)) is None
    status = await status_of(kube, namespace)
    assert status.get("phase") != "Validating"
    assert f"ConfigMap {namespace}/first is not Tunegate's" in status["message"]
    condition = next(one for one in status["conditions"] if one["type"] == "ObjectsInPlace")
    assert ("False", "ForeignObject") == (condition["status"], condition["reason"])
    events = await kube.list("v1", "Event", namespace, fields="involvedObject.name=job")
    assert ["ForeignObject"] == [event["reason"] for event in events]
    assert 1 == len({entry.event_id for entry in ledger.entries})
    recorded = ledger.entries[0]
    assert ("ForeignObjectFound", job["metadata"]["uid"]) == (recorded.type, recorded.subject.uid)
    assert f"ConfigMap {namespace}/first" == recorded.payload["object"]

    await kube.delete(ObjectRef("v1", "ConfigMap", "first", namespace))
    assert "done" == (await subject.run(key)).result
    assert await kube.get(ObjectRef("v1", "ConfigMap", "second", namespace)) is not None
    assert "attempt 1 was created" == (await status_of(kube, namespace))["message"]
    assert [] == (await status_of(kube, namespace)).get("conditions", [])


@pytest.mark.attack(53)
async def test_one_object_that_cannot_be_applied_holds_up_no_other(kube: KubeClient, namespace: str) -> None:
    job = await kube.create(make_finetunejob(namespace=namespace))
    broken = service(namespace, "broken")
    broken["spec"]["ports"] = [{"port": -1}]
    plan = Plan(
        closes=(named("ConfigMap", "tunegate-routes", namespace),),
        applies=(broken, service(namespace, "whole")),
        status={"phase": "Validating", "message": "m", "conditions": []},
        requeue_after=3.0,
        uid=job["metadata"]["uid"],
    )
    outcome = await worker(Scripted(plan), kube).run(ObjectKey(namespace, "job"))
    assert ("terminal", 3.0) == (outcome.result, outcome.after)
    for kind, name in (("ConfigMap", "tunegate-routes"), ("Service", "whole")):
        assert await kube.get(ObjectRef("v1", kind, name, namespace)) is not None
    status = await status_of(kube, namespace)
    assert "Validating" == status["phase"]
    assert "Service" in status["message"]
    assert ["RequestRefused"] == [one["reason"] for one in status["conditions"]]


@pytest.mark.attack(53)
async def test_closing_waits_for_no_ledger(kube: KubeClient, namespace: str) -> None:
    job = await kube.create(make_finetunejob(namespace=namespace))
    subject = AuditSubject("FineTuneJob", namespace, "job", job["metadata"]["uid"])
    pod = {"containers": [{"name": "main", "image": "example.invalid/none"}], "nodeName": "none"}
    stopped = await kube.create(named("Pod", "answers", namespace, spec=pod))
    plan = Plan(
        closes=(named("ConfigMap", "tunegate-routes", namespace),),
        stops=(ObjectRef("v1", "Pod", "answers", namespace, stopped["metadata"]["uid"]),),
        audit=(AuditEntry("RouteClosed", "tunegate-operator", subject, key="1"),),
        applies=(service(namespace, "later"),),
        uid=job["metadata"]["uid"],
    )
    outcome = await worker(Scripted(plan), kube, Memory(working=False)).run(ObjectKey(namespace, "job"))
    assert "transient" == outcome.result
    assert await kube.get(ObjectRef("v1", "ConfigMap", "tunegate-routes", namespace)) is not None
    pod_now = await kube.get(ObjectRef("v1", "Pod", "answers", namespace))
    assert pod_now is None or pod_now["metadata"]["deletionGracePeriodSeconds"] <= 5
    assert await kube.get(ObjectRef("v1", "Service", "later", namespace)) is None


@pytest.mark.attack(51)
async def test_pods_do_not_start_on_a_configuration_that_was_refused(kube: KubeClient, namespace: str) -> None:
    job = await kube.create(make_finetunejob(namespace=namespace))
    await kube.create(config_map(namespace, "adapters") | {"data": {"adapters.json": "theirs"}})
    labels = {"app": "engine"}
    pod = {
        "containers": [{"name": "main", "image": "example.invalid/none"}],
        "volumes": [{"name": "documents", "configMap": {"name": "adapters"}}],
    }
    spec = {
        "replicas": 0,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
    plan = Plan(
        creates=(named("ConfigMap", "adapters", namespace),),
        claims_creates=False,
        applies=(named("Deployment", "engine", namespace, spec=spec), service(namespace, "engine")),
        status={"phase": "Validating", "message": "m", "conditions": []},
        uid=job["metadata"]["uid"],
    )
    await worker(Scripted(plan), kube).run(ObjectKey(namespace, "job"))
    assert await kube.get(ObjectRef("apps/v1", "Deployment", "engine", namespace)) is None
    assert await kube.get(ObjectRef("v1", "Service", "engine", namespace)) is not None
    assert "Validating" == (await status_of(kube, namespace))["phase"]
