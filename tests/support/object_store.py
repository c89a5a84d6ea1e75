"""A real S3 server (VersityGW over a folder) for one test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.ports import free_port, running_server
from tests.support.programs import built

MODULE = "github.com/versity/versitygw/cmd/versitygw@v1.8.0"
ACCESS_KEY = "reader"
SECRET_KEY = "Quite-Unguessable-9316"


@dataclass(frozen=True)
class ObjectStore:
    """Buckets are the folders of ``root``."""

    root: Path
    port: int
    scheme: str = "http"
    address: str = "127.0.0.1"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.address}:{self.port}"

    def put(self, bucket: str, key: str, content: bytes) -> None:
        target = self.root / bucket / key
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


def secret(url: str, **changes: str) -> dict[str, str]:
    """Return what the Secret of the store holds."""
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
    } | changes


@contextmanager
def running_store(
    folder: Path,
    *,
    address: str = "127.0.0.1",
    certificate: tuple[Path, Path] | None = None,
    versions: bool = False,
) -> Iterator[ObjectStore]:
    """Start a store; ``certificate``: certificate and key of its TLS; ``versions``: it keeps what is overwritten."""
    root = folder / "buckets"
    root.mkdir(parents=True)
    store = ObjectStore(root, free_port(), "https" if certificate else "http", address)
    tls: list[str | Path] = ["--cert", certificate[0], "--key", certificate[1]] if certificate else []
    kept: list[str | Path] = ["--versioning-dir", folder / "versions"] if versions else []
    if versions:
        (folder / "versions").mkdir()
    command: list[str | Path] = [
        built(MODULE), "--port", f"{address}:{store.port}", "--quiet", *tls, "posix", *kept, root,
    ]  # fmt: skip
    environment = {**os.environ, "ROOT_ACCESS_KEY": ACCESS_KEY, "ROOT_SECRET_KEY": SECRET_KEY}
    with running_server(command, address, store.port, folder / "store.log", environment=environment):
        yield store
