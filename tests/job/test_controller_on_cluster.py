"""The controller with a real API server, Job controller, kubelet and registry: a job from its first wait to its end."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import NamespaceFactory
from tests.job.test_attempts_on_cluster import local_image
from tests.support.builders import (
    DIGEST,
    IMAGE,
    make_approval,
    make_approvalpolicy,
    make_basemodel,
    make_computepool,
    make_evaluationsuite,
    make_finetunejob,
    make_modelserver,
)
from tests.support.registry_process import running_registry
from tests.support.stage_documents import MANIFEST, baselined, validated
from tunegate.api.auditrecord import AuditRecordSpec
from tunegate.api.markers import API_VERSION
from tunegate.api.stage.layout import RESULT_MEDIA_TYPE
from tunegate.api.stage.results import HashResult, StageResult
from tunegate.controllers.finetunejob.controller import FineTuneJobController
from tunegate.controllers.services import Services
from tunegate.controllers.worker import Worker
from tunegate.digests import manifest_digest
from tunegate.kube.client import KubeClient, ObjectKey, ObjectRef
from tunegate.ledger.entry import AuditEntry
from tunegate.ledger.tries import Tries
from tunegate.manifests.stage_job import config_map_name
from tunegate.reconcile.naming import JOB_LABEL, base_model_repository, job_repository
from tunegate.registry.client import RegistryClient
from tunegate.settings import GovernedNamespace, Settings
from tunegate.sketch import Sketch

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]
Json = dict[str, Any]


class MemoryLedger:
    """Keeps entries; the chain has its own tests, and records of the cluster's ledger can't be taken back."""

    def __init__(self) -> None:
        self.entries: dict[str, AuditEntry] = {}

    async def append(self, entry: AuditEntry) -> AuditEntry:
        return self.entries.setdefault(entry.event_id, entry)

    async def of_subject(self, uid: str) -> list[AuditRecordSpec]:
        """Asked for the admission rules only, which nobody looks after here."""
        return []

    async def tries(self, data_digest: str, sketch: Sketch | None = None) -> Tries:
        """No test here looks at them."""
        return Tries()

    async def of_namespace(
        self, kind: str, namespace: str, types: Collection[str], since: datetime
    ) -> list[AuditRecordSpec]:
        raise NotImplementedError("no policy here has a budget")


class Setting:
    """A namespace, its policy, and a worker for jobs."""

    def __init__(
        self, kube: KubeClient, operator: KubeClient, namespace: str, registry: RegistryClient, host: str
    ) -> None:
        self.kube, self.operator, self.namespace, self.registry = kube, operator, namespace, registry
        self.name = f"t-{namespace[-6:]}"
        self.ledger = MemoryLedger()
        settings = Settings(
            trainer_image=local_image(),
            operator_image="unused",
            engine_images=(IMAGE,),
            registry_host=host,
            governed=(GovernedNamespace(name=namespace, policy=self.name),),
        )
        services = Services(operator, settings, registry, self.ledger, tracking=None)
        self.worker = Worker(FineTuneJobController(services), operator, self.ledger)

    def ref(self, kind: str, name: str, api_version: str = API_VERSION) -> ObjectRef:
        return ObjectRef(api_version, kind, name, self.namespace)

    async def step(self) -> Json:
        """Reconcile once and return the job's status."""
        outcome = await self.worker.run(ObjectKey(self.namespace, "copyright"))
        assert outcome.result == "done", outcome
        obj = await self.kube.get(self.ref("FineTuneJob", "copyright"))
        assert obj is not None
        return dict(obj["status"])

    async def until(self, holds: Callable[[Json], bool]) -> Json:
        """Reconcile until the status is so, with the base model admitted before each step: a live operator takes it back."""
        for _ in range(240):
            await self.admit_base_model()
            status = await self.step()
            if holds(status):
                return status
            await asyncio.sleep(0.5)
        raise AssertionError(status)

    async def admit_base_model(self) -> None:
        """Enter the base model as hashed."""
        result = HashResult(
            outcome="Passed",
            manifest=MANIFEST,
            manifest_digest=manifest_digest(MANIFEST),
            bytes=2,
            parameters=1,
            seconds=0,
        )
        content = result.model_dump_json(by_alias=True, exclude_none=True).encode()
        repository = f"{base_model_repository(self.name)}/results"
        digest = await asyncio.to_thread(self.registry.push_document, repository, content, RESULT_MEDIA_TYPE)
        status = {"phase": "Ready", "manifestDigest": result.manifest_digest, "resultDigest": digest}
        obj = {"apiVersion": API_VERSION, "kind": "BaseModel", "metadata": {"name": self.name}, "status": status}
        await self.operator.apply(obj, subresource="status")

    async def prepare(self, requester: Json, **policy: Any) -> None:
        """Make all that a job refers to, and the job; ``policy`` changes the policy's spec."""
        kube, namespace, name = self.kube, self.namespace, self.name
        await kube.create(make_approvalpolicy(name, **policy))
        await kube.create(make_computepool(name, stageResources={"cpu": "50m", "memory": "96Mi"}))
        await kube.create(make_basemodel(name))
        await kube.create(make_modelserver("server", namespace, baseModelRef={"name": name}, poolRef={"name": name}))
        await kube.create(make_evaluationsuite("suite", namespace))
        metadata: Json = {"name": "tunegate-stage", "namespace": namespace}
        await kube.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})
        claim = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Mi"}}}
        for found in ("data", "models"):
            metadata = {"name": found, "namespace": namespace, "labels": {"tunegate.io/usable-by-jobs": "true"}}
            obj = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": claim}
            await kube.create(obj)
        await kube.create(make_finetunejob("copyright", namespace, requestedBy=requester))

    async def pass_stages(self, status: Json, *results: StageResult) -> None:
        """Say in the job's status that stages are done with these results."""
        job = await self.kube.get(self.ref("FineTuneJob", "copyright"))
        assert job is not None
        repository = f"{job_repository(self.namespace, 'copyright', job['metadata']['uid'])}/results"
        for result in results:
            content = result.model_dump_json(by_alias=True).encode()
            digest = await asyncio.to_thread(self.registry.push_document, repository, content, RESULT_MEDIA_TYPE)
            stage = next(stage for stage in status["stages"] if stage["name"] == result.stage)
            stage |= {"state": "Done", "attempt": 1, "resultDigest": digest}
        metadata = {"name": "copyright", "namespace": self.namespace}
        obj = {"apiVersion": API_VERSION, "kind": "FineTuneJob", "metadata": metadata, "status": status}
        await self.operator.apply(obj, subresource="status")

    async def refuse(self, status: Json, **waiver: Any) -> None:
        """Say in the job's status that validation refused the job, for findings that people may waive."""
        await self.pass_stages(status, validated("Refused"))
        job = await self.kube.get(self.ref("FineTuneJob", "copyright"))
        assert job is not None
        stages = [{**stage, "state": "Refused"} for stage in job["status"]["stages"] if stage["name"] == "Validate"]
        data = {
            "digest": validated().dataset_digest, "rows": 37, "tokens": 900, "duplicates": 0, "developmentRows": 3,
        }  # fmt: skip
        said = {**job["status"], "phase": "PendingWaiver", "stages": stages, "dataset": data, "waiver": waiver}
        metadata = {"name": "copyright", "namespace": self.namespace}
        obj = {"apiVersion": API_VERSION, "kind": "FineTuneJob", "metadata": metadata, "status": said}
        await self.operator.apply(obj, subresource="status")

    async def let_approve(self, role: str, group: str) -> None:
        """Give a group the verb `approve` for a role."""
        api, namespace = "rbac.authorization.k8s.io", self.namespace
        rule = {
            "apiGroups": ["tunegate.io"],
            "resources": ["approvalroles"],
            "resourceNames": [role],
            "verbs": ["approve"],
        }
        metadata = {"name": f"approver-{role}", "namespace": namespace}
        await self.kube.create({"apiVersion": f"{api}/v1", "kind": "Role", "metadata": metadata, "rules": [rule]})
        binding = {
            "apiVersion": f"{api}/v1", "kind": "RoleBinding", "metadata": metadata,
            "roleRef": {"apiGroup": api, "kind": "Role", "name": metadata["name"]},
            "subjects": [{"apiGroup": api, "kind": "Group", "name": group}],
        }  # fmt: skip
        await self.kube.create(binding)

    async def decide(self, name: str, who: str, job: Json, **changes: Any) -> None:
        """Create an Approval of the job's waiver."""
        spec = {
            "subjectRef": {"kind": "FineTuneJob", "name": "copyright", "uid": job["metadata"]["uid"]},
            "subjectDigest": job["status"]["waiver"]["digest"],
            "role": "steward",
            "approver": {"username": who, "groups": ["stewards"]},
        }
        await self.kube.create(make_approval(name, self.namespace, **{**spec, **changes}))

    async def own(self, api_version: str, kind: str) -> list[str]:
        """Return the names of the objects of a kind that belong to the job."""
        job = {JOB_LABEL: "copyright"}
        found = await self.kube.list(api_version, kind, self.namespace, labels=job)
        return [f"{kind} {one['metadata']['name']}" for one in found]


