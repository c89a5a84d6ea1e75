"""What the program beside the registry tells of its volume, compared with what a real registry was given."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.certificates import write_localhost_certificate
from tests.support.chart_registry import ChartRegistry
from tests.support.silent_server import silent_server
from tunegate.digests import sha256
from tunegate.registry import artifact, referrers
from tunegate.registry.artifact import MANIFEST_TYPE, Artifact, Layer
from tunegate.registry.failures import Refused, Unauthorized, Unavailable
from tunegate.registry.stored import StoredManifest
from tunegate.registry.tokens import CATALOG, Access
from tunegate.registry.volume_client import VolumeClient
from tunegate.registry_volume import Mounted, serve

RESULT = "application/vnd.tunegate.stage-result.v1+json"
NOTE = "application/vnd.example.note"
OWN = "team/job-0a1b2c3d/results"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChartRegistry]:
    made = ChartRegistry(tmp_path_factory.mktemp("registry"))
    with made.running():
        yield made


def listed(registry: ChartRegistry) -> dict[tuple[str, str], StoredManifest]:
    with registry.volume() as volume:
        return {(one.repository, one.digest): one for one in volume.manifests()}


def test_it_lists_what_has_no_tag_and_who_refers_to_whom(registry: ChartRegistry) -> None:
    with registry.client() as client:
        digest = client.push_document(OWN, b"{}" * 100, RESULT)
        client.push_document("other/job/results", b"{}" * 100, RESULT)
        size = len(client.pull_manifest(OWN, digest))
        subject = Layer(MANIFEST_TYPE, digest, size)
        about = [Artifact(NOTE, (Layer(NOTE, sha256(note), len(note)),), subject) for note in (b"a", b"b")]
        notes = [referrers.attach(client, OWN, one, note) for one, note in zip(about, (b"a", b"b"), strict=True)]

    found = listed(registry)

    result = found[OWN, digest]
    assert (result.kind, result.subject, result.tags, result.problem) == (RESULT, None, [], "")
    assert sorted(result.blobs.values()) == sorted([2, 200, size])
    assert found["other/job/results", digest].blobs == result.blobs
    assert {found[OWN, note].subject for note in notes} == {digest}
    lists = [one for one in found.values() if one.kind == artifact.INDEX_TYPE]
    assert {tuple(one.tags): one.manifests for one in lists} == {
        (): notes[:1],
        (referrers.tag_of(digest),): notes,
    }, "the list of before has lost its tag"


def test_it_counts_bytes_by_namespace_once_and_what_nobody_refers_to(registry: ChartRegistry, tmp_path: Path) -> None:
    with registry.client() as client:
        for repository in ("counted/one/results", "counted/two/results"):
            digest = client.push_document(repository, b"x" * 5000, RESULT)
        client.push_blob("counted/one/results", b"y" * 7000, RESULT)
        manifest = len(client.pull_manifest("counted/one/results", digest))

    with registry.volume() as volume:
        room = volume.room()

    assert room.namespaces["counted"] == 5000 + manifest + len(artifact.EMPTY)
    assert room.unreferenced == 7000
    assert 0 < room.free <= room.total
    assert 0 <= room.used_percent <= 100


def test_it_answers_only_whoever_may_see_the_whole_registry(registry: ChartRegistry) -> None:
    with registry.volume() as volume:
        url = volume._url
        for token in ("x", registry.token(Access("catalog", ("*",))), registry.token(Access(OWN, ("pull",)))):
            stranger = VolumeClient(url, lambda token=token: token)  # type: ignore[misc]
            for ask in (stranger.room, stranger.manifests):
                with pytest.raises(Unauthorized):
                    ask()
        assert httpx.get(url + "/room", trust_env=False).status_code == 401
        assert volume.room().total


def test_a_manifest_that_is_damaged_is_named_and_the_others_are_listed(tmp_path: Path) -> None:
    registry = ChartRegistry(tmp_path / "registry")
    with registry.running() as running, registry.client() as client:
        digests = [client.push_document(OWN, text, RESULT) for text in (b"1", b"2", b"3")]
    running.blob(digests[0]).unlink()
    running.blob(digests[1]).write_bytes(b"\xff[")

    problems = {one.digest: one.problem for one in listed(registry).values()}

    assert problems == {
        digests[0]: "its bytes are missing on the volume",
        digests[1]: "is no manifest (UnicodeDecodeError)",
        digests[2]: "",
    }


def test_a_listing_that_breaks_off_is_no_listing(registry: ChartRegistry) -> None:
    line = b'{"repository":"a/b","digest":"sha256:%s","pushed":"2026-01-01T00:00:00Z"}\n' % (b"0" * 64)
    for body, kind in (
        (line, Unavailable),
        (line + b'{"manifestsListed":2}\n', Unavailable),
        (line + b'{"manifestsListed":1}\n' + line, Unavailable),
        (line + b'{"digest":"sha256:1"}\n', Refused),
        (b"", Unavailable),
    ):
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
        with silent_server(head + body) as server, pytest.raises(kind):
            VolumeClient(f"http://{server.host}", lambda: "t").manifests()


def test_over_tls_a_silent_client_holds_up_nobody(registry: ChartRegistry, tmp_path: Path) -> None:
    certificate, _ = write_localhost_certificate(tmp_path)
    server = serve(Mounted(registry.storage, registry.certificate, tls=tmp_path), port=0)
    port = server.server_address[1]
    try:
        with socket.create_connection(("127.0.0.1", port)):
            client = VolumeClient(f"https://localhost:{port}", lambda: registry.token(CATALOG), ca_file=certificate)
            assert client.room().total > 0
            client.close()
    finally:
        server.shutdown()
        server.server_close()
