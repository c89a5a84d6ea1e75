"""The tokens that the operator signs, judged by a real distribution registry on loopback."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.support.ports import free_port
from tests.support.programs import program
from tunegate.errors import Terminal
from tunegate.maintenance.authority import token_pair
from tunegate.registry.credentials import site_configuration
from tunegate.registry.tokens import (
    ISSUER,
    SERVICE,
    Access,
    ProgramCredential,
    TokenSigner,
    docker_config,
    expiry,
    mint,
)

OWN = "licenses-team/extract-0a1b2c3d/results"
OTHER = "licenses-team/extract-99999999/results"
HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Registry:
    host: str
    signer: TokenSigner

    def start_upload(self, repository: str, token: str | None) -> int:
        """Ask to push a blob and return the HTTP status: 202 allowed, 401 refused."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return httpx.post(f"http://{self.host}/v2/{repository}/blobs/uploads/", headers=headers).status_code

    def read_tags(self, repository: str, token: str) -> int:
        """Ask to read and return the HTTP status: 404 allowed but empty, 401 refused."""
        url = f"http://{self.host}/v2/{repository}/tags/list"
        return httpx.get(url, headers={"Authorization": f"Bearer {token}"}).status_code


def make_signer(folder: Path, name: str) -> TokenSigner:
    """Make a key and its certificate as an installation does."""
    files = token_pair(name).files()
    key, certificate = folder / f"{name}.key", folder / f"{name}.crt"
    key.write_bytes(files["tls.key"])
    certificate.write_bytes(files["tls.crt"])
    return TokenSigner.from_files(key, certificate)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    folder = tmp_path_factory.mktemp("registry")
    signer = make_signer(folder, "trusted")
    host = f"127.0.0.1:{free_port()}"
    auth = {"realm": "http://tokens.invalid/", "service": SERVICE, "issuer": ISSUER}
    document = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
        "http": {"addr": host},
        "auth": {"token": {**auth, "rootcertbundle": str(folder / "trusted.crt"), "signingalgorithms": ["RS256"]}},
    }
    (folder / "config.yml").write_text(json.dumps(document))
    environment = {**os.environ, "OTEL_TRACES_EXPORTER": "none"}
    with (folder / "registry.log").open("wb") as log:
        process = subprocess.Popen(
            [program("registry"), "serve", folder / "config.yml"], stdout=log, stderr=log, env=environment
        )
        try:
            wait_for(host, process, folder / "registry.log")
            yield Registry(host, signer)
        finally:
            process.terminate()
            process.wait(timeout=10)


def wait_for(host: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(100):
        assert process.poll() is None, log.read_text()
        try:
            assert httpx.get(f"http://{host}/v2/").status_code == 401
            return
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError(f"the registry did not answer: {log.read_text()}")


def token_of(registry: Registry, access: list[Access], now: datetime | None = None) -> str:
    now = now or datetime.now(UTC)
    config = json.loads(mint(registry.signer, registry.host, access, subject="test", lifetime=HOUR, now=now))
    token: str = config["auths"][registry.host]["registrytoken"]
    return token


def test_a_job_may_push_to_its_own_repository(registry: Registry) -> None:
    assert registry.start_upload(OWN, token_of(registry, [Access(OWN, ("pull", "push"))])) == 202


@pytest.mark.attack(28)
def test_a_job_may_not_push_to_another_job_s_repository(registry: Registry) -> None:
    assert registry.start_upload(OTHER, token_of(registry, [Access(OWN, ("pull", "push"))])) == 401


def test_a_reader_may_read_and_not_push(registry: Registry) -> None:
    token = token_of(registry, [Access(OWN, ("pull",))])
    assert registry.read_tags(OWN, token) == 404
    assert registry.read_tags(OTHER, token) == 401
    assert registry.start_upload(OWN, token) == 401


def test_an_expired_token_is_refused(registry: Registry) -> None:
    long_ago = datetime.now(UTC) - HOUR - timedelta(minutes=2)
    assert registry.start_upload(OWN, token_of(registry, [Access(OWN, ("pull", "push"))], long_ago)) == 401


def test_nobody_is_let_in_without_a_token(registry: Registry) -> None:
    assert registry.start_upload(OWN, None) == 401


def test_a_token_of_another_signer_is_refused(registry: Registry, tmp_path: Path) -> None:
    stranger = make_signer(tmp_path, "stranger")
    token = stranger.sign([Access(OWN, ("push", "pull"))], subject="x", lifetime=HOUR, now=datetime.now(UTC))
    assert registry.start_upload(OWN, token) == 401


def test_the_operator_reads_all_and_writes_statements_and_signatures_only(registry: Registry) -> None:
    credential = ProgramCredential(registry.signer)
    for written in ("licenses-team/release-0a1b2c3d/statement", "licenses-team/extract-0a1b2c3d/adapter"):
        assert registry.start_upload(written, credential(written)) == 202
    assert registry.read_tags(OWN, credential(OWN)) == 404
    assert registry.start_upload(OWN, credential(OWN)) == 401


def test_the_operator_renews_its_token_before_it_ends(tmp_path: Path) -> None:
    moments = [datetime(2026, 1, 1, tzinfo=UTC)]
    credential = ProgramCredential(make_signer(tmp_path, "s"), clock=lambda: moments[-1])
    first = credential(OWN)
    moments.append(moments[-1] + timedelta(minutes=9))
    assert credential(OWN) == first
    moments.append(moments[-1] + timedelta(minutes=2))
    assert credential(OWN) != first


def test_expiry_is_read_from_the_configuration(tmp_path: Path) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    signer = make_signer(tmp_path, "s")
    config = mint(signer, "registry:5000", [Access(OWN, ("pull",))], subject="x", lifetime=HOUR, now=now)
    assert expiry(config, "registry:5000") == now + HOUR
    assert expiry(config, "elsewhere:5000") is None
    assert expiry(docker_config("registry:5000", "no token"), "registry:5000") is None


@pytest.mark.parametrize(
    "content",
    [
        "", "not JSON", "[]", "7", "null", '"text"', '{"auths": []}', '{"auths": {"registry:5000": "x"}}',
        '{"auths": {"registry:5000": {"registrytoken": 7}}}', "[" * 100_000,
        docker_config("registry:5000", jwt.encode({"exp": 10**40}, "k" * 32)),
        docker_config("registry:5000", jwt.encode({"exp": "soon"}, "k" * 32)),
        docker_config("registry:5000", jwt.encode({"exp": [1]}, "k" * 32)),
    ],
)  # fmt: skip
def test_a_secret_with_garbage_holds_no_token_and_is_written_again(content: str) -> None:
    assert expiry(content, "registry:5000") is None


def test_a_site_credential_that_is_no_docker_configuration_is_named(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    assert site_configuration(None) == site_configuration(file) == '{"auths": {}}\n'
    file.write_text(docker_config("registry:5000", "token"))
    assert site_configuration(file) == file.read_text()
    for content in (b"\xff\xfe", b"{}", b"[]", b'{"auths": 1}', b"password"):
        file.write_bytes(content)
        with pytest.raises(Terminal, match="config.json.* is not a Docker configuration file") as refused:
            site_configuration(file)
        assert refused.value.reason == "Unreadable"
        assert "password" not in refused.value.message


def test_a_key_of_another_kind_is_refused_with_its_name(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric import ed25519

    path = tmp_path / "key.pem"
    key = ed25519.Ed25519PrivateKey.generate()
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(ValueError, match="must be an RSA key"):
        TokenSigner.from_files(path, path)
