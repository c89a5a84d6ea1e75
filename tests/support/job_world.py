"""A small model of the parts of Kubernetes that a FineTuneJob touches.

It is no stand-in for the API server: it holds objects, takes the writes of the real worker one at a time (so that an
operator can be "killed" between any two), and moves Jobs and pods as the Job controller and the kubelet do. Everything that the planner
sees comes from here.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from tests.support.builders import make_approvalpolicy
from tests.support.memory_kube import MemoryKube, MemoryLedger, driven, with_status
from tests.support.recording_client import Crash
from tests.support.stage_documents import GOOD, NAMESPACE, SETTINGS, UID, job, read_by, world_objects
from tunegate.api.approvalpolicy import ApprovalPolicy
from tunegate.api.auditrecord import AuditRecordSpec
from tunegate.api.conditions import rfc3339
from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.shared import SuiteTries
from tunegate.api.stage.configs import STAGE_CONFIG
from tunegate.api.stage.ends import ProgressReport, Termination
from tunegate.api.stage.results import BaselineResult, ValidateResult
from tunegate.controllers.worker import Worker
from tunegate.digests import sha256
from tunegate.errors import Transient
from tunegate.kube.client import FIELD_MANAGER, ObjectKey
from tunegate.manifests.stage_job import config_map_name
from tunegate.reconcile.finetunejob.observed import Observed, ReusableBaseline
from tunegate.reconcile.finetunejob.planner import plan, plan_stop
from tunegate.reconcile.naming import checkpoint_secret_name, registry_secret_name, workspace_claim_name
from tunegate.reconcile.plan import AuditEntry, Plan

Json = dict[str, Any]
NAME = "copyright"
SECRET = registry_secret_name(NAME, UID)
CHECKPOINT_SECRET = checkpoint_secret_name(NAME, UID)
WORKSPACE = workspace_claim_name(NAME, UID)


@dataclass
class World:
    """All state. ``history`` keeps every Job ever made, in order."""

    spec: Json = field(default_factory=dict)
    pool: Json = field(default_factory=dict)
    """Changes of the pool's spec."""
    budget: Json | None = None
    """Budget of the namespace's policy."""
    neighbors: list[FineTuneJob] = field(default_factory=list)
    records: list[AuditRecordSpec] = field(default_factory=list)
    """What the ledger holds of other jobs of the namespace."""
    tries: SuiteTries = field(default_factory=SuiteTries)
    nodes: int = 1
    now: datetime = datetime(2026, 11, 1, tzinfo=UTC)
    status: Json = field(default_factory=dict)
    generation: int = 1
    jobs: dict[str, Json] = field(default_factory=dict)
    pods: dict[str, Json] = field(default_factory=dict)
    others: dict[tuple[str, str], Json] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)
    audit: dict[str, str] = field(default_factory=dict)
    entries: list[AuditEntry] = field(default_factory=list)
    history: list[str] = field(default_factory=list)
    registry_down: bool = False
    earlier: ReusableBaseline | None = None
    progress: ProgressReport | None = None
    pod_refusal: str | None = None
    writes: int = 0
    stopped_unasked: list[str] = field(default_factory=list)
    """Running attempts that the operator deleted although nobody had suspended the job."""
    serial: itertools.count[int] = field(default_factory=itertools.count)

    # What the operator does

    def observe(self) -> Observed:
        facts = dict(world_objects(**self.pool))
        if self.budget:
            facts["policy"] = ApprovalPolicy.model_validate(make_approvalpolicy(budget=self.budget))
        workspace = self.others.get(("PersistentVolumeClaim", WORKSPACE))
        if workspace:
            facts["claims"] = {**facts["claims"], WORKSPACE: workspace}
        return Observed(
            job=job(self.status, self.generation, **self.spec),
            jobs=tuple(self.jobs.values()),
            pods=tuple(self.pods.values()),
            results={} if self.registry_down else dict(self.results),
            credential_exists=("Secret", SECRET) in self.others,
            checkpoint_secret=self.others.get(("Secret", CHECKPOINT_SECRET)),
            fresh_checkpoint_key=bytes(range(32)),
            earlier=self.earlier,
            progress=self.progress,
            pod_refusal=self.pod_refusal,
            fresh_credential=None if ("Secret", SECRET) in self.others else '{"auths": {}}',
            tries=self.tries,
            namespace_jobs=tuple(self.neighbors),
            namespace_records=tuple(self.records),
            **facts,
        )

    def reconcile(self, writes: int | None = None) -> Plan | None:
        """Let the worker reconcile once and return its plan; ``writes``: the process is killed after so many writes.

        None: it was killed, or it could not do all of the plan. Raises whatever the planner raises that is no outcome.
        """
        kube: Any = MemoryKube(self, writes)
        controller = _Planner(self)
        worker = Worker(controller, kube, MemoryLedger(self, kube))
        try:
            outcome = driven(worker.run(ObjectKey(NAMESPACE, NAME)))
        except Crash:
            return None
        assert outcome.result != "defect", controller.failure
        return controller.step if outcome.result == "done" else None

    def find(self, kind: str, name: str) -> Json | None:
        """Return an object as it stands."""
        if kind == "FineTuneJob":
            return with_status(NAME, NAMESPACE, UID, self.generation, self.status)
        found = self.jobs.get(name) if kind == "Job" else self.others.get((kind, name))
        if found is None:
            return None
        return {**found, "metadata": {"uid": f"{kind}-{name}", "resourceVersion": "1", **found["metadata"]}}

    def operator_deletes(self, kind: str, name: str) -> None:
        """Delete, and note a running attempt that nobody had asked to stop."""
        running = kind == "Job" and name in self.jobs and not self.over(self.jobs[name])
        if running and not self.spec.get("suspend"):
            self.stopped_unasked.append(name)
        self.writes += self.delete(kind, name)

    def record(self, entry: AuditEntry) -> None:
        """Keep an entry, once."""
        new = entry.event_id not in self.audit
        self.audit.setdefault(entry.event_id, entry.type)
        self.entries += [entry] if new else []
        self.writes += new

    def write_status(self, status: Json) -> None:
        """Replace the status."""
        self.writes += status != self.status
        self.status = status

    def put(self, obj: Json) -> None:
        """Create or apply an object."""
        kind, name = obj["kind"], obj["metadata"]["name"]
        self.writes += 1
        if kind != "Job":
            self.others[(kind, name)] = obj
            return
        stamp = {"creationTimestamp": rfc3339(self.now), "uid": f"job-{next(self.serial)}"}
        self.jobs[name] = {**obj, "metadata": {**obj["metadata"], **stamp}, "status": {}}
        self.history.append(name)

    def delete(self, kind: str, name: str) -> bool:
        """Delete with background propagation: the Job goes at once, its pods are told to end."""
        if kind != "Job":
            return self.others.pop((kind, name), None) is not None
        gone = self.jobs.pop(name, None)
        if gone is not None:
            for pod in self.pods_of(name):
                self.terminate(pod)
        return gone is not None

    # What Kubernetes does

    def pods_of(self, job_name: str) -> list[Json]:
        return [pod for pod in self.pods.values() if pod["metadata"]["labels"]["job-name"] == job_name]

    def make_pods(self) -> None:
        for name, obj in self.jobs.items():
            if self.over(obj) or obj["status"].get("made"):
                continue
            obj["status"]["made"] = True
            template = obj["spec"]["template"]["spec"]
            for index in range(obj["spec"]["completions"]):
                labels = {
                    **obj["metadata"]["labels"],
                    "job-name": name,
                    "batch.kubernetes.io/job-completion-index": str(index),
                }
                pod = f"{name}-{index}-{next(self.serial)}"
                metadata = {"name": pod, "namespace": NAMESPACE, "labels": labels, "uid": pod}
                self.pods[pod] = {"metadata": metadata, "spec": template, "status": {"phase": "Pending"}}

    def run_pods(self) -> None:
        for pod in self.pods.values():
            if pod["status"]["phase"] == "Pending" and "deletionTimestamp" not in pod["metadata"]:
                state = {"running": {"startedAt": rfc3339(self.now)}}
                pod["status"] = {
                    "phase": "Running", "podIP": "10.0.0.1",
                    "containerStatuses": [{"name": "stage", "state": state, **ran(pod)}],
                }  # fmt: skip

    def end_pod(self, pod: Json, code: int, reason: str = "Error", message: str = "") -> None:
        started = pod["status"].get("containerStatuses", [{}])[0].get("state", {}).get("running", {}).get("startedAt")
        over = {"exitCode": code, "reason": reason, "message": message, "finishedAt": rfc3339(self.now)}
        over |= {"startedAt": started} if started else {}
        conditions = pod["status"].get("conditions", [])
        pod["status"] = {
            "phase": "Succeeded" if code == 0 else "Failed",
            "conditions": conditions,
            "containerStatuses": [{"name": "stage", "state": {"terminated": over}, **ran(pod)}],
        }

    def answer(self, pod: Json, result: Any = None) -> None:
        """The stage reaches a verdict: the result is in the registry, the last word names it, and it is about what the
        pod was given."""
        self.say(pod, self.honest(pod, result or GOOD[pod["metadata"]["labels"]["tunegate.io/stage"]]()))

    def honest(self, pod: Json, result: Any) -> Any:
        """The result with what the entry point of the pod adds to it."""
        name = pod["metadata"]["labels"]["job-name"]
        text = self.others[("ConfigMap", config_map_name(name))]["data"]["stage.json"]
        inputs = read_by(STAGE_CONFIG.validate_json(text))
        if isinstance(result, ValidateResult):
            inputs = inputs.model_copy(update={"dataset": result.dataset_digest})
        said = {"documents_digest": inputs.documents} if isinstance(result, BaselineResult) else {}
        return result.model_copy(update={"config_digest": sha256(text.encode()), "inputs": inputs, **said})

    def say(self, pod: Json, result: Any) -> None:
        """End the pod with this very result."""
        digest = sha256(result.model_dump_json().encode())
        self.results[digest] = result
        word = Termination(reason="Completed", message="done", result_digest=digest)
        self.end_pod(pod, 0, "Completed", word.model_dump_json(by_alias=True))

    def evict(self, pod: Json) -> None:
        pod["status"].setdefault("conditions", []).append(
            {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "message": "evicted"}
        )
        self.end_pod(pod, 143)

    def terminate(self, pod: Json) -> None:
        pod["metadata"].setdefault("deletionTimestamp", rfc3339(self.now))

    def reap(self) -> None:
        """Pods that were told to end are gone."""
        self.pods = {name: pod for name, pod in self.pods.items() if "deletionTimestamp" not in pod["metadata"]}

    def sync_jobs(self) -> None:
        """The Job controller: any failed or missing pod fails the Job and stops the other pods."""
        for name, obj in self.jobs.items():
            if not obj["status"].get("made") or self.over(obj):
                continue
            pods = [pod for pod in self.pods_of(name) if "deletionTimestamp" not in pod["metadata"]]
            failed = [pod for pod in pods if pod["status"]["phase"] == "Failed"]
            if failed or len(pods) < obj["spec"]["completions"]:
                for pod in self.pods_of(name):
                    if pod["status"]["phase"] not in ("Failed", "Succeeded"):
                        self.terminate(pod)
                obj["status"]["conditions"] = [{"type": "Failed", "status": "True"}]
            elif all(pod["status"]["phase"] == "Succeeded" for pod in pods):
                obj["status"]["conditions"] = [{"type": "Complete", "status": "True"}]

    @staticmethod
    def over(obj: Json) -> bool:
        return bool(obj["status"].get("conditions"))

    def pass_time(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    # Together

    def active_pods(self) -> list[Json]:
        return [pod for pod in self.pods.values() if pod["status"]["phase"] in ("Pending", "Running")]

    def settle(self, rounds: int = 200) -> None:
        """Let everything go well from here on until the job is over."""
        self.registry_down = False
        for _ in range(rounds):
            self.reconcile()
            if self.status.get("phase") in ("Succeeded", "Failed"):
                break
            self.make_pods()
            self.run_pods()
            self.reap()
            for pod in self.active_pods():
                self.answer(pod)
            self.sync_jobs()
            self.pass_time(700)
        for _ in range(3):
            self.reconcile()


class _Planner:
    """The job's controller, looking at the world."""

    kind: ClassVar[str] = "FineTuneJob"
    manager: ClassVar[str] = FIELD_MANAGER
    shows_progress: ClassVar[bool] = False

    def __init__(self, world: World) -> None:
        self._world = world
        self.step: Plan | None = None
        self.failure: Exception | None = None

    async def reconcile(self, key: ObjectKey) -> Plan | None:
        try:
            seen = self._world.observe()
            stopping = plan_stop(seen.job, seen.jobs)
            self.step = stopping or plan(seen, self._world.now, SETTINGS)
        except Transient:
            raise
        except Exception as error:
            self.failure = error
            raise
        return self.step


def ran(pod: Json) -> Json:
    """What the kubelet says of an image that it pulled; that of each stage differs here."""
    stage = pod["metadata"]["labels"]["tunegate.io/stage"]
    return {"image": SETTINGS.trainer_image, "imageID": f"registry.local/trainer@{sha256(stage.encode())}"}


def run_to(world: World, stage: str) -> Json:
    """Let all stages before ``stage`` succeed; return its running pod."""
    for _ in range(40):
        world.reconcile()
        world.make_pods()
        world.run_pods()
        for pod in world.active_pods():
            if pod["metadata"]["labels"]["tunegate.io/stage"] == stage:
                world.reconcile()
                return pod
            world.answer(pod)
        world.sync_jobs()
    raise AssertionError(world.status)


def condition(status: Any, type_: str) -> Json:
    found: Json = next(entry for entry in status["conditions"] if entry["type"] == type_)
    return found
