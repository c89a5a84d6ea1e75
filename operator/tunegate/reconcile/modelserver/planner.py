"""Planner of ModelServer: what is rolled out, which routes are open, what the status says. Pure; the clock comes in.

Two speeds. What closes a route is a step of its own, which waits for nothing: not for the ledger, the registry or a pod. It
is applied first and recorded by the next step. Everything that opens something is recorded first and waits for all of
them. Where that step was refused it is tried again together with all the rest: gateways are asked, and pods that still answer are deleted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from tunegate.api.basemodel import BaseModel
from tunegate.api.manifest import Manifest
from tunegate.api.modelserver import ServedAdapter
from tunegate.api.reasons import ServerReason
from tunegate.api.serving import AdapterEntry, AdaptersDocument, OpenRoute, RoutesDocument, ServedBase, ServerDocument
from tunegate.api.stage.configs import JobIdentity, RegistryTarget
from tunegate.api.stage.layout import BASE_MODEL_MOUNT
from tunegate.kube.references import ObjectRef
from tunegate.ledger.entry import OPERATOR
from tunegate.manifests import serving as objects
from tunegate.manifests.downloads import Download
from tunegate.manifests.rollouts import ROLLOUT_ANNOTATION, Rollout, documents_name, rollout_name
from tunegate.manifests.serving import Serving
from tunegate.manifests.sources import ClaimPath, HubPath, model_path
from tunegate.manifests.workspace import credential_secret
from tunegate.reconcile import naming
from tunegate.reconcile.engines import not_listed
from tunegate.reconcile.hub_mirror import copied_model, without_mirror
from tunegate.reconcile.modelserver import canary, closings, exposures, outages, rollouts, routes, slots
from tunegate.reconcile.modelserver import status as state
from tunegate.reconcile.modelserver.closings import Confirmed
from tunegate.reconcile.modelserver.observed import Observed, ServingSettings
from tunegate.reconcile.modelserver.rollouts import Chosen
from tunegate.reconcile.modelserver.routes import RouteChoice
from tunegate.reconcile.modelserver.status import Health
from tunegate.reconcile.plan import AuditEntry, AuditSubject, EventNote, Plan

AT_ONCE = 0.1
STARTING_SECONDS = 3.0
"""Between two looks while pods come up: their gateways are asked, nobody tells."""
STEADY_SECONDS = 30.0
CUDA_SEQUENCES, CPU_SEQUENCES = 256, 8
"""Answers that an engine writes at once where the server does not say it. On a CPU each more slows all others."""


def owner_of(seen: Observed) -> dict[str, Any]:
    """Return the owner reference of the server's objects."""
    server = seen.server
    return naming.owner_reference({"apiVersion": server.api_version, "kind": server.kind, "metadata": server.metadata})


