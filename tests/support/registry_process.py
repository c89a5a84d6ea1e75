"""A real registry (CNCF distribution) for one test, on loopback or where pods reach it."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.support.ports import free_port
from tests.support.programs import program
from tunegate.registry.tokens import ISSUER, SERVICE

PASSWORD_LINE = "stage:$2b$04$AxVb3NRgQ2b3NdSrPQdtjOslG6XFhoWiGoL7uEs1WZ11TBDgUVOwe"
"""bcrypt of the password `wonderful`."""


@dataclass(frozen=True)
class RunningRegistry:
    """Where it listens and where its bytes lie."""

    host: str
    storage: Path

    def blob(self, digest: str) -> Path:
        """The file in which the registry keeps a blob."""
        hexadecimal = digest.removeprefix("sha256:")
        return self.storage / "docker/registry/v2/blobs/sha256" / hexadecimal[:2] / hexadecimal / "data"


@contextmanager
def running_registry(
    folder: Path, *, with_password: bool = False, token_certificate: Path | None = None, address: str = "127.0.0.1"
) -> Iterator[RunningRegistry]:
    """Start a registry whose files lie in ``folder``; stop it at the end.

    ``token_certificate``: it trusts the tokens that this certificate's key signed, as the chart's does.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    configuration = folder / "config.yml"
    lines = [
        "version: 0.1",
        f"log: {{level: {'info' if token_certificate else 'error'}, formatter: json}}",
        f"storage: {{filesystem: {{rootdirectory: {folder / 'storage'}}}}}",
        f"http: {{addr: '{address}:{port}'}}",
    ]
    if with_password:
        (folder / "passwords").write_text(PASSWORD_LINE + "\n")
        lines.append(f"auth: {{htpasswd: {{realm: test, path: {folder / 'passwords'}}}}}")
    if token_certificate is not None:
        told = {"realm": "http://tokens.invalid/", "service": SERVICE, "issuer": ISSUER, "signingalgorithms": ["RS256"]}
        lines.append(f"auth: {json.dumps({'token': {**told, 'rootcertbundle': str(token_certificate)}})}")
    configuration.write_text("\n".join(lines) + "\n")
    environment = {**os.environ, "OTEL_TRACES_EXPORTER": "none"}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [program("registry"), "serve", configuration], stdout=log, stderr=log, env=environment
        )
    try:
        _wait_until_up(f"{address}:{port}", process, folder / "log")
        yield RunningRegistry(f"{address}:{port}", folder / "storage")
    finally:
        process.terminate()
        process.wait(timeout=20)


def _wait_until_up(host: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(200):
        try:
            if httpx.get(f"http://{host}/v2/", trust_env=False).status_code in {200, 401}:
                return
        except httpx.TransportError:
            time.sleep(0.05)
        if process.poll() is not None:
            break
    raise RuntimeError(f"the registry did not come up: {log.read_text()[-500:]}")
