"""ModelServer: a vLLM fleet for one base model, its engine profile and its routes."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from tunegate.api.markers import (
    LIST_ATOMIC,
    ApiModel,
    Column,
    Digest,
    Kind,
    Names,
    Quantity,
    Resource,
    ResourceName,
    ShortText,
    Text,
    Time,
    cel,
    list_map,
    reason_column,
    rules,
)
from tunegate.api.routes import ModelName, Route, RouteStatus
from tunegate.api.shared import NamedRef, Resources, StatusBase

ImageReference = Annotated[str, Field(max_length=512, pattern=r"^[a-zA-Z0-9._:/-]+@sha256:[0-9a-f]{64}$")]
DataType = Literal["BFloat16", "Float16", "Float32"]
Quantization = Literal["None", "FP8"]
MOST_ADAPTERS = 64
"""Adapters that a server holds at most, whatever `maxCpuLoras` says."""
LEAST_SLOTS = 16
"""Adapters that an engine holds where neither server nor profile asks for more: old and new of a few routes, and what waits for one."""
ToolParser = Annotated[str, Field(max_length=64, min_length=1, pattern=r"^[a-z0-9]+([_-][a-z0-9]+)*$")]


class EngineProfile(ApiModel):
    """Everything that decides what vLLM answers. Evaluation and serving use the same profile; its digest is released."""

    image: ImageReference
    """Image that holds vLLM, by digest."""
    device: Literal["CUDA", "CPU"] = "CUDA"
    dtype: DataType = "BFloat16"
    quantization: Quantization = "None"
    """`FP8` quantizes the weights when the server starts."""
    max_model_len: Annotated[int, Field(ge=128, le=1_000_000)]
    """Longest prompt plus answer in tokens."""
    max_lora_rank: Literal[8, 16, 32, 64, 128, 256] = 16
    max_loras: Annotated[int, Field(ge=1, le=64)] = 4
    """Adapters that may be active in one batch."""
    enforce_eager: bool = False
    kv_cache_memory: Quantity = "2Gi"
    """Key-value cache of a CPU server; a CUDA server takes what the device has left."""


class IdentityProvider(ApiModel):
    """A company's identity provider that speaks OpenID Connect. Gateways read its keys by
    `<issuer>/.well-known/openid-configuration`; the chart's `networkPolicies.issuerEgress` must let them reach it."""

    issuer: Annotated[
        str, Field(max_length=512, pattern=r"^https://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?$")
    ]
    """As tokens name it in `iss`."""
    audience: Annotated[str, Field(min_length=1, max_length=256)]
    """What tokens carry in `aud`: one that no other service takes, so that a token for it opens nothing else."""
    username_claim: Annotated[str, Field(min_length=1, max_length=64)] = "sub"
    groups_claim: Annotated[str, Field(min_length=1, max_length=64)] = "groups"
    groups: Annotated[
        list[Annotated[str, Field(max_length=256)]],
        Field(max_length=32, json_schema_extra={"x-kubernetes-list-type": "set"}),
    ] = []
    """Members of these groups may ask; empty: everybody to whom the provider gives a token for `audience`."""
    certificate_authority: Annotated[str, Field(max_length=32768)] | None = None
    """PEM of who signed the provider's certificate; absent: the authorities of the operator's image."""


class Clients(ApiModel):
    """Who may ask the gateway."""

    api_keys_secret_name: ResourceName | None = None
    """Secret of this namespace, labelled `tunegate.io/usable-by-servers: "true"`; every value is a key."""
    kubernetes_groups: Annotated[
        list[Annotated[str, Field(max_length=256)]],
        Field(max_length=32, json_schema_extra={"x-kubernetes-list-type": "set"}),
    ] = []
    """Members of these groups may use their Kubernetes token (audience `tunegate-gateway`)."""
    oidc: IdentityProvider | None = None
    """Whose tokens are taken beside that. Gateways follow a change within seconds; no pod starts again."""


class ServerTls(ApiModel):
    """The gateway's own certificate."""

    secret_name: ResourceName
    """Secret of this namespace, of type `kubernetes.io/tls`, labelled `tunegate.io/usable-by-servers: "true"`. The server
    then speaks HTTPS only, on port 443 of its Service; without the Secret it does not start."""


