"""`python -m tunegate.maintenance.credentials`: makes the keys, certificates and passwords of an installation that are missing.

The chart runs it as a hook before it installs or upgrades. A template could make keys too, but they would then lie in every
manifest that Helm keeps, ten by default, and a tool that renders without the cluster would make new ones each time. What
exists is never written over or deleted: with other keys the ledger, the stores and everybody's passwords stop working.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import secrets
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tunegate.errors import Terminal, Transient
from tunegate.kube.client import AlreadyExists, KubeClient, ObjectRef
from tunegate.maintenance.authority import Pair, new_authority, new_key, private_pem, server_pair, token_pair
from tunegate.reconcile.naming import CA_CONFIG_MAP

MANAGER = "tunegate-credentials"
AUTHORITY = "tunegate-ca"
LEDGER_KEY = "tunegate-ledger-key"
PASSWORDS = "tunegate-mlflow-users"
REGISTRY_TOKEN = "tunegate-registry-token"
SERVERS = ("registry", "exchange", "mlflow")
PASSWORD_BYTES = 24
KEEP = {"helm.sh/resource-policy": "keep"}
"""Helm deletes what an older chart had in its manifest and this one has not, unless the object itself says so."""
Json = dict[str, Any]


class Credentials:
    """The Secrets of one installation. ``made`` names what was missing, for the log; nothing here shows a content."""

    def __init__(self, kube: KubeClient, namespace: str) -> None:
        self._kube = kube
        self._namespace = namespace
        self.made: list[str] = []

    async def certificates(self, servers: Sequence[str]) -> str:
        """Make the authority and a certificate for each of ``servers``; return the authority's certificate as PEM.

        Raises ``Terminal`` where a server's certificate is of an authority that is gone.
        """
        authority = await self._authority(servers)
        for server in servers:
            service = f"tunegate-{server}"
            local = f"{service}.{self._namespace}"
            names = (service, local, f"{local}.svc", f"{local}.svc.cluster.local", "localhost")
            await self._create(_tls_of(server), server, server_pair(authority, names).files(), "kubernetes.io/tls")
        return authority.files()["tls.crt"].decode()

    async def registry_token(self) -> None:
        """Make the key that signs access tokens of the registry."""
        await self._create(REGISTRY_TOKEN, "registry", token_pair("tunegate-operator").files(), "kubernetes.io/tls")

    async def ledger_key(self) -> None:
        """Make the key that signs the ledger and the evidence of releases. An existing one is not even read."""
        await self._create(LEDGER_KEY, "operator", {"key.pem": private_pem(new_key())})

    async def passwords(self) -> None:
        """Make the passwords of MLflow's two users. Nothing that runs in a governed namespace has one."""
        wanted = ("session-key", "operator", "exchange")
        fresh = {name: secrets.token_urlsafe(PASSWORD_BYTES).encode() for name in wanted}
        if await self._create(PASSWORDS, "mlflow", fresh):
            return
        live = await self._secret(PASSWORDS)
        known = live.get("data") or {}
        if missing := {name: value for name, value in fresh.items() if name not in known}:
            await self._kube.replace({**live, "data": {**known, **_encoded(missing)}})
            self.made += [f"{name} in Secret {PASSWORDS}" for name in missing]

    async def trust(self, bundle: str) -> None:
        """Write the authorities that pods of the system namespace trust; the operator hands them on to the governed ones."""
        config_map = self._object("ConfigMap", CA_CONFIG_MAP, "ca")
        await self._kube.apply({**config_map, "data": {"ca.crt": bundle} if bundle else {}}, manager=MANAGER)

    async def _authority(self, servers: Sequence[str]) -> Pair:
        if await self._kube.get(self._ref(AUTHORITY)) is None:
            for server in servers:
                if await self._kube.get(self._ref(_tls_of(server))) is not None:
                    message = (
                        f"Secret {_tls_of(server)} is of an authority that is gone, since there is no Secret {AUTHORITY}: "
                        f"bring {AUTHORITY} back from a backup, or delete {_tls_of(server)} too and upgrade again"
                    )
                    raise Terminal("ForeignCertificate", message)
            await self._create(AUTHORITY, "ca", new_authority("tunegate").files(), "kubernetes.io/tls")
        data = (await self._secret(AUTHORITY)).get("data") or {}
        try:
            return Pair.from_pem(base64.b64decode(data["tls.crt"]), base64.b64decode(data["tls.key"]))
        except (KeyError, TypeError, ValueError):
            raise Terminal(
                "BadAuthority", f"Secret {AUTHORITY}: tls.crt and tls.key are no certificate and key"
            ) from None

    async def _secret(self, name: str) -> Json:
        live = await self._kube.get(self._ref(name))
        if live is None:
            raise Transient(f"Secret {name} was deleted a moment ago")
        return live

    async def _create(self, name: str, component: str, content: Mapping[str, bytes], type_: str = "Opaque") -> bool:
        """Create the Secret and tell whether there was none."""
        secret = {**self._object("Secret", name, component), "type": type_, "data": _encoded(content)}
        try:
            await self._kube.create(secret)
        except AlreadyExists:
            return False
        self.made.append(f"Secret {name}")
        return True

    def _ref(self, name: str) -> ObjectRef:
        return ObjectRef("v1", "Secret", name, self._namespace)

    def _object(self, kind: str, name: str, component: str) -> Json:
        labels = {"app.kubernetes.io/name": "tunegate", "app.kubernetes.io/component": component}
        metadata = {"name": name, "namespace": self._namespace, "labels": labels, "annotations": KEEP}
        return {"apiVersion": "v1", "kind": kind, "metadata": metadata}


def _tls_of(server: str) -> str:
    return f"tunegate-{server}-tls"


def _encoded(content: Mapping[str, bytes]) -> dict[str, str]:
    return {name: base64.b64encode(value).decode() for name, value in content.items()}


async def _make(options: argparse.Namespace) -> list[str]:
    async with await KubeClient.connect(options.kubeconfig) as kube:
        credentials = Credentials(kube, options.namespace)
        site = options.authorities.read_text().strip() if options.authorities else ""
        bundle = f"{site}\n" if site else ""
        if options.server:
            bundle = await credentials.certificates(options.server) + bundle
        if "registry" in options.server:
            await credentials.registry_token()
        if "mlflow" in options.server:
            await credentials.passwords()
        if options.ledger_key:
            await credentials.ledger_key()
        await credentials.trust(bundle)
        return credentials.made


def main(arguments: Sequence[str] | None = None) -> int:
    """Make what is missing and print its names; 1 when something is left to be made."""
    options = _parser().parse_args(arguments)
    try:
        made = asyncio.run(_make(options))
    except (Transient, Terminal) as error:
        print(f"not all credentials could be made: {error.message}", file=sys.stderr)
        return 1
    print("\n".join(f"made {what}" for what in made) or "nothing was missing")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tunegate.maintenance.credentials", description=__doc__)
    parser.add_argument("--namespace", required=True, help="where Tunegate is installed")
    parser.add_argument("--server", action="append", default=[], choices=SERVERS, help="a store of the chart's own")
    parser.add_argument("--ledger-key", action="store_true", help="the site brings no key of its own for the ledger")
    parser.add_argument("--authorities", type=Path, metavar="FILE", help="what else pods trust, as PEM")
    parser.add_argument("--kubeconfig", help="absent: the pod's own service account")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
