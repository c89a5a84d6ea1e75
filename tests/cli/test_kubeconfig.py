"""The kubeconfig against a real TLS server on loopback that says what it was shown."""

from __future__ import annotations

import base64
import json
import ssl
import stat
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.certificates import write_localhost_certificate
from tunegate.cli.cluster import Cluster
from tunegate.cli.failure import CommandFailure

Json = dict[str, Any]
VERSION = "client.authentication.k8s.io/v1"


class Shown(BaseHTTPRequestHandler):
    """Answers every request with the proof that came with it, and lists no jobs; a token that has run out gets a 401."""

    def do_GET(self) -> None:
        """Answer."""
        told = self.headers.get("Authorization")
        certificate = self.connection.getpeercert()
        subject = dict(pair[0] for pair in certificate["subject"]) if certificate else {}
        answer = {"authorization": told, "subject": subject.get("commonName")}
        body = json.dumps({**answer, **({"items": []} if "/finetunejobs" in self.path else {})}).encode()
        self.send_response(401 if told == "Bearer old" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@dataclass(frozen=True)
class Site:
    """A server, the certificate that it shows, and that of a person whom it knows."""

    url: str
    authority: Path
    person: tuple[Path, Path]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    own, person = (
        write_localhost_certificate(tmp_path_factory.mktemp(name), host) for name, host in
        (("server", "localhost"), ("person", "erin"))
    )  # fmt: skip
    serving = ThreadingHTTPServer(("127.0.0.1", 0), Shown)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*own)
    context.load_verify_locations(person[0])
    context.verify_mode = ssl.CERT_OPTIONAL
    serving.socket = context.wrap_socket(serving.socket, server_side=True)
    thread = threading.Thread(target=serving.serve_forever, daemon=True)
    thread.start()
    yield Site(f"https://localhost:{serving.server_port}", own[0], person)
    serving.shutdown()
    thread.join()


class Kubeconfigs:
    """Writes kubeconfigs of one cluster."""

    def __init__(self, folder: Path, site: Site) -> None:
        self.folder = folder
        self.cluster: Json = {"server": site.url, "certificate-authority": str(site.authority)}

    def write(self, user: Json, name: str = "config", *, context: str = "here", **cluster: Any) -> str:
        document = {
            "apiVersion": "v1", "kind": "Config", "current-context": context,
            "clusters": [{"name": "one", "cluster": {**self.cluster, **cluster}}],
            "users": [{"name": "erin", "user": user}],
            "contexts": [{"name": context, "context": {"cluster": "one", "user": "erin", "namespace": "team"}}],
        }  # fmt: skip
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(document))
        return str(path)

    def plugin(self, script: str, **more: Any) -> Json:
        path = self.folder / "login"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return {"exec": {"apiVersion": VERSION, "command": "./login", "interactiveMode": "Never", **more}}


@pytest.fixture
def kubeconfigs(tmp_path: Path, site: Site) -> Kubeconfigs:
    return Kubeconfigs(tmp_path, site)


def shown(path: str | None, context: str | None = None) -> Json:
    return Cluster(path, context).read("/shown") or {}


def answer(token: str, **more: str) -> str:
    return said({"token": token, **more})


def said(status: Json, version: str = VERSION) -> str:
    """Return the line of a script that prints an ExecCredential."""
    return f"printf %s '{json.dumps({'apiVersion': version, 'kind': 'ExecCredential', 'status': status})}'"


