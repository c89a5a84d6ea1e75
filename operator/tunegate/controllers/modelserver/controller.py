"""Controller of ModelServer: reads server, releases, statements, pods and gateways live, and lets the planner decide."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from pydantic import ValidationError

from tunegate.api.approvalpolicy import DEFAULT_CLOSE_AFTER_SECONDS, ApprovalPolicy
from tunegate.api.basemodel import BaseModel
from tunegate.api.computepool import ComputePool
from tunegate.api.manifest import Manifest
from tunegate.api.markers import API_VERSION
from tunegate.api.modelrelease import ModelRelease
from tunegate.api.modelserver import Closing, ModelServer
from tunegate.api.serving import (
    ADAPTERS_KEY,
    ROUTES_KEY,
    AdapterEntry,
    AdaptersDocument,
    RoutesDocument,
    adapters_name,
    routes_name,
)
from tunegate.api.shared import NamedRef
from tunegate.api.stage.layout import RESULT_MEDIA_TYPE, STATEMENT_MEDIA_TYPE
from tunegate.api.stage.results import STAGE_RESULT, HashResult, SealResult
from tunegate.controllers.approvals import read_stops
from tunegate.controllers.documents import Documents
from tunegate.controllers.modelserver.gateways import ask_gateways
from tunegate.controllers.modelserver.outside import look_outside
from tunegate.controllers.reading import parsed, read
from tunegate.controllers.services import Services
from tunegate.digests import document_digest, manifest_digest, sha256
from tunegate.kube.client import ObjectKey, ObjectRef
from tunegate.kube.likeness import controller_uid
from tunegate.manifests.rollouts import stored_rollout
from tunegate.manifests.serving import OPENS_ANNOTATION, deployment_name
from tunegate.manifests.workspace import credential_of
from tunegate.reconcile import naming
from tunegate.reconcile.modelserver import planner
from tunegate.reconcile.modelserver.observed import (
    Candidate,
    FreshCredential,
    Observed,
    ServingSettings,
    may_answer,
)
from tunegate.reconcile.modelserver.routes import narrowed
from tunegate.reconcile.naming import server_labels
from tunegate.reconcile.plan import Plan
from tunegate.registry import failures, tokens
from tunegate.registry.credentials import site_configuration
from tunegate.release.statement import ReleaseStatement

CLOSING_TRIES = 5
"""So often routes are closed before anything else is looked at; then gateways are asked as well."""
CREDENTIAL_LIFETIME = timedelta(days=14)
"""A pod may be started again days after the operator last looked; the credential only reads what is approved anyway."""
UNSERVABLE = (failures.DigestMismatch, failures.Missing, failures.Refused)


class Unservable(Exception):
    """The release's documents do not fit together; the message says how."""


@dataclass
class _Tries:
    """On which versions of the routes' ConfigMap closing alone was tried since nothing had to close."""

    versions: tuple[str, ...] = ()

    def worth_another(self, version: str) -> bool:
        """Tell whether closing was not yet refused on this version, nor undone by somebody again and again."""
        if version in self.versions or len(self.versions) >= CLOSING_TRIES:
            return False
        self.versions = (*self.versions, version)
        return True


@dataclass
class _Memory:
    """What is kept of a server between two reconciles: closing must not begin again because something else was refused."""

    uid: str
    narrowing: _Tries = field(default_factory=_Tries)
    """Of what API objects alone say."""
    closing: _Tries = field(default_factory=_Tries)
    """Of what shows when everything was looked at."""
    closings: tuple[Closing, ...] = ()


@dataclass(frozen=True)
class _Quick:
    """What a server's routes are compared with before anything outside the API server is asked."""

    seen: Observed
    memory: _Memory
    version: str
    """Of the routes' ConfigMap; empty: there is none."""


