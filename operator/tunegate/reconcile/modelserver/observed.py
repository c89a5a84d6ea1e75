"""What the planner of a ModelServer looks at: one reading of the world, made by the controller."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tunegate.api.approval import Approval
from tunegate.api.approvalpolicy import DEFAULT_CLOSE_AFTER_SECONDS, ApprovalRole
from tunegate.api.basemodel import BaseModel
from tunegate.api.computepool import ComputePool
from tunegate.api.conditions import is_true
from tunegate.api.manifest import Manifest
from tunegate.api.modelrelease import MAY_SERVE, ModelRelease
from tunegate.api.modelserver import Closing, ModelServer
from tunegate.api.serving import AdapterEntry, GatewayStatus, RoutesDocument
from tunegate.manifests.exposure import Way
from tunegate.manifests.rollouts import Rollout
from tunegate.reconcile.stops import stop_of

Json = Mapping[str, Any]


@dataclass(frozen=True)
class ServingSettings:
    """What the operator's settings say about serving pods."""

    operator_image: str
    registry_host: str
    registry_plain_http: bool
    trainer_image: str
    """Copies models of a Hub mirror into the pods."""
    engine_images: tuple[str, ...] = ()
    """Those that may run as an engine."""
    hub_endpoint: str | None = None
    pull_secrets: tuple[str, ...] = ()
    signs_tokens: bool = True
    """The operator makes the registry's tokens; else pods have the site's own credential."""
    expose_domains: tuple[str, ...] = ()
    """Under which hosts may lead to servers."""


@dataclass(frozen=True)
class Outside:
    """What leads to the server from outside the cluster."""

    existing: frozenset[Way] = frozenset()
    """Kinds of the server's own objects that do."""
    unknown: frozenset[Way] = frozenset()
    """Kinds of such objects that the cluster does not know."""


NOTHING_OUTSIDE = Outside()


@dataclass(frozen=True)
class FreshCredential:
    """A registry credential to write."""

    docker_config: str
    opens: str
    """Digest of the list of repositories."""


@dataclass(frozen=True)
class Candidate:
    """A release that may answer, and what its statement says of the adapter."""

    release: ModelRelease
    entry: AdapterEntry | None = None
    obstacle: str = ""
    """Why it cannot be served, for good. Neither entry nor obstacle: the registry could not be asked now."""

    data_class: str = ""
    """Of the data that it was trained on, by its statement; empty while that cannot be read."""

    @property
    def served_name(self) -> str:
        """Immutable name of the adapter; a candidate always has one."""
        return str(self.release.status.served_name)

    @property
    def age(self) -> tuple[str, str]:
        """Sorts candidates by the time since when each may answer, the newest last."""
        status = self.release.status
        overridden = status.override.granted_time if status.override and status.phase == "Overridden" else None
        return overridden or status.approved_time or "", self.release.name

    @property
    def closes(self) -> datetime | None:
        """When an override ends by which it may answer; None: it may answer by an approval."""
        status = self.release.status
        if status.phase != "Overridden":
            return None
        until = status.override.expiration_time if status.override else None
        return datetime.fromisoformat(until) if until else datetime.min.replace(tzinfo=UTC)

    @property
    def known(self) -> bool:
        """Whether it is known what to do with it."""
        return self.entry is not None or bool(self.obstacle)

    @property
    def doubtful(self) -> bool:
        """Whether nothing new may be rolled out for it: what runs keeps running."""
        conditions = self.release.status.conditions
        return is_true(conditions, "Tampered") or is_true(conditions, "QuorumLost")


@dataclass(frozen=True)
class Observed:
    """A ModelServer and everything that decides what it serves. Absent objects are None."""

    server: ModelServer
    base_model: BaseModel | None = None
    base_manifest: Manifest | None = None
    """From the BaseModel's result document; None while it can't be read."""
    pool: ComputePool | None = None
    releases: tuple[ModelRelease, ...] = ()
    """All releases whose status names this server, in whatever phase."""
    candidates: tuple[Candidate, ...] = ()
    """Those of them that may answer."""
    deployment: Json | None = None
    pods: tuple[Json, ...] = ()
    gateways: Mapping[str, GatewayStatus] = field(default_factory=dict)
    """What the gateways of the pods say, by pod name; a missing one did not answer."""
    routes: RoutesDocument | None = None
    routes_forged: bool = False
    """What stands where the gateways read their routes is not ours, or cannot be read."""
    closing_refused: bool = False
    """The step that closes routes was tried on what stands there, and it still stands there."""
    closings: tuple[Closing, ...] = ()
    """What the step before found of everything that may not answer any more, whether or not its status could be written."""
    close_after_seconds: int = DEFAULT_CLOSE_AFTER_SECONDS
    """From the namespace's policy."""
    listed: frozenset[str] = frozenset()
    """Served names in the live list of adapters, which pods may have taken up."""
    list_version: str = ""
    """Resource version of that list; empty: there is none."""
    config_maps: frozenset[str] = frozenset()
    """Names of the server's ConfigMaps with documents of rollouts."""
    rollout: Rollout | None = None
    """What the status says that the pods are made from; None: nothing yet, or a part of it is gone."""
    strangers: tuple[Json, ...] = ()
    """Pods that carry the server's labels and that its Deployment did not make."""
    api_keys_usable: bool = True
    """The Secret that `clients.apiKeysSecretName` names carries the label that opens it to servers."""
    tls_usable: bool = True
    """The Secret that `tls` names is a certificate and carries that label."""
    outside: Outside = NOTHING_OUTSIDE
    fresh_credential: FreshCredential | None = None
    """Made because the old one is missing, opens other repositories or will soon end."""

    @property
    def held(self) -> frozenset[str]:
        """Served names of the adapters that the server was given and did not leave out."""
        return frozenset(
            one.served_name for one in self.server.status.adapters if one.state not in ("LeftOut", "Waiting")
        )

    @property
    def allowed(self) -> frozenset[str]:
        """Served names that may answer now."""
        return frozenset(candidate.served_name for candidate in self.candidates)

    @property
    def live_pods(self) -> tuple[Json, ...]:
        """Pods that are not on their way out."""
        return tuple(pod for pod in self.pods if not pod["metadata"].get("deletionTimestamp"))

    @property
    def ready_gateways(self) -> dict[str, GatewayStatus]:
        """Gateways to which clients are sent now."""
        return {name: status for name, status in self.gateways.items() if status.ready and not status.draining}


def may_answer(release: ModelRelease, stops: Sequence[Approval], roles: Sequence[ApprovalRole], now: datetime) -> bool:
    """Tell whether people's approval or override stands and a served name exists.

    ``stops`` are decisions that take something away, ``roles`` those of the policy in force: what they say holds before the
    release's own controller has acted on it. Nothing is served by a release that somebody deleted, whatever keeps the object.
    """
    status = release.status
    if release.metadata.get("deletionTimestamp"):
        return False
    return status.phase in MAY_SERVE and bool(status.served_name) and stop_of(release, stops, roles, now) is None
