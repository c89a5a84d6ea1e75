"""What proves who calls: a header, and the program of the kubeconfig that gives another one when it has run out.

Form and meaning: `client.authentication.k8s.io/v1`, as kubectl has it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx

from tunegate.cli.failure import CommandFailure

Json = dict[str, Any]
VERSIONS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")
MODES = ("Never", "IfAvailable", "Always")
EARLY_SECONDS = 10.0
"""A proof that ends sooner is asked for again before it is used."""
EXTENSION = "client.authentication.k8s.io/exec"
CLUSTER_FIELDS = {
    "server": "server", "tls-server-name": "tls-server-name", "insecure-skip-tls-verify": "insecure-skip-tls-verify",
    "certificate-authority-data": "certificate-authority-data", "proxy-url": "proxy-url",
}  # fmt: skip
"""What a program that asks for it is told of the cluster."""


@dataclass(frozen=True)
class Proof:
    """What a program gave: a token, a certificate with its key, or both."""

    token: str = ""
    certificate: str = ""
    key: str = ""
    expires: float | None = None
    """When it ends, in seconds since 1970; None: not before the server says so."""


NO_PROOF = Proof()


@dataclass(frozen=True)
class Plugin:
    """A program that logs in, as `users[].user.exec` names it."""

    command: tuple[str, ...]
    environment: Mapping[str, str]
    version: str
    interactive: bool
    hint: str
    cluster: Json | None

    @classmethod
    def of(cls, given: Json, cluster: Json) -> Plugin:
        """Return the program. Raises ``CommandFailure`` for one that cannot be run here."""
        version, mode = str(given.get("apiVersion") or ""), str(given.get("interactiveMode") or "IfAvailable")
        if version not in VERSIONS or not given.get("command"):
            raise CommandFailure(f"the kubeconfig's exec needs command, and an apiVersion of {', '.join(VERSIONS)}")
        if mode not in MODES:
            raise CommandFailure(f"the kubeconfig's exec has interactiveMode {mode}; allowed are {', '.join(MODES)}")
        terminal = sys.stdin is not None and sys.stdin.isatty()
        if mode == "Always" and not terminal:
            raise CommandFailure(f"{given['command']} has to ask you something: log in on a terminal first")
        return cls(
            command=(str(given["command"]), *map(str, given.get("args") or ())),
            environment={str(entry["name"]): str(entry["value"]) for entry in given.get("env") or ()},
            version=version,
            interactive=terminal and mode != "Never",
            hint=str(given.get("installHint") or ""),
            cluster=_told(cluster) if given.get("provideClusterInfo") else None,
        )

    def run(self) -> Proof:
        """Return what its ExecCredential proves. Raises ``CommandFailure``."""
        spec: Json = {"interactive": self.interactive, **({"cluster": self.cluster} if self.cluster else {})}
        asked = {"apiVersion": self.version, "kind": "ExecCredential", "spec": spec}
        environment = {**os.environ, **self.environment, "KUBERNETES_EXEC_INFO": json.dumps(asked)}
        name = self.command[0]
        if shutil.which(name, path=environment.get("PATH")) is None:
            raise CommandFailure(
                f"the kubeconfig logs in by the program {name}, which is not there. {self.hint}".strip()
            )
        # What it asks and says goes to the person; its output is the proof and is never shown.
        done = subprocess.run(
            self.command, env=environment, stdout=subprocess.PIPE, check=False,
            stdin=None if self.interactive else subprocess.DEVNULL,
        )  # fmt: skip
        if done.returncode:
            raise CommandFailure(f"{name}, by which the kubeconfig logs in, failed: exit status {done.returncode}")
        return self._proof(done.stdout)

    def _proof(self, output: bytes) -> Proof:
        def failed(what: str) -> CommandFailure:
            return CommandFailure(f"{self.command[0]}, by which the kubeconfig logs in, failed: {what}")

        try:
            answer = json.loads(output)
            status = answer["status"] if answer["apiVersion"] == self.version else None
        except (ValueError, KeyError, TypeError):
            status = None
        if not isinstance(status, dict):
            raise failed(f"no ExecCredential of {self.version}")
        token, certificate, key = (
            str(status.get(field) or "") for field in ("token", "clientCertificateData", "clientKeyData")
        )
        if bool(certificate) != bool(key) or not (token or certificate):
            raise failed("its ExecCredential has neither a token nor a certificate with its key")
        try:
            ends = status.get("expirationTimestamp")
            expires = datetime.fromisoformat(str(ends)).timestamp() if ends else None
        except ValueError:
            raise failed("its expirationTimestamp is no time") from None
        return Proof(token, certificate, key, expires)


def _told(cluster: Json) -> Json:
    told: Json = {field: cluster[name] for name, field in CLUSTER_FIELDS.items() if cluster.get(name)}
    own = [one["extension"] for one in cluster.get("extensions") or () if one.get("name") == EXTENSION]
    return {**told, **({"config": own[0]} if own else {})}


class Credentials(httpx.Auth):
    """Adds the proof to each request. Before it ends, and once the server no longer takes it, the program is asked again."""

    def __init__(
        self,
        authorization: str | None,
        plugin: Plugin | None = None,
        server_name: str | None = None,
        expires: float | None = None,
    ) -> None:
        self._authorization = authorization
        self._plugin = plugin
        self._server_name = server_name
        self._expires = expires

    @property
    def bearer(self) -> str | None:
        """The person's token; None where a certificate or a password proves who calls."""
        kind, _, token = (self._authorization or "").partition(" ")
        return token if kind == "Bearer" and token else None

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Send the request, and a second time with a new proof."""
        if self._server_name:
            request.extensions = {**request.extensions, "sni_hostname": self._server_name}
        if self._expires is not None and self._expires - time.time() < EARLY_SECONDS:
            self._renew()
        if self._authorization:
            request.headers["Authorization"] = self._authorization
        answer = yield request
        if answer.status_code == httpx.codes.UNAUTHORIZED and self._renew():
            request.headers["Authorization"] = str(self._authorization)
            yield request

    def _renew(self) -> bool:
        """Ask the program for another token; a certificate is shown when the connection begins and stays."""
        if self._plugin is None or not self._authorization:
            return False
        proof = self._plugin.run()
        self._authorization = f"Bearer {proof.token}" if proof.token else self._authorization
        # One that is given with less time than that is used as it is, and not asked for before each request.
        self._expires = proof.expires if (proof.expires or 0.0) - time.time() >= EARLY_SECONDS else None
        return bool(proof.token)
