"""The status of a server: what its pods hold, how far a rollout is, what is wrong and what to do. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from tunegate.api.conditions import OBJECTS_IN_PLACE, Condition, ConditionStatus, rfc3339, set_condition
from tunegate.api.markers import RESERVED, TEXT_CHARACTERS
from tunegate.api.modelserver import MOST_ADAPTERS, LeftOutCause, ModelServerStatus, ServedAdapter
from tunegate.api.numbers import count_of
from tunegate.api.reasons import ServerReason
from tunegate.api.routes import RouteStatus
from tunegate.api.serving import GatewayAdapter
from tunegate.api.shared import NamedRef
from tunegate.digests import document_digest
from tunegate.manifests.sources import ClaimPath, model_path
from tunegate.reconcile.modelserver import canary, shadows
from tunegate.reconcile.modelserver.closings import Confirmed, with_condition
from tunegate.reconcile.modelserver.observed import Candidate, Observed
from tunegate.reconcile.modelserver.rollouts import Chosen, status_of_rollout
from tunegate.reconcile.modelserver.routes import RouteChoice
from tunegate.reconcile.modelserver.slots import fit, held_candidates, why_waiting
from tunegate.reconcile.naming import server_labels

Json = Mapping[str, Any]
CRASHING = "CrashLoopBackOff"
FAILING = frozenset({CRASHING, "ImagePullBackOff", "ErrImagePull", "InvalidImageName", "CreateContainerError",
                     "CreateContainerConfigError"})  # fmt: skip
TRIES = 2
"""Restarts of a container after which a pod counts as failing."""


@dataclass(frozen=True)
class Health:
    """How the server is, in one word, a reason and a sentence."""

    phase: str
    reason: ServerReason
    message: str


def adapters(seen: Observed) -> list[ServedAdapter]:
    """Return every adapter that the server shall hold or that waits for a slot, with its state over all ready pods.

    While none is ready, a pod that comes up may say already that it leaves an adapter out.
    """
    held = {one.served_name: one for one in held_candidates(seen)}
    shown = [_adapter(seen, candidate) for candidate in held.values()]
    shown += [_waiting(seen, candidate) for candidate in fit(seen) if candidate.served_name not in held]
    return sorted(shown[:MOST_ADAPTERS], key=lambda one: one.served_name)


def _waiting(seen: Observed, candidate: Candidate) -> ServedAdapter:
    return ServedAdapter(
        release_ref=NamedRef(name=candidate.release.name),
        served_name=candidate.served_name,
        adapter_digest=candidate.entry.digest if candidate.entry else None,
        state="Waiting",
        reason=why_waiting(seen, candidate.served_name),
    )


def _adapter(seen: Observed, candidate: Candidate) -> ServedAdapter:
    name = candidate.served_name
    told = next((one for one in seen.server.status.adapters if one.served_name == name), None)
    reports = {pod: _report(status.adapters, name) for pod, status in seen.ready_gateways.items()}
    heard = reports or {pod: _report(status.adapters, name) for pod, status in seen.gateways.items()}
    rejected = next(((pod, one) for pod, one in heard.items() if one is not None and one.state == "LeftOut"), None)
    # While the statement cannot be read, the digest that it said before: a served name has one for good.
    approved = candidate.entry.digest if candidate.entry else told.adapter_digest if told else None
    state, reason = "Loading", ""
    cause: LeftOutCause | None = None
    if candidate.obstacle:
        state, reason, cause = "LeftOut", candidate.obstacle, "Documents"
    elif other := _other_bytes(approved, heard):
        state, reason, cause = "LeftOut", other, "Documents"
    elif rejected is not None:
        state, reason, cause = "LeftOut", f"pod {rejected[0]}: {rejected[1].reason}", rejected[1].cause
    elif reports and all(one is not None and one.state == "Ready" for one in reports.values()):
        state = "Ready"
    elif waiting := next((one.reason for one in heard.values() if one is not None and one.reason), ""):
        reason = waiting
    elif not reports and told is not None and told.state == "Ready" and ready_replicas(seen):
        state = "Ready"  # Pods are ready, and only their answer to us is missing: that takes nothing back.
    return ServedAdapter(
        release_ref=NamedRef(name=candidate.release.name),
        served_name=name,
        adapter_digest=approved,
        state=state,  # type: ignore[arg-type]
        cause=cause,
        reason=reason[:TEXT_CHARACTERS],
    )


def _other_bytes(approved: str | None, heard: Mapping[str, GatewayAdapter | None]) -> str:
    """Say which pod was told to hold other bytes under the name than those that people approved."""
    other = next((pod for pod, one in heard.items() if one and one.digest not in ("", approved)), None)
    if other is None or not approved:
        return ""
    return f"pod {other} was told to hold other bytes than the approved ones: somebody changed the list of adapters"


def _report(reported: Sequence[GatewayAdapter], served_name: str) -> GatewayAdapter | None:
    return next((adapter for adapter in reported if adapter.served_name == served_name), None)


def routes(
    choices: Sequence[RouteChoice], served: Sequence[ServedAdapter], seen: Observed, now: datetime
) -> list[RouteStatus]:
    """Return the state of every route: open where some ready pod holds the adapter."""
    held = {
        adapter.served_name
        for status in seen.ready_gateways.values()
        for adapter in status.adapters
        if adapter.state == "Ready"
    }
    out = {one.served_name: f"{one.served_name} is left out: {one.reason}" for one in served if one.state == "LeftOut"}
    before = {one.name: one for one in seen.server.status.routes}
    told = []
    for choice in choices:
        route = choice.status(held, out)
        if choice.canary is not None:
            progress = canary.told(
                choice.name, choice.canary, choice.reason, before.get(choice.name), seen.gateways, now
            )
            route = route.model_copy(update={"canary": progress})
        if choice.shadow is not None:
            old = before[choice.name].shadow if choice.name in before else None
            copied = shadows.told(choice.name, choice.shadow, old, seen.gateways, now)
            route = route.model_copy(update={"shadow": copied})
        told.append(route)
    return told


def health(seen: Observed, served: Sequence[ServedAdapter]) -> Health:
    """Return how the server is."""
    replicas = seen.server.spec.replicas
    ready = ready_replicas(seen)
    out = [adapter for adapter in served if adapter.state == "LeftOut"]
    left_out = "; ".join(f"{adapter.served_name} is left out: {adapter.reason}" for adapter in out)
    left_out += ". Files are fetched again every minute; a probe is asked again when the pod was deleted" if out else ""
    if replicas == 0:
        return Health("Pending", ServerReason.SCALED_TO_ZERO, "scaled to zero: set spec.replicas to serve")
    failing = next((text for pod in seen.live_pods if (text := failure(pod))), "")
    if ready == 0:
        if failing:
            return Health("Failed", ServerReason.POD_FAILING, failing)
        return Health("Starting", ServerReason.STARTING, _starting(seen))
    count = f"{ready} of {count_of(replicas, 'pod')} ready"
    if out:
        return Health("Degraded", ServerReason.SERVING, f"{count}; {left_out}")
    if failing:
        return Health("Degraded", ServerReason.SERVING, f"{count}; {failing}")
    if ready < replicas:
        return Health("Degraded", ServerReason.SERVING, f"{count}; {_starting(seen)}")
    loading = [adapter.served_name for adapter in served if adapter.state == "Loading"]
    waiting = [adapter.served_name for adapter in served if adapter.state == "Waiting"]
    rolling = f"; loading {', '.join(loading)}" if loading else ""
    rolling += f"; waiting for a slot (spec.maxCpuLoras): {', '.join(waiting)}" if waiting else ""
    return Health("Ready", ServerReason.SERVING, count + rolling)


def ready_replicas(seen: Observed) -> int:
    """Return the number of pods that the Service sends clients to."""
    status = (seen.deployment or {}).get("status") or {}
    return int(status.get("readyReplicas") or 0)


def failure(pod: Json) -> str:
    """Return what is wrong with a pod and what to do, or nothing while it may still come up."""
    status, name, namespace = pod.get("status") or {}, pod["metadata"]["name"], pod["metadata"]["namespace"]
    if any(one.get("type") == "Ready" and one.get("status") == "True" for one in status.get("conditions") or []):
        return ""
    for container in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        if word := _trouble(container):
            said = _last_words(container)
            why = f": {said[:300]}" if said else ""
            look = f"logs {name} -c {container['name']}" if word == CRASHING else f"describe pod {name}"
            return f"pod {name}, container {container['name']}: {word}{why}. See kubectl -n {namespace} {look}"
    return ""


def _trouble(container: Json) -> str:
    """Return a word for a container that fails again and again, also while its next try is running."""
    state = container.get("state") or {}
    reason = str((state.get("waiting") or {}).get("reason", ""))
    if reason in FAILING:
        return reason
    last = (container.get("lastState") or {}).get("terminated") or {}
    done = (state.get("terminated") or {}).get("exitCode") == 0
    if not done and int(container.get("restartCount") or 0) >= TRIES and last.get("exitCode"):
        return CRASHING
    return ""


def _last_words(container: Json) -> str:
    state, last = container.get("state") or {}, container.get("lastState") or {}
    for ended in (state.get("terminated"), last.get("terminated"), state.get("waiting")):
        lines = str((ended or {}).get("message") or "").strip().splitlines()
        if lines:
            return lines[-1]
    return ""


def _starting(seen: Observed) -> str:
    for pod in seen.live_pods:
        for condition in (pod.get("status") or {}).get("conditions") or []:
            if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
                return f"pod {pod['metadata']['name']} waits for a node: {condition.get('message', '')[:300]}"
    said = next((status.message for status in seen.gateways.values() if status.message and not status.ready), "")
    return said or "pods are starting: hashing and loading the base model, then verifying and loading adapters"


def base_volume(seen: Observed) -> Literal["Protected", "Open", "Copied"] | None:
    """Say where pods read the base model from, for people who have to know who could replace it."""
    if seen.base_model is None:
        return None
    source = model_path(seen.base_model.spec.source)
    if not isinstance(source, ClaimPath):
        return "Copied"
    return "Protected" if source.claim.startswith(RESERVED) else "Open"


def status_of(
    seen: Observed,
    served: Sequence[ServedAdapter],
    told: Sequence[RouteStatus],
    how: Health,
    confirmed: Confirmed,
    now: datetime,
    chosen: Chosen | None = None,
    *,
    exposed: bool = False,
) -> dict[str, Any]:
    """Return the whole status in the API's form. Without ``chosen``, nothing could be rolled out now.

    ``exposed``: something shall lead to the server from outside.
    """
    server = seen.server
    out = [adapter.served_name for adapter in served if adapter.state == "LeftOut"]
    loading = any(adapter.state == "Loading" for adapter in served)
    verified: tuple[ConditionStatus, ServerReason, str] = ("True", ServerReason.SERVING, "")
    if out:
        verified = ("False", ServerReason.ADAPTER_LEFT_OUT, f"left out: {', '.join(out)}")
    elif loading or how.reason is not ServerReason.SERVING:
        verified = ("Unknown", ServerReason.STARTING, "adapters are being fetched, verified, loaded and probed")
    ready: ConditionStatus = "True" if how.reason is ServerReason.SERVING else "False"
    conditions = [one for one in server.status.conditions if one.type != OBJECTS_IN_PLACE]
    said = {"Ready": (ready, how.reason, how.message), "AdaptersVerified": verified}
    if chosen is not None:
        said["UpToDate"] = _up_to_date(chosen)
    for type_, (state, reason, message) in said.items():
        conditions = set_condition(
            conditions,
            Condition(
                type=type_,
                status=state,
                reason=reason.value,
                message=message[:TEXT_CHARACTERS],
                last_transition_time=rfc3339(now),
                observed_generation=server.generation,
            ),
        )
    answers = ", ".join(f"{one.name}: {one.told}" for one in told)
    return ModelServerStatus(
        observed_generation=server.generation,
        phase=how.phase,  # type: ignore[arg-type]
        message=how.message[:TEXT_CHARACTERS],
        conditions=with_condition(conditions, confirmed, server.generation, now),
        closings=list(confirmed.closings),
        profile_digest=document_digest(server.spec.profile.to_dict()),
        base_volume=base_volume(seen),
        endpoint=f"{'https' if server.spec.tls else 'http'}://{server.name}.{server.namespace}.svc",
        external=server.spec.expose.host if exposed and server.spec.expose is not None else None,
        replicas=int(((seen.deployment or {}).get("status") or {}).get("replicas") or 0),
        ready_replicas=ready_replicas(seen),
        selector=",".join(f"{key}={value}" for key, value in sorted(server_labels(server.name).items())),
        adapters=list(served),
        routes=list(told),
        answers=answers[:TEXT_CHARACTERS],
        **status_of_rollout(seen, chosen),
    ).to_dict()


def _up_to_date(chosen: Chosen) -> tuple[ConditionStatus, ServerReason, str]:
    if chosen.up_to_date:
        return "True", ServerReason.AS_OFFERED, ""
    runs, offers = chosen.rollout.images, chosen.offered.images
    others = [f"{name} would run {offers[name]}" for name in sorted(offers) if runs.get(name) != offers[name]]
    what = "; ".join(others) or "the images are the same, containers would be written otherwise"
    text = (
        f"another version of the operator made the pods, and they run on as they are: {what}. The next rollout brings it; "
        "to have it now, set spec.restartedAt to the present time"
    )
    return "False", ServerReason.NEWER_OFFERED, text
