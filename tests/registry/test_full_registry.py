"""A registry whose volume is full, that is maintained, or whose connection breaks: each is named, passes, and damages nothing."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest

from tests.support.chart_registry import MAINTENANCE, ChartRegistry
from tests.support.ports import free_port
from tests.support.registry_process import RunningRegistry, running_registry
from tests.support.silent_server import silent_server
from tunegate.registry.client import RegistryClient
from tunegate.registry.failures import Full, ReadOnly, Unauthorized, Unavailable
from tunegate.registry.tokens import Access

NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
RESULT = "application/vnd.tunegate.stage-result.v1+json"
OWN = "team/job-0a1b2c3d/results"


@pytest.fixture
def full(tmp_path: Path) -> Iterator[RunningRegistry]:
    """A registry on a disk of 8 MiB that somebody filled."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", disk], check=True)
    try:
        with running_registry(tmp_path / "registry", storage=disk / "storage") as running:
            with RegistryClient(running.host, plain_http=True) as client:
                client.push_document(OWN, b"{}", RESULT)
            with suppress(OSError), (disk / "filler").open("wb", buffering=0) as filler:
                while filler.write(bytes(4096)):
                    pass
            yield running
    finally:
        subprocess.run(["umount", disk], check=True)


@NEEDS_ROOT
def test_a_full_volume_is_named_and_passes_once_there_is_room(full: RunningRegistry) -> None:
    with RegistryClient(full.host, plain_http=True) as client:
        with pytest.raises(Full, match="no room is left on its volume"):
            client.push_document(OWN, b"new" * 2000, RESULT)
        (full.storage.parent / "filler").unlink()
        digest = client.push_document(OWN, b"new" * 2000, RESULT)
        assert client.pull_document(OWN, digest) == b"new" * 2000


@NEEDS_ROOT
def test_a_patient_client_waits_until_there_is_room(full: RunningRegistry) -> None:
    room = threading.Timer(6.0, (full.storage.parent / "filler").unlink)
    room.start()
    with RegistryClient(full.host, plain_http=True, patience=100) as client:
        digest = client.push_document(OWN, b"new" * 2000, RESULT)
        assert client.exists(OWN, digest)
    room.join()


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ("507 Insufficient Storage", b""),
        ("403 Forbidden", b'{"errors":[{"code":"DENIED","message":"Quota exceeded when processing the request"}]}'),
    ],
)
def test_quotas_of_other_registries_are_named_alike(status: str, said: bytes) -> None:
    head = f"HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {len(said)}\r\n\r\n"
    with silent_server(head.encode() + said) as server:
        client = RegistryClient(server.host, plain_http=True, timeout=5)
        with client, pytest.raises(Full):
            client.push_index(OWN, "tag", b"{}")


def test_a_registry_in_maintenance_takes_nothing_and_gives_everything(tmp_path: Path) -> None:
    """For a stage that is a registry to wait for, not one that refuses its result."""
    with running_registry(tmp_path) as running, RegistryClient(running.host, plain_http=True) as client:
        digest = client.push_document(OWN, b"{}", RESULT)
    with (
        running_registry(tmp_path, further=MAINTENANCE["Collect"]) as running,
        RegistryClient(running.host, plain_http=True) as client,
    ):
        assert client.pull_document(OWN, digest) == b"{}"
        with pytest.raises(ReadOnly, match="405"):
            client.push_document(OWN, b"new", RESULT)
        with pytest.raises(ReadOnly):
            client.delete_manifest(OWN, digest)
        assert client.exists(OWN, digest)


def test_even_in_maintenance_nobody_deletes_without_a_token_for_it(tmp_path: Path) -> None:
    registry = ChartRegistry(tmp_path)
    with registry.running("Delete"), registry.client() as client:
        digest = client.push_document(OWN, b"{}", RESULT)
        with pytest.raises(Unauthorized):
            client.delete_manifest(OWN, digest)
        for access in (Access("other/job/results", ("pull", "delete")), Access(OWN, ("pull",))):
            other = RegistryClient(registry.host, plain_http=True, token_source=partial(_token, registry, access))
            with other, pytest.raises(Unauthorized):
                other.delete_manifest(OWN, digest)
        assert client.exists(OWN, digest)


def _token(registry: ChartRegistry, access: Access, _repository: str) -> str:
    return registry.token(access)


@contextmanager
def cutting_proxy(target: str, cut_after: int) -> Iterator[str]:
    """Pass bytes on; cut the first connection that sends more than so many, in the middle of a request."""
    cut: list[int] = []

    def pump(source: socket.socket, sink: socket.socket, limit: int | None) -> None:
        count = 0
        with suppress(OSError):
            while piece := source.recv(16384):
                sink.sendall(piece)
                count += len(piece)
                if limit is not None and count > limit and not cut:
                    cut.append(count)
                    break
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    with socket.create_server(("127.0.0.1", free_port())) as listener:

        def listen() -> None:
            with suppress(OSError):
                while True:
                    inward, _ = listener.accept()
                    host, port = target.split(":")
                    outward = socket.create_connection((host, int(port)))
                    threading.Thread(target=pump, args=[inward, outward, cut_after], daemon=True).start()
                    threading.Thread(target=pump, args=[outward, inward, None], daemon=True).start()

        threading.Thread(target=listen, daemon=True).start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
    assert cut, "nothing was cut"


def test_an_upload_that_broke_off_begins_again_and_is_whole(tmp_path: Path) -> None:
    """The registry keeps the first part; a second body sent to the same upload would be put behind it and refused."""
    content = os.urandom(4 * 1024 * 1024)
    with (
        running_registry(tmp_path) as running,
        cutting_proxy(running.host, 1024 * 1024) as host,
        RegistryClient(host, plain_http=True) as client,
    ):
        digest = client.push_document(OWN, content, RESULT)
        assert client.pull_document(OWN, digest) == content


def test_a_registry_that_is_gone_is_tried_as_long_as_patience_lasts(tmp_path: Path) -> None:
    port = free_port()
    with (
        RegistryClient(f"127.0.0.1:{port}", plain_http=True) as client,
        pytest.raises(Unavailable, match="ConnectError"),
    ):
        client.exists(OWN, "sha256:" + "0" * 64)
    with RegistryClient(f"127.0.0.1:{port}", plain_http=True, patience=300) as client:
        pushed: list[str] = []
        pushing = threading.Thread(target=lambda: pushed.append(client.push_document(OWN, b"{}", RESULT)))
        pushing.start()
        pushing.join(6)
        assert pushing.is_alive(), "the usual tries take 3.5 seconds"
        with running_registry(tmp_path, port=port):
            pushing.join(120)
            assert pushed
