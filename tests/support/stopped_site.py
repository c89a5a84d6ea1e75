"""A namespace with a server that answers with one release, and a real operator process that has just been started on it.

The objects are written as an operator would have left them; the ledger holds what was asked. Nothing runs in pods.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support import builders
from tests.support.operator_settings import operator_environment
from tests.support.ports import free_port
from tests.support.waiting import Cluster
from tunegate.api.markers import API_VERSION
from tunegate.api.serving import OpenRoute, OpenTarget, RoutesDocument
from tunegate.kube.client import KubeClient, ObjectRef
from tunegate.ledger.entry import OPERATOR, AuditEntry, AuditSubject
from tunegate.ledger.writer import LedgerWriter
from tunegate.manifests.serving import routes_config_map
from tunegate.reconcile.naming import owner_reference, server_labels

Json = dict[str, Any]
ROOT = Path(__file__).parents[2]
ROUTE = "extractor"
REVIEWER: Json = {"username": "reviewer-risk", "groups": ["model-risk"]}


@dataclass
class StoppedSite:
    """One governed namespace and its system namespace on an API server of the test's own."""

    kube: KubeClient
    kubeconfig: str
    name: str
    live: str = "live"
    """The release that is served."""

    @property
    def system(self) -> str:
        return f"{self.name}-system"

    async def prepare(self, releases: int = 0) -> None:
        """Create namespaces, policy, server, the release that it answers with, and so many that wait."""
        for name in (self.name, self.system):
            await self.kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        await self.kube.create(builders.make_approvalpolicy(self.name))
        base = await self.kube.create(builders.make_basemodel(self.name))
        await self._say(base, phase="Ready", manifestDigest=builders.DIGEST, resultDigest=builders.DIGEST)
        await self.kube.create(
            builders.make_modelserver(
                namespace=self.name, baseModelRef={"name": self.name}, routes=[{"name": ROUTE}], replicas=0
            )
        )
        ledger = LedgerWriter(self.kube)
        for number in range(releases):
            await self._release(ledger, f"waits-{number}", phase="PendingApproval")
        await self.serve(self.live)

    async def serve(self, release: str) -> None:
        """Create a release and let the server answer with it alone."""
        self.live = release
        served = served_name(release)
        await self._say(
            await self.get("ModelServer", "server"), phase="Ready", routes=[builders.open_route(ROUTE, served, release)]
        )
        await self.open(served)
        counted = [{"name": "first", "username": "reviewer-risk", "role": "risk", "time": "2026-11-01T00:00:00Z"}]
        given = {"phase": "Serving", "counted": counted, "approvedTime": "2026-11-01T00:00:00Z"}
        await self._release(LedgerWriter(self.kube), release, **given)

    async def open(self, served: str) -> None:
        """Let the server's route answer with a release, as the operator writes it."""
        document = RoutesDocument(
            revision=1,
            routes={ROUTE: OpenRoute(targets=[OpenTarget(served_name=served, release=self.live, weight=100)])},
            approved=[served],
        )
        owner = owner_reference(await self.get("ModelServer", "server"))
        await self.kube.apply(
            routes_config_map("server", self.name, document, labels=server_labels("server"), owner=owner)
        )

    async def decide(self, decision: str, name: str) -> Json:
        """Let a reviewer decide on the release that is served."""
        release = await self.get("ModelRelease", self.live)
        subject = {"kind": "ModelRelease", "name": self.live, "uid": release["metadata"]["uid"]}
        spec = {"decision": decision, "subjectRef": subject, "approver": REVIEWER}
        return await self.kube.create(builders.make_approval(f"{self.live}-{name}", self.name, **spec))

    async def get(self, kind: str, name: str, api_version: str = API_VERSION) -> Json:
        found = await self.kube.get(ObjectRef(api_version, kind, name, self.name))
        assert found is not None, f"{kind} {name} is gone"
        return found

    async def routes(self) -> dict[str, str]:
        """Return what answers now, by public name."""
        return open_routes(await self.get("ConfigMap", "tunegate-routes-server", "v1"))

    async def until_closed(self, seconds: float) -> None:
        """Return once no route is open any more."""
        ref = ObjectRef("v1", "ConfigMap", "tunegate-routes-server", self.name)
        await Cluster(self.kube).until(ref, lambda live: not open_routes(live), what="closed", seconds=seconds)

    async def until_leading(self, seconds: float) -> None:
        """Return once an operator of this namespace holds the Lease."""
        ref = ObjectRef("coordination.k8s.io/v1", "Lease", "tunegate-operator", self.system)
        await Cluster(self.kube).until(ref, lambda live: live["spec"]["holderIdentity"], what="held", seconds=seconds)

    async def until_phase(self, phase: str, seconds: float) -> None:
        """Return once the release that was served is in that phase."""
        ref = ObjectRef(API_VERSION, "ModelRelease", self.live, self.name)
        await Cluster(self.kube).until(ref, lambda live: live["status"]["phase"] == phase, what=phase, seconds=seconds)

    async def recorded(self, type_: str) -> list[Json]:
        """Return the records of a type about objects of this namespace."""
        found = await self.kube.list(API_VERSION, "AuditRecord")
        return [
            one for one in found if one["spec"]["type"] == type_ and one["spec"]["subject"]["namespace"] == self.name
        ]

    @asynccontextmanager
    async def operator(self, folder: Path, registry: str, **settings: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """Run an operator that has never seen anything; ``settings`` by name without the prefix."""
        environment = operator_environment(settings_of(self, registry, settings))
        log = folder / f"{self.name}.log"
        with log.open("wb") as stream:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tunegate", "operator", env=environment, stderr=stream, stdout=stream
            )
        try:
            yield process
        except BaseException:
            print(log.read_text()[-5000:])
            raise
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()

    async def _release(self, ledger: LedgerWriter, name: str, **status: Any) -> None:
        raw = await self.kube.create(builders.make_modelrelease(name, self.name))
        uid = raw["metadata"]["uid"]
        named = {"servedName": served_name(name), "serverRef": {"name": "server"}}
        await self._say(raw, releaseDigest=builders.DIGEST, statementDigest=builders.DIGEST, **named, **status)
        payload = {"releaseDigest": builders.DIGEST, "statement": builders.DIGEST, "repository": f"{self.name}/{name}"}
        subject = AuditSubject("ModelRelease", self.name, name, uid)
        await ledger.append(AuditEntry("ReleaseRequested", OPERATOR, subject, "statement", payload))

    async def _say(self, obj: Json, **status: Any) -> None:
        metadata = {key: obj["metadata"][key] for key in ("name", "namespace") if key in obj["metadata"]}
        status = {"message": "", "conditions": [], "observedGeneration": 1, **status}
        body = {"apiVersion": API_VERSION, "kind": obj["kind"], "metadata": metadata, "status": status}
        await self.kube.apply(body, manager="t-before", subresource="status")


def served_name(release: str) -> str:
    """Return the name under which a release of a site is loaded."""
    return f"{release}-00000000"


def open_routes(config_map: Json) -> dict[str, str]:
    """Return what the routes' ConfigMap opens."""
    routes = json.loads(config_map["data"]["routes.json"])["routes"]
    return {name: ", ".join(one["servedName"] for one in route["targets"]) for name, route in routes.items()}


def settings_of(site: StoppedSite, registry: str, settings: Mapping[str, str]) -> dict[str, str]:
    """Return the settings of an operator for the namespace, by name without the prefix."""
    own = {
        "SYSTEM_NAMESPACE": site.system,
        "GOVERNED": json.dumps([{"name": site.name, "policy": site.name}]),
        "TRAINER_IMAGE": "none",
        "OPERATOR_IMAGE": "none",
        "REGISTRY_HOST": registry,
        "REGISTRY_PLAIN_HTTP": "true",
        "KUBECONFIG": site.kubeconfig,
        "HTTP_PORT": str(free_port()),
    }
    return own | dict(settings)