def plan(seen: Observed, settings: ServingSettings, now: datetime) -> Plan:
    """Return the next step of the server."""
    closed = routes.narrowed(seen, now)
    if closed is not None and not seen.closing_refused:
        return _close(seen, closed, {})
    served = state.adapters(seen)
    choices = routes.choose(seen, served, now)
    document = closed or routes.wanted(seen, choices, now)
    closed = closed or routes.closed(seen, document)
    if closed is not None and not seen.closing_refused:
        return _close(seen, closed, {choice.name: choice.reason for choice in choices})
    document = closed or document
    confirmed = closings.confirm(seen, now)
    made = _serving(seen, settings)
    waiting = made if isinstance(made, Health) else None
    how = waiting if waiting and seen.deployment is None else state.health(seen, served)
    # What closing was refused keeps its status, from which the next step records that it is closed.
    told = state.routes(choices, served, seen, now) if closed is None else seen.server.status.routes
    audit = [*_left_out(seen, served), *confirmed.audit, *_strangers(seen)]
    applies: list[Any] = []
    if closed is None:
        entries = routes.entries(seen, document, now)
        # What opens comes last: the guard may hold its record back, and with it everything after it.
        shut = [entry for entry in entries if entry.type in routes.CLOSING]
        audit = [*shut, *audit, *(entry for entry in entries if entry not in shut)]
        applies = [_routes_object(seen, document)]
    creates: tuple[Any, ...] = ()
    deletes: tuple[ObjectRef, ...] = ()
    chosen: Chosen | None = None
    if isinstance(made, Serving):
        chosen = rollouts.choose(seen, made, settings)
        listed = _listed(seen)
        audit += [*_rollout(seen, made, chosen.rollout, listed), *_adapters_change(seen, listed)]
        creates = tuple(objects.config_maps(made, chosen.rollout))
        # The credential before what it opens; pods before the rest, which must not hold them up.
        applies += [
            *_credential(seen, made),
            objects.adapters_config_map(made, AdaptersDocument(adapters=listed)),
            objects.deployment(made, chosen.rollout),
            *objects.fixtures(made),
        ]
        deletes = _outdated(seen, chosen.rollout)
    if (leads := exposures.wanted(seen, settings.expose_domains, owner_of(seen))) is not None:
        applies.append(leads)  # Last: nothing else waits for it.
    deletes += exposures.left_over(seen, leads)
    return Plan(
        closes=(_routes_object(seen, closed),) if closed is not None else (),
        stops=confirmed.stops,
        audit=tuple(audit),
        deletes=deletes,
        creates=creates,
        claims_creates=False,
        applies=tuple(applies),
        status=state.status_of(
            seen,
            served,
            told,
            _noted(seen, how, waiting, confirmed, settings),
            confirmed,
            now,
            chosen,
            exposed=leads is not None,
        ),
        events=(*_events(seen, document, choices, how), *confirmed.events, *outages.announced(seen, chosen)),
        requeue_after=closings.LOOK_AGAIN
        if confirmed.waiting or closed is not None
        else _later(seen, served, how, waiting, document),
        uid=seen.server.uid,
    )


def _close(seen: Observed, closed: RoutesDocument, reasons: Mapping[str, str]) -> Plan:
    """Return the step that closes and waits for nothing; the next one records it, from the status that it leaves alone."""
    return Plan(
        closes=(_routes_object(seen, closed),),
        events=_closings(seen, closed, reasons),
        requeue_after=AT_ONCE,
        uid=seen.server.uid,
    )


def _serving(seen: Observed, settings: ServingSettings) -> Serving | Health:
    """Return what to roll out, or why nothing new can be rolled out now."""
    server, pool = seen.server, seen.pool
    base, manifest = seen.base_model, seen.base_manifest
    if (foreign := not_listed(server.name, server.spec.profile.image, settings.engine_images)) is not None:
        return Health("Pending", ServerReason.IMAGE_NOT_ALLOWED, foreign)
    if base is None or base.status.phase != "Ready" or base.status.manifest_digest is None:
        found = "does not exist" if base is None else f"is {base.status.phase}"
        return Health(
            "Pending", ServerReason.WAITING_FOR_BASE_MODEL, f"BaseModel {server.spec.base_model_ref.name} {found}"
        )
    if (nowhere := without_mirror(base, settings.hub_endpoint)) is not None:
        return Health("Pending", ServerReason.WAITING_FOR_BASE_MODEL, nowhere)
    if pool is None:
        return Health(
            "Pending", ServerReason.WAITING_FOR_POOL, f"ComputePool {server.spec.pool_ref.name} does not exist"
        )
    if server.spec.tls is not None and not seen.tls_usable:
        return Health(
            "Pending", ServerReason.WAITING_FOR_CERTIFICATE, _without_certificate(server.spec.tls.secret_name)
        )
    held = slots.held_candidates(seen)
    unknown = [one.release.name for one in held if not one.known]
    if manifest is None or unknown:
        what = ", ".join(unknown) if unknown else f"base model {base.name}"
        return Health(
            "Pending", ServerReason.WAITING_FOR_REGISTRY, f"the registry cannot be read now (needed for {what})"
        )
    source = model_path(base.spec.source)
    return Serving(
        name=server.name,
        namespace=server.namespace,
        spec=server.spec,
        owner=owner_of(seen),
        labels=naming.server_labels(server.name),
        pool=pool.spec,
        base=source.claim if isinstance(source, ClaimPath) else _copied(seen, settings, base, source, manifest),
        document=_document(seen, settings, source, base.status.manifest_digest, manifest),
        operator_image=settings.operator_image,
        trainer_image=settings.trainer_image,
        service_account=naming.SERVING_SERVICE_ACCOUNT,
        ca_config_map=naming.CA_CONFIG_MAP,
        registry_secret=naming.registry_secret_name(server.name, server.uid),
        api_keys_secret=server.spec.clients.api_keys_secret_name if seen.api_keys_usable else None,
        tls_secret=server.spec.tls.secret_name if server.spec.tls else None,
        pull_secrets=settings.pull_secrets,
    )


