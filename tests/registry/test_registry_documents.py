"""Documents in a real registry: addressed by digest, verified on the way back, failures told apart."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from tests.support.registry_process import RunningRegistry, running_registry
from tunegate import digests
from tunegate.api.stage.layout import ANSWERS_MEDIA_TYPE, RESULT_MEDIA_TYPE
from tunegate.errors import Terminal, Transient
from tunegate.registry import client as client_module
from tunegate.registry.client import RegistryClient
from tunegate.registry.failures import DigestMismatch, Missing, Refused, Unauthorized, Unavailable

REPOSITORY = "team-a/job-1234abcd/results"


def test_a_document_comes_back_byte_for_byte(client: RegistryClient) -> None:
    content = '{"outcome":"Passed","note":"größer"}'.encode()

    digest = client.push_document(REPOSITORY, content, RESULT_MEDIA_TYPE)

    assert content == client.pull_document(REPOSITORY, digest, media_type=RESULT_MEDIA_TYPE)


def test_pushing_twice_gives_the_same_digest(client: RegistryClient) -> None:
    first = client.push_document(REPOSITORY, b"again", RESULT_MEDIA_TYPE)

    assert first == client.push_document(REPOSITORY, b"again", RESULT_MEDIA_TYPE)
    assert client.exists(REPOSITORY, first)


def test_another_media_type_is_another_document(client: RegistryClient) -> None:
    digest = client.push_document(REPOSITORY, b"{}\n", ANSWERS_MEDIA_TYPE)

    with pytest.raises(Refused, match="expected"):
        client.pull_document(REPOSITORY, digest, media_type=RESULT_MEDIA_TYPE)


def test_bytes_changed_in_the_registry_are_refused(registry: RunningRegistry, client: RegistryClient) -> None:
    content = b'{"score": 0.41}'
    digest = client.push_document(REPOSITORY, content, RESULT_MEDIA_TYPE)
    registry.blob(digests.sha256(content)).write_bytes(b'{"score": 0.99}')

    with pytest.raises(DigestMismatch):
        client.pull_document(REPOSITORY, digest)


def test_a_manifest_changed_in_the_registry_is_refused(registry: RunningRegistry, client: RegistryClient) -> None:
    digest = client.push_document(REPOSITORY, b'{"score": 0.42}', RESULT_MEDIA_TYPE)
    other = client.push_document(REPOSITORY, b'{"score": 0.98}', RESULT_MEDIA_TYPE)
    registry.blob(digest).write_bytes(registry.blob(other).read_bytes())

    with pytest.raises(DigestMismatch):
        client.pull_document(REPOSITORY, digest)


def test_an_unknown_digest_is_missing_and_final(client: RegistryClient) -> None:
    unknown = digests.sha256(b"never pushed")

    with pytest.raises(Missing) as failure:
        client.pull_document(REPOSITORY, unknown)
    assert isinstance(failure.value, Terminal)
    assert not client.exists(REPOSITORY, unknown)


def test_a_silent_registry_is_unavailable_and_may_be_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "ATTEMPTS", 2)

    with RegistryClient("127.0.0.1:9", plain_http=True) as client, pytest.raises(Unavailable) as failure:
        client.push_document(REPOSITORY, b"x", RESULT_MEDIA_TYPE)
    assert isinstance(failure.value, Transient)


def _auth_file(folder: Path, host: str, password: str) -> Path:
    path = folder / "config.json"
    pair = base64.b64encode(f"stage:{password}".encode()).decode()
    path.write_text(json.dumps({"auths": {host: {"auth": pair}}}))
    return path


def test_a_password_opens_a_closed_registry_and_a_wrong_one_does_not(tmp_path: Path) -> None:
    with running_registry(tmp_path / "closed", with_password=True) as closed:
        path = _auth_file(tmp_path, closed.host, "wonderful")
        with RegistryClient(closed.host, plain_http=True, auth_file=path) as client:
            digest = client.push_document(REPOSITORY, b"secret", RESULT_MEDIA_TYPE)
            assert client.pull_document(REPOSITORY, digest) == b"secret"
            _auth_file(tmp_path, closed.host, "wrong")
            with pytest.raises(Unauthorized) as failure:
                client.pull_document(REPOSITORY, digest)
            assert "wrong" not in str(failure.value)
        with RegistryClient(closed.host, plain_http=True) as stranger, pytest.raises(Unauthorized):
            stranger.pull_document(REPOSITORY, digest)


def test_a_broken_credential_file_is_named(tmp_path: Path, registry: RunningRegistry) -> None:
    path = tmp_path / "config.json"
    path.write_text("[]")

    with (
        RegistryClient(registry.host, plain_http=True, auth_file=path) as client,
        pytest.raises(Unauthorized, match=r"config\.json"),
    ):
        client.push_document(REPOSITORY, b"x", RESULT_MEDIA_TYPE)
