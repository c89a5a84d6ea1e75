"""Settings of the gateway: where it listens, where the engine and the API server are, and its limits."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tunegate.api import serving
from tunegate.environment import unknown_variables
from tunegate.errors import Terminal
from tunegate.mounted import read_documents


@dataclass(frozen=True)
class Limits:
    """Bounds on what clients can make the gateway and the engine hold. Times are in seconds."""

    body_bytes: int = 1024 * 1024
    """Of one request."""
    reading_bytes: int = 32 * 1024 * 1024
    """Of all bodies that are held at once, until the engine has begun to answer."""
    answer_bytes: int = 8 * 1024 * 1024
    """Of one answer that is not streamed."""
    places: int = 512
    """Requests that are heard at once, from the first byte of the body on."""
    sequences: int = 256
    """Answers that the engine writes at once; a request counts as `n` times its prompts."""
    structured: int = 8
    """Of them with a schema, a pattern or choices, which the engine compiles."""
    share: float = 0.5
    """Of places, bytes and sequences, for one client alone."""
    structured_share: float = 0.25
    queue_seconds: float = 15.0
    """To wait for a place, for bytes or for the engine, each."""
    compile_seconds: float = 5.0
    """A structured request that its client gave up counts for so long: the engine goes on compiling."""
    body_seconds: float = 30.0
    """To receive a request's body."""
    head_seconds: float = 10.0
    """To receive a request's head, from the first byte on or from the connection's beginning."""
    idle_seconds: float = 75.0
    """Between two requests of a connection."""
    write_seconds: float = 30.0
    """For a client to read anything of what was sent to it."""
    connections: int = 2048
    connections_each: int = 1024
    """From one address; an ingress counts as one."""
    head_bytes: int = 16 * 1024
    """Of a request line and of each header; the headers are at most 64."""
    silence_seconds: float = 300.0
    """Between two pieces of the engine's answer."""
    request_seconds: float = 1800.0
    drain_delay: float = 5.0
    """Requests are still taken for so long after SIGTERM, until every kube-proxy has forgotten the pod."""
    tool_calls: bool = False
    """Whether a request may leave it to the model to call a tool: the engine has a parser of tool calls."""
    drain_seconds: float = 240.0
    """To finish what is in flight; the pod's `terminationGracePeriodSeconds` must be longer than both together."""


@dataclass(frozen=True)
class Cluster:
    """How to reach the API server."""

    url: str
    token_file: Path
    ca_file: Path | None


@dataclass(frozen=True)
class GatewaySettings:
    """The defaults are those of a serving pod."""

    namespace: str
    server: str
    cluster: Cluster
    host: str | None = None
    """Address to listen on; None: every address of the pod, IPv4 and IPv6."""
    port: int = serving.GATEWAY_PORT
    status_port: int = serving.STATUS_PORT
    engine_socket: Path = Path(serving.ENGINE_SOCKET)
    fetch_socket: Path = Path(serving.FETCH_SOCKET)
    base_report: Path = Path(serving.BASE_REPORT)
    adapters: str = serving.ADAPTERS_DIR
    """Folder of the verified adapters, as the engine names it."""
    most_adapters: int = 16
    """That the engine holds at once."""
    credential_secret: str | None = None
    """Secret whose registry credential goes to the container that fetches; None: it has its own."""
    api_keys: Path = Path(serving.API_KEYS_DIR)
    tls: Path | None = None
    """Folder of `tls.crt` and `tls.key`; None: plain HTTP."""
    server_uid: str = ""
    """Of the ModelServer: routes that are not its own are not followed."""
    limits: Limits = Limits()

    @property
    def routes_config_map(self) -> str:
        """Name of the ConfigMap with the routes, which is watched."""
        return serving.routes_name(self.server)

    @property
    def adapters_config_map(self) -> str:
        """Name of the ConfigMap with the adapters to hold, which is watched."""
        return serving.adapters_name(self.server)


def in_pod(
    config_digest: str, environment: Mapping[str, str] | None = None, documents: Path = Path(serving.CONFIG_DIR)
) -> GatewaySettings:
    """Return the settings of a pod: the server's document is mounted, the API server is in the environment.

    Raises ``ConfigurationDiffers`` when the mounted documents are not those of ``config_digest``, and ``Terminal`` when the
    environment has a variable of Tunegate: a gateway has no setting there, and it would do nothing.
    """
    source = os.environ if environment is None else environment
    if unknown := unknown_variables(source, ()):
        raise Terminal("BadSettings", f"a gateway takes its settings from its ModelServer alone: {' '.join(unknown)}")
    mounted = read_documents(documents, config_digest)
    document = serving.ServerDocument.model_validate_json(mounted[serving.SERVER_FILE])
    host = source["KUBERNETES_SERVICE_HOST"]
    host = f"[{host}]" if ":" in host else host
    token = Path(serving.TOKEN_DIR)
    return GatewaySettings(
        namespace=document.namespace,
        server=document.server,
        server_uid=document.server_uid,
        tls=Path(serving.TLS_DIR) if document.tls else None,
        most_adapters=document.max_cpu_loras,
        credential_secret=document.credential_secret,
        limits=Limits(
            sequences=document.sequences,
            body_bytes=document.body_bytes,
            tool_calls=document.tool_parser is not None,
        ),
        cluster=Cluster(
            f"https://{host}:{source.get('KUBERNETES_SERVICE_PORT', '443')}", token / "token", token / "ca.crt"
        ),
    )
