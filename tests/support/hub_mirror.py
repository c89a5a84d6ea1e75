"""A real Hub mirror (Olah over git repositories, with nothing behind it) for one test, and a gateway before it that asks
for a token."""

from __future__ import annotations

import http.server
import json
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.support.ports import free_port, running_server
from tests.support.programs import installed

OLAH = "olah==0.5.4"
NEWEST = "2026-11-20"
TOKEN = "hf_Quite-Unguessable-4417"


@dataclass(frozen=True)
class HubMirror:
    """Models are the git repositories below ``root``."""

    root: Path
    port: int
    scheme: str = "http"
    address: str = "127.0.0.1"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.address}:{self.port}"

    def put(self, repository: str, files: Mapping[str, bytes]) -> str:
        """Commit these files, beside those that are there, and return the commit's hash."""
        place = self.root / "models" / repository
        place.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(content)
        git(place, "init", "--quiet")
        git(place, "add", "--all")
        git(place, "-c", "user.name=tests", "-c", "user.email=tests@example.com", "commit", "--quiet", "-m", "model")
        return git(place, "rev-parse", "HEAD")


def git(place: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", place, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@contextmanager
def running_mirror(
    folder: Path, *, address: str = "127.0.0.1", certificate: tuple[Path, Path] | None = None
) -> Iterator[HubMirror]:
    """Start a mirror; ``certificate``: certificate and key of its TLS."""
    mirror = HubMirror(folder / "mirrors", free_port(), "https" if certificate else "http", address)
    mirror.root.mkdir(parents=True)
    settings = folder / "olah.toml"
    settings.write_text(_settings(mirror, folder, certificate))
    command: list[str | Path] = [installed(OLAH, NEWEST) / "olah-cli", "--config", settings]
    with running_server(command, address, mirror.port, folder / "mirror.log", folder=folder):
        yield mirror


def _settings(mirror: HubMirror, folder: Path, certificate: tuple[Path, Path] | None) -> str:
    here, nowhere = f"{mirror.address}:{mirror.port}", "127.0.0.1:9"
    basic: dict[str, object] = {
        "host": mirror.address, "port": mirror.port, "mirrors-path": [str(mirror.root)],
        "repos-path": str(folder / "cache"), "log-path": str(folder / "logs"),
        "mirror-scheme": mirror.scheme, "mirror-netloc": here, "mirror-lfs-netloc": here,
        "hf-scheme": "http", "hf-netloc": nowhere, "hf-lfs-netloc": nowhere,
    }  # fmt: skip
    if certificate is not None:
        basic |= {"ssl-cert": str(certificate[0]), "ssl-key": str(certificate[1])}
    lines = [f"{name} = {json.dumps(value)}" for name, value in basic.items()]
    return "\n".join(["[basic]", *lines, "[accessibility]", "offline = true", ""])


class _Guard(http.server.BaseHTTPRequestHandler):
    """Passes requests that carry the token on to the mirror."""

    upstream: str

    def do_GET(self) -> None:
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self.send_error(403 if "Authorization" in self.headers else 401)
            return
        answer = httpx.request(self.command, self.upstream + self.path, follow_redirects=True, timeout=30)
        self.send_response(answer.status_code)
        for name in ("etag", "x-repo-commit", "content-type", "content-length"):
            if name in answer.headers:
                self.send_header(name, answer.headers[name])
        self.end_headers()
        self.wfile.write(answer.content)

    do_HEAD = do_GET  # noqa: N815 - the name that the library calls

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def guarded(mirror: HubMirror) -> Iterator[str]:
    """Stand before the mirror and refuse requests without ``TOKEN``; yields the address."""
    handler = type("Guard", (_Guard,), {"upstream": mirror.url})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
