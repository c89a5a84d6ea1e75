"""Certificates of an installation, judged by strict TLS: also those that an authority of Helm's making signs."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.support.programs import program
from tunegate.maintenance.authority import Pair, new_authority, server_pair

NAMES = ("tunegate-registry", "tunegate-registry.tunegate-system.svc")
MADE_BY_HELM = '{{ $ca := genCA "tunegate" 3650 }}\ncrt: {{ $ca.Cert | quote }}\nkey: {{ $ca.Key | quote }}\n'


@pytest.fixture
def of_helm(tmp_path: Path) -> Pair:
    """An authority as charts of before made it."""
    (tmp_path / "templates").mkdir()
    (tmp_path / "Chart.yaml").write_text("apiVersion: v2\nname: old\nversion: 0.1.0\n")
    (tmp_path / "templates/ca.yaml").write_text(MADE_BY_HELM)
    rendered = subprocess.check_output([program("helm"), "template", "old", tmp_path], text=True)
    made = yaml.safe_load(rendered)
    return Pair.from_pem(made["crt"].encode(), made["key"].encode())


def greet(folder: Path, trusted: Pair, server: Pair, name: str) -> None:
    """Let a client that trusts one authority, and takes X.509 at its word, greet a server. Raises ``ssl.SSLError``."""
    (folder / "server.pem").write_bytes(b"".join(server.files().values()))
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(folder / "server.pem")
    asking = ssl.create_default_context(cadata=trusted.files()["tls.crt"].decode())
    asking.verify_flags |= ssl.VERIFY_X509_STRICT
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = asking.wrap_bio(to_client, to_server, server_hostname=name)
    host = serving.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(3):
        for side in (client, host):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    assert client.version() == "TLSv1.3"


@pytest.mark.parametrize("name", [*NAMES, "127.0.0.1"])
def test_a_server_is_believed_under_each_of_its_names(tmp_path: Path, name: str) -> None:
    authority = new_authority("tunegate")
    greet(tmp_path, authority, server_pair(authority, NAMES), name)


def test_a_server_is_not_believed_under_another_name_or_by_another_authority(tmp_path: Path) -> None:
    authority = new_authority("tunegate")
    server = server_pair(authority, NAMES)
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        greet(tmp_path, authority, server, "tunegate-mlflow")
    with pytest.raises(ssl.SSLCertVerificationError, match="verify failed"):
        greet(tmp_path, new_authority("tunegate"), server, NAMES[0])


def test_a_servers_certificate_signs_no_other(tmp_path: Path) -> None:
    authority = new_authority("tunegate")
    with pytest.raises(ssl.SSLCertVerificationError):
        greet(tmp_path, authority, server_pair(server_pair(authority, NAMES), NAMES), NAMES[0])


def test_an_authority_that_helm_made_goes_on_signing(tmp_path: Path, of_helm: Pair) -> None:
    greet(tmp_path, of_helm, server_pair(of_helm, NAMES), NAMES[0])
