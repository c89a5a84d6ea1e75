"""The contract of serving pods: what the operator hands to them, what their containers hand to each other, and what they say.

One document travels in an immutable ConfigMap (``CONFIG_DIR``): another content is another ConfigMap and another rollout. Two are
watched live by the gateway: which adapters the pod shall hold (``AdaptersDocument``) and which of them answers under which name
(``RoutesDocument``). So an approval or a revocation acts within seconds and restarts nothing. Documents that an older gateway may
read from a newer operator are lenient about unknown fields, and grow by fields alone (docs/decisions/0012).
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from tunegate.api.approvalpolicy import DEFAULT_CLOSE_AFTER_SECONDS
from tunegate.api.asked import AskedAs
from tunegate.api.manifest import Manifest
from tunegate.api.markers import RESERVED, ApiModel, Digest, ResourceName, StrictModel
from tunegate.api.modelserver import MOST_ADAPTERS, ClientQuota, IdentityProvider, LeftOutCause
from tunegate.api.routes import Canary, ModelName, Weight
from tunegate.api.stage.probe import Probe

CONFIG_DIR = "/etc/tunegate/server"
SERVER_FILE = "server.json"
CHECKED_DIR = "/run/checked"
BASE_REPORT = f"{CHECKED_DIR}/base.json"
"""The base model as container `check-base` hashed it: the gateway sees whether the engine's files are still these."""
ADAPTERS_DIR = "/adapters"
"""Container `adapters` publishes verified adapters here, each in a folder named by its digest; engine and gateway see it
read-only."""
FETCH_DIR = "/run/fetch"
FETCH_SOCKET = f"{FETCH_DIR}/adapters.sock"
"""Where container `adapters` is asked by the gateway, its only client."""
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
ADAPTERS_KEY = "adapters.json"


def routes_name(server: str) -> str:
    """Return the name of the ConfigMap with a server's routes, which its gateways watch."""
    return f"{RESERVED}routes-{server}"


def adapters_name(server: str) -> str:
    """Return the name of the ConfigMap with the adapters that a server shall hold, which its gateways watch."""
    return f"{RESERVED}adapters-{server}"


FOLDER = re.compile(r"[0-9a-f]{64}")
"""Of a verified adapter."""
SERVED_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,40}-(?P<digest>[0-9a-f]{8})")
"""`<release>-<first 8 hex digits of the adapter digest>`: never the name of a base model."""


def folder_of(digest: str) -> str:
    """Return the name of the folder in which an adapter of that OCI digest lies: its 64 hex digits."""
    return digest.removeprefix("sha256:")


def fits(served_name: str, digest: str) -> bool:
    """Tell whether a served name may be that of an adapter of this OCI digest, or of this folder."""
    name = SERVED_NAME.fullmatch(served_name)
    return name is not None and folder_of(digest).startswith(name["digest"])


class AdapterEntry(ApiModel):
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


class AdaptersDocument(ApiModel):
    """The adapters that the pods of a server shall hold now. What is not in it any more is unloaded."""

    adapters: Annotated[list[AdapterEntry], Field(max_length=MOST_ADAPTERS)] = []


class FetchRequest(StrictModel):
    """`POST /fetch` to container `adapters`: put this adapter into its folder and say what the gate recorded of it."""

    entry: AdapterEntry
    auth: str | None = None
    """A Docker configuration that opens the adapter's repositories; None: the container has one mounted."""


class Fetched(StrictModel):
    """The answer: every byte is the approved one. Answers 422 (never to be served) and 503 (not now) hold a ``Refusal``."""

    folder: str
    probe: Probe
    asked_as: AskedAs | None = None
    """How the gate asked it, as far as its evaluation says it."""


class Refusal(StrictModel):
    """Why an adapter is not there."""

    reason: str


