"""A credential for a registry goes to that registry, and to the token service that the registry itself names."""

from __future__ import annotations

import base64
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.support.certificates import write_localhost_certificate
from tunegate import digests
from tunegate.api.stage.layout import RESULT_MEDIA_TYPE
from tunegate.registry.client import RegistryClient
from tunegate.registry.failures import Refused, Unauthorized

REPOSITORY = "team-a/job-1234abcd/results"
DIGEST = digests.sha256(b"something")
PASSWORD = base64.b64encode(b"stage:wonderful").decode()

Answer = tuple[int, dict[str, str], bytes]
"""Status, headers and body."""


@dataclass
class Host:
    """A web server that gives one answer for each method, and what credentials it was sent."""

    name: str
    answers: dict[str, Answer] = field(default_factory=dict)
    credentials: list[str | None] = field(default_factory=list)


@contextmanager
def web_server(certificate: tuple[Path, Path] | None = None) -> Iterator[Host]:
    """Answer on loopback until the block ends; with TLS under the name `localhost` where a certificate is given."""

    class Handler(BaseHTTPRequestHandler):
        def handle_one(self) -> None:
            host.credentials.append(self.headers["Authorization"])
            self.rfile.read(int(self.headers["Content-Length"] or 0))
            status, headers, body = host.answers.get(self.command, (404, {}, b""))
            self.send_response(status)
            for key, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(body if self.command != "HEAD" else b"")

        def log_message(self, format: str, *args: object) -> None:
            return

    for method in ("GET", "HEAD", "POST", "PUT"):
        setattr(Handler, f"do_{method}", Handler.handle_one)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        host = Host(f"{'localhost' if certificate else '127.0.0.1'}:{server.server_port}")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield host
        server.shutdown()


@pytest.fixture
def registry() -> Iterator[Host]:
    with web_server() as host:
        yield host


@pytest.fixture
def other() -> Iterator[Host]:
    with web_server() as host:
        yield host


def auth_file(folder: Path, host: Host, **entry: str) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps({"auths": {host.name: entry}}))
    return path


def test_a_redirect_to_another_host_takes_no_credential_along(registry: Host, other: Host, tmp_path: Path) -> None:
    registry.answers["GET"] = (307, {"Location": f"http://{other.name}/there"}, b"")
    other.answers["GET"] = (200, {}, b"something")
    with RegistryClient(
        registry.name, plain_http=True, auth_file=auth_file(tmp_path, registry, registrytoken="token")
    ) as client:
        assert client.pull_manifest(REPOSITORY, DIGEST) == b"something"
    assert (registry.credentials, other.credentials) == (["Bearer token"], [None])


def test_another_host_does_not_say_where_to_take_the_password(registry: Host, other: Host, tmp_path: Path) -> None:
    registry.answers["GET"] = (307, {"Location": f"http://{other.name}/there"}, b"")
    other.answers["GET"] = (401, {"WWW-Authenticate": f'Bearer realm="http://{other.name}/token"'}, b"")
    with (
        RegistryClient(
            registry.name, plain_http=True, auth_file=auth_file(tmp_path, registry, auth=PASSWORD)
        ) as client,
        pytest.raises(Unauthorized),
    ):
        client.pull_manifest(REPOSITORY, DIGEST)
    assert (registry.credentials, other.credentials) == ([None], [None])


def test_an_upload_to_another_host_is_refused(registry: Host, other: Host, tmp_path: Path) -> None:
    registry.answers["POST"] = (202, {"Location": f"http://{other.name}/upload"}, b"")
    with (
        RegistryClient(
            registry.name, plain_http=True, auth_file=auth_file(tmp_path, registry, registrytoken="token")
        ) as client,
        pytest.raises(Refused, match="another host"),
    ):
        client.push_document(REPOSITORY, b"something", RESULT_MEDIA_TYPE)
    assert other.credentials == []


def test_the_token_service_that_the_registry_names_gets_the_password(
    registry: Host, other: Host, tmp_path: Path
) -> None:
    registry.answers["GET"] = (401, {"WWW-Authenticate": f'Bearer realm="http://{other.name}/token"'}, b"")
    other.answers["GET"] = (200, {}, b'{"token": "given"}')
    with (
        RegistryClient(
            registry.name, plain_http=True, auth_file=auth_file(tmp_path, registry, auth=PASSWORD)
        ) as client,
        pytest.raises(Unauthorized),
    ):
        client.pull_manifest(REPOSITORY, DIGEST)
    assert (registry.credentials, other.credentials) == ([None, "Bearer given"], [f"Basic {PASSWORD}"])


def test_a_registry_with_tls_gets_no_password_carried_in_plain_text(other: Host, tmp_path: Path) -> None:
    certificate = write_localhost_certificate(tmp_path)
    with web_server(certificate) as registry:
        registry.answers["GET"] = (401, {"WWW-Authenticate": f'Bearer realm="http://{other.name}/token"'}, b"")
        registry.answers["POST"] = (202, {"Location": f"http://{registry.name}/upload"}, b"")
        with RegistryClient(
            registry.name, auth_file=auth_file(tmp_path, registry, auth=PASSWORD), ca_file=certificate[0]
        ) as client:
            with pytest.raises(Unauthorized, match=r"token service at http://.*, without TLS"):
                client.pull_manifest(REPOSITORY, DIGEST)
            with pytest.raises(Refused, match="without TLS"):
                client.push_document(REPOSITORY, b"something", RESULT_MEDIA_TYPE)
    assert other.credentials == []