class GatewayRef(ApiModel):
    """A Gateway of the site (Gateway API)."""

    name: ResourceName
    namespace: ResourceName | None = None
    """Absent: the server's own. The Gateway's listener must allow routes from the server's namespace."""
    section_name: Annotated[str, Field(max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")] | None = None
    """One listener of it; absent: all that fit."""


class Exposure(ApiModel):
    """How clients outside the cluster reach the server."""

    model_config = rules(
        cel(
            "has(self.ingressClassName) != has(self.gatewayRef)",
            "exactly one of ingressClassName and gatewayRef says what leads to the server",
        ),
        cel(
            "!has(self.gatewayRef) || !has(self.tlsSecretName)",
            "tlsSecretName belongs to an Ingress: a Gateway's listener has its own certificate",
        ),
    )

    host: Annotated[
        str, Field(max_length=253, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)+$")
    ]
    """Name that clients ask for, under one of the domains that the installation allows (`expose.domains` of the chart)."""
    ingress_class_name: ResourceName | None = None
    """An Ingress of this class is made."""
    gateway_ref: GatewayRef | None = None
    """An HTTPRoute at this Gateway is made."""
    tls_secret_name: ResourceName | None = None
    """Secret of this namespace with the host's certificate, for the Ingress controller; absent: its default, or plain HTTP."""


class ClientQuota(ApiModel):
    """How much one client may ask of one pod, whatever credential it has. Without a number only its fair share binds it."""

    requests_per_minute: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Of any length; a minute's worth may come at once."""
    tokens_per_minute: Annotated[int, Field(ge=1, le=1_000_000_000)] | None = None
    """Of prompts and answers. They are counted when an answer ends: a client that used more waits longer for its next."""
    concurrent_answers: Annotated[int, Field(ge=1, le=2048)] | None = None
    """Answers that are written for it at once. It has at most half of `limits.concurrentAnswers` in any case."""


class ClientLimits(ApiModel):
    """How much all clients together, one client, and one request may ask for."""

    concurrent_answers: Annotated[int, Field(ge=2, le=4096)] | None = None
    """Answers that the engine writes at once; `n` answers count as many, and one client has at most half of them. Default:
    256 on CUDA, 8 on a CPU."""
    body_kilobytes: Annotated[int, Field(ge=16, le=8192)] = 1024
    """Of one request's body, in KiB."""
    per_client: ClientQuota = ClientQuota()
    """Gateways follow a change within seconds; no pod starts again."""


class ModelServerSpec(ApiModel):
    """A server: the profile never changes, all else may."""

    model_config = rules(
        cel(
            "self.baseModelRef == oldSelf.baseModelRef && self.profile == oldSelf.profile",
            "baseModelRef and profile cannot change: releases were evaluated with them; create a new ModelServer",
        )
    )

    base_model_ref: NamedRef
    """BaseModel of the catalogue that the server loads."""
    pool_ref: NamedRef
    """Pool that serving pods, and the evaluation of jobs for this server, run on."""
    profile: EngineProfile
    replicas: Annotated[int, Field(ge=0, le=64)] = 1
    resources: Resources = Resources()
    strategy: Literal["Surge", "Recreate"] = "Surge"
    """`Recreate` stops the old pod first: for pools without room for one more."""
    clients: Clients = Clients()
    tool_parser: ToolParser | None = None
    """vLLM's parser of tool calls that fits the base model's chat template, as `hermes`. Absent: clients cannot leave it to a
    model to call a tool. vLLM refuses to start with a name that it does not know, and lists those that it knows."""
    limits: ClientLimits = ClientLimits()
    tls: ServerTls | None = None
    max_cpu_loras: Annotated[int, Field(ge=1, le=MOST_ADAPTERS)] | None = None
    """Adapters that each engine holds in memory at once: those that routes lead to first, then the newest. Further approved ones
    wait (`WaitingForSlot`) until one leaves. Below 64, there is room for one more, which only a route that moves takes: old and new
    adapter are held until the new one answers. Another value restarts the engines. Default: four times `profile.maxLoras`, at least
    16."""
    expose: Exposure | None = None
    """An Ingress or HTTPRoute that leads to the server from outside the cluster; absent: there is none."""
    restarted_at: Time | None = None
    """Another value replaces all pods by new ones with the images and settings of the operator that runs now: `status.offered` says
    which. Without it they come with the next rollout: another pool or setting of the server. An adapter makes no rollout."""
    routes: Annotated[list[Route], Field(max_length=64, json_schema_extra=list_map("name"))] = []

    @property
    def slots(self) -> int:
        """Adapters that an engine holds while no route moves: `maxCpuLoras`, or what follows from the profile."""
        derived = max(4 * self.profile.max_loras, LEAST_SLOTS)
        return min(self.max_cpu_loras or derived, MOST_ADAPTERS)


LeftOutCause = Literal["Documents", "Files", "Probe", "ProbeUnanswered"]
"""Why an adapter is left out: `Documents` of the release are damaged or do not fit this server, `Files` are not the approved
ones or the engine cannot load them, its `Probe` scored otherwise than at evaluation, or could not be asked to the end. The
ledger tells events apart by it, since the sentence may hold measured numbers."""


class ServedAdapter(ApiModel):
    """One approved release and whether the server holds it."""

    release_ref: NamedRef
    served_name: ModelName
    adapter_digest: Digest | None = None
    """OCI digest of the artifact; absent while the registry cannot say it."""
    state: Literal["Waiting", "Loading", "Ready", "LeftOut"]
    """`LeftOut`: verification or the probe failed; the reason says why; the server runs on without it. `Waiting`: the engines hold
    `maxCpuLoras` others."""
    cause: LeftOutCause | None = None
    """Present in state `LeftOut`."""
    reason: Text = ""


class Closing(ApiModel):
    """A served name that may not answer any more, and what the pods that hold it say."""

    served_name: ModelName
    start_time: Time
    """When it was found that the name may not answer any more."""
    pods: Annotated[list[ShortText], Field(max_length=128, json_schema_extra=LIST_ATOMIC)] = []
    """Pods that have not confirmed that they closed it: they answer it still, have not read the routes that close it, or cannot be
    asked."""
    confirmed: Annotated[list[ShortText], Field(max_length=128, json_schema_extra=LIST_ATOMIC)] = []
    """Pods that hold the adapter, have read the routes that close it, and said that none leads to it."""


class ContainerImage(ApiModel):
    """A container of the pods and its image."""

    container: ShortText
    image: Annotated[str, Field(max_length=1024)]


CONTAINER_IMAGES = Field(max_length=16, json_schema_extra=list_map("container"))


class RolloutStatus(ApiModel):
    """What the pods are made from, which no upgrade of the operator changes by itself."""

    digest: Digest
    """Of the rollout's document: the pods' template, in the ConfigMap `tunegate-rollout-<server>-<10 digits>`."""
    images: Annotated[list[ContainerImage], CONTAINER_IMAGES] = []
    """What the containers run."""


class ModelServerStatus(StatusBase):
    """What runs now."""

    phase: Literal["Pending", "Starting", "Ready", "Degraded", "Failed"] = "Pending"
    profile_digest: Digest | None = None
    base_volume: Literal["Protected", "Open", "Copied"] | None = None
    """Where pods read the base model from: a claim that only maintainers may make or replace (its name begins with
    `tunegate-`), one that the namespace's people may, or a copy of each pod's own. Every start hashes all of it anyway."""
    endpoint: ShortText | None = None
    """Base URL of the gateway inside the cluster."""
    external: ShortText | None = None
    """Host that the operator made an Ingress or HTTPRoute for."""
    replicas: int = 0
    """Pods that there are, ready or not."""
    ready_replicas: int = 0
    selector: Annotated[str, Field(max_length=512)] = ""
    """Labels of these pods, for autoscalers."""
    adapters: Annotated[list[ServedAdapter], Field(max_length=64, json_schema_extra=list_map("servedName"))] = []
    routes: Annotated[list[RouteStatus], Field(max_length=64, json_schema_extra=list_map("name"))] = []
    closings: Annotated[list[Closing], Field(max_length=64, json_schema_extra=list_map("servedName"))] = []
    """What was revoked, or may not answer for another reason, while some pod holds it."""
    rollout: RolloutStatus | None = None
    """The rollout in force."""
    offered: Annotated[list[ContainerImage], CONTAINER_IMAGES] = []
    """Images of the operator that runs now, where they are others: the next rollout brings them, or `spec.restartedAt`."""
    answers: Annotated[str, Field(max_length=1024)] = ""
    """Every route and who answers it, on one line for people: "holders: holders-1f2e3d4c, summaries: nobody", and with several releases
    their shares."""


class ModelServer(Resource):
    """A fleet of vLLM pods behind a gateway."""

    KIND: ClassVar[Kind] = Kind(
        "ModelServer",
        "modelservers",
        ("msrv",),
        "Namespaced",
        (
            Column("Phase", ".status.phase"),
            reason_column("Ready"),
            Column("Base", ".spec.baseModelRef.name"),
            Column("Ready", ".status.readyReplicas", "integer"),
            Column("Answers", ".status.answers"),
            Column("Message", ".status.message", wide=True),
            Column("Age", ".metadata.creationTimestamp", "date"),
        ),
        Names("is the name of its Service and a part of the gateway's address", letter_first=True),
        scalable=True,
    )

    spec: ModelServerSpec
    status: ModelServerStatus = ModelServerStatus()