def _without_certificate(secret: str) -> str:
    return (
        f"Secret {secret} of spec.tls is missing, is not of type kubernetes.io/tls, or has no label "
        f'{naming.USABLE_BY_SERVERS_LABEL}: "true"; without a certificate the server does not start'
    )


def _copied(
    seen: Observed, settings: ServingSettings, base: BaseModel, source: HubPath, manifest: Manifest
) -> Download:
    server = seen.server
    identity = JobIdentity(namespace=server.namespace, name=server.name, uid=server.uid, attempt=1)
    registry = RegistryTarget(
        host=settings.registry_host,
        plain_http=settings.registry_plain_http,
        repository=naming.base_model_repository(base.name),
    )
    return copied_model(base, source, settings.hub_endpoint, identity, registry, manifest)


def _document(
    seen: Observed, settings: ServingSettings, source: ClaimPath | HubPath, digest: str, manifest: Manifest
) -> ServerDocument:
    server = seen.server
    profile, limits = server.spec.profile, server.spec.limits
    return ServerDocument(
        namespace=server.namespace,
        server=server.name,
        server_uid=server.uid,
        registry_host=settings.registry_host,
        registry_plain_http=settings.registry_plain_http,
        base=ServedBase(
            name=server.spec.base_model_ref.name,
            path=source.below(BASE_MODEL_MOUNT),
            manifest=manifest,
            manifest_digest=digest,
        ),
        max_lora_rank=profile.max_lora_rank,
        max_cpu_loras=slots.places(server),
        credential_secret=naming.registry_secret_name(server.name, server.uid) if settings.signs_tokens else None,
        tls=server.spec.tls is not None,
        sequences=limits.concurrent_answers or (CPU_SEQUENCES if profile.device == "CPU" else CUDA_SEQUENCES),
        body_bytes=limits.body_kilobytes * 1024,
        tool_parser=server.spec.tool_parser,
    )


def _routes_object(seen: Observed, document: RoutesDocument) -> dict[str, Any]:
    server = seen.server
    return objects.routes_config_map(
        server.name, server.namespace, document, labels=naming.server_labels(server.name), owner=owner_of(seen)
    )


def _credential(seen: Observed, made: Serving) -> list[dict[str, Any]]:
    fresh = seen.fresh_credential
    if fresh is None:
        return []
    secret = credential_secret(
        made.registry_secret, made.namespace, docker_config=fresh.docker_config, labels=made.labels, owner=made.owner
    )
    secret["metadata"]["annotations"] = {objects.OPENS_ANNOTATION: fresh.opens}
    return [secret]


def _listed(seen: Observed) -> list[AdapterEntry]:
    """Return the adapters that the pods shall hold."""
    return [one.entry for one in slots.held_candidates(seen) if one.entry is not None and not one.obstacle]