def at(seconds: float) -> str:
    """Return a time from now on, as plugins write it."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S.123456789Z")


def test_token_and_password_are_shown_as_the_header_that_kubectl_sends(kubeconfigs: Kubeconfigs) -> None:
    assert shown(kubeconfigs.write({"token": "abc"}))["authorization"] == "Bearer abc"
    (kubeconfigs.folder / "kept").write_text("newer\n")
    assert shown(kubeconfigs.write({"token": "abc", "tokenFile": "kept"}))["authorization"] == "Bearer newer"
    pair = {"username": "erin", "password": "x:y"}
    assert shown(kubeconfigs.write(pair))["authorization"] == f"Basic {base64.b64encode(b'erin:x:y').decode()}"


def test_certificates_are_taken_from_files_beside_the_kubeconfig_and_from_its_own_text(
    kubeconfigs: Kubeconfigs, site: Site
) -> None:
    certificate, key = site.person
    for file, name in ((certificate, "erin.pem"), (key, "erin.key")):
        (kubeconfigs.folder / name).write_bytes(file.read_bytes())
    assert shown(kubeconfigs.write({"client-certificate": "erin.pem", "client-key": "erin.key"}))["subject"] == "erin"
    data = {
        "client-certificate-data": base64.b64encode(certificate.read_bytes()).decode(),
        "client-key-data": base64.b64encode(key.read_bytes()).decode(),
    }
    inside = base64.b64encode(site.authority.read_bytes()).decode()
    assert shown(kubeconfigs.write(data, **{"certificate-authority-data": inside}))["subject"] == "erin"
    with pytest.raises(CommandFailure, match="client-key-data is not base64"):
        shown(kubeconfigs.write({**data, "client-key-data": "%"}))


def test_a_server_of_another_authority_is_refused_unless_the_kubeconfig_says_otherwise(
    kubeconfigs: Kubeconfigs, tmp_path: Path
) -> None:
    other = str(write_localhost_certificate(tmp_path)[0])
    with pytest.raises(CommandFailure, match="is of an authority that this machine does not trust"):
        shown(kubeconfigs.write({"token": "abc"}, **{"certificate-authority": other}))
    careless: Json = {"certificate-authority": other, "insecure-skip-tls-verify": True}
    path = kubeconfigs.write({"token": "abc"}, **careless)
    assert shown(path)["authorization"] == "Bearer abc"


def test_a_server_that_is_no_api_server_is_not_taken_for_an_empty_one(kubeconfigs: Kubeconfigs) -> None:
    cluster = Cluster(kubeconfigs.write({"token": "a.b.c"}))
    with pytest.raises(CommandFailure, match="is no Kubernetes API server: look at `server` in the kubeconfig"):
        cluster.listed("/api/v1/pods")


@pytest.mark.parametrize("name", ["..", "a/../b", "a?b", "a\0b", "", "é", "%2e%2e"])
def test_a_name_that_would_lead_to_another_address_is_not_sent(name: str, kubeconfigs: Kubeconfigs) -> None:
    cluster = Cluster(kubeconfigs.write({"token": "a.b.c"}))
    with pytest.raises(CommandFailure, match="is no address of the API server"):
        cluster.read(f"/api/v1/namespaces/{name}/pods")


def test_a_program_logs_in_and_is_asked_again_once_its_token_has_run_out(kubeconfigs: Kubeconfigs) -> None:
    used = kubeconfigs.folder / "used"
    script = f"if [ -e {used} ]; then {answer('new')}; else : > {used}; {answer('old')}; fi"
    user = kubeconfigs.plugin(script)
    assert shown(kubeconfigs.write(user))["authorization"] == "Bearer new"


def test_a_program_is_told_of_the_cluster_and_by_its_own_variables(kubeconfigs: Kubeconfigs) -> None:
    script = f'printf %s "$KUBERNETES_EXEC_INFO" > "$PLACE"; {answer("abc")}'
    place = kubeconfigs.folder / "told"
    user = kubeconfigs.plugin(script, env=[{"name": "PLACE", "value": str(place)}], provideClusterInfo=True)
    assert shown(kubeconfigs.write(user))["authorization"] == "Bearer abc"
    told = json.loads(place.read_text())
    assert told["apiVersion"] == VERSION
    authority = base64.b64encode(Path(kubeconfigs.cluster["certificate-authority"]).read_bytes()).decode()
    cluster = {"server": kubeconfigs.cluster["server"], "certificate-authority-data": authority}
    assert told["spec"] == {"interactive": False, "cluster": cluster}


def test_a_program_is_asked_once_for_many_requests_and_again_before_its_token_ends(kubeconfigs: Kubeconfigs) -> None:
    used = kubeconfigs.folder / "used"
    first, lasting = answer("first", expirationTimestamp=at(5)), answer("lasting", expirationTimestamp=at(3600))
    script = f"echo x >> {used}; if [ $(wc -l < {used}) = 1 ]; then {first}; else {lasting}; fi"
    cluster = Cluster(kubeconfigs.write(kubeconfigs.plugin(script)))
    assert [(cluster.read("/shown") or {})["authorization"] for _ in range(3)] == ["Bearer lasting"] * 3
    assert used.read_text() == "x\n" * 2


def test_a_program_whose_tokens_are_short_is_not_asked_before_each_request(kubeconfigs: Kubeconfigs) -> None:
    used = kubeconfigs.folder / "used"
    script = f"echo x >> {used}; {answer('short', expirationTimestamp=at(5))}"
    cluster = Cluster(kubeconfigs.write(kubeconfigs.plugin(script)))
    assert [(cluster.read("/shown") or {})["authorization"] for _ in range(3)] == ["Bearer short"] * 3
    assert used.read_text() == "x\n" * 2


def test_a_program_may_give_a_certificate_and_may_speak_the_older_version(kubeconfigs: Kubeconfigs, site: Site) -> None:
    certificate, key = (file.read_text() for file in site.person)
    older = "client.authentication.k8s.io/v1beta1"
    user = kubeconfigs.plugin(
        said({"clientCertificateData": certificate, "clientKeyData": key}, older), apiVersion=older
    )
    assert shown(kubeconfigs.write(user)) == {"authorization": None, "subject": "erin"}


@pytest.mark.parametrize(
    ("script", "more", "says"),
    [
        ("exit 3", {}, "failed: exit status 3"),
        ("echo secret-token", {}, f"failed: no ExecCredential of {VERSION}"),
        ("true", {"interactiveMode": "Always"}, "has to ask you something: log in on a terminal first"),
        ("true", {"command": "no-such-login", "installHint": "Ask the platform team."}, "Ask the platform team."),
        ("true", {"apiVersion": "v1"}, f"the kubeconfig's exec needs command, and an apiVersion of {VERSION}, "),
        ("true", {"apiVersion": "client.authentication.k8s.io/v1alpha1"}, "and an apiVersion of"),
        ("true", {"interactiveMode": "Sometimes"}, "interactiveMode Sometimes; allowed are Never, IfAvailable, Always"),
        (said({}), {}, "neither a token nor a certificate with its key"),
        (said({"clientCertificateData": "secret-token"}), {}, "neither a token nor a certificate with its key"),
        (answer("secret-token", expirationTimestamp="soon"), {}, "its expirationTimestamp is no time"),
        (
            said({"token": "secret-token"}, "client.authentication.k8s.io/v1beta1"),
            {},
            f"no ExecCredential of {VERSION}",
        ),
    ],
)
def test_a_login_that_fails_says_why_and_never_what_was_answered(
    script: str, more: Json, says: str, kubeconfigs: Kubeconfigs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", None)
    path = kubeconfigs.write(kubeconfigs.plugin(script, **more))
    with pytest.raises(CommandFailure) as failed:
        shown(path)
    assert says in str(failed.value)
    assert "secret-token" not in str(failed.value)


def test_several_files_are_merged_and_the_first_entry_of_a_name_counts(
    kubeconfigs: Kubeconfigs, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = kubeconfigs.write({"token": "first"})
    second = kubeconfigs.write({"token": "second"}, "deep/other", context="there")
    monkeypatch.setenv("KUBECONFIG", f"{kubeconfigs.folder / 'missing'}:{first}:{second}")
    assert shown(None)["authorization"] == shown(None, "there")["authorization"] == "Bearer first"
    assert Cluster(None, "there").namespace == "team"
    assert shown(second)["authorization"] == "Bearer second"
    with pytest.raises(CommandFailure, match="--context names context nowhere; it has here, there"):
        shown(None, "nowhere")


@pytest.mark.parametrize(
    ("text", "says"),
    [("a: [", "is not YAML"), ("- a", "is not a kubeconfig"), ("{}", "has no current-context"),
     ("clusters: [x]", "is not a kubeconfig")],
)  # fmt: skip
def test_files_that_are_no_kubeconfig_are_refused_in_a_sentence(text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(CommandFailure, match="no usable kubeconfig: ") as failed:
        Cluster(str(path))
    assert says in str(failed.value)
    with pytest.raises(CommandFailure, match="No such file"):
        Cluster(str(tmp_path / "none"))
