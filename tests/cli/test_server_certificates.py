"""A certificate that is not accepted: what is wrong with it is said, and nobody tries again."""

from __future__ import annotations

import base64
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import write_localhost_certificate
from tunegate.cli.cluster import Cluster
from tunegate.cli.exchange import Address, Exchange
from tunegate.cli.failure import CommandFailure
from tunegate.cli.login.provider import Client, Provider
from tunegate.cli.oci_registry import Place, opened_at
from tunegate.cli.serve.gateway import Gateway

OTHER_NAME = "its certificate is for localhost, and 127.0.0.1 is not among them"
OTHER_AUTHORITY = "its certificate is of an authority that this machine does not trust"


class Server(ThreadingHTTPServer):
    """Counts connections, shakes hands with each, and has no page."""

    daemon_threads = True
    connections = 0

    def get_request(self) -> tuple[Any, Any]:
        self.connections += 1
        return super().get_request()


@contextmanager
def running(folder: Path, lasts: timedelta = timedelta(days=1)) -> Iterator[tuple[Server, Path]]:
    """Start a server whose certificate names `localhost`; gives it and its authority."""
    certificate, key = write_localhost_certificate(folder, lasts=lasts)
    server = Server(("127.0.0.1", 0), BaseHTTPRequestHandler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server, certificate
    finally:
        server.shutdown()
        server.server_close()


def exchange(host: str, authority: Path | None, folder: Path) -> None:
    with closing(Exchange(Address(host, authority, False, lambda: "token"))) as client:
        client.need_mlflow()


def window(host: str, authority: Path | None, folder: Path) -> None:
    with closing(Exchange(Address(host, authority, False, lambda: "token"))) as client:
        client.mlflow("GET", "version")


def registry(host: str, authority: Path | None, folder: Path) -> None:
    with opened_at(Place(host, folder / "none.json", authority, False)) as client:
        client.exists("team/a", f"sha256:{'0' * 64}")


def gateway(host: str, authority: Path | None, folder: Path) -> None:
    Gateway(f"https://{host}", "token", authority, lambda: "a hint").model("m")


def api_server(host: str, authority: Path | None, folder: Path) -> None:
    named = {"certificate-authority-data": base64.b64encode(authority.read_bytes()).decode()} if authority else {}
    (folder / "config").write_text(json.dumps({
        "clusters": [{"name": "c", "cluster": {"server": f"https://{host}", **named}}],
        "users": [{"name": "u", "user": {"token": "x"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}], "current-context": "c",
    }))  # fmt: skip
    Cluster(str(folder / "config")).read("/version")


def provider(host: str, authority: Path | None, folder: Path) -> None:
    client = Client(f"https://{host}", "tunegate", authority.read_text() if authority else None)
    Provider(client).endpoint("token_endpoint")


Asks = Callable[[str, Path | None, Path], None]
ALL: dict[Asks, str] = {
    exchange: "--registry-ca", window: "--registry-ca", registry: "--registry-ca", gateway: "--gateway-ca",
    api_server: "certificate-authority", provider: "--issuer-ca",
}  # fmt: skip


def failure(asks: Asks, host: str, authority: Path | None, folder: Path) -> str:
    with pytest.raises(CommandFailure) as caught:
        asks(host, authority, folder)
    return str(caught.value)


@pytest.mark.parametrize("asks", ALL)
def test_an_address_that_is_not_in_the_certificate_is_named_beside_those_that_are(asks: Asks, tmp_path: Path) -> None:
    with running(tmp_path) as (server, authority):
        said = failure(asks, f"127.0.0.1:{server.server_port}", authority, tmp_path)
    assert OTHER_NAME in said
    assert "authority" not in said
    assert "tries" not in said
    assert server.connections == 3, "one try, one look at the names, and one whether the server is what they say"


@pytest.mark.parametrize("asks", ALL)
def test_an_authority_that_is_not_trusted_is_said_with_the_option_that_names_one(asks: Asks, tmp_path: Path) -> None:
    with running(tmp_path) as (server, _):
        said = failure(asks, f"localhost:{server.server_port}", None, tmp_path)
    assert OTHER_AUTHORITY in said
    assert ALL[asks] in said
    assert server.connections == 1


@pytest.mark.parametrize("asks", ALL)
def test_a_certificate_whose_time_is_over_is_said_to_have_expired(asks: Asks, tmp_path: Path) -> None:
    with running(tmp_path, lasts=timedelta(minutes=-1)) as (server, authority):
        said = failure(asks, f"localhost:{server.server_port}", authority, tmp_path)
    assert "has expired" in said
    assert server.connections == 1