def _rollout(seen: Observed, made: Serving, rollout: Rollout, listed: Sequence[AdapterEntry]) -> list[AuditEntry]:
    """Return the entry of a rollout that begins: the pods are replaced."""
    if _rolled_out(seen) == rollout.digest:
        return []
    server, metadata = seen.server, (seen.deployment or {}).get("metadata") or {}
    payload = {
        "server": server.name,
        "configuration": rollout.configuration,
        "rollout": rollout.digest,
        "gatewayImage": rollout.images[objects.GATEWAY_CONTAINER],
        "engineImage": rollout.images[objects.ENGINE_CONTAINER],
        "adapters": str(len(listed)),
    }
    key = f"{server.uid}:{rollout.digest}:{metadata.get('generation', 0)}"
    subject = AuditSubject("ModelServer", server.namespace, server.name, server.uid)
    return [AuditEntry(type="RolloutStarted", actor=OPERATOR, subject=subject, key=key, payload=payload)]


def _adapters_change(seen: Observed, listed: Sequence[AdapterEntry]) -> list[AuditEntry]:
    """Return an entry for each release whose adapter the pods are told to hold from now on.

    The list's version is part of the key: an adapter that comes back is told once more, and a repeated reconcile finds the version
    unchanged.
    """
    server = seen.server
    return [
        AuditEntry(
            type="AdapterListed",
            actor=OPERATOR,
            subject=routes.subject_of(seen, entry.served_name),
            key=f"{server.uid}:{entry.served_name}:{entry.digest}:{seen.list_version}",
            payload={
                "server": server.name,
                "servedName": entry.served_name,
                "adapter": entry.digest,
                "adapterManifest": entry.manifest_digest,
            },
        )
        for entry in listed
        if entry.served_name not in seen.listed
    ]


def _left_out(seen: Observed, served: Sequence[ServedAdapter]) -> list[AuditEntry]:
    """Return an entry for each adapter that is left out, once for each cause.

    The sentence is no part of the key: it may hold measured numbers and the name of a pod, and an adapter whose probe scores
    otherwise each time would write a record that nobody can delete at each probe.
    """
    server = seen.server
    return [
        AuditEntry(
            type="AdapterLeftOut",
            actor=OPERATOR,
            subject=routes.subject_of(seen, adapter.served_name),
            key=f"{server.uid}:{adapter.served_name}:{adapter.cause}",
            payload={
                "server": server.name,
                "servedName": adapter.served_name,
                "adapter": adapter.adapter_digest or "unknown",
                "cause": str(adapter.cause),
                "reason": adapter.reason[:2000],
            },
        )
        for adapter in served
        if adapter.state == "LeftOut"
    ]


def _strangers(seen: Observed) -> list[AuditEntry]:
    """Return an entry for each pod that carries the server's labels and is not its own."""
    server = seen.server
    subject = AuditSubject("ModelServer", server.namespace, server.name, server.uid)
    found = []
    for pod in seen.strangers:
        name, uid = str(pod["metadata"]["name"]), str(pod["metadata"].get("uid", ""))
        payload = {
            "object": f"Pod {server.namespace}/{name}",
            "uid": uid,
            "outcome": "Refused",
            "differs": "metadata.ownerReferences",
        }
        found.append(AuditEntry("ForeignObjectFound", OPERATOR, subject, f"{uid or name}", payload))
    return found


def _outdated(seen: Observed, rollout: Rollout) -> tuple[ObjectRef, ...]:
    """Return the ConfigMaps of rollouts that no pod is left of."""
    name, told = seen.server.name, seen.server.status.rollout
    used = {documents_name(name, rollout.configuration), rollout_name(name, rollout.digest)}
    for pod in seen.pods:
        for volume in pod["spec"].get("volumes") or []:
            used.add((volume.get("configMap") or {}).get("name", ""))
    if _rolled_out(seen) != rollout.digest or told is None or told.digest != rollout.digest:
        return ()
    found = sorted(one for one in seen.config_maps if one not in used)
    return tuple(ObjectRef("v1", "ConfigMap", one, seen.server.namespace) for one in found)


def _rolled_out(seen: Observed) -> str:
    """Return the digest of the rollout that the Deployment was made from; empty: there is none."""
    metadata = (seen.deployment or {}).get("metadata") or {}
    return str((metadata.get("annotations") or {}).get(ROLLOUT_ANNOTATION, ""))


