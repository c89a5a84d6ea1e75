"""A real registry (CNCF distribution) for one test, on loopback or where pods reach it."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
    folder: Path,
    *,
    with_password: bool = False,
    address: str = "127.0.0.1",
    port: int | None = None,
    storage: Path | None = None,
    further: Mapping[str, Any] | None = None,
    token_certificate: Path | None = None,
) -> Iterator[RunningRegistry]:
    """Start a registry whose files lie in ``storage``, by default in ``folder``; stop it at the end.

    ``further``: of the section `storage` of its configuration, as the chart sets it for maintenance. With ``token_certificate``
    it wants tokens of that key, as the chart's does.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    storage = storage or folder / "storage"
    configuration = folder / "config.yml"
    sections = {"filesystem": {"rootdirectory": str(storage)}, **(further or {})}
    lines = [
        "version: 0.1",
        f"log: {{level: {'info' if token_certificate else 'error'}, formatter: json}}",
        f"storage: {json.dumps(sections)}",
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
        yield RunningRegistry(f"{address}:{port}", storage)
    finally:
        process.terminate()
        process.wait(timeout=20)


def collect_garbage(folder: Path) -> str:
    """Run distribution's own collection, as the chart does, for the registry of ``running_registry(folder)``; return what it says."""
    configuration = folder / "config.yml"
    command: list[str | Path] = [program("registry"), "garbage-collect", configuration]
    environment = {**os.environ, "OTEL_TRACES_EXPORTER": "none"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the registry's garbage could not be collected: {done.stderr[-500:]}")
    return done.stdout


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