class KeepRequest(StrictModel):
    """`POST /keep`: remove the folder of every adapter that is not among these, which the engine has unloaded."""

    digests: list[Digest]


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
    max_cpu_loras: int
    """Adapters that the engine holds at most."""
    credential_secret: str | None = None
    """Secret with the registry credential that the gateway reads for container `adapters`; None: the site's own, which is mounted
    there and which the gateway never sees."""
    tls: bool = False
    """The gateway has a certificate and serves HTTPS only."""
    sequences: int = 256
    """Answers that the engine writes at once."""
    body_bytes: int = 1024 * 1024
    """Of a client's request."""
    tool_parser: str | None = None
    """With which the engine finds tool calls in an answer."""


class OpenTarget(ApiModel):
    """One adapter under a public name, and its share of the name's clients, relative to that of the others."""

    served_name: ModelName
    release: str = ""
    weight: Weight


class OpenShadow(ApiModel):
    """The adapter that answers copies of a route's requests."""

    served_name: ModelName
    percent: Annotated[int, Field(ge=0, le=100)]


class OpenRoute(ApiModel):
    """The adapters that answer under one public name."""

    targets: list[OpenTarget] = []
    canary: Canary | None = None
    """How far a newer release among them is. It stands here, where it changes together with the weights."""
    shadow: OpenShadow | None = None

    @property
    def weights(self) -> dict[str, int]:
        """Served name to weight."""
        return {one.served_name: one.weight for one in self.targets}

    @property
    def held(self) -> frozenset[str]:
        """Served names that the route needs: of its targets, and of its shadow."""
        return frozenset({*self.weights} | ({self.shadow.served_name} if self.shadow else set()))

    def only(self, allowed: Collection[str]) -> OpenRoute:
        """Return the route without what is not in ``allowed``: targets, and the adapter that answers copies."""
        targets = [one for one in self.targets if one.served_name in allowed]
        shadow = self.shadow if self.shadow is not None and self.shadow.served_name in allowed else None
        return self.model_copy(update={"targets": targets, "shadow": shadow})


class RoutesDocument(ApiModel):
    """The live part: which adapters answer under which public name, and who may ask."""

    revision: int = 0
    """Counts changes of `routes`, and what `approved` loses: gateways that say it have read them. Part of the ledger's keys."""
    routes: dict[str, OpenRoute] = {}
    """Public model name to the adapters that answer; each has at least one."""
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


AdapterState = Literal["Loading", "Ready", "LeftOut", "Unloading"]
EngineState = Literal["Starting", "Ready", "Unhealthy", "Tampered"]


class GatewayAdapter(ApiModel):
    """One adapter as this pod holds it."""

    served_name: str
    release: str
    digest: str = ""
    """OCI digest of what the pod was told to hold under this name."""
    state: AdapterState
    cause: LeftOutCause | None = None
    reason: str = ""


class Traffic(ApiModel):
    """What this gateway counted of one release under one public name, since the route's step began or the gateway did."""

    route: str
    served_name: str
    shadow: bool = False
    """Counted of copies, whose answers nobody gets."""
    window: str = ""
    """The step (``Canary.window``); empty: the route has no canary."""
    requests: int = 0
    """Answers that ended, or failed by the engine's fault. What clients broke off or asked wrongly is not counted."""
    errors: int = 0
    tokens: int = 0
    """In all answers together."""
    seconds: dict[int, int] = {}
    """Times to the end of an answer that did not fail: bucket to count (``tunegate.api.latency``)."""
    compared: int = 0
    """Copies whose text could be compared with that of the client's answer."""
    agreed: int = 0


class GatewayStatus(ApiModel):
    """What a gateway tells the operator about its pod."""

    engine: EngineState
    ready: bool
    draining: bool = False
    adapters: list[GatewayAdapter] = []
    routes: dict[str, dict[str, int]] = {}
    """Routes that this pod answers now: public model name to served names and their weights."""
    shadows: dict[str, str] = {}
    """Public model name to the served name that answers copies of its requests now."""
    traffic: list[Traffic] = []
    routes_revision: int = 0
    routes_age_seconds: int = 0
    """Since the routes were last read."""
    answering: list[str] = []
    """Served names that this pod answers with now, or is still answering a request with."""
    watchers: dict[str, str] = {}
    """What the gateway does all the time, and how the last try of it ended where it did not run on."""
    in_flight: int = 0
    message: str = ""
