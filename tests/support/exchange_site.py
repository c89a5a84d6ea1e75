"""An API server with the chart's roles, a registry that trusts one key, and the exchange between them: all real."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import yaml

from tests.support import helm
from tests.support.control_plane import ControlPlane, Member, running_control_plane
from tests.support.governed_namespace import World
from tests.support.ports import free_port
from tests.support.programs import program
from tests.support.registry_process import RunningRegistry, running_registry
from tunegate.api.pushed import AUDIENCE
from tunegate.maintenance.authority import token_pair
from tunegate.registry.tokens import TokenSigner

Json = dict[str, Any]
PROGRAMS = Path(__file__).resolve().parents[2] / "operator"
ADMIN, EXCHANGE = Member("admin", "admin", ("system:masters",)), Member("exchange", "exchange")
PEOPLE = (
    Member("steward", "stella", ("stewards",)),
    Member("reviewer", "ravi", ("reviewers",)),
    Member("auditor", "ada", ("audit",)),
    Member("engineer", "erin", ("engineers",)),
    Member("evaluation-owner", "eva", ("evaluation-owners",)),
    Member("stranger", "mallory", ("others",)),
)
OWN, OTHER, FREE = "licenses-team", "team-b", "not-governed"
BOUND = {
    "stewards": "tunegate-data-steward",
    "reviewers": "tunegate-evidence-reader",
    "engineers": "tunegate-requester",
    "evaluation-owners": "tunegate-evaluation-owner",
}


@dataclass(frozen=True)
class Site:
    """Everything that runs."""

    plane: ControlPlane
    registry: RunningRegistry
    signer: TokenSigner
    url: str
    log: Path
    folder: Path

    def kubectl(self, *words: str, stdin: Any = None) -> str:
        """Run kubectl as the admin and return what it prints."""
        command = [program("kubectl"), "--kubeconfig", self.plane.kubeconfig("admin"), *words]
        text = None if stdin is None else json.dumps(stdin)
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def token(self, role: str) -> str:
        """Return a person's own token, as their kubeconfig has it."""
        return str(yaml.safe_load(Path(self.plane.kubeconfig(role)).read_text())["users"][0]["user"]["token"])

    def account_token(self, namespace: str, name: str, audience: str = AUDIENCE) -> str:
        """Return a token of a service account."""
        return self.kubectl("create", "token", name, "-n", namespace, f"--audience={audience}").strip()

    def ask(self, method: str, path: str, token: str | None, **options: Any) -> httpx.Response:
        """Send a request to the exchange."""
        headers = {**({"Authorization": f"Bearer {token}"} if token else {}), **options.pop("headers", {})}
        return httpx.request(method, f"{self.url}{path}", headers=headers, timeout=60, trust_env=False, **options)

    def exchanged(self, token: str | None, repository: str, actions: str = "pull") -> httpx.Response:
        """Ask for a token of the registry."""
        scope = {"service": "tunegate-registry", "scope": f"repository:{repository}:{actions}"}
        return self.ask("GET", "/token", token, params=scope)

    def read(self, repository: str, registry_token: str, path: str = "tags/list") -> int:
        """Read in the registry; 401: refused, 404: allowed, and nothing is there."""
        headers = {"Authorization": f"Bearer {registry_token}"}
        return httpx.get(f"http://{self.registry.host}/v2/{repository}/{path}", headers=headers).status_code

    def events(self, name: str) -> list[Json]:
        """Return the exchange's log lines of an event."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [line for line in lines if line.get("event") == name]


@contextmanager
def running_site(folder: Path, **settings: str) -> Iterator[Site]:
    """Start it all; ``settings`` of the exchange by their variables without the prefix."""
    files = token_pair("tunegate-operator").files()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    signer = TokenSigner.from_files(folder / "tls.key", folder / "tls.crt")
    with (
        running_control_plane(folder, [ADMIN, EXCHANGE, *PEOPLE]) as plane,
        running_registry(folder / "registry", token_certificate=folder / "tls.crt") as registry,
        running_exchange(folder, plane, registry, settings) as url,
    ):
        site = Site(plane, registry, signer, url, folder / "exchange.log", folder)
        site.kubectl("apply", "-f", "-", stdin={"apiVersion": "v1", "kind": "List", "items": rights()})
        yield site


@contextmanager
def running_exchange(
    folder: Path,
    plane: ControlPlane | World,
    registry: RunningRegistry,
    settings: dict[str, str],
    name: str = "exchange",
) -> Iterator[str]:
    """Start the program as its container does, without TLS; gives its address. ``name``: of its log."""
    port = free_port()
    told = {
        "NAMESPACES": f"{OWN},{OTHER}", "REGISTRY_HOST": registry.host, "REGISTRY_PLAIN_HTTP": "true", "HOST": "127.0.0.1",
        "REGISTRY_TOKEN_KEY": str(folder / "tls.key"), "REGISTRY_TOKEN_CERT": str(folder / "tls.crt"), "PORT": str(port),
        "KUBECONFIG": plane.kubeconfig("exchange"), **settings,
    }  # fmt: skip
    kept = {key: value for key, value in os.environ.items() if not key.startswith("TUNEGATE_")}
    environment = {**kept, **{f"TUNEGATE_{key}": value for key, value in told.items()}, "PYTHONPATH": str(PROGRAMS)}
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tunegate", "exchange"], stdout=log, stderr=log, env=environment
        )
    try:
        _wait_until_up(f"http://127.0.0.1:{port}", process, folder / f"{name}.log")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=20)


def _wait_until_up(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(600):
        try:
            if httpx.get(f"{url}/healthz", trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
        assert process.poll() is None, log.read_text()[-2000:]
    raise AssertionError("the exchange did not come up")


def rights() -> list[Json]:
    """Return the chart's own roles, bound to the groups of ``PEOPLE`` in ``OWN``; auditors in the whole cluster."""
    rendered = helm.render(helm.values())
    wanted = {*BOUND.values(), "tunegate-exchange", "tunegate-auditor"}
    roles = [one for one in rendered if one["kind"] == "ClusterRole" and one["metadata"]["name"] in wanted]
    bindings = [_binding("RoleBinding", role, "Group", group, OWN) for group, role in BOUND.items()]
    bindings += [_binding("ClusterRoleBinding", "tunegate-exchange", "User", EXCHANGE.name)]
    bindings += [_binding("ClusterRoleBinding", "tunegate-evidence-reader", "Group", "audit")]
    bindings += [_binding("ClusterRoleBinding", "tunegate-auditor", "Group", "audit")]
    spaces = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in (OWN, OTHER, FREE)]
    accounts = [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "pipeline", "namespace": name}}
        for name in (OWN, OTHER)
    ]
    return [*spaces, *accounts, *roles, *bindings]


def _binding(kind: str, role: str, subject: str, name: str, namespace: str = "") -> Json:
    metadata = {"name": f"{role}-{name}", **({"namespace": namespace} if namespace else {})}
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": metadata,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": subject, "name": name}],
    }  # fmt: skip


def parts_of(content: bytes, size: int) -> Sequence[bytes]:
    """Return content in pieces."""
    return [content[at : at + size] for at in range(0, len(content), size)]


def unended(site: Site, path: str, token: str, content: bytes) -> int:
    """Begin a body of unstated length, never end it, and return the status that comes."""
    where = urlsplit(site.url)
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nTransfer-Encoding: chunked\r\n\r\n"
    with socket.create_connection((str(where.hostname), int(where.port or 0)), timeout=60) as connection:
        connection.sendall(head.encode() + f"{len(content):x}\r\n".encode() + content + b"\r\n")
        return int(connection.recv(100).split()[1])
