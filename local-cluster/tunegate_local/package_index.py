"""How this machine reaches its package index: its pip, and the secrets of image builds, so that nothing stays in an image.

A site with a mirror sets the usual variables or files of pip and uv on the machine; the build inside the image must see them too.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

from tunegate_local import debian
from tunegate_local.command import succeeds

VARIABLES = (
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "UV_DEFAULT_INDEX",
    "UV_INDEX_URL",
    "UV_INDEX",
    "UV_EXTRA_INDEX_URL",
    "UV_INSECURE_HOST",
    "UV_HTTP_TIMEOUT",
)
CERTIFICATES = ("SSL_CERT_FILE", "UV_CERT", "PIP_CERT", "REQUESTS_CA_BUNDLE")
SYSTEM_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
SYSTEM_PYTHON = "/usr/bin/python3"
UV_SETTINGS = (Path.home() / ".config" / "uv" / "uv.toml", Path("/etc/uv/uv.toml"))
PRIVATE = 0o600


def pip() -> list[str]:
    """Return the command of a pip that works: environments made by uv have none, so their parent's is used."""
    for python in (sys.executable, str(Path(sys.base_prefix) / "bin" / "python3"), SYSTEM_PYTHON):
        command = [python, "-m", "pip"]
        if Path(python).exists() and succeeds([*command, "--version"]):
            return command
    debian.ensure({"python3-pip": "/usr/lib/python3/dist-packages/pip"})
    return [SYSTEM_PYTHON, "-m", "pip"]


def write_secrets(directory: Path) -> list[str]:
    """Write the build secrets `network`, `certificates` and `uv-settings`; returns buildah's arguments for them."""
    contents = {"network": _network(), "certificates": _certificates(), "uv-settings": _uv_settings()}
    arguments = []
    for name, content in contents.items():
        path = directory / name
        path.touch(mode=PRIVATE)
        path.write_bytes(content)
        arguments.append(f"--secret=id={name},src={path}")
    return arguments


def _network() -> bytes:
    found = {name: os.environ[name] for name in VARIABLES if os.environ.get(name)}
    if not {"UV_DEFAULT_INDEX", "UV_INDEX_URL"} & set(found):
        index = _pip_index()
        if index:
            found["UV_DEFAULT_INDEX"] = index
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in found.items()).encode()


def _pip_index() -> str:
    said = subprocess.run([*pip(), "config", "get", "global.index-url"], capture_output=True, text=True, check=False)
    return os.environ.get("PIP_INDEX_URL") or (said.stdout.strip() if said.returncode == 0 else "")


def _certificates() -> bytes:
    for name in CERTIFICATES:
        path = os.environ.get(name)
        if path and Path(path).is_file():
            return Path(path).read_bytes()
    return SYSTEM_CERTIFICATES.read_bytes()


def _uv_settings() -> bytes:
    return next((path.read_bytes() for path in UV_SETTINGS if path.is_file()), b"")