class ModelServerController:
    """Rolls out approved adapters, opens and closes routes; the only writer of a server's status."""

    kind: ClassVar[str] = "ModelServer"
    manager: ClassVar[str] = "tunegate-server"
    shows_progress: ClassVar[bool] = False

    def __init__(self, services: Services) -> None:
        self._kube = services.kube
        self._settings = services.settings
        self._registry = services.registry
        self._signer = services.signer
        self._documents = Documents(services.registry, services.registry_threads)
        self._memories: dict[ObjectKey, _Memory] = {}

    async def stop(self, key: ObjectKey) -> Plan | None:
        """Return the step that closes routes at once; see ``tunegate.reconcile.modelserver.routes.narrowed``."""
        quick = await self._look(key)
        if quick is None or (plan := self._narrow(quick)) is None:
            return None
        return plan if quick.memory.narrowing.worth_another(quick.version) else None

    async def reconcile(self, key: ObjectKey) -> Plan | None:
        """Return the server's next step; None when it is gone or its namespace is not governed."""
        quick = await self._look(key)
        if quick is None:
            return None
        memory, narrow = quick.memory, self._narrow(quick)
        if narrow is not None and memory.narrowing.worth_another(quick.version):
            return narrow
        seen = replace(await self._observe(quick.seen), closing_refused=narrow is not None, closings=memory.closings)
        plan = planner.plan(seen, self._serving_settings(), datetime.now(UTC))
        if _only_closes(plan):
            if memory.closing.worth_another(quick.version):
                return plan
            plan = planner.plan(replace(seen, closing_refused=True), self._serving_settings(), datetime.now(UTC))
        else:
            memory.closing.versions = ()
        memory.closings = tuple(map(Closing.model_validate, (plan.status or {}).get("closings", ())))
        return plan

    async def _look(self, key: ObjectKey) -> _Quick | None:
        """Read what says which routes may stand: API objects alone. None: the server is gone, or not governed."""
        server = await read(self._kube, ModelServer, key.name, key.namespace)
        policy_name = self._settings.policy_of(key.namespace)
        if policy_name is None or server is None or server.metadata.get("deletionTimestamp"):
            self._memories.pop(key, None)
            return None
        memory = self._memories.get(key)
        if memory is None or memory.uid != server.uid:
            memory = self._memories[key] = _Memory(server.uid)
        releases = await self._releases(server)
        # Before the routes, so that no decision is overlooked that is older than they are.
        stops, policy = await read_stops(self._kube, key.namespace), await read(self._kube, ApprovalPolicy, policy_name)
        live = await self._kube.get(ObjectRef("v1", "ConfigMap", routes_name(server.name), server.namespace))
        routes = _routes(live) if live is not None and controller_uid(live) == server.uid else None
        roles, now = policy.spec.roles if policy is not None else (), datetime.now(UTC)
        seen = Observed(
            server=server,
            releases=releases,
            candidates=tuple(Candidate(one) for one in releases if may_answer(one, stops, roles, now)),
            routes=routes,
            routes_forged=live is not None and routes is None,
            close_after_seconds=policy.spec.close_after_seconds if policy else DEFAULT_CLOSE_AFTER_SECONDS,
        )
        return _Quick(seen, memory, live["metadata"]["resourceVersion"] if live is not None else "")

    def _narrow(self, quick: _Quick) -> Plan | None:
        """Return the plan that only closes what may not stand; None: everything may."""
        now = datetime.now(UTC)
        if narrowed(quick.seen, now) is None:
            quick.memory.narrowing.versions = ()
            return None
        return planner.plan(quick.seen, self._serving_settings(), now)

    async def _observe(self, quick: Observed) -> Observed:
        server, namespace = quick.server, quick.server.namespace
        base = await read(self._kube, BaseModel, server.spec.base_model_ref.name)
        labels = server_labels(server.name)
        deployment = await self._deployment(server)
        pods = await self._kube.list("v1", "Pod", namespace, labels=labels)
        # After the pods: each of them has a ReplicaSet that was made before.
        makers = await self._replica_sets(server, deployment, labels)
        own = [pod for pod in pods if controller_uid(pod) in makers]
        config_maps = await self._kube.list("v1", "ConfigMap", namespace, labels=labels)
        kept = {one["metadata"]["name"]: one for one in config_maps if controller_uid(one) == server.uid}
        kept.pop(routes_name(server.name), None)
        listed = kept.pop(adapters_name(server.name), None)
        told = server.status.rollout
        # At once: a registry that does not answer takes its time once, not once for each adapter.
        candidates = await asyncio.gather(*(self._candidate(server, base, one.release) for one in quick.candidates))
        return Observed(
            server=server,
            base_model=base,
            base_manifest=await self._base_manifest(base),
            pool=await read(self._kube, ComputePool, server.spec.pool_ref.name),
            releases=quick.releases,
            candidates=tuple(candidates),
            deployment=deployment,
            pods=tuple(own),
            strangers=tuple(pod for pod in pods if controller_uid(pod) not in makers),
            gateways=await ask_gateways(own),
            routes=quick.routes,
            routes_forged=quick.routes_forged,
            close_after_seconds=quick.close_after_seconds,
            listed=_served_names(listed),
            list_version=listed["metadata"]["resourceVersion"] if listed is not None else "",
            config_maps=frozenset(kept),
            rollout=stored_rollout(server.name, told.digest, kept) if told is not None else None,
            api_keys_usable=await self._api_keys_usable(server),
            tls_usable=await self._tls_usable(server),
            outside=await look_outside(self._kube, server),
            fresh_credential=await self._credential(server, candidates),
        )

    async def _deployment(self, server: ModelServer) -> Mapping[str, Any] | None:
        """Return the server's Deployment; one of somebody else under its name says nothing about it."""
        ref = ObjectRef("apps/v1", "Deployment", deployment_name(server.name), server.namespace)
        live = await self._kube.get(ref)
        return live if live is not None and controller_uid(live) == server.uid else None

    async def _replica_sets(
        self, server: ModelServer, deployment: Mapping[str, Any] | None, labels: Mapping[str, str]
    ) -> set[str]:
        """Return the UIDs of what makes the server's pods; without a Deployment, of what an earlier one of it left."""
        found = await self._kube.list("apps/v1", "ReplicaSet", server.namespace, labels=labels)
        if deployment is not None:
            return {one["metadata"]["uid"] for one in found if controller_uid(one) == deployment["metadata"]["uid"]}
        name = deployment_name(server.name)
        return {one["metadata"]["uid"] for one in found if _controller_name(one) == name}

    async def _releases(self, server: ModelServer) -> tuple[ModelRelease, ...]:
        own = f"status.serverRef.name={server.name}"
        found = await self._kube.list(API_VERSION, ModelRelease.KIND.kind, server.namespace, fields=own)
        return tuple(
            one
            for one in parsed(ModelRelease, found)
            if one.status.server_ref == NamedRef(name=server.name) and one.status.served_name
        )

    async def _candidate(self, server: ModelServer, base: BaseModel | None, release: ModelRelease) -> Candidate:
        """Read what was approved from the registry, and compare it with this server."""
        try:
            entry, data_class = await self._entry(server, base, release)
            return Candidate(release, entry=entry, data_class=data_class)
        except Unservable as error:
            return Candidate(release, obstacle=str(error)[:1000])
        except UNSERVABLE as error:
            return Candidate(release, obstacle=f"the approved documents are damaged or gone: {error}"[:1000])
        except failures.RegistryError:
            return Candidate(release)

    async def _entry(
        self, server: ModelServer, base: BaseModel | None, release: ModelRelease
    ) -> tuple[AdapterEntry, str]:
        """Return the adapter of a release, and the class of the data that it was trained on."""
        status = release.status
        if status.statement_digest is None or status.release_digest is None:
            raise Unservable("the release has no statement")
        where = naming.statement_repository(release.namespace, release.name, release.uid)
        content = await self._documents.read(where, status.statement_digest, STATEMENT_MEDIA_TYPE)
        if sha256(content) != status.release_digest:
            raise Unservable(f"the stored statement is not the approved one ({status.release_digest})")
        try:
            statement = ReleaseStatement.model_validate_json(content)
        except ValidationError as error:
            raise Unservable("the release statement cannot be read") from error
        _check(statement, server, base, release)
        job = statement.job
        results = f"{naming.job_repository(release.namespace, job.name, job.uid)}/results"
        entry = AdapterEntry(
            release=release.name,
            served_name=statement.served_name,
            repository=statement.adapter.repository,
            digest=statement.adapter.digest,
            manifest=await self._adapter_manifest(results, statement),
            manifest_digest=statement.adapter.manifest_digest,
            results_repository=results,
            evaluation_digest=statement.evaluation.result_digest,
        )
        return entry, statement.data.classification

    async def _adapter_manifest(self, results: str, statement: ReleaseStatement) -> Manifest:
        """Return the adapter's file list from the seal's result; it must have the digest that was approved."""
        digest = statement.job.results.get("Seal")
        if digest is None:
            raise Unservable("the statement names no seal result")
        result = _result(await self._documents.read(results, digest, RESULT_MEDIA_TYPE))
        if not isinstance(result, SealResult) or result.manifest is None:
            raise Unservable("the seal's result holds no file list")
        if manifest_digest(result.manifest) != statement.adapter.manifest_digest:
            raise Unservable("the seal's file list does not have the approved digest")
        return result.manifest

    async def _base_manifest(self, base: BaseModel | None) -> Manifest | None:
        """Return the base model's file list; None while there is none or the registry cannot be read."""
        if base is None or base.status.result_digest is None:
            return None
        repository = f"{naming.base_model_repository(base.name)}/results"
        try:
            result = _result(await self._documents.read(repository, base.status.result_digest, RESULT_MEDIA_TYPE))
        except (failures.RegistryError, Unservable):
            return None
        return result.manifest if isinstance(result, HashResult) else None

    async def _credential(self, server: ModelServer, candidates: Sequence[Candidate]) -> FreshCredential | None:
        """Return a new registry credential when the Secret's does not open these adapters, or half its life is over."""
        entries = [one.entry for one in candidates if one.entry is not None]
        repositories = sorted({name for entry in entries for name in (entry.repository, entry.results_repository)})
        opens = document_digest(repositories)
        name = naming.registry_secret_name(server.name, server.uid)
        secret = await self._kube.get(ObjectRef("v1", "Secret", name, server.namespace))
        secret = secret if secret is not None and controller_uid(secret) == server.uid else None
        return await asyncio.to_thread(self._renewed, server, secret, repositories, opens)

    def _renewed(
        self, server: ModelServer, secret: Mapping[str, Any] | None, repositories: Sequence[str], opens: str
    ) -> FreshCredential | None:
        """Reads a file and signs: not for the event loop."""
        held = credential_of(secret) if secret else ""
        if self._signer is None:
            site = site_configuration(self._settings.registry_auth_file)
            return FreshCredential(site, opens) if site != held else None
        host, now = self._settings.registry_host, datetime.now(UTC)
        annotations = (secret or {}).get("metadata", {}).get("annotations") or {}
        if held and annotations.get(OPENS_ANNOTATION) == opens:
            ends = tokens.expiry(held, host)
            if ends is not None and ends - now > CREDENTIAL_LIFETIME / 2:
                return None
        access = [tokens.Access(repository, ("pull",)) for repository in repositories]
        subject = f"server:{server.namespace}/{server.name}"
        config = tokens.mint(self._signer, host, access, subject=subject, lifetime=CREDENTIAL_LIFETIME, now=now)
        return FreshCredential(config, opens)

    async def _api_keys_usable(self, server: ModelServer) -> bool:
        name = server.spec.clients.api_keys_secret_name
        return name is None or await self._offered(server, name) is not None

    async def _tls_usable(self, server: ModelServer) -> bool:
        if server.spec.tls is None:
            return True
        secret = await self._offered(server, server.spec.tls.secret_name)
        data = (secret or {}).get("data") or {}
        return (secret or {}).get("type") == "kubernetes.io/tls" and bool(data.get("tls.crt") and data.get("tls.key"))

    async def _offered(self, server: ModelServer, name: str) -> Mapping[str, Any] | None:
        """Return a Secret that carries the label which opens it to servers."""
        secret = await self._kube.get(ObjectRef("v1", "Secret", name, server.namespace))
        labels = (secret or {}).get("metadata", {}).get("labels") or {}
        return secret if labels.get(naming.USABLE_BY_SERVERS_LABEL) == "true" else None

    def _serving_settings(self) -> ServingSettings:
        settings = self._settings
        return ServingSettings(
            operator_image=settings.operator_image,
            trainer_image=settings.trainer_image,
            engine_images=settings.engine_images,
            hub_endpoint=settings.hub_endpoint,
            registry_host=settings.registry_host,
            registry_plain_http=settings.registry_plain_http,
            pull_secrets=settings.image_pull_secrets,
            signs_tokens=self._signer is not None,
            expose_domains=settings.expose_domains,
        )


