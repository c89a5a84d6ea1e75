"""What proves who calls: a header, and the program of the kubeconfig that gives another one when it has run out.

Form and meaning: `client.authentication.k8s.io/v1`, as kubectl has it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from tunegate.cli.failure import CommandFailure

Json = dict[str, Any]
GROUP = "client.authentication.k8s.io/"
EXTENSION = "client.authentication.k8s.io/exec"
CLUSTER_FIELDS = {
    "server": "server", "tls-server-name": "tls-server-name", "insecure-skip-tls-verify": "insecure-skip-tls-verify",
    "certificate-authority-data": "certificate-authority-data", "proxy-url": "proxy-url",
}  # fmt: skip
"""What a program that asks for it is told of the cluster."""


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
        if not version.startswith(GROUP) or not given.get("command"):
            raise CommandFailure(f"the kubeconfig's exec needs command and apiVersion ({GROUP}v1)")
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

    def run(self) -> Json:
        """Return the status of its ExecCredential. Raises ``CommandFailure``."""
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
        try:
            answer = json.loads(done.stdout)
            status = answer["status"] if answer["apiVersion"] == self.version else None
        except (ValueError, KeyError, TypeError):
            status = None
        if done.returncode or not isinstance(status, dict):
            what = f"exit status {done.returncode}" if done.returncode else f"no ExecCredential of {self.version}"
            raise CommandFailure(f"{name}, by which the kubeconfig logs in, failed: {what}")
        return status


def _told(cluster: Json) -> Json:
    told: Json = {field: cluster[name] for name, field in CLUSTER_FIELDS.items() if cluster.get(name)}
    own = [one["extension"] for one in cluster.get("extensions") or () if one.get("name") == EXTENSION]
    return {**told, **({"config": own[0]} if own else {})}


class Credentials(httpx.Auth):
    """Adds the proof to each request. Once the server no longer takes it, the program is asked for another."""

    def __init__(self, authorization: str | None, plugin: Plugin | None = None, server_name: str | None = None) -> None:
        self._authorization = authorization
        self._plugin = plugin
        self._server_name = server_name

    @property
    def bearer(self) -> str | None:
        """The person's token; None where a certificate or a password proves who calls."""
        kind, _, token = (self._authorization or "").partition(" ")
        return token if kind == "Bearer" and token else None

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Send the request, and a second time with a new proof."""
        if self._server_name:
            request.extensions = {**request.extensions, "sni_hostname": self._server_name}
        if self._authorization:
            request.headers["Authorization"] = self._authorization
        answer = yield request
        if answer.status_code == httpx.codes.UNAUTHORIZED and self._plugin and self._authorization:
            self._authorization = f"Bearer {self._plugin.run().get('token')}"
            request.headers["Authorization"] = self._authorization
            yield request
