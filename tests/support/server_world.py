"""A small world around a server planner: releases, pods, gateways and a ledger, changed by the plans themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.support import builders
from tunegate.api.basemodel import BaseModel
from tunegate.api.computepool import ComputePool
from tunegate.api.manifest import FileEntry, Manifest
from tunegate.api.modelrelease import ModelRelease
from tunegate.api.modelserver import Closing, ModelServer
from tunegate.api.serving import (
    ADAPTERS_KEY,
    ROUTES_KEY,
    SERVER_FILE,
    AdapterEntry,
    AdaptersDocument,
    GatewayAdapter,
    GatewayStatus,
    RoutesDocument,
)
from tunegate.digests import manifest_digest
from tunegate.gateway.routes import RouteTable
from tunegate.ledger.entry import AuditEntry
from tunegate.manifests.rollouts import ROLLOUT_ANNOTATION, Rollout, stored_rollout
from tunegate.reconcile.modelserver import planner
from tunegate.reconcile.modelserver.observed import Candidate, Observed, ServingSettings, may_answer
from tunegate.reconcile.plan import Plan

MANIFEST = Manifest(files=[FileEntry(path="adapter_model.safetensors", size=1, sha256="0" * 64)])
SETTINGS = ServingSettings(
    "registry.example/operator@sha256:" + "1" * 64,
    "registry.example",
    False,
    "registry.example/trainer@sha256:" + "1" * 64,
    engine_images=(builders.IMAGE,),
)
START = datetime(2026, 1, 1, tzinfo=UTC)
SERVER_UID = "server-uid"


def served(name: str) -> str:
    return f"{name}-{name.encode().hex()[:8].ljust(8, '0')}"


def release(name: str, phase: str = "Approved", model: str = "extract", minute: int = 0) -> ModelRelease:
    raw = builders.make_modelrelease(name, modelName=model)
    raw["metadata"]["uid"] = f"uid-{name}"
    raw["status"] = {
        "phase": phase,
        "serverRef": {"name": "server"},
        "servedName": served(name),
        "approvedTime": (START + timedelta(minutes=minute)).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    return ModelRelease.model_validate(raw)


def entry(name: str) -> AdapterEntry:
    return AdapterEntry(
        release=name, served_name=served(name), repository=f"team/{name}/adapter", digest=builders.DIGEST,
        manifest=MANIFEST, manifest_digest=manifest_digest(MANIFEST), results_repository=f"team/{name}/results",
        evaluation_digest=builders.DIGEST,
    )  # fmt: skip


def base_model(phase: str = "Ready") -> BaseModel:
    raw = builders.make_basemodel()
    raw["status"] = {"phase": phase, "manifestDigest": manifest_digest(MANIFEST), "resultDigest": builders.DIGEST}
    return BaseModel.model_validate(raw)


@dataclass
class World:
    """What exists. ``step`` observes, plans and acts, as the controller and the worker do."""

    spec: dict[str, Any] = field(default_factory=lambda: {"routes": [{"name": "extract"}]})
    releases: dict[str, ModelRelease] = field(default_factory=dict)
    obstacles: dict[str, str] = field(default_factory=dict)
    registry_away: bool = False
    ledger_away: bool = False
    bad_adapters: dict[str, str] = field(default_factory=dict)
    """Served name to reason, for adapters that a pod's probe refuses."""
    classes: dict[str, str] = field(default_factory=dict)
    """Class of the data that a release was trained on, where it is not `Internal`."""
    base: BaseModel | None = field(default_factory=base_model)
    ledger: dict[str, AuditEntry] = field(default_factory=dict)
    status: dict[str, Any] = field(default_factory=dict)
    routes: RoutesDocument | None = None
    deployment: dict[str, Any] | None = None
    adapters: AdaptersDocument | None = None
    """The live list of adapters."""
    config_maps: dict[str, Any] = field(default_factory=dict)
    applied: list[str] = field(default_factory=list)
    pod: str | None = None
    """ConfigMap that the one running pod was made with."""
    held_names: list[str] = field(default_factory=list)
    """Served names that the pod has taken up."""
    table: RouteTable = field(default_factory=RouteTable)
    now: datetime = START
    silent: bool = False
    """The gateway of the pod cannot be asked."""
    deaf: dict[str, dict[str, int]] = field(default_factory=dict)
    """Routes that the gateway answers whatever the ConfigMap says."""
    closings: tuple[Closing, ...] = ()
    """What the controller keeps of the step before."""
    stopped: list[str] = field(default_factory=list)
    """Pods that the operator deleted because of what they answer."""
    settings: ServingSettings = SETTINGS
    """Of the operator that leads now."""

    def put(self, *releases: ModelRelease) -> None:
        for one in releases:
            self.releases[one.name] = one

    def phase(self, name: str, phase: str) -> None:
        old = self.releases[name]
        self.releases[name] = old.model_copy(update={"status": old.status.model_copy(update={"phase": phase})})

    def observed(self) -> Observed:
        raw = builders.make_modelserver(**self.spec)
        raw["metadata"] |= {"uid": SERVER_UID, "generation": 1}
        raw["status"] = self.status
        found = tuple(self.releases.values())
        return Observed(
            server=ModelServer.model_validate(raw),
            base_model=self.base,
            base_manifest=None if self.registry_away else MANIFEST,
            pool=ComputePool.model_validate(builders.make_computepool()),
            releases=found,
            candidates=tuple(self._candidate(one) for one in found if may_answer(one, (), (), self.now)),
            deployment=self.deployment,
            pods=self._pods(),
            gateways=self._gateways(),
            routes=self.routes,
            closings=self.closings,
            listed=frozenset(self.listed()),
            list_version=str(self.applied.count("adapters")),
            config_maps=frozenset(self.config_maps),
            rollout=self._rollout(),
        )

    @property
    def documents(self) -> dict[str, Any]:
        """The ConfigMaps that pods mount, by name."""
        return {name: one for name, one in self.config_maps.items() if SERVER_FILE in one["data"]}

    def _rollout(self) -> Rollout | None:
        told = self.status.get("rollout")
        return stored_rollout("server", told["digest"], self.config_maps) if told else None

    def _candidate(self, one: ModelRelease) -> Candidate:
        if one.name in self.obstacles:
            return Candidate(one, obstacle=self.obstacles[one.name])
        if self.registry_away:
            return Candidate(one)
        return Candidate(one, entry=entry(one.name), data_class=self.classes.get(one.name, "Internal"))

    def _pods(self) -> tuple[dict[str, Any], ...]:
        if self.pod is None:
            return ()
        volumes = [{"name": "documents", "configMap": {"name": self.pod}}]
        metadata = {"name": "pod-0", "namespace": "team"}
        return ({"metadata": metadata, "spec": {"volumes": volumes}, "status": {"phase": "Running"}},)

    def held(self) -> dict[str, str]:
        """Served name to reason of what the pod was given; no reason: its probe passed."""
        if self.pod is None:
            return {}
        return {name: self.bad_adapters.get(name, "") for name in self.held_names}

    def listed(self) -> list[str]:
        """Served names in the live list."""
        return [one.served_name for one in self.adapters.adapters] if self.adapters else []

    def _gateways(self) -> dict[str, GatewayStatus]:
        if self.pod is None or self.silent:
            return {}
        adapters = [
            GatewayAdapter(
                served_name=name,
                release="r",
                digest=builders.DIGEST,
                state="LeftOut" if reason else "Ready",
                cause="Probe" if reason else None,
                reason=reason,
            )
            for name, reason in self.held().items()
        ]
        return {
            "pod-0": GatewayStatus(
                engine="Ready", ready=True, adapters=adapters, routes=self.deaf or self.table.open,
                shadows={name: one.served_name for name, one in self.table.shadows.items()},
                traffic=self.table.traffic.told, routes_revision=self.table.revision,
            )
        }  # fmt: skip

    def step(self) -> Plan:
        """Reconcile once."""
        plan = planner.plan(self.observed(), self.settings, self.now)
        for obj in plan.closes:
            self._apply(dict(obj))
        if plan.stops:
            self.stopped += [ref.name for ref in plan.stops]
            self.pod = None
        if plan.audit and self.ledger_away:
            return plan
        for one in plan.audit:
            self.ledger.setdefault(one.event_id, one)
        for ref in plan.deletes:
            self.config_maps.pop(ref.name, None)
        for obj in plan.creates:
            self.config_maps.setdefault(obj["metadata"]["name"], obj)
        for obj in plan.applies:
            self._apply(dict(obj))
        if plan.status is not None:
            self.status = dict(plan.status)
        return plan

    def _apply(self, obj: dict[str, Any]) -> None:
        self.applied.append(obj["kind"])
        if obj["kind"] == "ConfigMap" and ADAPTERS_KEY in obj["data"]:
            before, self.adapters = (
                self.adapters,
                AdaptersDocument.model_validate_json(obj["data"][ADAPTERS_KEY]),
            )
            if before != self.adapters:
                self.applied.append("adapters")
        elif obj["kind"] == "ConfigMap":
            self.routes = RoutesDocument.model_validate_json(obj["data"][ROUTES_KEY])
            self.table.follow(self.routes)
        if obj["kind"] == "Deployment":
            old = self.deployment or {"metadata": {"generation": 0}, "status": {"readyReplicas": 0}}
            changed = annotation(self.deployment) != annotation(obj)
            obj["metadata"]["generation"] = old["metadata"]["generation"] + changed
            self.deployment = {**obj, "status": old["status"]}

    def roll_out(self) -> None:
        """Let the pod be replaced by one of the present Deployment, take up the live list, and its probes end."""
        assert self.deployment is not None
        volumes = self.deployment["spec"]["template"]["spec"]["volumes"]
        self.pod = next(one["configMap"]["name"] for one in volumes if one["name"] == "documents")
        self.deployment["status"]["readyReplicas"] = 1
        self.take_up()

    def take_up(self) -> None:
        """Let the running pod load and probe what is listed now, and unload the rest."""
        self.held_names = self.listed()
        self.table.hold(frozenset(name for name, reason in self.held().items() if not reason))

    def settle(self) -> None:
        """Reconcile and roll out until nothing changes."""
        for _ in range(8):
            self.step()
            if self.deployment is not None:
                self.roll_out()

    def events(self, type_: str) -> list[str]:
        """Return what the ledger holds of a type, oldest first."""
        return [
            f"{one.subject.name} {one.payload.get('route', '')}".strip()
            for one in self.ledger.values()
            if one.type == type_
        ]


def annotation(deployment: dict[str, Any] | None) -> str:
    metadata = (deployment or {}).get("metadata", {})
    return str((metadata.get("annotations") or {}).get(ROLLOUT_ANNOTATION, ""))


def conditions(world: World) -> dict[str, tuple[str, str]]:
    return {one["type"]: (one["status"], one["reason"]) for one in world.status["conditions"]}


def route(world: World, name: str = "extract") -> dict[str, Any]:
    return next(one for one in world.status["routes"] if one["name"] == name)


def answers(world: World, name: str = "extract") -> str:
    """Return the one adapter that a route answers with."""
    (target,) = route(world, name)["targets"]
    return str(target["servedName"])


def pinned(weights: Mapping[str, int]) -> dict[str, Any]:
    """Return a route to releases with their weights."""
    targets = [{"releaseRef": {"name": release}, "weight": weight} for release, weight in weights.items()]
    return {"name": "extract", "track": "Pinned", "targets": targets}


def states(world: World) -> dict[str, str]:
    return {one["releaseRef"]["name"]: one["state"] for one in world.status["adapters"]}
