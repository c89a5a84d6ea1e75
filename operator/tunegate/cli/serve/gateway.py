"""A server's gateway as one person reaches it: its address, a token that it takes, and one question at a time."""

from __future__ import annotations

import base64
import json
import ssl
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from tunegate.api.modelserver import ModelServer
from tunegate.api.serving import TOKEN_AUDIENCE
from tunegate.cli import addresses, config
from tunegate.cli.cluster import Cluster, Json
from tunegate.cli.failure import CommandFailure, Forbidden, WrongUsage
from tunegate.server_certificates import certificate_fault

SECONDS = httpx.Timeout(10.0, read=300.0)
TOKEN_SECONDS = 600
"""What Kubernetes gives at least."""


class Gateway:
    """One gateway, asked with one token. Redirects are not followed: the token is for this address."""

    def __init__(self, address: str, token: str, authority: Path | None, hint: Callable[[], str]) -> None:
        """``hint`` says what to do when nobody answers there."""
        if authority is not None and not authority.is_file():
            raise WrongUsage(f"{authority}: no such file")
        self.address = address
        self._hint = hint
        try:
            self._trust = ssl.create_default_context(cafile=authority) if authority else httpx.create_ssl_context()
        except ssl.SSLError as error:
            raise WrongUsage(f"{authority} is no PEM certificate") from error
        self._http = httpx.Client(
            base_url=address, headers={"Authorization": f"Bearer {token}"}, timeout=SECONDS, verify=self._trust
        )

    def model(self, name: str) -> Json:
        """Return what the gateway says of a model's name."""
        return self._send("GET", f"/v1/models/{name}", None)

    def chat(self, body: Json) -> Json:
        """Return the answer to a chat."""
        return self._send("POST", "/v1/chat/completions", body)

    def _send(self, method: str, path: str, body: Json | None) -> Json:
        try:
            answer = self._http.request(method, path, json=body)
        except httpx.HTTPError as error:
            if fault := certificate_fault(error, self._trust):
                hint = ": name it with --gateway-ca or `gateway: {caFile: FILE}`" if fault.of_authority else ""
                raise CommandFailure(f"the gateway at {self.address}: {fault.text}{hint}") from error
            raise CommandFailure(f"the gateway at {self.address} does not answer: {error}. {self._hint()}") from error
        try:
            document: Any = answer.json()
        except ValueError:
            document = None
        if answer.status_code == 200 and isinstance(document, dict):
            return document
        told = document.get("error") if isinstance(document, dict) else None
        if isinstance(told, dict):
            raise CommandFailure(f"{answer.status_code} {told.get('code')}: {told.get('message')}")
        raise CommandFailure(
            f"{self.address} answers {answer.status_code}, and not as a gateway does: is the address right?"
        )


def opened(cluster: Cluster, server: ModelServer, options: Namespace) -> Gateway:
    """Return the server's gateway by options, settings or its own address. Raises ``CommandFailure``."""
    told = config.read().gateway
    pattern = options.gateway or (told.address if told else None)
    pattern = pattern or addresses.gateway(cluster, server.namespace) or server.status.endpoint
    if pattern is None:
        raise CommandFailure(f"server/{server.name} has no address yet: it is {server.status.phase}")
    address = pattern.replace("{server}", server.name).replace("{namespace}", server.namespace)
    if not address.startswith(("http://", "https://")):
        raise WrongUsage(f"{address}: a gateway's address begins with http:// or https://")
    own = config.belonging(told, "address", options.gateway)
    authority = Path(options.gateway_ca) if options.gateway_ca else config.beside(own.ca_file if own else None)
    file = Path(options.token_file) if options.token_file else config.beside(own.token_file if own else None)
    token = _token(cluster, server, file, options.service_account)
    return Gateway(address.rstrip("/"), token, authority, lambda: _way_in(cluster, server, address))


def _way_in(cluster: Cluster, server: ModelServer, address: str) -> str:
    """Return what this person may do where the address is not theirs to reach."""
    asked = (
        "ask the platform team for the gateways' address from outside, and give it with --gateway or once in the settings: "
        "gateway: {address: ADDRESS}; for everybody it is the chart's addresses.gateway"
    )
    if not cluster.may("create", "pods/portforward", "", server.namespace, group=""):
        return f"From outside the cluster: {asked}"
    port = 443 if address.startswith("https") else 80
    return (
        f"From outside the cluster: kubectl -n {server.namespace} port-forward service/{server.name} 8080:{port}, and give --gateway "
        f"with that address; or {asked}"
    )


def _token(cluster: Cluster, server: ModelServer, file: Path | None, account: str | None) -> str:
    if account:
        namespace, _, name = account.rpartition("/")
        try:
            return cluster.account_token(namespace or server.namespace, name, TOKEN_AUDIENCE, TOKEN_SECONDS)
        except Forbidden as error:
            raise Forbidden(f"no token of service account {account}: {error}") from error
    if file is not None:
        try:
            return file.read_text().strip()
        except OSError as error:
            raise WrongUsage(f"{file}: {error.strerror}") from error
    own: str | None = cluster.bearer
    if own is not None and _is_for_gateways(own):
        return own
    groups = ", ".join(server.spec.clients.kubernetes_groups)
    who = f"members of {groups} may ask; " if groups else ""
    raise CommandFailure(
        f"server/{server.name} needs a token for audience {TOKEN_AUDIENCE}: {who}give --service-account NAME, if you may make "
        "its tokens, or --token-file FILE, or name a file once in the settings: gateway: {tokenFile: FILE}"
    )


def _is_for_gateways(token: str) -> bool:
    """Tell whether a token says that it is for gateways: another one is never sent there."""
    parts = token.split(".")
    if len(parts) != 3:
        return False
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except ValueError:
        return False
    named = claims.get("aud") if isinstance(claims, dict) else None
    return TOKEN_AUDIENCE in (named if isinstance(named, list) else [named])