def _only_closes(plan: Plan) -> bool:
    return bool(plan.closes) and plan.status is None


def _routes(config_map: Mapping[str, Any] | None) -> RoutesDocument | None:
    """Return the routes in force; None when there are none, or somebody wrote something else there."""
    text = ((config_map or {}).get("data") or {}).get(ROUTES_KEY)
    try:
        return RoutesDocument.model_validate_json(text) if text else None
    except ValidationError:
        return None


def _served_names(config_map: Mapping[str, Any] | None) -> frozenset[str]:
    """Return the served names in the live list of adapters."""
    text = ((config_map or {}).get("data") or {}).get(ADAPTERS_KEY, "{}")
    try:
        return frozenset(entry.served_name for entry in AdaptersDocument.model_validate_json(text).adapters)
    except ValidationError:
        return frozenset()


def _controller_name(obj: Mapping[str, Any]) -> str:
    owners = obj["metadata"].get("ownerReferences") or []
    return next((str(owner["name"]) for owner in owners if owner.get("controller")), "")


def _result(content: bytes) -> Any:
    try:
        return STAGE_RESULT.validate_json(content)
    except ValidationError as error:
        raise Unservable("a stage's result document cannot be read") from error


def _check(statement: ReleaseStatement, server: ModelServer, base: BaseModel | None, release: ModelRelease) -> None:
    """Raise ``Unservable`` when the statement speaks of another release, base model, engine or name."""
    profile = document_digest(server.spec.profile.to_dict())
    pairs = {
        "release": (statement.release.uid, release.uid),
        "served name": (statement.served_name, release.status.served_name),
        "server": (statement.engine.server, server.name),
        "engine profile": (statement.engine.digest, profile),
    }
    if base is not None and base.status.manifest_digest is not None:
        pairs["base model"] = (statement.base_model.manifest_digest, base.status.manifest_digest)
    wrong = [what for what, (stated, live) in pairs.items() if stated != live]
    if wrong:
        raise Unservable(f"the approved statement names another {' and '.join(wrong)}")
