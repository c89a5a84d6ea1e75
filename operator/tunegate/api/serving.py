"""The contract of serving pods: what the operator hands to `pull` and to the gateway, and what they say about themselves.

Two documents travel in an immutable ConfigMap (``CONFIG_DIR``): another content is another ConfigMap
and another rollout. One document is watched live (``RoutesDocument``), so that a revocation acts within seconds without
a new pod. Documents that an older gateway may read from a newer operator are lenient about unknown fields.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, TypeAdapter

from tunegate.api.approvalpolicy import DEFAULT_CLOSE_AFTER_SECONDS
from tunegate.api.asked import AskedAs
from tunegate.api.manifest import HashedFolder, Manifest
from tunegate.api.markers import RESERVED, ApiModel, Digest, ResourceName, StrictModel
from tunegate.api.modelserver import ClientQuota, IdentityProvider, LeftOutCause, ModelName
from tunegate.api.stage.probe import Probe

CONFIG_DIR = "/etc/tunegate/adapters"
ADAPTERS_FILE = "adapters.json"
SERVER_FILE = "server.json"
ADAPTERS_DIR = "/adapters"
"""`pull` writes here; the engine and the gateway see it read-only."""
ENGINE_CONFIG_PATH = f"{ADAPTERS_DIR}/engine.yaml"
"""Given to vLLM as `--config`: the adapters that were verified, as static `lora-modules`."""
REPORT_PATH = f"{ADAPTERS_DIR}/report.json"
ENGINE_SOCKET_DIR = "/run/engine"
ENGINE_SOCKET = f"{ENGINE_SOCKET_DIR}/vllm.sock"
API_KEYS_DIR = "/etc/tunegate/api-keys"
TLS_DIR = "/etc/tunegate/tls"
TOKEN_DIR = "/var/run/secrets/kubernetes.io/serviceaccount"
GATEWAY_PORT = 8080
STATUS_PORT = 8081
"""`GET /status` answers with a ``GatewayStatus``; `/metrics` is here as well. No model can be asked on this port."""
TOKEN_AUDIENCE = "tunegate-gateway"
"""Audience that a client's Kubernetes token must carry."""
ROUTES_KEY = "routes.json"


def routes_name(server: str) -> str:
    """Return the name of the ConfigMap that a server's gateways watch."""
    return f"{RESERVED}routes-{server}"


class AdapterEntry(StrictModel):
    """One approved adapter that a pod shall hold."""

    release: ResourceName
    served_name: ModelName
    repository: Annotated[str, Field(max_length=255)]
    digest: Digest
    """OCI manifest digest."""
    manifest: Manifest
    manifest_digest: Digest
    """What people approved; the listed files are checked against it, byte by byte."""
    results_repository: Annotated[str, Field(max_length=255)]
    evaluation_digest: Digest
    """Result document of the evaluation. It holds the probe, which quotes the gate's questions: those stay in the
    registry, out of a ConfigMap that everybody in the namespace may read."""


ADAPTER_ENTRIES: TypeAdapter[list[AdapterEntry]] = TypeAdapter(list[AdapterEntry])


class ServedBase(StrictModel):
    """The base model under the adapters."""

    name: ResourceName
    path: str
    manifest: Manifest
    manifest_digest: Digest


class ServerDocument(StrictModel):
    """What a serving pod needs to know beside its adapters."""

    namespace: str
    server: ResourceName
    server_uid: str
    """UID of the ModelServer: the gateway takes routes only from a ConfigMap that this server owns."""
    registry_host: str
    registry_plain_http: bool = False
    base: ServedBase
    max_lora_rank: int
    max_loras: int
    tls: bool = False
    """The gateway has a certificate and serves HTTPS only."""
    sequences: int = 256
    """Answers that the engine writes at once."""
    body_bytes: int = 1024 * 1024
    """Of a client's request."""
    tool_parser: str | None = None
    """With which the engine finds tool calls in an answer."""


class AdapterOutcome(StrictModel):
    """What `pull` found about one adapter."""

    served_name: str
    release: str
    state: Literal["Verified", "LeftOut"]
    cause: LeftOutCause | None = None
    reason: str = ""


class PullReport(StrictModel):
    """What `pull` leaves for the gateway."""

    adapters: list[AdapterOutcome]
    probes: dict[str, Probe]
    """Probe of each verified adapter, by served name."""
    asked_as: dict[str, AskedAs] = {}
    """How the gate asked each of them, by served name, as far as its evaluation says it."""
    base: HashedFolder
    """The base model as it was hashed: the gateway sees whether the engine's files are still these."""


class RoutesDocument(ApiModel):
    """The live part: which served name answers under which public name, and who may ask."""

    revision: int = 0
    """Counts changes of `routes`; part of the ledger's keys."""
    routes: dict[str, str] = {}
    """Public model name to served name."""
    names: list[str] = []
    """Every public name that the server has a route of; a name that `routes` does not hold is closed now."""
    approved: list[str] = []
    """Served names of all releases that are approved now: nothing else is ever answered by, not even for a moment."""
    closes: dict[str, AwareDatetime] = {}
    """Of them those that an override opened, and when it ends: the gateway closes them then, even if no operator runs."""
    kubernetes_groups: list[str] = []
    oidc: IdentityProvider | None = None
    """Whose tokens are taken, too."""
    per_client: ClientQuota = ClientQuota()
    """What one client may ask of one pod."""
    valid_seconds: Annotated[int, Field(ge=1)] = DEFAULT_CLOSE_AFTER_SECONDS
    """For how long these routes may answer after they were last read; then the gateway closes them. From the policy's
    `serving.closeAfterSeconds`."""


AdapterState = Literal["Loading", "Ready", "LeftOut"]
EngineState = Literal["Starting", "Ready", "Unhealthy", "Tampered"]


class GatewayAdapter(ApiModel):
    """One adapter as this pod holds it."""

    served_name: str
    release: str
    state: AdapterState
    cause: LeftOutCause | None = None
    reason: str = ""


class GatewayStatus(ApiModel):
    """What a gateway tells the operator about its pod."""

    engine: EngineState
    ready: bool
    draining: bool = False
    adapters: list[GatewayAdapter] = []
    routes: dict[str, str] = {}
    """Routes that this pod answers now."""
    routes_revision: int = 0
    routes_age_seconds: int = 0
    """Since the routes were last read."""
    answering: list[str] = []
    """Served names that this pod answers with now, or is still answering a request with."""
    watchers: dict[str, str] = {}
    """What the gateway does all the time, and how the last try of it ended where it did not run on."""
    in_flight: int = 0
    message: str = ""
