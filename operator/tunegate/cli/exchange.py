"""The exchange as one person sees it: a Kubernetes token opens the registry, and takes data into it."""

from __future__ import annotations

import posixpath
import ssl
import threading
import time
from argparse import ArgumentParser, Namespace, _ArgumentGroup
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx

from tunegate.api.pushed import AUDIENCE, Push, PushedKind, PushedPlace
from tunegate.cli import config
from tunegate.cli.cluster import Cluster, Json
from tunegate.cli.failure import CommandFailure, Forbidden, Unreachable
from tunegate.server_certificates import certificate_fault

ATTEMPTS = 5
PAUSE_SECONDS = 0.5
"""Before the second try; each further one waits twice as long."""
REQUEST_SECONDS = 150.0
MLFLOW = "/mlflow/"
TOKEN_SECONDS = 3600
"""Of a service account's token: a large push takes a while."""
NO_TOKEN = (
    "your kubeconfig has no token but another credential, such as a client certificate, and only tokens can be shown to the exchange. "
    "Name a service account whose tokens you may make (`registry: {serviceAccount: NAME}` in {settings}), or sign in by your "
    "identity provider: docs/bring-data-in.md says how, and docs/road-cluster.md what the platform team makes for it"
)


def add_options(parser: ArgumentParser) -> None:
    """Add the options that say where the exchange is, and whose token it is shown."""
    group = parser.add_argument_group("exchange", f"Each of these options overrides {config.shown_path()}.")
    group.add_argument("--exchange", metavar="HOST:PORT")
    add_token_options(group)
    group.add_argument("--registry-ca", metavar="FILE", help="PEM authority of the exchange")
    group.add_argument("--registry-plain-http", action="store_true")


def add_token_options(parser: ArgumentParser | _ArgumentGroup) -> None:
    """Add the options that say whose token the exchange is shown."""
    parser.add_argument("--service-account", metavar="NAME", help="show a token of this account, which you may make")
    parser.add_argument("--token-file", metavar="FILE", help="show the token in this file, as a pipeline's pod has it")


class TokenRefused(Forbidden):
    """The exchange takes the token for nobody's: nothing is known of what its owner may."""


@dataclass(frozen=True)
class Address:
    """Where the exchange is, and who one is there."""

    host: str
    ca_file: Path | None
    plain_http: bool
    token: Callable[[], str]


def address(options: Namespace) -> Address:
    """Return the exchange that options or settings name. Raises ``CommandFailure`` where none does."""
    found = known(options)
    if found is None:
        raise CommandFailure(
            f"which exchange? Give --exchange HOST:PORT, or name it once in {config.path()}: registry: {{host: HOST, exchange: HOST:PORT, "
            "caFile: ca.crt}"
        )
    return found


def known(options: Namespace) -> Address | None:
    """Return the exchange that options or settings name, or None."""
    told = config.read().registry
    typed = getattr(options, "exchange", None)
    host = typed or (told.exchange if told else None)
    if host is None:
        return None
    own = config.belonging(told, "exchange", typed)
    named = getattr(options, "registry_ca", None)
    authority = Path(named) if named else config.beside(own.ca_file if own else None)
    plain = getattr(options, "registry_plain_http", False) or bool(own and own.plain_http)
    return Address(host, authority, plain, lambda: kubernetes_token(options, own))


def kubernetes_token(options: Namespace, own: config.RegistrySettings | None) -> str:
    """Return the token to show: from a file, of a service account, or the kubeconfig's own. Raises ``CommandFailure``.

    ``own``: the settings of this exchange.
    """
    file = getattr(options, "token_file", None) or config.beside(own.token_file if own else None)
    if file is not None:
        try:
            return Path(file).read_text().strip()
        except OSError as error:
            raise CommandFailure(f"the token file {file} cannot be read: {error.strerror}") from error
    cluster = Cluster.of(options)
    account = getattr(options, "service_account", None) or (own.service_account if own else None)
    if account is not None:
        return cluster.account_token(*placed(account, options, cluster), AUDIENCE, TOKEN_SECONDS)
    if cluster.impersonates:
        raise CommandFailure(
            "the exchange sees the token, not whom --as names: use a kubeconfig of that person, or --service-account"
        )
    if cluster.bearer is None:
        raise CommandFailure(NO_TOKEN.replace("{settings}", str(config.path())))
    return cluster.bearer


def placed(account: str, options: Namespace, cluster: Cluster) -> tuple[str, str]:
    """Return namespace and name of an account that options or settings name."""
    namespace, _, name = account.rpartition("/")
    return namespace or options.namespace or cluster.namespace, name


