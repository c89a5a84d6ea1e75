"""The registry as the chart runs it: tokens of the operator, the program that reads its volume, and its kinds of maintenance."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.support.ports import free_port
from tests.support.registry_process import RunningRegistry, running_registry
from tunegate.maintenance.authority import token_pair
from tunegate.registry.client import RegistryClient
from tunegate.registry.tokens import CATALOG, Access, TokenSigner
from tunegate.registry.volume_client import VolumeClient
from tunegate.registry_volume import Mounted, serve

MAINTENANCE: Mapping[str, Mapping[str, Any]] = {
    "": {"delete": {"enabled": False}},
    "Delete": {"delete": {"enabled": True}},
    "Collect": {"delete": {"enabled": False}, "maintenance": {"readonly": {"enabled": True}}},
}
"""What the chart sets for each value of `registry.maintenance`; a test of the chart compares."""


@dataclass
class ChartRegistry:
    """One installation's registry, over several starts."""

    folder: Path

    def __post_init__(self) -> None:
        self.port = free_port()
        self.storage = self.folder / "storage"
        self.storage.mkdir(parents=True)
        files = token_pair("tunegate-operator").files()
        self.key, self.certificate = self.folder / "token.key", self.folder / "token.crt"
        self.key.write_bytes(files["tls.key"])
        self.certificate.write_bytes(files["tls.crt"])
        self.signer = TokenSigner.from_files(self.key, self.certificate)

    @property
    def host(self) -> str:
        """Where it listens while it runs."""
        return f"127.0.0.1:{self.port}"

    @contextmanager
    def running(self, maintenance: str = "") -> Iterator[RunningRegistry]:
        """Run it in one kind of maintenance."""
        further = MAINTENANCE[maintenance]
        with running_registry(
            self.folder, port=self.port, storage=self.storage, further=further, token_certificate=self.certificate
        ) as running:
            yield running

    def token(self, access: Access) -> str:
        """Sign as the operator does."""
        return self.signer.sign([access], subject="test", lifetime=timedelta(minutes=5), now=datetime.now(UTC))

    @contextmanager
    def client(self) -> Iterator[RegistryClient]:
        """Give a client that may read and write everywhere."""
        with RegistryClient(
            self.host, plain_http=True, token_source=lambda name: self.token(Access(name, ("pull", "push")))
        ) as client:
            yield client

    @contextmanager
    def volume(self) -> Iterator[VolumeClient]:
        """Run the program beside the registry, and give a client of it."""
        server = serve(Mounted(self.storage, self.certificate, tls=None), port=0)
        client = VolumeClient(f"http://127.0.0.1:{server.server_address[1]}", lambda: self.token(CATALOG))
        try:
            yield client
        finally:
            client.close()
            server.shutdown()
            server.server_close()

    def age(self, days: float, *digests: str) -> None:
        """Let manifests, by default all, have been pushed so many days earlier."""
        then = (datetime.now(UTC) - timedelta(days=days)).timestamp()
        for link in self.storage.glob("docker/registry/v2/repositories/**/_manifests/revisions/sha256/*/link"):
            if not digests or f"sha256:{link.parent.name}" in digests:
                os.utime(link, (then, then))
