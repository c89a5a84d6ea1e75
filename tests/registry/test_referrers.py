"""Referrers in a real registry: found from what they refer to, kept beside others', copied by stock tools."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest

from tests.support.programs import built
from tests.support.registry_process import RunningRegistry, running_registry
from tunegate.api.stage.layout import ADAPTER_MEDIA_TYPE
from tunegate.digests import sha256
from tunegate.registry import artifact, referrers
from tunegate.registry.artifact import MANIFEST_TYPE, Artifact, Layer
from tunegate.registry.client import RegistryClient
from tunegate.registry.failures import Refused

REPOSITORY = "team-a/job-1234abcd/adapter"
DSSE = "application/vnd.dsse.envelope.v1+json"
ROOT = Path(__file__).resolve().parents[2]
ORAS = "oras.land/oras/cmd/oras@v1.3.0"


def adapter(client: RegistryClient, content: bytes) -> Layer:
    layer = client.push_blob(REPOSITORY, content, "application/vnd.safetensors", title="adapter_model.safetensors")
    digest = client.push_artifact(REPOSITORY, ADAPTER_MEDIA_TYPE, [layer])
    return Layer(MANIFEST_TYPE, digest, len(client.pull_manifest(REPOSITORY, digest)))


def attach(client: RegistryClient, subject: Layer, content: bytes) -> str:
    layer = Layer(DSSE, sha256(content), len(content))
    return referrers.attach(client, REPOSITORY, Artifact(DSSE, (layer,), subject, {"kind": "test"}), content)


def listed(client: RegistryClient, subject: Layer) -> list[dict[str, Any]]:
    content = client.pull_index(REPOSITORY, referrers.tag_of(subject.digest))
    return list(json.loads(content)["manifests"]) if content is not None else []


def test_what_is_attached_is_found_by_its_subject(client: RegistryClient) -> None:
    subject = adapter(client, b"one")
    digest = attach(client, subject, b"signed")
    assert [(one["digest"], one["artifactType"], one["annotations"]) for one in listed(client, subject)] == [
        (digest, DSSE, {"kind": "test"})
    ]
    assert client.pull_artifact(REPOSITORY, digest).subject == subject
    assert client.pull_document(REPOSITORY, digest, media_type=DSSE) == b"signed"


def test_attaching_again_changes_nothing_and_others_stay(client: RegistryClient) -> None:
    subject = adapter(client, b"two")
    first = attach(client, subject, b"signed")
    other = attach(client, subject, b"by somebody else")
    assert attach(client, subject, b"signed") == first
    assert [one["digest"] for one in listed(client, subject)] == [first, other]


def test_list_that_is_none_is_refused_and_left_alone(registry: RunningRegistry, client: RegistryClient) -> None:
    subject = adapter(client, b"three")
    tag = referrers.tag_of(subject.digest)
    manifest = client.pull_manifest(REPOSITORY, subject.digest)
    url = f"http://{registry.host}/v2/{REPOSITORY}/manifests/{tag}"
    httpx.put(url, content=manifest, headers={"Content-Type": MANIFEST_TYPE}).raise_for_status()
    with pytest.raises(Refused, match="no index of referrers"):
        attach(client, subject, b"signed")
    assert client.pull_index(REPOSITORY, tag) == manifest


def test_manifest_without_a_subject_stays_as_it_was() -> None:
    plain = artifact.write(Artifact(DSSE, ()))
    assert b"subject" not in plain
    assert b"annotations" not in plain
    assert artifact.read(plain).subject is None


def test_registry_with_a_list_of_its_own_gets_no_tag(registry: RunningRegistry) -> None:
    with keeping_its_own_list(registry.host) as host, RegistryClient(host, plain_http=True) as client:
        subject = adapter(client, b"four")
        digest = attach(client, subject, b"signed")
        assert client.exists(REPOSITORY, digest)
        assert client.pull_index(REPOSITORY, referrers.tag_of(subject.digest)) is None


@pytest.mark.timeout(600)
def test_stock_tool_lists_and_copies_them_with_the_adapter(
    registry: RunningRegistry, client: RegistryClient, tmp_path: Path
) -> None:
    """With the commands of docs/audit.md."""
    subject = adapter(client, b"five")
    digest = attach(client, subject, b"signed")
    with running_registry(tmp_path / "mirror") as mirror:
        values = {
            "HOST/licenses-team/JOB-UID8/adapter@sha256:DIGEST": f"{registry.host}/{REPOSITORY}@{subject.digest}",
            "MIRROR/adapter:v1": f"{mirror.host}/adapter:v1",
        }
        oras(values, "cp", "--from-plain-http", "--to-plain-http")
        assert digest in oras(values, "discover", "--plain-http")
        with RegistryClient(mirror.host, plain_http=True) as there:
            assert there.pull_document("adapter", digest, media_type=DSSE) == b"signed"


def oras(values: dict[str, str], verb: str, *options: str) -> str:
    """Run the page's command of that verb, with the test's places; return what it prints."""
    said = re.findall(rf"^oras ({verb} .*)$", (ROOT / "docs/audit.md").read_text(), re.MULTILINE)
    assert len(said) == 1
    words = [values.get(word, word) for word in shlex.split(said[0])]
    done = subprocess.run([built(ORAS), *words, *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


class PassesOn(BaseHTTPRequestHandler):
    """Passes each request on to the registry ``behind``, and answers as one that processes `subject` by itself."""

    behind: ClassVar[str]

    def pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name: self.headers[name] for name in ("Accept", "Content-Type") if name in self.headers}
        answer = httpx.request(self.command, f"http://{self.behind}{self.path}", content=body, headers=headers)
        self.send_response(answer.status_code)
        for name, value in answer.headers.items():
            if name.lower() not in ("transfer-encoding", "connection"):
                self.send_header(name, value.replace(self.behind, self.headers["Host"]))
        if self.command == "PUT" and b'"subject"' in body:
            self.send_header("OCI-Subject", json.loads(body)["subject"]["digest"])
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.content)

    do_GET = do_HEAD = do_POST = do_PUT = pass_on  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def keeping_its_own_list(behind: str) -> Iterator[str]:
    """Put a proxy before a registry that adds what CNCF distribution 3.0 lacks; yield where it listens."""
    handler = type("Handler", (PassesOn,), {"behind": behind})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("size", [-1, 2**53, 10**400, "x", None])
def test_a_manifest_with_a_size_that_no_file_has_is_none(size: object) -> None:
    layer = {"mediaType": "application/json", "digest": sha256(b"{}"), "size": size}
    with pytest.raises(ValueError, match="not an OCI image manifest"):
        artifact.read(json.dumps({"layers": [layer]}).encode())


def test_a_manifest_that_could_not_be_written_again_is_none() -> None:
    with pytest.raises(ValueError, match="not an OCI image manifest"):
        artifact.read(b'{"layers": [], "annotations": {"a": "\\ud800"}}')