class Exchange:
    """One connection, for several threads. A token that has expired is asked for again, once for all of them."""

    def __init__(self, where: Address) -> None:
        self._where = where
        self._token = ""
        self._renewing = threading.Lock()
        scheme = "http" if where.plain_http else "https"
        self._trust = ssl.create_default_context()
        if where.ca_file is not None:
            try:
                self._trust.load_verify_locations(cafile=str(where.ca_file))
            except (OSError, ssl.SSLError) as error:
                raise CommandFailure(f"the authority {where.ca_file} cannot be read: {error}") from error
        self._http = httpx.Client(
            base_url=f"{scheme}://{where.host}", verify=self._trust, timeout=REQUEST_SECONDS, trust_env=False
        )
        self._kept: dict[str, tuple[float, str]] = {}

    def registry_token(self, repository: str) -> str:
        """Return a token that reads a repository; asked for again when two thirds of its life are over."""
        until, token = self._kept.get(repository, (0.0, ""))
        if until > time.monotonic():
            return token
        query = {"service": "tunegate-registry", "scope": f"repository:{repository}:pull"}
        answer = self._send("GET", "/token", params=query).json()
        token = str(answer["token"])
        self._kept[repository] = (time.monotonic() + float(answer["expires_in"]) * 2 / 3, token)
        return token

    def has_part(self, where: str, digest: str) -> bool:
        """Tell whether a part is stored already. An answer to HEAD says no reason: that to the part itself does."""
        return self._send("HEAD", f"{where}/parts/{digest}", accept_refusal=True).status_code == 200

    def store_part(self, where: str, digest: str, content: bytes) -> None:
        """Store a part."""
        self._send("PUT", f"{where}/parts/{digest}", content=content)

    def complete(self, where: str, push: Push) -> Json:
        """Complete a push and return what is recorded of it."""
        headers = {"Content-Type": "application/json"}
        return dict(
            self._send("POST", where, content=push.model_dump_json(by_alias=True).encode(), headers=headers).json()
        )

    def pushes(self, namespace: str, kind: PushedKind, name: str = "") -> list[Json]:
        """Return what was pushed in a namespace, or under one name."""
        query = {"name": name} if name else {}
        return list(self._send("GET", path(namespace, kind), params=query).json()["items"])

    def withdraw(self, place: PushedPlace) -> Json:
        """Let nobody use a push any more; return what is recorded."""
        where = f"{path(place.namespace, place.kind, place.name)}/{place.digest}"
        return dict(self._send("DELETE", where).json())

    def need_mlflow(self) -> None:
        """Raise ``Forbidden`` where no runs may be read, ``CommandFailure`` where MLflow does not answer."""
        self._send("GET", MLFLOW + "version")

    def mlflow(
        self, method: str, path: str, headers: dict[str, str] | None = None, content: bytes | None = None
    ) -> httpx.Response:
        """Send a question to MLflow's pages, once, and return whatever MLflow answers.

        Raises ``Forbidden`` where the exchange refuses, and ``CommandFailure``.
        """
        where = MLFLOW + path
        self._confine(where)
        token = self._bearer()
        try:
            answer = self._once(method, where, token, headers or {}, content=content)
            if answer.status_code == 401:
                self._forget(token)
                answer = self._once(method, where, self._bearer(), headers or {}, content=content)
        except httpx.RequestError as error:
            raise CommandFailure(f"the exchange {self._where.host}: {self._away(error)[0]}") from error
        if answer.status_code in (401, 403) and (refusal := _reason(answer)):
            raise Forbidden(refusal)
        return answer

    def _confine(self, where: str) -> None:
        """Raise ``CommandFailure`` for a path that httpx or a server could read as one outside of MLflow's."""
        try:
            path = self._http.build_request("GET", where).url.path
        except httpx.InvalidURL:
            path = ""
        if not posixpath.normpath(unquote(path).replace("\\", "/") + "/x").startswith(MLFLOW):
            raise CommandFailure("this path is not one of MLflow's")

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    def _send(self, method: str, where: str, *, accept_refusal: bool = False, **options: Any) -> httpx.Response:
        """Send one request, again while the exchange is away. Raises ``CommandFailure`` with what it says."""
        failure, renewed = "", False
        headers = options.pop("headers", {})
        for attempt in range(ATTEMPTS):
            time.sleep(PAUSE_SECONDS * 2 ** (attempt - 1) if attempt else 0)
            token = self._bearer()
            try:
                answer = self._once(method, where, token, headers, **options)
            except httpx.TransportError as error:
                failure, lasts = self._away(error)
                if lasts:
                    raise CommandFailure(f"the exchange {self._where.host}: {failure}") from error
                continue
            if answer.status_code == 401 and not renewed:
                self._forget(token)
                renewed = True
                continue
            if answer.status_code < 500:
                return _accepted(answer, accept_refusal)
            failure = _said(answer)
        raise Unreachable(f"the exchange {self._where.host}: {failure} ({ATTEMPTS} tries)")

    def _once(self, method: str, where: str, token: str, headers: dict[str, str], **options: Any) -> httpx.Response:
        return self._http.request(method, where, headers={**headers, "Authorization": f"Bearer {token}"}, **options)

    def _bearer(self) -> str:
        """Return the token to show. Whoever makes it is asked by one thread, and the others wait."""
        with self._renewing:
            if not self._token:
                self._token = self._where.token()
            return self._token

    def _forget(self, refused: str) -> None:
        """Show a token no more, unless another thread has renewed it already."""
        with self._renewing:
            if self._token == refused:
                self._token = ""

    def _away(self, error: httpx.RequestError) -> tuple[str, bool]:
        """Return why there was no answer, and whether another try would end alike."""
        fault = certificate_fault(error, self._trust)
        if fault is None:
            return f"no answer, {type(error).__name__}", False
        return fault.text + (": name it with --registry-ca or caFile" if fault.of_authority else ""), True


def path(namespace: str, kind: PushedKind, name: str = "") -> str:
    """Return where the exchange has pushed data of a namespace, or what has one name."""
    return f"/v1/namespaces/{namespace}/{kind}" + (f"/{name}" if name else "")


def _accepted(answer: httpx.Response, accept_refusal: bool) -> httpx.Response:
    if answer.status_code < 300 or accept_refusal:
        return answer
    if answer.status_code == 401:
        raise TokenRefused(_said(answer))
    if answer.status_code == 403:
        raise Forbidden(_said(answer))
    raise CommandFailure(_said(answer))


def _said(answer: httpx.Response) -> str:
    return _reason(answer) or f"it answers {answer.status_code}"


def _reason(answer: httpx.Response) -> str:
    """Return the reason in an answer of the exchange itself; empty for any other, such as MLflow's."""
    try:
        return str(answer.json()["error"]["message"])
    except (ValueError, LookupError, TypeError):
        return ""
