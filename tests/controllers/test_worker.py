"""The worker on the real API server: it acts in the order of the plan, and a crash after any write changes nothing."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from typing import Any, ClassVar, cast

import pytest

from tests.builders import make_basemodel, make_finetunejob
from tunegate.api.markers import API_VERSION
from tunegate.controllers.basemodel import BaseModelController
from tunegate.controllers.services import Services
from tunegate.controllers.worker import Worker
from tunegate.errors import Terminal, Transient, Waiting
from tunegate.kube.client import KubeClient, ObjectKey, ObjectRef
from tunegate.ledger.entry import AuditEntry, AuditSubject
from tunegate.reconcile.plan import EventNote, Plan
from tunegate.registry.client import RegistryClient
from tunegate.settings import Settings

pytestmark = pytest.mark.cluster
Json = dict[str, Any]
REAL = ("create", "apply", "delete", "create_event")


class Crash(BaseException):
    """The process dies here."""


class Watched:
    """A client that notes every write in order and dies right after write number ``last`` (from 1)."""

    def __init__(self, kube: KubeClient, last: int = 0) -> None:
        self._kube = kube
        self._last = last
        self.writes: list[str] = []

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._kube, name)
        if name not in REAL:
            return real

        async def noted(*args: Any, **kwargs: Any) -> Any:
            answer = await real(*args, **kwargs)
            first = args[0]
            kind = first.kind if isinstance(first, ObjectRef) else first["kind"]
            self.writes.append(f"{name} {kwargs.get('subresource') or kind}")
            if len(self.writes) == self._last:
                raise Crash
            return answer

        return noted


class Memory:
    """A ledger for entries that no test reads back from the cluster; it can be out of order."""

    def __init__(self, working: bool = True) -> None:
        self.entries: list[AuditEntry] = []
        self._working = working

    async def append(self, entry: AuditEntry) -> None:
        if not self._working:
            raise Transient("the ledger cannot be written")
        self.entries.append(entry)

    async def of_subject(self, uid: str) -> tuple[()]:
        return ()


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


@pytest.fixture
async def base_model(kube: KubeClient, namespace: str) -> AsyncIterator[Json]:
    """A BaseModel whose claim exists in the test's namespace, which plays the system namespace."""
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "models", "namespace": namespace},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
    }
    await kube.create(claim)
    model = await kube.create(make_basemodel(f"t-worker-{secrets.token_hex(4)}"))
    yield model
    await kube.delete(ObjectRef.of(model))


@pytest.mark.parametrize("crash_after", range(1, 6))
async def test_a_crash_after_any_write_ends_in_the_same_world(
    crash_after: int, kube: KubeClient, namespace: str, base_model: Json
) -> None:
    """Rule of the machine: kill it after any write and it converges."""
    key = ObjectKey("", base_model["metadata"]["name"])
    settings = Settings(system_namespace=namespace, trainer_image="x", operator_image="x", registry_host="127.0.0.1:1")
    with RegistryClient("127.0.0.1:1", plain_http=True) as registry:

        def made(client: Watched) -> Worker:
            services = Services(cast(KubeClient, client), settings, registry, Memory(), None)
            return worker(BaseModelController(services), client)

        with pytest.raises(Crash):
            await made(Watched(kube, last=crash_after)).run(key)
        for _ in range(3):
            await made(Watched(kube)).run(key)
        await asyncio.sleep(0.2)
        settled = Watched(kube)
        await made(settled).run(key)

    jobs = await kube.list("batch/v1", "Job", namespace)
    live = await kube.get(ObjectRef.of(base_model))
    assert live is not None
    assert 1 == len(jobs)
    assert ("Hashing", 1) == (live["status"]["phase"], live["status"]["attempts"])
    assert "Hashing" == live["status"]["conditions"][0]["reason"]
    assert not [write for write in settled.writes if not write.startswith("apply status")]
