"""Settings of the gateway: where it listens, where the engine and the API server are, and its limits."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tunegate.api import serving


@dataclass(frozen=True)
class Limits:
    """Bounds on what one client can make the gateway hold. Times are in seconds."""

    body_bytes: int = 8 * 1024 * 1024
    in_flight: int = 256
    body_seconds: float = 30.0
    """To receive a request's body."""
    silence_seconds: float = 300.0
    """Between two pieces of the engine's answer."""
    request_seconds: float = 1800.0
    drain_delay: float = 5.0
    """Requests are still taken for so long after SIGTERM, until every kube-proxy has forgotten the pod."""
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
    host: str = "0.0.0.0"  # noqa: S104 - the pod's only way in
    port: int = serving.GATEWAY_PORT
    status_port: int = serving.STATUS_PORT
    engine_socket: Path = Path(serving.ENGINE_SOCKET)
    report: Path = Path(serving.REPORT_PATH)
    api_keys: Path = Path(serving.API_KEYS_DIR)
    limits: Limits = Limits()

    @property
    def routes_config_map(self) -> str:
        """Name of the ConfigMap that is watched."""
        return serving.routes_name(self.server)


def in_pod(environment: Mapping[str, str] | None = None) -> GatewaySettings:
    """Return the settings of a pod: the server's document is mounted, the API server is in the environment."""
    source = os.environ if environment is None else environment
    document = serving.ServerDocument.model_validate_json(Path(serving.SERVER_PATH).read_bytes())
    host = source["KUBERNETES_SERVICE_HOST"]
    host = f"[{host}]" if ":" in host else host
    token = Path(serving.TOKEN_DIR)
    return GatewaySettings(
        namespace=document.namespace,
        server=document.server,
        cluster=Cluster(
            f"https://{host}:{source.get('KUBERNETES_SERVICE_PORT', '443')}", token / "token", token / "ca.crt"
        ),
    )
