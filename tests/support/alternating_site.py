"""Objects of all kinds in many phases, and operators of several versions that lead them in turn.

Etcd, API server and registry are real, and so are the operators: processes that find everything as another one left it. No
node runs anything, so what would start a pod again shows in the template of its Deployment or Job.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.support import builders, past
from tests.support.operator_settings import ROOT, operator_environment
from tests.support.other_versions import LATER_FIELD, Version
from tests.support.ports import free_port
from tests.support.server_cluster import Site
from tests.support.stopped_site import open_routes
from tests.support.waiting import Cluster
from tunegate.api.conditions import rfc3339
from tunegate.api.kinds import KINDS
from tunegate.api.markers import API_VERSION
from tunegate.kube.client import KubeClient, ObjectRef

Json = dict[str, Any]
RBAC = "rbac.authorization.k8s.io"
SECONDS = 400.0
"""Far more than a leader needs for anything here: a loaded machine may be slow."""
REVIEWERS = {"risk": ("vera", "model-risk"), "compliance": ("carl", "compliance")}


@dataclass
class AlternatingSite:
    """A governed namespace with everything in it, and what every leader must leave as it is."""

    site: Site
    kubeconfig: str
    folder: Path
    statements: dict[str, str] = field(default_factory=dict)
    """Release -> digest that approvals name."""
    served: str = ""
    """Name under which the release `live` is served."""

    @property
    def kube(self) -> KubeClient:
        return self.site.kube

    @property
    def name(self) -> str:
        return self.site.namespace

    async def fill(self) -> None:
        """Make policy, suite, claims, rights, history, jobs that can begin and that cannot, and releases to decide on."""
        system = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"{self.name}-system"}}
        await self.kube.create(system)
        await self.kube.create(builders.make_approvalpolicy(self.name))
        await self.kube.create(builders.make_evaluationsuite("suite", self.name))
        for claim in ("data", "models"):
            await self.kube.create(volume_claim(claim, self.name))
        for role, (who, _) in REVIEWERS.items():
            await self._allow(
                role,
                who,
                {"resources": ["approvalroles"], "resourceNames": [role], "verbs": ["approve", "reject", "revoke"]},
            )
        use = {"resources": ["computepools", "modelservers"], "verbs": ["use"]}
        await self._allow(f"{self.name}-use", builders.ENGINEER["username"], use, everywhere=True)
        await past.make(self.kube, [past.ended_job(f"ended-{n}", self.name, n) for n in range(3)])
        await past.make(self.kube, [past.ended_release(f"old-{n}", self.name, f"ended-{n}") for n in range(3)])
        await self.kube.create(builders.make_finetunejob("running", self.name))
        await self.kube.create(builders.make_finetunejob("waiting", self.name, serverRef={"name": "absent"}))
        await self.kube.create(builders.make_finetunejob("suspended", self.name, suspend=True))
        for release in ("live", "pending", "denied"):
            await self.ask(release)

    async def ask(self, release: str) -> None:
        """Ask for a release; its statement is in registry and ledger."""
        statement = await self.site.ask(release)
        self.statements[release] = statement.digest
        if release == "live":
            self.served = statement.served_name

    async def decide(self, release: str, role: str, decision: str = "Approve") -> None:
        """Let a reviewer decide on a release."""
        who, group = REVIEWERS[role]
        uid = (await self.get("ModelRelease", release))["metadata"]["uid"]
        await self.kube.create(
            builders.make_approval(
                f"{release}-{role}-{decision.lower()}", self.name, role=role, decision=decision,
                subjectRef={"kind": "ModelRelease", "name": release, "uid": uid}, subjectDigest=self.statements[release],
                approver={"username": who, "groups": [group]},
                expirationTime=rfc3339(datetime.now(UTC) + timedelta(hours=12)),
            )
        )  # fmt: skip

    async def let_pods_be_ready(self) -> None:
        """Say what a kubelet and the gateways would say: one pod is ready and holds all adapters."""
        server = await self.get("ModelServer", "server")
        status = server["status"]
        for adapter in status["adapters"]:
            adapter["state"] = "Ready"
        await self._say(server, status)
        engine = await self.get("Deployment", "server-engine", "apps/v1")
        await self._say(engine, {"replicas": 1, "readyReplicas": 1})

    async def set_phase(self, job: str, phase: str) -> None:
        """Say that a job is in that phase, and nothing else of it."""
        await self._say(await self.get("FineTuneJob", job), {"phase": phase})

    async def get(self, kind: str, name: str, api_version: str = API_VERSION) -> Json:
        return await self.site.get(kind, name, api_version)

    async def until(self, kind: str, name: str, what: str, holds: Any) -> Json:
        """Return an object once its status is so."""
        ref = ObjectRef(API_VERSION, kind, name, self.name)
        return await Cluster(self.kube).until(
            ref, lambda live: holds(live.get("status") or {}), what=what, seconds=SECONDS
        )

    async def until_routes(self, routes: Mapping[str, str]) -> None:
        """Return once exactly these public names are answered."""
        ref = ObjectRef("v1", "ConfigMap", "tunegate-routes-server", self.name)
        await Cluster(self.kube).until(
            ref,
            lambda live: open_routes(live) == routes,
            what=f"{routes}",
            seconds=SECONDS,
        )

    async def records(self) -> list[Json]:
        """Return the ledger, oldest first."""
        found = await self.kube.list(API_VERSION, "AuditRecord")
        return sorted(found, key=lambda one: int(one["spec"]["sequence"]))

    async def kept(self) -> dict[str, Any]:
        """Return what no change of leaders may change: templates of what runs, routes, digests, phases, what is recorded."""
        found: dict[str, Any] = {}
        engine = await self.get("Deployment", "server-engine", "apps/v1")
        found["pods of the server"] = engine["spec"]["template"]
        for job in await self.kube.list("batch/v1", "Job", self.name):
            found[f"Job {job['metadata']['name']}"] = (job["metadata"]["uid"], job["spec"])
        routes = await self.get("ConfigMap", "tunegate-routes-server", "v1")
        document = json.loads(routes["data"]["routes.json"])
        found["routes"] = {name: document[name] for name in ("revision", "routes", "approved")}
        for model in KINDS:
            if model.KIND.kind in ("AuditRecord", "Usage"):
                continue
            namespace = self.name if model.KIND.scope == "Namespaced" else ""
            for obj in await self.kube.list(API_VERSION, model.KIND.kind, namespace):
                status = obj.get("status") or {}
                phase = status.get("phase")
                # Older CRDs do not show what a person set by newer ones.
                spec = {key: value for key, value in obj["spec"].items() if key != LATER_FIELD}
                found[f"{model.KIND.kind} {obj['metadata']['name']}"] = (spec, phase, dict(digests(status)))
        for record in await self.records():
            found[record["metadata"]["name"]] = record["spec"]["hash"]
        return found

    @asynccontextmanager
    async def leading(self, version: Version, number: int) -> AsyncIterator[Path]:
        """Let an operator of a version lead; gives its log."""
        settings = {
            "SYSTEM_NAMESPACE": f"{self.name}-system",
            "GOVERNED": json.dumps([{"name": self.name, "policy": self.name}]),
            "TRAINER_IMAGE": f"registry.invalid/trainer@sha256:{'1' * 64}",
            "OPERATOR_IMAGE": f"registry.invalid/operator@sha256:{'1' * 64}",
            "ENGINE_IMAGES": json.dumps([builders.IMAGE]),
            "REGISTRY_HOST": self.site.bench.registry.host,
            "REGISTRY_PLAIN_HTTP": "true",
            "KUBECONFIG": self.kubeconfig,
            "HTTP_PORT": str(free_port()),
            # A leader that ends hands its Lease on; on a loaded machine none must lose it before.
            "LEASE_DURATION_SECONDS": "600",
            "LEASE_RENEW_DEADLINE_SECONDS": "500",
            **version.settings,
        }
        environment = operator_environment(settings) | {"PYTHONPATH": f"{version.source}:{ROOT}/trainer-image"}
        log = self.folder / f"{number}-{version.name}.log"
        with log.open("wb") as stream:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tunegate", "operator", env=environment, stdout=stream, stderr=stream
            )
        try:
            yield log
            assert process.returncode is None, f"operator {version.name} ended: {log.read_text()[-3000:]}"
        except BaseException:
            print(log.read_text()[-8000:])
            raise
        finally:
            if process.returncode is None:
                process.terminate()  # It hands the Lease on.
            await process.wait()

    async def settled(self) -> dict[str, Any]:
        """Return what is kept, once it did not change for a while."""
        deadline, before = asyncio.get_running_loop().time() + SECONDS, await self.kept()
        while True:
            await asyncio.sleep(4.0)
            now = await self.kept()
            if now == before:
                return now
            assert asyncio.get_running_loop().time() < deadline, f"does not settle: {changed(before, now)}"
            before = now

    async def _allow(self, name: str, who: str, rule: Json, *, everywhere: bool = False) -> None:
        kind, binding = ("ClusterRole", "ClusterRoleBinding") if everywhere else ("Role", "RoleBinding")
        metadata = {"name": name} | ({} if everywhere else {"namespace": self.name})
        head = {"apiVersion": f"{RBAC}/v1", "metadata": metadata}
        await self.kube.create({**head, "kind": kind, "rules": [{"apiGroups": ["tunegate.io"], **rule}]})
        reference = {"apiGroup": RBAC, "kind": kind, "name": name}
        subjects = [{"apiGroup": RBAC, "kind": "User", "name": who}]
        await self.kube.create({**head, "kind": binding, "roleRef": reference, "subjects": subjects})

    async def _say(self, obj: Json, status: Json) -> None:
        metadata = {key: obj["metadata"][key] for key in ("name", "namespace")}
        body = {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "metadata": metadata, "status": status}
        await self.kube.apply(body, manager="t-kubelet", subresource="status")


def volume_claim(name: str, namespace: str) -> Json:
    spec = {"accessModes": ["ReadWriteMany"], "storageClassName": "", "resources": {"requests": {"storage": "1Gi"}}}
    metadata = {"name": name, "namespace": namespace, "labels": {"tunegate.io/usable-by-jobs": "true"}}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}


def digests(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield every digest in a status, with its place."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from digests(item, f"{path}.{key}")
    elif isinstance(value, list):
        for number, item in enumerate(value):
            named = item.get("name", number) if isinstance(item, Mapping) else number
            yield from digests(item, f"{path}[{named}]")
    elif isinstance(value, str) and value.startswith("sha256:"):
        yield path, value


def changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return what was there before and is not as it was."""
    return {key: (value, now.get(key)) for key, value in before.items() if now.get(key) != value}