def _noted(
    seen: Observed, how: Health, waiting: Health | None, confirmed: Confirmed, settings: ServingSettings
) -> Health:
    """Add to the sentence what people must know beside the pods."""
    message = how.message
    if confirmed.waiting:
        message = f"what may not answer any more is not confirmed to be closed ({confirmed.waiting}); {message}"
    if seen.strangers:
        names = ", ".join(str(pod["metadata"]["name"]) for pod in seen.strangers)
        message = (
            f"clients may reach pods with this server's labels that are not its own, delete them: {names}; {message}"
        )
    if away := outages.going_on(seen):
        message = f"{away}; {message}"
    if waiting is not None and waiting is not how:
        message = f"{message}; nothing new is rolled out: {waiting.message}"
    if hidden := exposures.obstacle(seen, settings.expose_domains):
        message = f"{message}; {hidden}"
    clients = seen.server.spec.clients
    if not seen.api_keys_usable:
        message = (
            f"{message}; Secret {clients.api_keys_secret_name} is not used: it is missing or has no label "
            f'{naming.USABLE_BY_SERVERS_LABEL}: "true"'
        )
    elif clients.api_keys_secret_name is None and not clients.kubernetes_groups and clients.oidc is None:
        message = f"{message}; nobody may ask: set spec.clients"
    return Health(how.phase, how.reason, message)


def _closings(seen: Observed, closed: RoutesDocument, reasons: Mapping[str, str]) -> tuple[EventNote, ...]:
    names = {route.name for route in seen.server.spec.routes}
    return tuple(
        EventNote("Warning", "RouteClosed", f"route {name}: {_why_closed(seen, name, served, names, reasons)}")
        for name, served in _lost(seen, closed)
    )


def _lost(seen: Observed, document: RoutesDocument) -> list[tuple[str, str]]:
    """Return the live routes and served names that a document lacks."""
    found = []
    for name, route in (seen.routes.routes if seen.routes else {}).items():
        after = document.routes[name].weights if name in document.routes else {}
        found += [(name, served) for served in route.weights if served not in after]
    return found


def _why_closed(seen: Observed, name: str, served: str, names: set[str], reasons: Mapping[str, str]) -> str:
    if served not in seen.allowed:
        return f"release of {served} may not answer any more"
    return reasons.get(name) or ("nothing that it tracks is approved" if name in names else "no longer in spec.routes")


def _events(
    seen: Observed, document: RoutesDocument, choices: Sequence[RouteChoice], how: Health
) -> tuple[EventNote, ...]:
    before = seen.routes.routes if seen.routes else {}
    notes = [
        EventNote("Normal", "RouteOpened", f"route {name} answers with {_told(route)}")
        for name, route in document.routes.items()
        if before.get(name, OpenRoute()).weights != route.weights
    ]
    reasons = {choice.name: choice.reason for choice in choices}
    notes += [
        EventNote("Warning", "RouteClosed", f"route {name}: {reasons.get(name) or 'no longer in spec.routes'}")
        for name in before
        if name not in document.routes
    ]
    if how.phase != seen.server.status.phase:
        type_ = "Warning" if how.phase in ("Failed", "Degraded") else "Normal"
        notes.append(EventNote("Warning" if type_ == "Warning" else "Normal", how.phase, how.message))
    return tuple(notes)


def _told(route: OpenRoute) -> str:
    if len(route.targets) == 1:
        return route.targets[0].served_name
    return ", ".join(f"{name} {weight} %" for name, weight in route.weights.items())


def _later(
    seen: Observed, served: Sequence[ServedAdapter], how: Health, waiting: Health | None, document: RoutesDocument
) -> float | None:
    if waiting is not None:
        return 15.0
    if how.reason is ServerReason.SCALED_TO_ZERO:
        return None
    short = state.ready_replicas(seen) < seen.server.spec.replicas
    moving = short or any(adapter.state == "Loading" for adapter in served)
    steady = canary.LOOK_SECONDS if canary.stepping(document.routes.values()) else STEADY_SECONDS
    return STARTING_SECONDS if moving else steady
