"""A real S3 server (VersityGW over a folder) for one test, and a proxy that disturbs what it answers."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.ports import free_port
from tests.programs import built

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
    folder: Path, *, address: str = "127.0.0.1", certificate: tuple[Path, Path] | None = None
) -> Iterator[ObjectStore]:
    """Start a store; ``certificate``: certificate and key of its TLS."""
    root = folder / "buckets"
    root.mkdir(parents=True)
    store = ObjectStore(root, free_port(), "https" if certificate else "http", address)
    tls: list[str | Path] = ["--cert", certificate[0], "--key", certificate[1]] if certificate else []
    command: list[str | Path] = [built(MODULE), "--port", f"{address}:{store.port}", "--quiet", *tls, "posix", root]
    environment = {**os.environ, "ROOT_ACCESS_KEY": ACCESS_KEY, "ROOT_SECRET_KEY": SECRET_KEY}
    with (folder / "store.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        _wait_until_up(store, process, folder / "store.log")
        yield store
    finally:
        process.terminate()
        process.wait(timeout=20)


def _wait_until_up(store: ObjectStore, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(200):
        with suppress(OSError), socket.create_connection((store.address, store.port), timeout=1):
            return
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise RuntimeError(f"the object store did not come up: {log.read_text()[-500:]}")


@dataclass
class FaultyProxy:
    """Passes connections on to ``upstream`` (a port); the next ``faults`` of them end after ``cut`` bytes of the answer."""

    upstream: int
    cut: int = 0
    faults: int = 0
    seen: int = 0
    broken: int = 0
    listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def serve(self) -> None:
        with suppress(OSError):  # the listener was closed: the test is over
            while True:
                client, _ = self.listener.accept()
                self.seen += 1
                threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def _pass_on(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self.upstream)) as server:
            threading.Thread(target=_pump, args=(client, server), daemon=True).start()
            passed = 0
            with suppress(OSError):
                while piece := server.recv(65536):
                    if self.faults > 0 and passed + len(piece) > self.cut:
                        self.faults -= 1
                        self.broken += 1
                        client.sendall(piece[: max(0, self.cut - passed)])
                        return
                    client.sendall(piece)
                    passed += len(piece)


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(65536):
            target.sendall(piece)


@contextmanager
def faulty_proxy(store: ObjectStore) -> Iterator[FaultyProxy]:
    """Stand between a stage and a store on plain HTTP."""
    proxy = FaultyProxy(store.port)
    thread = threading.Thread(target=proxy.serve, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.listener.shutdown(socket.SHUT_RDWR)
        proxy.listener.close()
        thread.join(timeout=5)