@pytest.fixture
def registry_host(tmp_path: Path) -> Iterator[str]:
    with running_registry(tmp_path) as registry:
        yield registry.host


@pytest.fixture
async def setting(
    kube: KubeClient, operator_kube: KubeClient, namespaces: NamespaceFactory, registry_host: str
) -> AsyncIterator[Setting]:
    namespace = await namespaces("job")
    with RegistryClient(registry_host, plain_http=True) as registry:
        found = Setting(kube, operator_kube, namespace, registry, registry_host)
        yield found
    for kind in ("ApprovalPolicy", "ComputePool", "BaseModel"):
        await kube.delete(ObjectRef(API_VERSION, kind, found.name))


async def me(kube: KubeClient) -> Json:
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview", "metadata": {}}
    info = (await kube.create(review))["status"]["userInfo"]
    return {"username": info["username"], "groups": [g for g in info["groups"] if not g.startswith("system:auth")]}


def message(status: Json, type_: str) -> tuple[str, str]:
    found = next(entry for entry in status["conditions"] if entry["type"] == type_)
    return found["reason"], found["status"]


def past_the_base_model(status: Json) -> bool:
    return message(status, "Scheduled")[0] != "WaitingForBaseModel"


async def test_a_job_waits_starts_fails_and_leaves_nothing(setting: Setting) -> None:
    kube, namespace, name = setting.kube, setting.namespace, setting.name
    job = make_finetunejob("copyright", namespace, requestedBy=await me(kube), limits={"maxErrors": 0})
    await kube.create(job)
    assert message(await setting.step(), "Scheduled") == ("WaitingForPolicy", "False")
    await kube.create(make_approvalpolicy(name))
    assert message(await setting.step(), "Scheduled") == ("WaitingForServer", "False")
    await kube.create(make_modelserver("server", namespace, baseModelRef={"name": name}, poolRef={"name": name}))
    await kube.create(make_evaluationsuite("suite", namespace))
    assert message(await setting.step(), "Scheduled") == ("WaitingForPool", "False")
    await kube.create(make_computepool(name, stageResources={"cpu": "50m", "memory": "96Mi"}))
    assert message(await setting.step(), "Scheduled") == ("WaitingForBaseModel", "False")
    await kube.create(make_basemodel(name))
    claim = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Mi"}}}
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "tunegate-stage", "namespace": namespace},
    }
    await kube.create(account)
    for found in ("data", "models"):
        metadata = {"name": found, "namespace": namespace}
        await kube.create({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": claim})
    status = await setting.until(past_the_base_model)
    assert message(status, "Scheduled") == ("WaitingForVolume", "False")
    assert "kubectl label pvc" in status["message"]
    opened = {"name": "data", "namespace": namespace, "labels": {"tunegate.io/usable-by-jobs": "true"}}
    await kube.apply({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": opened}, manager="owner")
    status = await setting.until(lambda found: found["phase"] == "Validating")
    batch_job = setting.ref("Job", status["stages"][0]["jobName"], "batch/v1")
    assert await kube.get(batch_job) is not None

    # The image holds no stage, so the pod really fails; one error is more than maxErrors allows.
    status = await setting.until(lambda found: found["phase"] == "Failed")
    assert message(status, "Failed") == ("ErrorBudgetSpent", "True")
    assert "kubectl logs job/" in status["message"]
    await setting.step()
    before = await kube.get(setting.ref("FineTuneJob", "copyright"))
    await setting.step()
    after = await kube.get(setting.ref("FineTuneJob", "copyright"))
    assert before is not None
    assert after is not None
    assert before["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"], (
        "a finished job is written no more"
    )
    assert sorted(entry.type for entry in setting.ledger.entries.values()) == ["JobFinished", "JobRequested"]
    reasons = {event["reason"] for event in await kube.list("v1", "Event", namespace) if "FineTuneJob" in str(event)}
    assert {"WaitingForServer", "StageStarted", "ErrorBudgetSpent"} <= reasons

    await kube.delete(setting.ref("FineTuneJob", "copyright"))
    for _ in range(120):
        if await kube.get(batch_job) is None:
            break
        await asyncio.sleep(0.5)
    assert await kube.get(batch_job) is None


async def test_a_requester_without_the_verb_use_is_told_what_to_ask_for(setting: Setting) -> None:
    await setting.prepare({"username": f"nobody-{secrets.token_hex(3)}"})
    status = await setting.until(past_the_base_model)
    assert message(status, "Scheduled") == ("NotAllowed", "False")
    assert f"computepools/{setting.name}" in status["message"]
    assert not await setting.kube.list("batch/v1", "Job", setting.namespace)


async def test_validation_is_given_the_other_suites_of_the_namespace_and_told_which_it_is_not_given(
    setting: Setting,
) -> None:
    kube, namespace = setting.kube, setting.namespace
    for name, labels in (("open", {"tunegate.io/usable-by-jobs": "true"}), ("closed", {})):
        claim = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Mi"}}}
        metadata = {"name": name, "namespace": namespace, "labels": labels}
        await kube.create({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": claim})
        data = {"uri": f"pvc://{name}/gate.jsonl", "digest": DIGEST}
        await kube.create(make_evaluationsuite(f"of-{name}", namespace, data=data))
    for _ in range(120):
        found = await kube.get(setting.ref("PersistentVolumeClaim", "open", "v1"))
        if found is not None and found["status"].get("phase") == "Bound":
            break
        await asyncio.sleep(0.5)
    await setting.prepare(await me(kube))

    status = await setting.until(lambda found: found["phase"] == "Validating")

    name = status["stages"][0]["jobName"]
    config = await kube.get(setting.ref("ConfigMap", config_map_name(name), "v1"))
    job = await kube.get(setting.ref("Job", name, "batch/v1"))
    assert config is not None
    assert job is not None
    told = json.loads(config["data"]["stage.json"])
    assert [(one["name"], one["path"]) for one in told["furtherSuites"]] == [("of-open", "/mnt/suites/open/gate.jsonl")]
    assert set(told["unreadSuites"]) == {"of-closed"}
    assert "not opened for jobs" in told["unreadSuites"]["of-closed"]
    pod = job["spec"]["template"]["spec"]
    claims = [one["persistentVolumeClaim"]["claimName"] for one in pod["volumes"] if "persistentVolumeClaim" in one]
    assert sorted(claims) == ["data", "models", "open"]


async def test_deleting_a_job_stops_its_pods_and_frees_its_workspace(setting: Setting) -> None:
    await setting.prepare(await me(setting.kube))
    status = await setting.until(lambda found: found["phase"] == "Validating")
    await setting.pass_stages(status, validated(), baselined())
    status = await setting.until(lambda found: found["phase"] == "Training")
    train = next(stage for stage in status["stages"] if stage["name"] == "Train")
    assert await setting.kube.get(setting.ref("Job", train["jobName"], "batch/v1")) is not None
    kinds = (("batch/v1", "Job"), ("v1", "Pod"), ("v1", "Secret"), ("v1", "PersistentVolumeClaim"))
    assert all([await setting.own(*kind) for kind in kinds]), (
        "a training has a job, a pod, a credential and a workspace"
    )

    await setting.kube.delete(setting.ref("FineTuneJob", "copyright"))
    for _ in range(120):
        left = [found for kind in kinds for found in await setting.own(*kind)]
        if not left:
            break
        await asyncio.sleep(0.5)
    assert left == []


async def test_a_refused_job_goes_on_by_a_waiver_of_the_role_and_by_no_other(setting: Setting) -> None:
    requester = await me(setting.kube)
    steward = {"name": "steward", "groups": ["stewards"], "findings": ["MinimumExamples"]}
    await setting.prepare(requester, waivers=[steward])
    await setting.let_approve("steward", "stewards")
    status = await setting.until(lambda found: found["phase"] == "Validating")
    few = {"check": "MinimumExamples", "count": 37, "message": "37 usable examples, Format needs 200."}
    await setting.refuse(status, digest="sha256:" + "0" * 64, findings=[few], rules=[steward])
    status = await setting.step()
    assert (status["phase"], status["waiver"]["approvals"]) == ("PendingWaiver", "0/1")
    assert message(status, "Waived") == ("WaitingForWaiver", "False")
    job = await setting.kube.get(setting.ref("FineTuneJob", "copyright"))
    assert job is not None

    release = {"kind": "ModelRelease", "name": "copyright", "uid": job["metadata"]["uid"]}
    await setting.decide("of-a-release", "stella", job, subjectRef=release)
    await setting.decide("other-content", "stella", job, subjectDigest="sha256:" + "9" * 64)
    await setting.decide("by-the-requester", requester["username"], job)
    await setting.decide("outside-the-group", "una", job, approver={"username": "una", "groups": ["nobodies"]})
    status = await setting.step()
    assert status["phase"] == "PendingWaiver"
    assert {one["name"]: one["reason"] for one in status["waiver"]["dropped"]} == {
        "other-content": "WrongDigest", "by-the-requester": "IsRequester", "outside-the-group": "NotInRoleGroup",
    }  # fmt: skip

    await setting.decide("granted", "stella", job)
    status = await setting.step()
    assert message(status, "Waived") == ("WaiverGranted", "True")
    assert [one["username"] for one in status["waiver"]["counted"]] == ["stella"]
    entries = [entry.type for entry in setting.ledger.entries.values()]
    assert entries.count("WaiverGranted") == 1
    assert entries.count("ApprovalRecorded") == 4
    await setting.until(lambda found: found["stages"][1]["attempt"] == 1)
